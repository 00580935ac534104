"""The laws of losses, run on every file of ``concilium/losses`` as it is found.

A new loss is one new file there; nothing here names a loss. Every loss must build with its default
settings. The laws hold for a loss as it is built, bound to a federation's statistics, and localised
at a client; a loss with a setting ``federated`` undergoes them with it, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.foundation import components
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``loss``: in each of its forms; ``unbound``: as it is built, for laws that bind it."""
    built = [form for name in components.names("losses") for form in as_built(name)]
    if "unbound" in metafunc.fixturenames:
        metafunc.parametrize(
            "unbound", [loss for _, loss in built], ids=[name for name, _ in built]
        )
    if "loss" in metafunc.fixturenames:
        forms = [form for name, loss in built for form in forms_of(name, loss)]
        metafunc.parametrize("loss", [loss for _, loss in forms], ids=[name for name, _ in forms])


def as_built(name: str) -> Iterator[tuple[str, Loss]]:
    """The loss with its default settings, and with ``federated`` where it has that setting."""
    loss: Any = components.build("losses", name)
    yield name, loss
    if "federated" in {field.name for field in dataclasses.fields(loss)}:
        yield f"{name}-federated", dataclasses.replace(loss, federated=True)


def forms_of(name: str, loss: Loss) -> Iterator[tuple[str, Loss]]:
    """A loss as it is, bound, and localised: those of them that differ."""
    federation, client = entries(seed=1), entries(seed=2)
    bound = loss.bind(federation.statistics)
    localised = bound.localise(client.target, client.known)
    yield name, loss
    if bound != loss:
        yield f"{name}-bound", bound
    if localised != bound:
        yield f"{name}-localised", localised


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


def test_permuting_labels_permutes_gradients(unbound: Loss) -> None:
    """Bound to statistics, and localised at labels, that are permuted in the same way."""
    data, order = entries(), torch.tensor([4, 2, 0, 1, 3])
    other = data.permuted(order)
    one, another = unbound.bind(data.statistics), unbound.bind(other.statistics)
    own, others = (data.target, data.known), (other.target, other.known)
    for ours, theirs in ((one, another), (one.localise(*own), another.localise(*others))):
        torch.testing.assert_close(theirs(other.logits, *others), ours(data.logits, *own))
        torch.testing.assert_close(
            gradient(theirs, other.logits, *others), gradient(ours, data.logits, *own)[:, order]
        )
        torch.testing.assert_close(theirs.scores(other.logits), ours.scores(data.logits)[:, order])


def test_finite_at_scores_of_100(loss: Loss) -> None:
    """Right and wrong, hard and soft, in float32: value and gradient."""
    for score in (-100.0, -30.0, 30.0, 100.0):
        for wanted in (0.0, 0.3, 1.0):
            logits, target = torch.full((4, 5), score), torch.full((4, 5), wanted)
            known = torch.ones(4, 5, dtype=torch.bool)
            assert loss(logits, target, known).isfinite()
            assert gradient(loss, logits, target, known).isfinite().all()
            assert loss.scores(logits).isfinite().all()


def test_special_case_is_bce(unbound: Loss) -> None:
    """Whatever the federation's statistics and the client's labels are.

    Localised it is BCE just where it does not say that its scores are evidence: BCE's are log-odds,
    to which a label prior would add the prevalence a second time.
    """
    like_bce = unbound.like_bce()
    if like_bce is None:
        return  # the loss says that it has none; its own file tests what it is instead
    data = entries()
    expected = binary_cross_entropy_with_logits(data.logits[data.known], data.target[data.known])
    bound = like_bce.bind(entries(1).statistics)
    localised = bound.localise(data.target, data.known)
    for form in (like_bce, bound) if like_bce.gives_evidence else (like_bce, bound, localised):
        torch.testing.assert_close(form(data.logits, data.target, data.known), expected)
        torch.testing.assert_close(form.scores(data.logits).sigmoid(), data.logits.sigmoid())
    if like_bce.gives_evidence:
        assert (localised(data.logits, data.target, data.known) - expected).abs() > 1e-3


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
    if loss.compares_labels:
        return  # the others' entries see it still: a weight acts on the mean alone
    data = entries()
    known = data.known.clone()
    known[:, 3] = False
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        loss(data.logits, data.target, data.known, weight), loss(data.logits, data.target, known)
    )


def test_a_label_of_weight_zero_is_as_if_its_weight_were_next_to_nothing(loss: Loss) -> None:
    data = entries()
    zero, little = (
        torch.tensor([1.0, 1.0, 1.0, least, 1.0], dtype=torch.float64) for least in (0.0, 1e-12)
    )
    torch.testing.assert_close(
        loss(data.logits, data.target, data.known, zero),
        loss(data.logits, data.target, data.known, little),
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
    ready = loss.bind(data.statistics).localise(data.target, data.known)
    ready(data.logits, data.target, data.known)
    assert torch.equal(data.logits, untouched.logits)
    assert torch.equal(data.target, untouched.target)
    assert torch.equal(data.known, untouched.known)


def test_what_a_client_learns_of_its_labels_needs_only_those_it_knows(unbound: Loss) -> None:
    data = entries()
    bound = unbound.bind(data.statistics)
    expected = bound.localise(data.target, data.known)
    for stands_there in (0.0, 1.0, float("nan")):
        target = data.target.masked_fill(~data.known, stands_there)
        assert bound.localise(target, data.known) == expected


def test_a_client_without_a_known_label_or_a_positive_stays_finite(unbound: Loss) -> None:
    """A client whose labels are all unknown, all absent, and all present."""
    data = entries()
    for federation in (data.statistics, LabelStatistics.zero(5)):
        bound = unbound.bind(federation)
        for everywhere, known in ((0.0, False), (0.0, True), (1.0, True)):
            target, mask = torch.full((9, 5), everywhere), torch.full((9, 5), known)
            localised = bound.localise(target, mask)
            assert localised(data.logits, data.target, data.known).isfinite()
            assert gradient(localised, data.logits, data.target, data.known).isfinite().all()


def all_known() -> Entries:
    data = entries()
    return Entries(data.logits, data.target, torch.ones_like(data.known))


def parts_of_images(loss: Loss, data: Entries) -> tuple[Tensor, Tensor, Tensor]:
    """Of a batch: each image's own loss (B,), its part c_i (B,) in the gradient, and what is left.

    c_i is the factor for which the batch's gradient at the logits of image i is c_i times the
    gradient of the loss of image i alone; what is left (B, L) is 0 where there is such a factor.
    """
    whole = gradient(loss, data.logits, data.target, data.known)
    single = [(data.logits[[i]], data.target[[i]], data.known[[i]]) for i in range(24)]
    own = torch.cat([gradient(loss, *image) for image in single])
    part = (whole * own).sum(1) / (own * own).sum(1).clamp_min(1e-300)
    return torch.stack([loss(*image) for image in single]), part, whole - part[:, None] * own


def allows_differential_privacy(loss: Loss) -> bool:
    facts = components.describe("losses", type(loss).__module__.rpartition(".")[2]).facts
    return facts.get("Differential privacy", "no").startswith("yes")


def test_a_loss_that_allows_differential_privacy_is_a_mean_over_images(loss: Loss) -> None:
    """DP-SGD clips the gradient of each image: there must be a loss of each image by itself.

    Where every label is known each of the 24 images has 1/24 of the say, whatever the others are.
    """
    if not allows_differential_privacy(loss):
        return
    data = all_known()
    values, part, left = parts_of_images(loss, data)
    assert left.abs().max() < 1e-12
    torch.testing.assert_close(part, torch.full_like(part, 1 / 24))
    torch.testing.assert_close(values.mean(), loss(data.logits, data.target, data.known))


def test_with_unknown_labels_it_is_a_weighted_mean_over_images(loss: Loss) -> None:
    """The shares follow the masks of the batch, so that a fixed divisor can make up for them."""
    if not allows_differential_privacy(loss):
        return
    data = entries()
    values, part, left = parts_of_images(loss, data)
    assert left.abs().max() < 1e-12
    assert (part >= 0).all()
    torch.testing.assert_close((part * values).sum(), loss(data.logits, data.target, data.known))
    torch.testing.assert_close(part.sum(), torch.ones((), dtype=torch.float64))


def test_the_class_is_frozen(loss: Loss) -> None:
    with pytest.raises(AttributeError):
        loss.anything = 1  # type: ignore[attr-defined]
