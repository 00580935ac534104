"""The laws of losses, run on every file of ``concilium/losses`` as it is found.

A new loss is one new file there; nothing here names a loss. Every loss must build with its default
settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.foundation import components
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loss" in metafunc.fixturenames:
        names = components.names("losses")
        metafunc.parametrize("loss", [components.build("losses", n) for n in names], ids=names)


@dataclass(frozen=True)
class Entries:
    """Logits, target and known of 24 images and 5 labels; a quarter unknown, soft targets too."""

    logits: Tensor
    target: Tensor
    known: Tensor

    @property
    def statistics(self) -> LabelStatistics:
        return LabelStatistics.of(
            self.target.numpy().astype(np.float32), self.known.numpy(), np.arange(len(self.target))
        )

    def permuted(self, order: Tensor) -> Entries:
        return Entries(self.logits[:, order], self.target[:, order], self.known[:, order])


def entries(seed: int = 0) -> Entries:
    """Label 3 is the most prevalent, then 0, 4, 1, 2: an order that no permutation hides."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(3, 24, 5, generator=generator, dtype=torch.float64)
    prevalence = torch.tensor([0.5, 0.2, 0.1, 0.7, 0.35], dtype=torch.float64)
    target = (uniform[0] < prevalence).double()
    target[:3] = uniform[0, :3]  # soft
    return Entries(6 * uniform[1] - 3, target, uniform[2] < 0.75)


def gradient(loss: Loss, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(logits, target, known), logits)
    return found


def test_unknown_entries_have_exactly_zero_gradient(loss: Loss) -> None:
    data = entries()
    for stands_there in (0.0, 1.0, float("nan")):
        target = data.target.masked_fill(~data.known, stands_there)
        found = gradient(loss, data.logits, target, data.known)
        assert (found[~data.known] == 0).all()
        assert found.isfinite().all()
        assert (found[data.known] != 0).any()


def test_value_does_not_depend_on_what_stands_at_unknown_entries(loss: Loss) -> None:
    data = entries()
    expected = loss(data.logits, data.target, data.known)
    for stands_there in (-100.0, 7.0, float("nan")):
        logits = data.logits.masked_fill(~data.known, stands_there)
        target = data.target.masked_fill(~data.known, stands_there)
        assert loss(logits, target, data.known) == expected
        assert torch.equal(
            gradient(loss, logits, target, data.known),
            gradient(loss, data.logits, data.target, data.known),
        )


def test_mean_not_sum(loss: Loss) -> None:
    """Twice the same batch has the same loss, and each of its entries half the gradient."""
    data = entries()
    twice = [torch.cat([t, t]) for t in (data.logits, data.target, data.known)]
    torch.testing.assert_close(loss(*twice), loss(data.logits, data.target, data.known))
    once = gradient(loss, data.logits, data.target, data.known)
    torch.testing.assert_close(gradient(loss, *twice)[:24], once / 2)


def test_order_of_images_does_not_matter(loss: Loss) -> None:
    data = entries()
    order = torch.arange(23, -1, -1)
    shuffled = loss(data.logits[order], data.target[order], data.known[order])
    torch.testing.assert_close(shuffled, loss(data.logits, data.target, data.known))


def test_an_image_without_known_entries_changes_nothing(loss: Loss) -> None:
    data = entries()
    expected = loss(data.logits[1:], data.target[1:], data.known[1:])
    known = data.known.clone()
    known[0] = False
    torch.testing.assert_close(loss(data.logits, data.target, known), expected)


def test_zero_where_nothing_is_known(loss: Loss) -> None:
    data = entries()
    nothing = torch.zeros_like(data.known)
    assert loss(data.logits, data.target, nothing) == 0
    assert (gradient(loss, data.logits, data.target, nothing) == 0).all()


def test_scalar_not_negative_of_the_type_of_the_logits(loss: Loss) -> None:
    data = entries()
    for dtype in (torch.float32, torch.float64):
        value = loss(data.logits.to(dtype), data.target.float(), data.known)
        assert value.shape == ()
        assert value.dtype == dtype
        assert value > 0


def test_permuting_labels_permutes_gradients(loss: Loss) -> None:
    """Bound to statistics that are permuted in the same way."""
    data, order = entries(), torch.tensor([4, 2, 0, 1, 3])
    other = data.permuted(order)
    bound, bound_other = loss.bind(data.statistics), loss.bind(other.statistics)
    torch.testing.assert_close(
        bound_other(other.logits, other.target, other.known),
        bound(data.logits, data.target, data.known),
    )
    torch.testing.assert_close(
        gradient(bound_other, other.logits, other.target, other.known),
        gradient(bound, data.logits, data.target, data.known)[:, order],
    )
    torch.testing.assert_close(
        bound_other.scores(other.logits), bound.scores(data.logits)[:, order]
    )


def test_finite_at_scores_of_100(loss: Loss) -> None:
    """Right and wrong, hard and soft, in float32: value and gradient."""
    for score in (-100.0, -30.0, 30.0, 100.0):
        for wanted in (0.0, 0.3, 1.0):
            logits, target = torch.full((4, 5), score), torch.full((4, 5), wanted)
            known = torch.ones(4, 5, dtype=torch.bool)
            assert loss(logits, target, known).isfinite()
            assert gradient(loss, logits, target, known).isfinite().all()
            assert loss.scores(logits).isfinite().all()


def test_special_case_is_bce(loss: Loss) -> None:
    like_bce = loss.like_bce()
    if like_bce is None:
        return  # the loss says that it has none; its own file tests what it is instead
    data = entries()
    got = like_bce(data.logits, data.target, data.known)
    expected = binary_cross_entropy_with_logits(data.logits[data.known], data.target[data.known])
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.sigmoid(like_bce.scores(data.logits)), data.logits.sigmoid())


def test_gradient_is_the_derivative(loss: Loss) -> None:
    """Against finite differences, in float64."""
    data = entries()
    logits = data.logits[:6].clone().requires_grad_()
    weight = torch.tensor([1.0, 0.5, 2.0, 3.0, 0.25], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, data.target[:6], data.known[:6], weight), (logits,)
    )


def test_label_weights_of_one_change_nothing(loss: Loss) -> None:
    data = entries()
    expected = loss(data.logits, data.target, data.known)
    for scale in (1.0, 3.0):  # a mean: only ratios of weights matter
        weight = torch.full((5,), scale, dtype=torch.float64)
        got = loss(data.logits, data.target, data.known, weight)
        torch.testing.assert_close(got, expected)


def test_label_weights_weigh(loss: Loss) -> None:
    data = entries()
    weight = torch.tensor([1.0, 0.5, 2.0, 3.0, 0.25], dtype=torch.float64)
    weighted = loss(data.logits, data.target, data.known, weight)
    assert (weighted - loss(data.logits, data.target, data.known)).abs() > 1e-3


def test_a_label_of_weight_zero_is_as_if_unknown(loss: Loss) -> None:
    data = entries()
    known = data.known.clone()
    known[:, 3] = False
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        loss(data.logits, data.target, data.known, weight), loss(data.logits, data.target, known)
    )


def test_logits_toward_the_target_have_a_lower_loss(loss: Loss) -> None:
    """Image i shows label i alone, the sixth none: the only case in which all losses agree."""
    target = torch.eye(6, 5, dtype=torch.float64)
    known = torch.ones(6, 5, dtype=torch.bool)
    steps = [float(loss(push * (2 * target - 1), target, known)) for push in (-2, -1, 0, 1, 2, 4)]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == len(steps)


def test_a_step_against_the_gradient_lowers_the_loss(loss: Loss) -> None:
    data = entries()
    direction = gradient(loss, data.logits, data.target, data.known)
    moved = loss(data.logits - 0.1 * direction, data.target, data.known)
    assert moved < loss(data.logits, data.target, data.known)


def test_scores_are_the_log_odds_of_probabilities(loss: Loss) -> None:
    """Higher logits of a label give it a higher score; nothing else is common to all losses."""
    data = entries()
    raised = data.logits.clone()
    raised[:, 2] += 1
    assert data.logits.shape == loss.scores(data.logits).shape
    assert (loss.scores(raised)[:, 2] > loss.scores(data.logits)[:, 2]).all()


def test_inputs_are_left_as_they_were(loss: Loss) -> None:
    data, untouched = entries(), entries()
    loss.bind(data.statistics)(data.logits, data.target, data.known)
    assert torch.equal(data.logits, untouched.logits)
    assert torch.equal(data.target, untouched.target)
    assert torch.equal(data.known, untouched.known)


def test_the_class_is_frozen(loss: Loss) -> None:
    with pytest.raises(AttributeError):
        loss.anything = 1  # type: ignore[attr-defined]
