"""What runtimes with workers share: an order, a window, networks of one's own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.networks.contract import Network
from concilium.networks.linear import Linear
from concilium.runtimes._workers import AHEAD, Copies, in_order
from tests.worlds import hospital_parts, runtime

CLIENTS = [(client, ClientState()) for client in runtime(hospital_parts((8,) * 9)).members]
NAMES = [client.name for client, _ in CLIENTS]
PATIENCE = 20.0  # seconds that a thread waits for another; reached only where a test fails


def test_each_network_has_its_own_copy_and_keeps_it() -> None:
    one, other = (Linear().build((5,), 3, seed) for seed in (0, 1))
    prepared: list[Network] = []
    copies = Copies(prepared.append)
    mine, its = copies.of(one), copies.of(other)
    assert mine is copies.of(one) and its is copies.of(other)
    assert prepared == [mine, its]
    assert mine is not one and mine is not its
    for copy, shared in ((mine, one), (its, other)):
        assert torch.equal(copy.head.weight, shared.head.weight)
    assert Copies().of(one) is not mine


def test_a_network_that_is_gone_does_not_leave_its_copy_to_another() -> None:
    """A new network may get the number (id) of one that was collected; here none can be."""
    copies = Copies()
    weights = [Linear().build((5,), 3, seed).head.weight.detach().clone() for seed in range(20)]
    for seed, weight in enumerate(weights):
        assert torch.equal(copies.of(Linear().build((5,), 3, seed)).head.weight, weight)


def test_order_is_that_of_the_clients_whoever_is_ready_first() -> None:
    last_is_there = threading.Event()

    def take(client: Client, state: ClientState) -> str:
        if client.name == NAMES[0]:
            assert last_is_there.wait(PATIENCE)
        if client.name == NAMES[1 + AHEAD]:
            last_is_there.set()
        return client.name

    with ThreadPoolExecutor(2) as pool:
        assert list(in_order(pool, take, CLIENTS, 2)) == NAMES


def test_what_was_not_begun_never_begins_once_nobody_wants_the_rest() -> None:
    begun: list[str] = []
    go_on = threading.Event()

    def take(client: Client, state: ClientState) -> str:
        begun.append(client.name)
        if client.name != NAMES[0]:
            assert go_on.wait(PATIENCE)
        return client.name

    with ThreadPoolExecutor(1) as pool:
        running = in_order(pool, take, CLIENTS, 1)
        assert next(running) == NAMES[0]
        running.close()
        pool.shutdown(wait=False, cancel_futures=True)
        go_on.set()
    assert len(begun) <= 2  # the one that was taken, and the one that was running
