"""Doing a plan: in this process, or in several with one operator thread each."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path

from bodies import Workplace
from plan import Plan, Unit
from work import Done, Work, do, prepare_process

from concilium.foundation.child_processes import deaf_to_ctrl_c, end_with_parent
from concilium.foundation.errors import ConciliumError

Told = Callable[[Unit, bool], None]
"""Hears of a unit when it begins (False) and when it is written down (True)."""

_workplace: Workplace | None = None  # of a worker process


def run(plan: Plan, cache: Path, workers: int, told: Told) -> None:
    """Do all units of a plan. On Ctrl-C what is written down stays, the rest is not there."""
    if workers == 1:
        _run_here(plan, cache, told)
    else:
        _run_in_processes(plan, cache, workers, told)


def _run_here(plan: Plan, cache: Path, told: Told) -> None:
    prepare_process()
    workplace = Workplace(cache)
    while (unit := plan.next()) is not None:
        told(unit, False)
        plan.took(unit, do(plan.work(unit), workplace))
        told(unit, True)


def _run_in_processes(plan: Plan, cache: Path, workers: int, told: Told) -> None:
    """As many units as there are workers are begun; the next one is asked for when one is done.

    So a row waits for its own method's tuning, and for nothing else.
    """
    resource_tracker.ensure_running()  # would else be started below, and hear Ctrl-C again
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, context, _enter, (cache,))
    running: dict[Future[Done], Unit] = {}
    try:
        while True:
            while len(running) < workers and (unit := plan.next()) is not None:
                with deaf_to_ctrl_c():  # a worker is started by the first works
                    running[pool.submit(_do, plan.work(unit))] = unit
                told(unit, False)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                plan.took(unit, future.result())
                told(unit, True)
    except BrokenProcessPool:
        what = "a worker process was ended from outside, perhaps for want of memory"
        raise ConciliumError(f"{what}; go on with the same command and fewer --workers") from None
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _enter(cache: Path) -> None:
    global _workplace  # noqa: PLW0603  (a new process gets it in no other way)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    prepare_process()
    _workplace = Workplace(cache)


def _do(work: Work) -> Done:
    assert _workplace is not None
    return do(work, _workplace)
