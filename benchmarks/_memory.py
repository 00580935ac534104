"""Peak memory of a benchmark's own process: it calls itself with ``--memory`` and what to run."""

from __future__ import annotations

import resource
import subprocess
import sys

OPTION = "--memory"


def peak_megabytes(script: str, *what: object) -> float:
    """Peak resident memory of a process of its own in which the script runs ``what``."""
    command = [sys.executable, script, OPTION, *map(str, what)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_own_peak() -> None:
    """What a script prints last when it was called with ``--memory``."""
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def growth(what: str, few: tuple[str, float], many: tuple[str, float], target: float) -> float:
    """Relative growth of a peak from few to many (what they are, MB), printed beside its target."""
    found = many[1] / few[1] - 1
    print(
        f"peak memory, {what}: {few[1]:.0f} MB for {few[0]}, {many[1]:.0f} MB for {many[0]}: "
        f"{found:+.1%} (target at most {target:.0%})"
    )
    return found
