"""Jobs in several processes, one operator thread each; what they tell comes to one observer."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from concilium.foundation.errors import ConciliumError
from concilium.orchestration.observers import Event
from concilium.studies.bench import Job

WATCH_SECONDS = 0.5
_told: Any = None  # the queue of this worker process, set once by _enter


def in_processes(
    work: Callable[..., None],
    jobs: Sequence[Job],
    arguments: tuple[object, ...],
    workers: int,
    observer: Callable[[Job, Event], None],
) -> None:
    """Do ``work(job, *arguments, tell)`` for every job; the first error ends all.

    Processes are spawned, not forked (torch's threads do not survive a fork), and end by themselves
    when this process dies.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    listener = threading.Thread(target=_listen, args=(told, observer), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, context, _enter, (told, os.getpid()))
    try:
        futures = [pool.submit(_do, work, job, arguments) for job in jobs]
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


def _enter(told: Any, parent: int) -> None:
    global _told  # noqa: PLW0603  (a spawned process gets its queue in no other way)
    _told = told
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is gone: nobody would collect what it does."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _do(work: Callable[..., None], job: Job, arguments: tuple[object, ...]) -> None:
    work(job, *arguments, partial(_tell, job))


def _tell(job: Job, event: Event) -> None:
    _told.put((job, event))


def _listen(told: Any, observer: Callable[[Job, Event], None]) -> None:
    while (item := told.get()) is not None:
        observer(*item)
