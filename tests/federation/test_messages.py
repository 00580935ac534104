"""What travels adds up: in any order of arrival, to the same bits."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concilium.federation.messages import Broadcast, Update, scalar_weight, total
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


def update(value: float, weight: float) -> Update:
    delta = NamedTensors({"w": torch.tensor([value, -value])})
    scale = scalar_weight(delta, weight)
    return Update(delta * scale, scale, loss=weight * value, loss_weight=weight)


def test_mean_delta_is_the_weighted_mean() -> None:
    summed = total([("a", update(1.0, 1)), ("b", update(4.0, 3))], ["a", "b"])
    assert summed.mean_delta()["w"].tolist() == [3.25, -3.25]  # (1·1 + 3·4) / 4
    assert summed.mean_loss() == 3.25
    assert summed.num_clients == 2


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=12), st.randoms())
def test_arrival_order_does_not_change_a_bit(values: list[float], random_: random.Random) -> None:
    names = [f"client-{i}" for i in range(len(values))]
    replies = [(f"client-{i}", update(v, 1 + i / 3)) for i, v in enumerate(values)]
    shuffled = replies.copy()
    random_.shuffle(shuffled)
    first, second = total(replies, names), total(shuffled, names)
    assert first.mean_delta().digest() == second.mean_delta().digest()


def test_sum_in_float64_keeps_what_float32_would_lose() -> None:
    # 2^24 + 1 + 1 is 2^24 in float32, where 1 is below half a step; the mean must not be.
    big = float(2**24)
    replies = [("a", update(big, 1)), ("b", update(1.0, 1)), ("c", update(1.0, 1))]
    summed = total(replies, ["a", "b", "c"])
    assert summed.weighted_delta["w"][0].item() == big + 2


def test_a_client_that_does_not_answer_is_passed_over() -> None:
    summed = total([("c", update(2.0, 1)), ("a", update(1.0, 1))], ["a", "b", "c"])
    assert summed.num_clients == 2
    assert summed.mean_delta()["w"][0].item() == 1.5


@pytest.mark.parametrize("client", ["a", "stranger"])
def test_a_second_answer_or_a_stranger_is_refused(client: str) -> None:
    with pytest.raises(KeyError, match="twice or is not in the cohort"):
        total([("a", update(1.0, 1)), (client, update(1.0, 1))], ["a", "b"])


def test_nobody_answered() -> None:
    with pytest.raises(ValueError, match="no client answered"):
        total([], ["a"])


def test_a_row_in_which_nobody_has_a_say_does_not_move() -> None:
    delta = NamedTensors({"w": torch.ones(2, 3)})
    weight = NamedTensors({"w": torch.tensor([[2.0], [0.0]])})
    moved = total([("a", Update(delta * weight, weight))], ["a"]).mean_delta()["w"]
    assert moved.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_only_one_update_waits_where_replies_come_in_order() -> None:
    """The server never holds all updates: each is added and forgotten before the next is made."""
    import weakref

    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def replies():  # type: ignore[no-untyped-def]
        nonlocal most
        for name in "abcdef":
            sent = update(1.0, 1)
            alive.append(weakref.ref(sent.weighted_delta["w"]))
            yield name, sent
            del sent
            most = max(most, sum(ref() is not None for ref in alive))

    total(replies(), list("abcdef"))
    assert most <= 1


def test_the_bytes_of_a_broadcast_are_those_of_tensors_and_counts() -> None:
    """Model and extras of three and two float32; three 4 × 4 matrices and two counts of int64."""
    model, extras = NamedTensors({"w": torch.zeros(3)}), NamedTensors({"c": torch.zeros(2)})
    assert Broadcast(0, model, extras).num_bytes() == 4 * (3 + 2)
    counted = Broadcast(0, model, extras, LabelStatistics.zero(4))
    assert counted.num_bytes() == 4 * (3 + 2) + 8 * (3 * 4 * 4 + 2)
