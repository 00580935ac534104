"""Worker processes come from one that has imported what they need, and end with their parent."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from concilium.studies.side_by_side import START

linux_only = pytest.mark.skipif(START != "forkserver", reason="workers are spawned here")
PREPARED = """
import signal
from multiprocessing import forkserver
from concilium.studies import side_by_side
side_by_side.prepare()
pid = forkserver._forkserver._forkserver_pid
side_by_side.prepare()
assert forkserver._forkserver._forkserver_pid == pid
(line,) = [l for l in open(f"/proc/{pid}/status") if l.startswith("SigBlk")]
print(int(line.split()[1], 16), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


@linux_only
@pytest.mark.slow
def test_the_process_that_imports_for_workers_is_deaf_to_ctrl_c_and_this_one_is_not() -> None:
    """It would else end in a traceback while it imports; what is started twice is one process."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARED], check=True, capture_output=True, text=True
    )
    blocked, ours = done.stdout.split()
    assert int(blocked) & 1 << (signal.SIGINT - 1)
    assert ours == "False"


@pytest.mark.slow
def test_what_prepares_workers_imports_nothing_heavy() -> None:
    """The command line calls it before it imports torch by itself, so that both run at once."""
    program = "import sys, concilium.cli.execution; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
