"""What holds for every compression: with error feedback nothing is lost, and bytes are real."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from concilium.compressions.contract import Compression
from concilium.federation.messages import Update, scalar_weight
from concilium.federation.states import ClientState
from concilium.foundation import components
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors

NOTHING = NamedTensors({})
every_compression = pytest.mark.parametrize("name", components.names("compressions"))


def built(name: str, **settings: Any) -> Compression:
    found: Compression = components.build("compressions", name, settings)
    return found


def delta(seed: int) -> NamedTensors:
    """A small model's delta, whose head moves more than its body, as it does."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    body = 0.01 * drawn(4, 3, 3)
    return NamedTensors({"head.weight": drawn(3, 8), "head.bias": drawn(3), "body": body})


def update(own: NamedTensors, weight: float | NamedTensors = 1.0) -> Update:
    if not isinstance(weight, NamedTensors):
        weight = scalar_weight(own, weight)
    return Update(own * weight, weight, NamedTensors({"c": torch.tensor([0.1])}), 1, 0.7, 3.0)


def a_row(weights: list[float]) -> NamedTensors:
    rows = torch.tensor(weights)
    weight = {"head.weight": rows[:, None], "head.bias": rows, "body": torch.tensor(1.0)}
    return NamedTensors(weight)


def apart(left: NamedTensors, right: NamedTensors) -> float:
    return max(float(tensor.abs().max()) for tensor in (left - right).values())


@every_compression
@pytest.mark.parametrize("weights", [(1.0,) * 6, (1.0, 300.0, 7.0, 0.5, 40.0, 3.0)])
def test_what_was_sent_and_what_is_kept_add_up_to_what_was_trained(
    name: str, weights: tuple[float, ...]
) -> None:
    """Σ s + e = Σ Δ after every round, whatever the weights; six deltas of about 1, in float32."""
    own, state = built(name, error_feedback=True), ClientState()
    trained, sent = delta(0) * 0.0, delta(0) * 0.0
    for round_, weight in enumerate(weights):
        arrived, state = own.carry(update(delta(round_), weight), state)
        trained, sent = trained + delta(round_), sent + arrived.mean_delta()
        assert apart(sent + state.residual, trained) < 1e-5
    assert state.residual.norm() > 1e-6  # something was left out


@every_compression
def test_without_error_feedback_nothing_is_remembered(name: str) -> None:
    own = built(name, error_feedback=False)
    first, state = own.carry(update(delta(0)), ClientState())
    assert state == ClientState() and not state.residual
    again, _ = own.carry(update(delta(0)), state)
    assert again.weighted_delta.digest() == first.weighted_delta.digest()


@every_compression
def test_weights_extras_and_losses_arrive_as_they_were_sent(name: str) -> None:
    sent = dataclasses.replace(update(delta(0), a_row([0.1, 0.0, 3.0])), num_clients=4)
    arrived = built(name).carry(sent, ClientState())[0]
    assert arrived.weight.digest() == sent.weight.digest()
    assert arrived.extras.digest() == sent.extras.digest()
    assert (arrived.loss, arrived.loss_weight, arrived.num_clients) == (0.7, 3.0, 4)
    shapes = {n: (t.shape, t.dtype) for n, t in arrived.weighted_delta.items()}
    assert shapes == {n: (t.shape, t.dtype) for n, t in sent.weighted_delta.items()}


@every_compression
def test_bytes_are_those_of_all_tensors_that_travel_and_fewer_than_without(name: str) -> None:
    own, large = built(name), NamedTensors({"w": torch.randn(100, 30)})
    sent = update(large)
    encoded, _ = own.encode(sent, NOTHING)
    counted = sum(
        tensor.numpy(force=True).nbytes if tensor.dtype != torch.bfloat16 else 2 * tensor.numel()
        for part in (encoded.packed, encoded.weight, encoded.extras)
        for tensor in part.values()
    )
    assert own.decode(encoded).num_bytes == encoded.num_bytes() == counted
    assert counted < 0.55 * sent.num_bytes


@every_compression
def test_what_travels_is_plain_tensors_that_a_file_can_carry(name: str) -> None:
    own = built(name)
    encoded, _ = own.encode(update(delta(0)), NOTHING)
    read = load(save(dict(encoded.packed)))
    arrived = own.unpack(NamedTensors(read))
    assert arrived.digest() == own.unpack(encoded.packed).digest()


@every_compression
def test_a_part_of_the_delta_is_left_out_and_never_more(name: str) -> None:
    """‖x − C(x)‖ < ‖x‖: a compression without this makes error feedback diverge."""
    own = built(name)
    for seed in range(5):
        left = delta(seed) - own.unpack(own.pack(delta(seed)))
        assert 0 < left.norm() < delta(seed).norm()


@every_compression
def test_what_is_packed_a_second_time_stays_as_it_is(name: str) -> None:
    own = built(name)
    once = own.unpack(own.pack(delta(0)))
    assert own.unpack(own.pack(once)).digest() == once.digest()


@every_compression
def test_the_residual_is_one_of_deltas_and_not_of_weights(name: str) -> None:
    own = built(name, error_feedback=True)
    for weights in ([7.0] * 3, [0.01, 1.0, 500.0]):
        weight = a_row(weights)
        residual = own.carry(update(delta(0), weight), ClientState())[1].residual
        expected = own.carry(update(delta(0)), ClientState())[1].residual
        assert apart(residual, expected) < 1e-6


@every_compression
def test_a_row_without_a_say_sends_nothing_and_keeps_its_residual(name: str) -> None:
    """The second hospital label is unknown in this round; what is left over from the last stays."""
    own = built(name, error_feedback=True)
    before = ClientState(residual=delta(1))
    arrived, after = own.carry(update(delta(0), a_row([1.0, 0.0, 1.0])), before)
    for head in ("head.weight", "head.bias"):
        assert torch.equal(after.residual[head][1], before.residual[head][1])
        assert not arrived.weighted_delta[head][1].any()
        assert not torch.equal(after.residual[head][0], before.residual[head][0])
    assert own.encode(update(delta(0), a_row([0.0] * 3)), NOTHING)[0].packed.keys()


@every_compression
def test_with_labels_in_another_order_so_is_what_is_sent(name: str) -> None:
    own, order = built(name), [2, 0, 1]

    def permuted(model: NamedTensors) -> NamedTensors:
        rows = {n: t[order] for n, t in model.items() if n.startswith("head")}
        return NamedTensors({**model, **rows})

    weight = a_row([3.0, 1.0, 2.0])
    arrived, state = own.carry(update(delta(0), weight), ClientState())
    other, other_state = own.carry(
        update(permuted(delta(0)), NamedTensors({**permuted(weight)})), ClientState()
    )
    assert other.weighted_delta.digest() == permuted(arrived.weighted_delta).digest()
    if state.residual:
        assert other_state.residual.digest() == permuted(state.residual).digest()


@every_compression
def test_nothing_given_is_changed(name: str) -> None:
    own, sent, state = built(name), update(delta(0), 3.0), ClientState(residual=delta(1))
    before = [sent.weighted_delta.digest(), state.residual.digest()]
    arrived, _ = own.carry(sent, state)
    for tensor in arrived.weighted_delta.values():
        tensor.add_(1)
    assert [sent.weighted_delta.digest(), state.residual.digest()] == before


@every_compression
@pytest.mark.parametrize("entry", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(name: str, entry: float) -> None:
    bad = delta(0)
    bad["body"][0, 0, 0] = entry
    with pytest.raises(DivergenceError, match="not finite"):
        built(name).encode(update(bad), NOTHING)


@every_compression
def test_where_nothing_moved_nothing_moves(name: str) -> None:
    still = delta(0) * 0.0
    arrived, state = built(name).carry(update(still), ClientState())
    assert arrived.mean_delta().norm() == 0
    assert not state.residual or state.residual.norm() == 0


@every_compression
def test_what_is_packed_fits_and_what_is_packed_of_another_delta_does_not(name: str) -> None:
    """A server unpacks nothing else."""
    compression, own = built(name), delta(3)
    assert compression.fits(compression.pack(own), own)
    assert compression.fits(compression.pack(own * 0.0), own)
    other = NamedTensors({**own, "body": torch.ones(3, 4, 3)})
    renamed = NamedTensors({"a" + name: tensor for name, tensor in own.items()})
    for wrong in (other, renamed, NamedTensors({**own, "more": torch.ones(1)})):
        assert not compression.fits(compression.pack(wrong), own)
    assert not compression.fits(own, own)
    assert not compression.fits(NOTHING, own)
