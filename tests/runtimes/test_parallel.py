"""Clients in worker threads: side by side, each worker with its own network, few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.cores import num_cores
from concilium.foundation.errors import InputError
from concilium.runtimes._workers import AHEAD
from concilium.runtimes.contract import Crew, Turn
from concilium.runtimes.in_process import OneAfterTheOther
from concilium.runtimes.parallel import Parallel, SideBySide
from tests.runtimes.test_laws import assert_same, play, simulation
from tests.worlds import hospital_parts, runtime

CLIENTS = runtime(hospital_parts((8,) * 12)).members
PATIENCE = 20.0  # seconds that a thread waits for another; reached only where a test fails


def turns(crew: Crew, turn: Turn) -> Iterator:
    return crew.take_turns(turn, [(client, ClientState()) for client in CLIENTS])


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "moon"])
def test_one_seed_gives_one_model_whatever_the_number_of_workers(
    algorithm: str, workers: int
) -> None:
    models = [play(*simulation(Parallel(number), algorithm))[0].model for number in (workers, 2)]
    assert_same(*models, exact=True)  # type: ignore[arg-type]


def test_as_many_clients_run_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def turn(client: Client, state: ClientState) -> str:
        together.wait()  # goes on when three are here
        return client.name

    crew = Parallel(workers=3).crew(CLIENTS, 2)
    assert list(turns(crew, turn)) == [client.name for client in CLIENTS]


def test_each_worker_has_one_network_and_one_operator_thread() -> None:
    crew = Parallel(workers=2).crew(CLIENTS, 2)
    seen: dict[int, tuple[int, int]] = {}

    def turn(client: Client, state: ClientState) -> tuple[int, int]:
        seen.setdefault(threading.get_ident(), (id(client.network), torch.get_num_threads()))
        return id(client.network), torch.get_num_threads()

    networks = set()
    for _ in range(3):  # rounds: the networks are kept
        found = list(turns(crew, turn))
        assert {threads for _, threads in found} == {1}
        networks |= {network for network, _ in found}
    assert len(networks) <= 2
    assert id(CLIENTS[0].network) not in networks


def test_two_rounds_at_once_do_not_share_a_network() -> None:
    crew = Parallel(workers=2).crew(CLIENTS, 2)
    first = turns(crew, lambda client, state: client.network)
    held = {next(first)}
    assert not held & set(turns(crew, lambda client, state: client.network))


def test_few_turns_are_ahead_of_what_was_taken() -> None:
    begun: list[str] = []

    def turn(client: Client, state: ClientState) -> str:
        begun.append(client.name)
        return client.name

    crew = Parallel(workers=2).crew(CLIENTS, 2)
    for taken, _ in enumerate(turns(crew, turn)):
        # One is being looked at, and as many as the window holds may have begun.
        assert len(begun) <= taken + 2 + AHEAD


def test_a_turn_ends_at_its_next_step_when_nobody_wants_the_rest() -> None:
    """Ctrl-C and an error end a round in the same way: what was started must not go on for long."""
    training = threading.Event()

    def turn(client: Client, state: ClientState) -> None:
        if client.name == CLIENTS[0].name:
            assert training.wait(PATIENCE)
            return
        training.set()
        for _ in range(10**9):  # a local training that would not end in this life
            client.network.encoder(torch.zeros(1, 5))

    crew = Parallel(workers=2).crew(CLIENTS, 2)
    running = turns(crew, turn)
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("client")]


def test_an_error_is_raised_when_it_is_the_turn_of_its_client() -> None:
    def turn(client: Client, state: ClientState) -> str:
        if client.name == CLIENTS[3].name:
            raise ValueError("of the fourth")
        return client.name

    running = turns(Parallel(workers=2).crew(CLIENTS, 2), turn)
    assert [next(running) for _ in range(3)] == [client.name for client in CLIENTS[:3]]
    with pytest.raises(ValueError, match="of the fourth"):
        next(running)


def test_one_worker_or_one_client_needs_no_thread() -> None:
    assert isinstance(Parallel(workers=1).crew(CLIENTS, 2), OneAfterTheOther)
    assert isinstance(Parallel(workers=8).crew(CLIENTS[:1], 2), OneAfterTheOther)
    assert num_cores() >= 1
    on_gpu = [replace(client, device=torch.device("cuda")) for client in CLIENTS]
    assert isinstance(Parallel().crew(on_gpu, 2), OneAfterTheOther)
    assert isinstance(Parallel().crew(CLIENTS, 2), OneAfterTheOther)  # features
    pixels = replace(CLIENTS[0].parts["train"], images=np.zeros((8, 16, 16), np.uint8))
    on_images = [replace(client, parts={"train": pixels}) for client in CLIENTS]
    assert isinstance(Parallel().crew(on_images, 2), SideBySide)
    assert isinstance(Parallel().crew(on_images, 1), OneAfterTheOther)
    with pytest.raises(InputError, match="workers=-1"):
        Parallel(workers=-1)


def test_a_worker_copies_the_network_as_it_is() -> None:
    crew = Parallel(workers=2).crew(CLIENTS, 2)
    shared = CLIENTS[0].network
    for network in turns(crew, lambda client, state: client.network):
        assert isinstance(network.head, nn.Linear)
        assert torch.equal(network.head.weight, shared.head.weight)


def test_turns_that_wait_are_dropped_when_nobody_wants_the_rest() -> None:
    begun: list[str] = []
    leaving = threading.Event()

    def turn(client: Client, state: ClientState) -> None:
        begun.append(client.name)
        if client.name != CLIENTS[0].name:
            assert leaving.wait(PATIENCE)

    running = turns(Parallel(workers=2).crew(CLIENTS, 2), turn)
    next(running)
    threading.Timer(0.05, leaving.set).start()
    running.close()
    assert len(begun) <= 1 + 2  # of the four in the window, one waited for a worker
