"""Training in worker processes that are forked from this one: where threads do not scale.

Threads share the interpreter's lock. An MLP's step on 512 features holds it for 37 % of its time,
so three threads do all that any number can; a small CNN's for 9 % (sampled; see
``benchmarks/runtimes.py``). Processes have one each: this one is left with 0.5 to 1 ms a client.

They are forked at the first training and live as long as the clients' runtime, so images, clients
and caches are shared without a copy (pages are copied when written to), and no round waits for a
fork (10 to 20 ms). A client's task and its update go through a pipe: measured against shared
memory it is no slower, and it needs no room in ``/dev/shm``, which is 64 MB in a container.
Requests are answered by threads of this process, where clients keep what they computed.

Results are those of ``in_process`` bit for bit, for the reasons given in ``parallel``; a tensor
comes back with its type, its bits and its strides.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.checks import at_least
from concilium.foundation.child_processes import deaf_to_ctrl_c, end_with_parent
from concilium.foundation.errors import ConciliumError, InputError, Problem
from concilium.runtimes._turns import Training
from concilium.runtimes._workers import in_order
from concilium.runtimes.contract import Crew, LocalRuntime, Turn
from concilium.runtimes.in_process import OneAfterTheOther
from concilium.runtimes.parallel import SideBySide

A = TypeVar("A")

CAN_FORK = sys.platform == "linux"  # macOS has fork, but its libraries do not survive one


@dataclass(frozen=True)
class Processes(LocalRuntime):
    """``workers`` ≥ 0 processes; 0: as many as there are cores. Linux and CPU only."""

    workers: int = 0

    def __post_init__(self) -> None:
        at_least(0, workers=self.workers)

    def crew(self, members: Sequence[Client], cores: int) -> Crew:
        """Raises InputError off Linux, and for clients that compute on a GPU."""
        remedy = 'set runtime = "parallel"'
        if not CAN_FORK:
            raise InputError(Problem("runtimes.processes", "only Linux can fork them", remedy))
        if any(client.device.type != "cpu" for client in members):
            what = "a GPU cannot be used by processes that are forked"
            raise InputError(Problem("runtimes.processes", what, remedy))
        workers = min(self.workers or cores, len(members))
        return OneAfterTheOther() if workers <= 1 else Forked(members, workers)


class Forked(Crew):
    """Some worker processes that train, each fed by a thread of this process; they outlast a round.

    They are ended when a round ends early, when nobody has this crew any more, and with this
    process. The next training begins new ones.
    """

    def __init__(self, members: Sequence[Client], workers: int) -> None:
        self._members = members
        self._workers = workers
        self._answering = SideBySide(workers)
        self._processes: list[Worker] = []
        weakref.finalize(self, end, self._processes)

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        if not isinstance(turn, Training):
            return self._answering.take_turns(turn, clients)
        return cast(Iterator[A], self._train(turn, clients))

    def _train(
        self, turn: Training, clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[object]:
        told = as_told(turn)
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._ready():
            free.put(worker)

        def take(client: Client, state: ClientState) -> object:
            worker = free.get()
            try:
                return worker.take(told, client, state)
            finally:
                free.put(worker)

        left = len(clients)
        with ThreadPoolExecutor(self._workers, "feeder") as pool:
            try:
                for result in in_order(pool, take, clients, self._workers):
                    left -= 1
                    yield result
                    del result
            finally:
                if left:  # an error, Ctrl-C, or a consumer that wants no more
                    end(self._processes)
                pool.shutdown(cancel_futures=True)

    def _ready(self) -> list[Worker]:
        """The workers, begun if there are none or one of them is gone."""
        if not all(worker.process.is_alive() for worker in self._processes):
            end(self._processes)
        while len(self._processes) < self._workers:
            self._processes.append(Worker(self._members))
        return self._processes


class Worker:
    """One worker process, as this one sees it."""

    def __init__(self, members: Sequence[Client]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._told = b""
        self._one_at_a_time = threading.Lock()  # two rounds at once share workers
        self.process: ForkProcess = context.Process(
            target=_work, args=(theirs, self._pipe, members), daemon=True
        )
        with deaf_to_ctrl_c(), warnings.catch_warnings():
            # Python 3.12 warns of threads. Those that may live here (a progress bar, a listener to
            # jobs) hold no lock that a worker takes, and nobody computes during a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def take(self, told: bytes, client: Client, state: ClientState) -> object:
        """What the turn that is told gives with a client. Raises what the turn raises."""
        try:
            with self._one_at_a_time:
                is_new = told is not self._told
                self._pipe.send_bytes(dumps((is_new, client.name, client.private, state)))
                if is_new:
                    self._pipe.send_bytes(told)
                    self._told = told
                answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            what = "a worker process was ended from outside, perhaps for want of memory"
            raise ConciliumError(f'{what}; take fewer workers, or runtime = "parallel"') from None
        done, result = ForkingPickler.loads(answer)
        if not done:
            raise result
        return cast(object, result)


def end(workers: list[Worker]) -> None:
    """End these processes now, and forget them."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
    workers.clear()


def _work(
    pipe: connection.Connection, not_ours: connection.Connection, members: Sequence[Client]
) -> None:
    """What a worker process does: turns of its clients as they are told, until it is ended."""
    not_ours.close()
    gc.freeze()  # what was inherited is not looked through, which would copy it, nor finalised
    torch.set_num_threads(1)
    # Not those of a progress display, whose lock another thread may have held at the fork.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    end_with_parent()
    by_name = {client.name: client for client in members}
    told = Told()
    try:
        while True:
            is_new, name, private, state = ForkingPickler.loads(pipe.recv_bytes())
            if is_new:
                told.listen(pipe.recv_bytes())
            client = replace(by_name[name], private=private)
            pipe.send_bytes(_outcome(told.turn, client, state))
    except (EOFError, OSError):  # nobody is at the other end any more
        return


def _outcome(turn: Training, client: Client, state: ClientState) -> bytes:
    try:
        return dumps((True, turn(client, state)))
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return _failure(error)


def _failure(error: Exception) -> bytes:
    """An error as a message; one that cannot travel becomes one that can."""
    try:
        message = dumps((False, error))
        ForkingPickler.loads(message)
    except Exception:
        return dumps((False, ConciliumError(f"{type(error).__name__}: {error}")))
    return message


class Told:
    """The turn that a worker was last told. Counts that were told before are the same object."""

    turn: Training

    def __init__(self) -> None:
        self._counts = b""
        self._statistics: Any = None

    def listen(self, told: bytes) -> None:
        """Take the next turn from its message; clients keep the loss that they made of counts."""
        counts, turn = ForkingPickler.loads(told)
        if counts != self._counts:
            self._counts, self._statistics = counts, ForkingPickler.loads(counts)
        broadcast = replace(turn.broadcast, label_statistics=self._statistics)
        self.turn = replace(turn, broadcast=broadcast)


def as_told(turn: Training) -> bytes:
    """A turn as a message, its counts apart."""
    counts = dumps(turn.broadcast.label_statistics)
    return dumps((counts, replace(turn, broadcast=replace(turn.broadcast, label_statistics=None))))


class ByValue(ForkingPickler):
    """Writes tensors as their bits: torch would put each into a shared memory of its own."""

    def reducer_override(self, value: object) -> Any:
        if type(value) is not Tensor:
            return NotImplemented
        dense = value.clone()  # of the same strides, unless elements share their place
        flat = dense.as_strided((dense.numel(),), (1,))
        bits = bytearray(flat.view(torch.uint8).numpy())
        return _tensor, (bits, dense.dtype, tuple(dense.shape), dense.stride())


def _tensor(
    bits: bytearray, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    tensor = torch.empty_strided(shape, stride, dtype=dtype)
    if bits:
        flat = tensor.as_strided((tensor.numel(),), (1,))
        flat.view(torch.uint8).copy_(torch.frombuffer(bits, dtype=torch.uint8))
    return tensor


def dumps(value: object) -> bytes:
    """A value as bytes."""
    written = io.BytesIO()
    ByValue(written, 5).dump(value)
    return written.getvalue()
