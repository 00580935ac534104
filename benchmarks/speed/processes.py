"""Run a command and say how long it took and how much memory it had with all its children.

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

PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS_BETWEEN_SAMPLES = 0.2


class FailedError(Exception):
    """The end of what a command wrote to standard error."""


@dataclass(frozen=True)
class Run:
    """``line`` is the JSON that the command printed; seconds from its start to its exit."""

    line: Mapping[str, Any]
    wall: float
    megabytes: float


def run(command: list[str], limit: float) -> Run:
    """Run to the end. Raises FailedError where it fails, prints no JSON or exceeds the limit."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, env={**os.environ, **one_thread}
        )
        peak = _watch(process, started + limit)
        wall = time.perf_counter() - started
        lines = [line for line in _text(out).splitlines() if line.startswith('{"rounds"')]
        if process.returncode or not lines:
            raise FailedError(_text(errors)[-2000:] or f"ended with {process.returncode}")
    return Run(json.loads(lines[-1]), wall, peak / 1e6)


def _watch(process: subprocess.Popen[bytes], deadline: float) -> int:
    """Peak bytes of the process and its children, until it has ended; then end what is left."""
    peak, seen = 0, {process.pid: _start(process.pid)}
    while process.poll() is None:
        if time.perf_counter() > deadline:
            process.kill()
        tree = _tree(process.pid)
        seen |= {pid: _start(pid) for pid in tree if pid not in seen}
        peak = max(peak, _bytes(tree))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_BETWEEN_SAMPLES)
    for pid, start in seen.items():
        if start and _start(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return peak


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


def _start(pid: int) -> str:
    """When a process began: with its number, it tells it from a later one."""
    fields = _status(pid)
    return fields[19] if fields else ""


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
