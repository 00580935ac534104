"""``make mutate``: plant each fault alone, and see whether the fast suite catches it.

The tests of the faulty file's folder run first, then, where they see nothing, all fast tests. At
least 95 % must be caught; survivors are named. A run that does not end counts as caught.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.faults import ROOT, Fault, plant, read_faults

LEAST_CAUGHT = 0.95
MOST_SECONDS = 600


def outcome(source: Path, tests: list[str]) -> str:
    """How the fast tests fail on the package in a folder; nothing where they pass."""
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    environment = {
        **os.environ,
        **one_thread,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    command += ["--deselect", "tests/mutation"]  # the faults fit the code without one
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode not in {0, 1, 2}:  # all passed, some failed, a module did not even load
        raise RuntimeError(done.stdout.decode() + done.stderr.decode())
    return {0: "", 1: "fails", 2: "does not load"}[done.returncode]


def caught_by(fault: Fault) -> str:
    """Which tests catch a fault, those of its folder or all others, and how; or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = plant(fault, Path(folder))
        for tests in (f"tests/{fault.area}", "tests"):
            if (ROOT / tests).is_dir() and (how := outcome(source, [tests])):
                return f"{tests} {how}"
        return ""


def check_the_faultless() -> None:
    """Exit unless the suite passes on a copy without a fault: else every fault would be caught."""
    with tempfile.TemporaryDirectory() as folder:
        source = plant(None, Path(folder))
        where = "import concilium; print(concilium.__file__)"
        found = subprocess.run(
            [sys.executable, "-c", where],
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        if not found.startswith(str(source)):
            sys.exit(f"the tests would not run on the copy: they find {found}")
        if outcome(source, ["tests"]):
            sys.exit("the suite fails without any fault: mend it first")


def main() -> int:
    """Plant all faults, two at a time; 0 where enough of them are caught."""
    wanted = sys.argv[1:]
    faults = [f for f in read_faults() if not wanted or any(w in f.file for w in wanted)]
    if not faults:
        sys.exit(f"no fault in a file that has {' or '.join(wanted)} in its name")
    started = time.perf_counter()
    check_the_faultless()
    print(f"{len(faults)} faults; without one, all fast tests pass", flush=True)
    survivors = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for fault, by in zip(faults, pool.map(caught_by, faults), strict=True):
            print(f"{by or 'SURVIVES':<28} {fault.file}: {fault.what}", flush=True)
            if not by:
                survivors.append(fault)
    caught = len(faults) - len(survivors)
    seconds = time.perf_counter() - started
    print(f"\n{caught} of {len(faults)} caught ({caught / len(faults):.0%}) in {seconds:.0f} s")
    for fault in survivors:
        print(f"survivor: {fault.file}: {fault.what}\n  - {fault.old}\n  + {fault.new}")
    return 0 if caught >= LEAST_CAUGHT * len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
