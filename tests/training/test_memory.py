"""Kept memory: the same blocks, asked for again and again, are not new pages each time."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Three blocks of 4 MB, freed together: by default glibc then gives back all that is free.
STEPS = """
import resource
from concilium.training.memory import keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step(): blocks = [b"x" * 2**22 for _ in range(3)]
step(); step()
before = faults()
for _ in range(5): step()
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Page faults of five steps, in a process of its own: the setting is the whole process's."""
    command = [sys.executable, "-c", STEPS.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_kept_memory_is_not_asked_for_again() -> None:
    # 5 steps of 12 MB are 15,360 pages of 4 KB.
    assert faults(keep=False) > 5_000
    assert faults(keep=True) < 100
