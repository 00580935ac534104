"""Jobs in several processes, one operator thread each; what they tell comes to one observer."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any, Protocol

from concilium.foundation.child_processes import deaf_to_ctrl_c, end_with_parent
from concilium.foundation.errors import ConciliumError

if TYPE_CHECKING:  # nothing heavy: the command line prepares before it imports torch
    from concilium.orchestration.observers import Event, Observer
    from concilium.studies.bench import Job

# On Linux workers are forked from a process that has imported all they need and done nothing else
# (torch's threads do not survive a fork, its modules do): so what takes 2 seconds is done once.
# Elsewhere, where libraries of the system may not survive one, each worker imports by itself.
START = "forkserver" if sys.platform == "linux" else "spawn"
IMPORTED = "concilium.studies.run"

# Of a worker process, set once by _enter and by the first job.
_told: Any = None
_opened: Callable[[], Workplace]
_workplace: Workplace | None = None


class Workplace(Protocol):
    """Where one process does its jobs."""

    def do(self, job: Job, observer: Observer) -> None:
        """Do one of them."""


def prepare() -> None:
    """Begin to import what workers need, in another process, while this one goes on."""
    if START != "forkserver":
        return
    forkserver.set_forkserver_preload([IMPORTED])
    resource_tracker.ensure_running()  # would else be started below, and unmask
    with deaf_to_ctrl_c():
        forkserver.ensure_running()


def in_processes(
    opened: Callable[[], Workplace],
    jobs: Sequence[Job],
    workers: int,
    observer: Callable[[Job, Event], None],
) -> None:
    """Do every job, in each process at a workplace it has ``opened``; the first error ends all.

    Processes end by themselves when this one dies.
    """
    prepare()
    context = multiprocessing.get_context(START)
    told: Any = context.Queue()
    listener = threading.Thread(target=_listen, args=(told, observer), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, context, _enter, (opened, told))
    try:
        futures = [pool.submit(_do, job) for job in jobs]
        for future in futures:
            future.result()
        told.put(None)
        listener.join()
    except BrokenProcessPool:
        what = "a worker process was ended from outside, perhaps for want of memory"
        raise ConciliumError(f"{what}; go on with --resume and fewer --workers") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:  # a worker that was ended may hold the queue for ever: nobody waits for it
        told.cancel_join_thread()
        pool.shutdown(cancel_futures=True)


def _enter(opened: Callable[[], Workplace], told: Any) -> None:
    global _opened, _told  # a new process gets them in no other way
    _opened, _told = opened, told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends its workers
    end_with_parent()


def _do(job: Job) -> None:
    global _workplace  # noqa: PLW0603  (opened by the first job, so that its errors are told)
    if _workplace is None:
        _workplace = _opened()
    _workplace.do(job, partial(_tell, job))


def _tell(job: Job, event: Event) -> None:
    _told.put((job, event))


def _listen(told: Any, observer: Callable[[Job, Event], None]) -> None:
    while (item := told.get()) is not None:
        observer(*item)
