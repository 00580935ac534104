"""Each compression by hand, and what its paper claims, in miniature."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import torch

from concilium.compressions.bfloat16 import BFloat16
from concilium.compressions.contract import Compression
from concilium.compressions.top_k import TopK, largest
from concilium.federation.messages import Update, scalar_weight, total
from concilium.federation.states import ClientState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors

NOTHING = NamedTensors({})


def model(*entries: float) -> NamedTensors:
    return NamedTensors({"w": torch.tensor(entries)})


def update(delta: NamedTensors, weight: float = 1.0) -> Update:
    scale = scalar_weight(delta, weight)
    return Update(delta * scale, scale)


def word(value: float) -> int:
    """The 32 bits of a float32."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def value_of(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def test_bfloat16_rounds_the_lower_sixteen_bits_to_the_nearest_and_ties_to_the_even() -> None:
    """The upper half, plus 1 where the lower half is above 0x8000, or 0x8000 and the upper odd."""
    cases = [0x3F80_7FFF, 0x3F80_8000, 0x3F80_8001, 0x3F81_8000, 0xBF81_8000, 0x3FFF_FFFF]
    found = BFloat16().unpack(BFloat16().pack(model(*map(value_of, cases))))["w"]
    expected = [0x3F80, 0x3F80, 0x3F81, 0x3F82, 0xBF82, 0x4000]
    assert [word(v) >> 16 for v in found.tolist()] == expected
    assert all(word(v) & 0xFFFF == 0 for v in found.tolist())


def test_bfloat16_is_off_by_at_most_one_part_in_256_and_not_to_one_side() -> None:
    drawn = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    off = (BFloat16().unpack(BFloat16().pack(NamedTensors({"w": drawn})))["w"] - drawn) / drawn
    assert 1 / 300 < off.abs().max() <= 1 / 256  # the bound is nearly reached
    # Standard error of the mean: (1/256)/√3/√20,000 = 1.6e-5 at most; truncation is off by 2e-3.
    assert off.mean().abs() < 1e-4


def test_bfloat16_takes_two_bytes_an_entry() -> None:
    encoded, _ = BFloat16().encode(update(NamedTensors({"w": torch.ones(10, 7)})), NOTHING)
    assert encoded.num_bytes() == 2 * 70 + 4  # and the weight


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0, 1, 0, 0, 0]),
        (2, [0, 1, 1, 0, 0]),  # of 2 and −2 the first
        (3, [0, 1, 1, 0, 1]),
        (4, [1, 1, 1, 0, 1]),
        (5, [1, 1, 1, 1, 1]),
    ],
)
def test_the_largest_magnitudes_and_of_equal_ones_the_first(k: int, expected: list[int]) -> None:
    assert largest(torch.tensor([1.0, -3.0, -2.0, 0.5, 2.0]), k).int().tolist() == expected


def test_top_k_counts_the_entries_of_the_whole_delta() -> None:
    """2 of 6: both in b, none in a. Then 8 bytes an entry, 4 for each of three dimensions."""
    delta = NamedTensors({"b": torch.tensor([5.0, -4.0]), "a": torch.tensor([[1.0, 2.0], [3, 0]])})
    encoded, residual = TopK(2 / 6).encode(update(delta), NOTHING)
    arrived = TopK(2 / 6).decode(encoded)
    assert arrived.weighted_delta["b"].tolist() == [5.0, -4.0]
    assert arrived.weighted_delta["a"].tolist() == [[0, 0], [0, 0]]
    assert residual["a"].tolist() == [[1.0, 2.0], [3, 0]]
    assert arrived.num_bytes == 2 * 8 + 3 * 4 + 2 * 4  # and two weights


@pytest.mark.parametrize(("fraction", "k"), [(0.01, 1), (0.25, 2), (0.26, 3), (1.0, 8)])
def test_a_fraction_is_rounded_up_to_whole_entries(fraction: float, k: int) -> None:
    packed = TopK(fraction).pack(model(*range(1, 9)))
    assert len(packed["values|w"]) == k
    assert packed["places|w"].tolist() == list(range(8 - k, 8))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="fraction"):
        TopK(fraction)


@pytest.mark.parametrize("weight", [1.0, 3.0, 1234.0])
def test_all_entries_are_no_compression(weight: float) -> None:
    """Bit for bit at weight 1; else a delta is divided by its weight and multiplied again."""
    delta = NamedTensors({"w": torch.randn(50, generator=torch.Generator().manual_seed(0))})
    sent = update(delta, weight)
    arrived, state = TopK(1.0).carry(sent, ClientState())
    tolerance = 0.0 if weight == 1 else 2.0**-23
    assert torch.allclose(
        arrived.weighted_delta["w"], sent.weighted_delta["w"], rtol=tolerance, atol=0
    )
    assert state.residual.norm() == 0


def test_rows_of_rare_labels_are_not_left_out_for_their_small_weight() -> None:
    """Both rows move, the second twice as far; its label is known on 10 exams, not on 1,000."""
    delta = NamedTensors({"w": torch.tensor([[1.0, 1.1], [2.0, 2.1]])})
    weight = NamedTensors({"w": torch.tensor([[1000.0], [10.0]])})
    arrived, _ = TopK(0.5).carry(Update(delta * weight, weight), ClientState())
    assert arrived.mean_delta()["w"].tolist() == [[0, 0], [2.0, pytest.approx(2.1)]]


def test_error_feedback_by_hand() -> None:
    """Three rounds of one entry of two: (3, 2), (1, 1), (0, 0.5)."""
    own, state = TopK(0.5), ClientState()
    arrived = []
    for delta in (model(3.0, 2.0), model(1.0, 1.0), model(0.0, 0.5)):
        sent, state = own.carry(update(delta), state)
        arrived.append((sent.weighted_delta["w"].tolist(), state.residual["w"].tolist()))
    assert arrived == [([3, 0], [0, 2]), ([0, 3], [1, 0]), ([1, 0], [0, 0.5])]


# Two hospitals, f_k(w) = ½ ‖w − b_k‖²: the optimum of their mean is that of the b_k. What they
# agree on (the second entry) is small at each beside what they disagree on (the first).
OPTIMA = {"a": torch.tensor([10.0, 1.0]), "b": torch.tensor([-7.0, 0.5])}
OPTIMUM = torch.tensor([1.5, 0.75])


def distances(compression: Compression, rounds: int) -> list[float]:
    """How far the model is from the optimum after every round, of one step of rate 2/(20 + t)."""
    states = {name: ClientState() for name in OPTIMA}
    found, point = [], torch.zeros(2)
    for t in range(rounds):
        replies = {}
        for name, optimum in OPTIMA.items():
            step = update(NamedTensors({"w": 2 / (20 + t) * (optimum - point)}))
            replies[name], states[name] = compression.carry(step, states[name])
        point = point + total(replies.items(), tuple(OPTIMA)).mean_delta()["w"]
        found.append(float((point - OPTIMUM).norm()))
    return found


def test_top_k_converges_with_memory_and_without_it_does_not() -> None:
    """Stich et al. and Karimireddy et al.: compressed steps converge where errors are fed back.

    One of two entries is sent. Without memory that is always the first, and the second stays at 0
    for ever, 0.75 from the optimum. With memory it is late: the rate falls as in the paper, and
    with it the distance (below 0.1 from round 60 to 80).
    """
    with_memory = distances(TopK(0.5), 80)
    without = distances(TopK(0.5, error_feedback=False), 80)
    assert max(with_memory[60:]) < 0.2 < max(with_memory[20:40])
    assert min(without) >= 0.75


def test_a_memory_of_weighted_deltas_would_be_wrong_where_weights_change() -> None:
    """A hospital that weighs 100 in one round and 1 in the next: each delta counts once.

    Its second update is s = Δ + e = 1 + 1 at weight 1; a residual of 100·Δ would make it 101.
    """
    own, state = TopK(0.5), ClientState()
    _, state = own.carry(update(model(2.0, 1.0), 100.0), state)
    arrived, _ = own.carry(update(model(0.0, 1.0), 1.0), state)
    assert arrived.mean_delta()["w"].tolist() == [0, 2]


def test_a_residual_that_does_not_fit_the_model_is_refused() -> None:
    state = replace(ClientState(), residual=NamedTensors({"v": torch.ones(2)}))
    with pytest.raises(KeyError, match="names differ"):
        TopK().carry(update(model(1.0, 2.0)), state)
