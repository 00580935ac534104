"""Running totals: in place, of the caller's tensors none, and in fixed point in any order."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from concilium.federation.messages import Update, scalar_weight, total
from concilium.federation.running_total import (
    UNIT,
    Arithmetic,
    FixedPointTotal,
    FloatTotal,
    RunningTotal,
    from_fixed_point,
    to_fixed_point,
)
from concilium.foundation.errors import DivergenceError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from tests.worlds import in_float64

ARITHMETICS: tuple[Arithmetic, ...] = ("float", "fixed_point")
every_arithmetic = pytest.mark.parametrize("arithmetic", ARITHMETICS)
PARTS = "weighted_delta", "weight", "extras"


def update(seed: int, scale: float = 1.0) -> Update:
    """Numbers of a normal distribution in the shapes of a small model, and a weight a row."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    delta = NamedTensors({"head.weight": drawn(3, 4), "head.bias": drawn(3)})
    weight = NamedTensors({"head.weight": drawn(3, 1).abs(), "head.bias": drawn(3).abs()})
    extras = NamedTensors({"count": torch.tensor(float(seed))})
    return Update(delta, weight, extras, loss=0.1 * seed, loss_weight=1 / (1 + seed))


def named(count: int) -> dict[str, Update]:
    return {f"hospital-{seed}": update(seed) for seed in range(count)}


def numbers(of: Update) -> tuple[float, ...]:
    return of.loss, of.loss_weight, of.num_clients, of.num_bytes


def digests(of: Update) -> list[str]:
    return [getattr(of, part).digest() for part in PARTS]


def bits(of: Update) -> tuple[object, ...]:
    return (*digests(of), *numbers(of))


def test_a_float_total_is_the_chain_of_sums_in_float64_bit_for_bit() -> None:
    replies = named(7)
    chain = in_float64(update(0))
    for seed in range(1, 7):
        chain = chain + in_float64(update(seed))
    assert bits(total(replies.items(), tuple(replies))) == bits(chain)


@every_arithmetic
def test_what_is_added_up_is_not_changed(arithmetic: Arithmetic) -> None:
    """Nor where it is float64 already, so that a running total could be one of the tensors."""
    replies = {name: in_float64(own) for name, own in named(3).items()}
    before = [bits(own) for own in replies.values()]
    first = total(replies.items(), tuple(replies), arithmetic)
    second = total(replies.items(), tuple(replies), arithmetic)
    assert [bits(own) for own in replies.values()] == before
    assert bits(first) == bits(second)


@pytest.mark.parametrize("running", [FloatTotal(), FixedPointTotal(3)], ids=ARITHMETICS)
def test_clients_are_added_in_place(running: RunningTotal) -> None:
    """The tensors of the total are made once, at the first client."""
    model = {"w": torch.ones(4), "b": torch.ones(())}
    running.add("a", model)
    assert running._sums is not None
    places = {name: tensor.data_ptr() for name, tensor in running._sums.items()}
    running.add("b", model)
    running.add("c", model)
    assert {name: tensor.data_ptr() for name, tensor in running._sums.items()} == places
    assert {name: tensor.tolist() for name, tensor in running.value().items()} == {
        "w": [3.0] * 4,
        "b": 3.0,
    }


@pytest.mark.parametrize("running", [FloatTotal(), FixedPointTotal(2)], ids=ARITHMETICS)
def test_one_weight_and_one_a_row_are_added_by_broadcasting(running: RunningTotal) -> None:
    """In float64: 2^24 + 1 is not a float32."""
    running.add("a", {"w": torch.tensor(2.0**24)})
    running.add("b", {"w": torch.ones(2, 1)})
    assert running.value()["w"].tolist() == [[2.0**24 + 1]] * 2


@pytest.mark.parametrize("running", [FloatTotal(), FixedPointTotal(2)], ids=ARITHMETICS)
def test_other_names_are_refused(running: RunningTotal) -> None:
    running.add("a", {"w": torch.ones(1)})
    with pytest.raises(KeyError, match=r"'b' differ: \['v', 'w'\]"):
        running.add("b", {"v": torch.ones(1)})


@given(st.integers(2, 9), st.randoms())
def test_in_fixed_point_the_order_of_clients_does_not_change_a_bit(
    count: int, random_: random.Random
) -> None:
    """Neither that of the cohort nor that of the replies, of tensors and of losses."""
    replies = named(count)
    order, coming = list(replies), list(replies)
    random_.shuffle(order)
    random_.shuffle(coming)
    expected = total(replies.items(), tuple(replies), "fixed_point")
    found = total([(name, replies[name]) for name in coming], order, "fixed_point")
    assert bits(found) == bits(expected)


def test_in_float_another_order_of_clients_may_change_bits() -> None:
    """So the law of fixed point is one that can be seen: here 2^53 + 1 + 1, in two orders."""
    values = {"a": 2.0**53, "b": 1.0, "c": 1.0}
    replies = {
        name: Update(
            NamedTensors({"w": torch.tensor(value, dtype=torch.float64)}), NamedTensors({})
        )
        for name, value in values.items()
    }
    sums = [total(replies.items(), order).weighted_delta["w"] for order in ("abc", "bca")]
    assert sums[0].item() == 2.0**53 < sums[1].item() == 2.0**53 + 2


def test_fixed_point_is_within_its_resolution_of_the_exact_sum() -> None:
    """K roundings of at most 2^-33 each; checked in fractions, where nothing is rounded."""
    replies = named(40)
    found = total(replies.items(), tuple(replies), "fixed_point").weighted_delta["head.bias"]
    for place in range(3):
        exact = sum(Fraction(u.weighted_delta["head.bias"][place].item()) for u in replies.values())
        assert abs(Fraction(found[place].item()) - exact) <= Fraction(40, 2**33)


def test_fixed_point_and_float_give_nearly_the_same_update() -> None:
    replies = named(40)
    exact = total(replies.items(), tuple(replies))
    rounded = total(replies.items(), tuple(replies), "fixed_point")
    assert rounded.num_clients == 40 and rounded.num_bytes == exact.num_bytes
    assert rounded.loss == pytest.approx(exact.loss, abs=40 * UNIT)
    for part in PARTS:
        far = getattr(rounded, part) - getattr(exact, part)
        assert 0 <= max(float(t.abs().max()) for t in far.values()) <= 40 * UNIT
    assert bits(rounded) != bits(exact)  # so rounding is there to be seen


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (1.0, 2**32),
        (-1.0, -(2**32)),
        (2.0**-33, 0),  # halfway between 0 and 1: the even one
        (3 * 2.0**-33, 2),  # halfway between 1 and 2: the even one
        (-3 * 2.0**-33, -2),
        (5 * 2.0**-34, 1),  # 1.25
        (2.0**31 - 2.0**-21, 2**63 - 2**11),  # the last float64 but one below 2^31
    ],
)
def test_entries_are_rounded_to_the_nearest_unit(value: float, units: int) -> None:
    encoded = to_fixed_point(torch.tensor([value], dtype=torch.float64))
    assert encoded.tolist() == [units]
    assert encoded.dtype == torch.int64


@given(st.lists(st.floats(-(2.0**30), 2.0**30, width=32), min_size=1, max_size=20))
def test_float32_is_rounded_as_float64_and_as_python_are(values: list[float]) -> None:
    """Scaling by a power of 2 loses nothing; Python's round is to the nearest, ties to even."""
    single = torch.tensor(values)
    expected = [round(value * 2**32) for value in values]
    assert to_fixed_point(single).tolist() == expected
    assert to_fixed_point(single.double()).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.uint8])
def test_other_types_are_added_up_as_numbers(dtype: torch.dtype) -> None:
    """In float16 2^32 would be infinite."""
    assert to_fixed_point(torch.tensor([3, 0, 7], dtype=dtype)).tolist() == [3 << 32, 0, 7 << 32]


def test_a_mask_vanishes_from_the_total_though_sums_wrap_around() -> None:
    """What a secure sum will do: one client adds a random word, another subtracts it."""
    one, other = torch.tensor([1.5, -2.25]), torch.tensor([0.25, 1.0])
    mask = torch.tensor([2**63 - 1, -(2**63)])
    masked = to_fixed_point(one, 2) + mask, to_fixed_point(other, 2) - mask
    assert masked[0][0] < 0 < masked[0][1]  # 1.5 and −2.25, wrapped around
    assert from_fixed_point(masked[0] + masked[1]).tolist() == [1.75, -1.25]


@pytest.mark.parametrize("num_clients", [1, 2, 3, 50])
def test_there_is_room_for_as_many_clients_as_there_are(num_clients: int) -> None:
    """The largest entries allowed, one from each, are added up right; larger ones are refused."""
    limit = 2.0**31 / num_clients
    most, more = limit * (1 - 2.0**-50), limit * (1 + 2.0**-50)
    running = FixedPointTotal(num_clients)
    for client in range(num_clients):
        running.add(str(client), {"w": torch.tensor([most, -most], dtype=torch.float64)})
    expected = [num_clients * most, -num_clients * most]
    assert running.value()["w"].tolist() == pytest.approx(expected, rel=1e-15)
    for entry in (more, -more):
        with pytest.raises(DivergenceError, match="too large for a fixed-point sum"):
            to_fixed_point(torch.tensor([0.0, entry, 1.0], dtype=torch.float64), num_clients)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (float("nan"), "is not finite"),
        (float("inf"), "is not finite"),
        (-float("inf"), "is not finite"),
        (2.0**30, r"±1.07e\+09 is too large .* of 3 clients \(±7.16e\+08\)"),
    ],
)
def test_an_update_that_does_not_fit_is_an_error_that_names_client_and_tensor(
    entry: float, match: str
) -> None:
    bad = update(1)
    bad.weighted_delta["head.bias"][2] = entry
    replies = {"a": update(0), "hospital B": bad, "c": update(2)}
    with pytest.raises(DivergenceError, match=f"head.bias' of client 'hospital B': .*{match}"):
        total(replies.items(), tuple(replies), "fixed_point")


def test_the_largest_of_all_numbers_does_not_fit_either() -> None:
    """In units of 2^-32 it would be infinite."""
    with pytest.raises(DivergenceError, match=r"±1e\+308 is too large"):
        to_fixed_point(torch.tensor([1e308], dtype=torch.float64))


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_finite_is_found_in_every_part(part: str) -> None:
    bad = update(1)
    getattr(bad, part)[next(iter(getattr(bad, part)))].fill_(float("nan"))
    with pytest.raises(DivergenceError, match=rf"{part}\|.* of client 'a'"):
        total([("a", bad)], ["a"], "fixed_point")


def test_a_tensor_without_entries_is_added() -> None:
    empty = Update(NamedTensors({"w": torch.zeros(0, 3)}), NamedTensors({"w": torch.tensor(1.0)}))
    for arithmetic in ARITHMETICS:
        summed = total([("a", empty), ("b", empty)], "ab", arithmetic)
        assert summed.weighted_delta["w"].shape == (0, 3)


def test_only_updates_are_added_in_fixed_point() -> None:
    counts = LabelStatistics.zero(2)
    with pytest.raises(TypeError, match="only updates"):
        total([("a", counts)], ["a"], "fixed_point")


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(InputError, match="sum='fixed' is not known"):
        total([("a", update(0))], ["a"], "fixed")  # type: ignore[arg-type]


@every_arithmetic
def test_a_stranger_a_second_answer_and_silence_are_errors(arithmetic: Arithmetic) -> None:
    for client in ("a", "stranger"):
        replies = [("a", update(0)), (client, update(1))]
        with pytest.raises(KeyError, match="twice or is not in the cohort"):
            total(replies, ["a", "b"], arithmetic)
    with pytest.raises(ValueError, match="no client answered"):
        total([], ["a"], arithmetic)
    assert total([("b", update(0))], ["a", "b"], arithmetic).num_clients == 1


@pytest.mark.parametrize(
    ("arithmetic", "coming", "most"),
    [("float", "abcdef", 0), ("float", "fedcba", 5), ("fixed_point", "fedcba", 0)],
)
def test_how_many_updates_wait_for_the_next(arithmetic: Arithmetic, coming: str, most: int) -> None:
    """As float, those that came before their turn; in fixed point none does."""
    alive: list[weakref.ref[Tensor]] = []
    held = 0

    def replies() -> Iterator[tuple[str, Update]]:
        nonlocal held
        for name in coming:
            sent = update(1)
            alive.append(weakref.ref(sent.weighted_delta["head.bias"]))
            yield name, sent
            del sent
            held = max(held, sum(ref() is not None for ref in alive))

    total(replies(), "abcdef", arithmetic)
    assert held == most


def test_bytes_of_an_update_are_those_of_its_tensors_and_add_up() -> None:
    """3·4 + 3 numbers of the delta, 3 + 3 of the weight, 1 extra: 22 of 4 bytes each."""
    assert update(0).num_bytes == 4 * 22
    assert in_float64(update(0)).num_bytes == 4 * 22  # it travelled as float32
    assert (update(0) + update(1)).num_bytes == 2 * 4 * 22
    model = NamedTensors({"w": torch.zeros(5)})
    compressed = Update(model, scalar_weight(model, 1.0), num_bytes=7)
    assert total([("a", compressed), ("b", compressed)], "ab").num_bytes == 14


def test_a_weight_that_fixed_point_would_drown_is_refused_and_float_takes_it() -> None:
    """1e-6 · 1e-4 is less than half a unit of 2^-32: the delta would vanish without a word."""
    delta = NamedTensors({"head.bias": torch.tensor([1e-4, 1e-4])})
    for weight in (torch.tensor(1e-6), torch.tensor([1.0, 1e-6])):
        small = Update(
            delta * NamedTensors({"head.bias": weight}), NamedTensors({"head.bias": weight})
        )
        found = total([("a", small)], ["a"]).mean_delta()["head.bias"]
        assert torch.allclose(found, delta["head.bias"])
        with pytest.raises(DivergenceError, match=r"weight of 'head.bias' of client 'a' is below"):
            total([("a", small)], ["a"], "fixed_point")
    for weight in (torch.tensor(2.0**-12), torch.tensor([1.0, 0.0])):  # enough, or no say at all
        own = NamedTensors({"head.bias": weight})
        mean = total([("a", Update(delta * own, own))], ["a"], "fixed_point").mean_delta()
        heard = torch.where(weight > 0, delta["head.bias"], 0.0)
        assert torch.allclose(mean["head.bias"], heard, atol=2.0**-20)
