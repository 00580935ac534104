"""Training in forked worker processes: one result, few at a time, and nobody is left behind."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from multiprocessing.context import ForkProcess
from typing import Any, cast

import numpy as np
import pytest
import torch

from concilium.algorithms.contract import LocalWork
from concilium.algorithms.fedavg import FedAvg
from concilium.federation.messages import Broadcast, Update, scalar_weight
from concilium.federation.requests import EvaluationRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import ConciliumError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.runtimes import processes
from concilium.runtimes._turns import ClientWork, Training
from concilium.runtimes._workers import AHEAD
from concilium.runtimes.in_process import InProcess, OneAfterTheOther
from concilium.runtimes.processes import ByValue, Forked, Processes, Told, Worker, as_told, dumps
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.contract import Weighting
from tests.runtimes.test_laws import assert_same, play, simulation
from tests.worlds import hospital_parts, linear_network, runtime

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")

PARTS = hospital_parts((8,) * 8)
WORLD = runtime(PARTS)
CLIENTS = WORLD.members
BROADCAST = FedAvg().broadcast(ServerState(0, travelling(linear_network(PARTS)), len(CLIENTS)))
FIRST, SECOND = CLIENTS[0].name, CLIENTS[1].name
PATIENCE = 20.0  # seconds; reached only where a test fails


class Telling(FedAvg):
    """Clients that do not train and tell by whom, and with how many threads, they were run."""

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        assert isinstance(work, ClientWork)
        self.act(work.client.name)
        told = torch.tensor([os.getpid(), torch.get_num_threads()])
        weight = scalar_weight(broadcast.model, 1.0)
        return Update(broadcast.model, weight, NamedTensors({"told": told})), state

    def act(self, name: str) -> None:
        """What a client does besides."""


class EndlessButTheFirst(Telling):
    def act(self, name: str) -> None:
        if name != FIRST:
            time.sleep(PATIENCE)


@dataclass(frozen=True)
class Writing(Telling):
    """Each client writes a byte where it begins."""

    place: int = -1

    def act(self, name: str) -> None:
        os.write(self.place, b".")


class KilledAtTheSecond(Telling):
    def act(self, name: str) -> None:
        if name == SECOND:
            os.kill(os.getpid(), signal.SIGKILL)


class InterruptedAtTheSecond(Telling):
    def act(self, name: str) -> None:
        if name == SECOND:
            os.kill(os.getpid(), signal.SIGINT)


class OddError(Exception):
    """It can be pickled, and then not be read."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} {number}")


class OddlyFailing(Telling):
    def act(self, name: str) -> None:
        raise OddError("number", 7)


def crew(workers: int = 2) -> Forked:
    made = Processes(workers).crew(CLIENTS, 2)
    assert isinstance(made, Forked)
    return made


def turns(crew: Forked, algorithm: FedAvg | None = None) -> Generator[Any]:
    turn = Training(BROADCAST, algorithm or Telling(), ByKnownEntries(), None)
    found = crew.take_turns(turn, [(client, ClientState()) for client in CLIENTS])
    return cast(Generator[Any], found)


def by_whom(crew: Forked, algorithm: FedAvg | None = None) -> list[int]:
    return [int(update.extras["told"][0]) for update, _ in turns(crew, algorithm)]


def alive(crew: Forked) -> list[ForkProcess]:
    return [worker.process for worker in crew._processes if worker.process.is_alive()]


@pytest.fixture
def nobody_is_left() -> Iterator[None]:
    """Of the processes that a test has begun none is there at its end."""
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) <= before


def test_the_number_of_workers_changes_nothing() -> None:
    """The laws of all runtimes are seen with as many workers as there are cores."""
    expected = play(*simulation(InProcess(), "scaffold"))[0].model
    assert_same(play(*simulation(Processes(3), "scaffold"))[0].model, expected, exact=True)


def test_workers_are_processes_that_outlast_a_round() -> None:
    own = crew()
    assert not own._processes  # none before there is something to train
    rounds = [by_whom(own) for _ in range(3)]
    pids = {worker.process.pid for worker in own._processes}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert set().union(*rounds) <= pids


def test_each_worker_has_one_operator_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert {int(update.extras["told"][1]) for update, _ in turns(crew())} == {1}
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("nobody_is_left")
def test_workers_are_ended_when_nobody_has_the_crew_any_more() -> None:
    own = crew()
    by_whom(own)
    assert len(alive(own)) == 2
    del own


def test_a_round_that_is_taken_to_its_last_update_keeps_the_workers() -> None:
    own = Processes(2).over(CLIENTS, FedAvg(), ByKnownEntries())
    assert isinstance(own.crew, Forked)
    pids = []
    for _ in range(2):
        assert len(list(own.train(BROADCAST, own.clients))) == len(CLIENTS)
        pids.append({worker.process.pid for worker in own.crew._processes})
    assert pids[0] == pids[1]
    assert len(pids[0]) == 2


def test_a_round_that_ends_early_ends_its_workers_at_once() -> None:
    own = crew()
    running = turns(own, EndlessButTheFirst())
    next(running)
    begun = alive(own)
    running.close()
    assert not any(process.is_alive() for process in begun)
    assert len(by_whom(own)) == len(CLIENTS)  # the next round begins new ones


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process that runs in the background may not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_ends_workers_at_once() -> None:
    own = crew()
    running = turns(own, EndlessButTheFirst())
    next(running)
    begun = alive(own)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert not any(process.is_alive() for process in begun)


def test_a_worker_is_deaf_to_ctrl_c() -> None:
    """The terminal tells it to all processes; the parent alone ends them."""
    assert len(by_whom(crew(), InterruptedAtTheSecond())) == len(CLIENTS)


def test_a_worker_that_was_killed_is_one_error_that_names_nobody() -> None:
    own = crew()
    with pytest.raises(ConciliumError, match="ended from outside") as caught:
        by_whom(own, KilledAtTheSecond())
    assert "hospital" not in str(caught.value)
    assert not alive(own)
    assert len(by_whom(own)) == len(CLIENTS)


def test_a_worker_that_was_killed_between_rounds_is_replaced() -> None:
    own = crew()
    by_whom(own)
    dead = own._processes[0].process
    dead.kill()
    dead.join()
    assert dead.pid not in by_whom(own)


def test_workers_end_with_their_parent() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        running = turns(crew(), EndlessButTheFirst())
        next(running)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    os.waitpid(parent, 0)
    # The end of the pipe comes when the last of those who inherited it is gone.
    assert select.select([reading], [], [], PATIENCE / 2)[0]
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_worker_whose_answer_nobody_takes_ends_without_a_word() -> None:
    worker = Worker(CLIENTS)
    worker._pipe.send_bytes(dumps((True, FIRST, NamedTensors({}), ClientState())))
    worker._pipe.send_bytes(as_told(Training(BROADCAST, Telling(), ByKnownEntries(), None)))
    assert worker._pipe.poll(PATIENCE)
    worker._pipe.close()  # what is not read resets the connection
    worker.process.join(PATIENCE)
    assert worker.process.exitcode == 0  # 1: a traceback in the middle of somebody's Ctrl-C


def test_few_turns_are_ahead_of_what_was_taken() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    begun = 0
    for taken, _ in enumerate(turns(crew(), Writing(place=writing))):
        time.sleep(0.01)  # a slow server: workers could run far ahead
        begun += len(os.read(reading, 100)) if select.select([reading], [], [], 0)[0] else 0
        assert begun <= taken + 2 + AHEAD
    assert begun == len(CLIENTS)
    os.close(reading)
    os.close(writing)


def test_two_rounds_at_once_share_the_workers() -> None:
    own = crew()
    first, second = turns(own), turns(own)
    assert len(list(zip(first, second, strict=True))) == len(CLIENTS)
    assert len(alive(own)) == 2


def test_an_error_that_cannot_travel_becomes_one_that_can() -> None:
    with pytest.raises(ConciliumError, match="OddError: number 7"):
        by_whom(crew(), OddlyFailing())


def test_an_error_tells_where_in_the_worker_it_was_raised() -> None:
    class Unknown(FedAvg):  # it cannot be pickled: an error of this process, before any turn
        pass

    own = crew()
    with pytest.raises(Exception, match="Unknown"):
        by_whom(own, Unknown())
    message = processes._outcome(Training(BROADCAST, FedAvg(), None, None), CLIENTS[0], None)  # type: ignore[arg-type]
    done, error = ByValue.loads(message)
    assert not done
    assert "client_update" in error.__notes__[0]


@pytest.mark.usefixtures("nobody_is_left")
def test_answers_are_given_here_where_clients_keep_what_they_computed() -> None:
    own = Processes(2).over([replace(c, _features={}) for c in CLIENTS], FedAvg(), ByKnownEntries())
    list(own.ask(EvaluationRequest(BROADCAST.model, "test"), own.clients))
    assert all(client._features for client in own.members)


def test_counts_that_were_told_before_are_the_same_object() -> None:
    """A loss is fitted to a client's labels once, as long as the same counts are sent."""
    counts = CLIENTS[0].statistics()
    turn = Training(replace(BROADCAST, label_statistics=counts), FedAvg(), ByKnownEntries(), None)
    told, heard = Told(), []
    for statistics in (counts, CLIENTS[0].statistics(), CLIENTS[1].statistics(), None):
        broadcast = replace(turn.broadcast, round=5, label_statistics=statistics)
        told.listen(as_told(replace(turn, broadcast=broadcast)))
        heard.append(told.turn.broadcast.label_statistics)
    assert told.turn.broadcast.round == 5
    assert told.turn.broadcast.model.digest() == BROADCAST.model.digest()
    assert heard[0] is heard[1]
    assert heard[2] is not heard[0]
    assert heard[0] is not None
    assert np.array_equal(heard[0].positives, counts.positives)
    assert heard[3] is None


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.arange(6, dtype=torch.bfloat16).view(2, 3),
        torch.arange(6.0).view(2, 3).T,
        torch.arange(12.0)[::2],
        torch.tensor([1.0]).expand(3),
        torch.randn(2, 3, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last),
        torch.tensor([float("nan"), float("inf"), -0.0]),
    ],
    ids=lambda t: f"{t.dtype}-{tuple(t.shape)}-{t.stride()}",
)
def test_a_tensor_travels_with_its_bits_and_its_strides(tensor: torch.Tensor) -> None:
    back = ByValue.loads(dumps(tensor))
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert back.stride() == tensor.clone().stride()
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (back, tensor)]
    assert torch.equal(*bits)
    assert not back.is_shared()  # no room in /dev/shm is taken
    assert back.data_ptr() % 64 == 0 or not back.numel()  # as torch's own: sums round alike


def test_one_worker_or_one_client_needs_no_process() -> None:
    assert isinstance(Processes(workers=1).crew(CLIENTS, 2), OneAfterTheOther)
    assert isinstance(Processes(workers=8).crew(CLIENTS[:1], 2), OneAfterTheOther)
    with pytest.raises(InputError, match="workers=-1"):
        Processes(workers=-1)


def test_a_gpu_is_refused_with_the_remedy() -> None:
    on_gpu = [replace(CLIENTS[0], device=torch.device("cuda")), *CLIENTS[1:]]
    with pytest.raises(InputError, match=r'GPU.*set runtime = "parallel"'):
        Processes().crew(on_gpu, 2)


def test_a_system_that_cannot_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "CAN_FORK", False)
    with pytest.raises(InputError, match=r'Linux.*set runtime = "parallel"'):
        Processes().crew(CLIENTS, 2)
