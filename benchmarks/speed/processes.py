"""Run a command and say what it took, with all its children: wall time, time of cores, memory.

Memory is the sum over the tree of what each process has alone, and the largest part that one of
them shares: libraries and shared memory count once, as in the machine. Sampled five times a second
from /proc (Linux). What a command leaves behind, it or a child of it, is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE, TICKS_A_SECOND = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
SECONDS_BETWEEN_SAMPLES = 0.2


class FailedError(Exception):
    """The end of what a command wrote to standard error."""


@dataclass(frozen=True)
class Run:
    """``line`` is the JSON that the command printed.

    ``wall`` are seconds from its start to its exit; ``cores`` seconds that cores worked for it: a
    busy neighbour changes them least.
    """

    line: Mapping[str, Any]
    wall: float
    cores: float
    megabytes: float


def run(command: list[str], limit: float) -> Run:
    """Run to the end. Raises FailedError where it fails, prints no JSON or exceeds the limit."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, env={**os.environ, **one_thread}
        )
        tree = _Tree(process.pid)
        try:
            _watch(process, tree, started + limit)
            wall = time.perf_counter() - started
        finally:
            tree.end()
        lines = [line for line in _text(out).splitlines() if line.startswith('{"rounds"')]
        if process.returncode or not lines:
            raise FailedError(_text(errors)[-2000:] or f"ended with {process.returncode}")
    cores = sum(tree.ticks.values()) / TICKS_A_SECOND
    return Run(json.loads(lines[-1]), wall, cores, tree.peak / 1e6)


def _watch(process: subprocess.Popen[bytes], tree: _Tree, deadline: float) -> None:
    """Sample the tree until the process has ended."""
    while process.poll() is None:
        if time.perf_counter() > deadline:
            process.kill()
        tree.sample()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_BETWEEN_SAMPLES)


class _Tree:
    """A process and all its children, as long as any of them lives.

    A process is known by its number and by when it began, which tells it from a later one.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self.ticks: dict[tuple[int, str], int] = {}
        self.peak = 0

    def sample(self) -> None:
        """Look at all of them once."""
        pids = _tree(self._root)
        self.peak = max(self.peak, _bytes(pids))
        for pid in pids:
            if fields := _status(pid):
                self.ticks[pid, fields[19]] = int(fields[11]) + int(fields[12])

    def end(self) -> None:
        """End those that are left."""
        for pid, began in self.ticks:
            if _status(pid)[19:20] == [began]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _status(int(folder.name)):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:  # grows while it is gone through
        found += children.get(pid, [])
    return found


def _status(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name: state, parent, …; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _bytes(pids: list[int]) -> int:
    alone, shared = [], [0]
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident, of_these_shared = map(
                int, Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            )
            alone.append(resident - of_these_shared)
            shared.append(of_these_shared)
    return (sum(alone) + max(shared)) * PAGE


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read())
