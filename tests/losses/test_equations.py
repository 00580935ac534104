"""The printed equations of the losses, term by term, and what each of them is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics
from concilium.losses.asymmetric import Asymmetric
from concilium.losses.balanced_bce import BalancedBinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.losses.focal import Focal
from concilium.losses.softmax import Softmax

PROBABILITIES = (0.01, 0.04, 0.2, 0.5, 0.9, 0.999)


def one(loss: Loss, probability: float, target: float) -> float:
    """The loss of one known entry."""
    logit = math.log(probability / (1 - probability))
    values = torch.tensor([[logit]], dtype=torch.float64), torch.tensor([[target]])
    return float(loss(*values, torch.tensor([[True]])))


@pytest.mark.parametrize("p", PROBABILITIES)
def test_focal_equation_5(p: float) -> None:
    """FL(p_t) = −α_t (1−p_t)^γ log p_t, p_t = p for a positive and 1−p for a negative."""
    loss = Focal(gamma=2.0, alpha=0.25)
    assert one(loss, p, 1.0) == pytest.approx(-0.25 * (1 - p) ** 2 * math.log(p))
    assert one(loss, p, 0.0) == pytest.approx(-0.75 * p**2 * math.log(1 - p))


def test_focal_example_of_the_paper() -> None:
    """Section 3.2: with γ = 2 an entry at p_t = 0.9 has 100 times less loss than with BCE."""
    assert one(Focal.like_bce(), 0.9, 1.0) / one(Focal(2.0, None), 0.9, 1.0) == pytest.approx(100)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_asymmetric_equations_5_to_7(p: float) -> None:
    """p_m = max(p−m, 0); L⁻ = p_m^γ⁻ log(1−p_m); L⁺ = (1−p)^γ⁺ log p; the loss is their negative.

    0.01 and 0.04 lie below the margin of 0.05: such negatives have loss 0.
    """
    shifted = max(p - 0.05, 0.0)
    assert one(Asymmetric(), p, 1.0) == pytest.approx(-(1 - p) * math.log(p))
    assert one(Asymmetric(), p, 0.0) == pytest.approx(-(shifted**4) * math.log(1 - shifted))


def test_asymmetric_without_margin_and_equal_exponents_is_focal() -> None:
    """The paper's equation 4 with γ⁺ = γ⁻ is focal loss without α."""
    for p in PROBABILITIES:
        for target in (0.0, 0.4, 1.0):
            ours = one(Asymmetric(2.0, 2.0, 0.0), p, target)
            assert ours == pytest.approx(one(Focal(2.0, None), p, target))


def test_asymmetric_exponent_below_one_has_a_finite_gradient_below_the_margin() -> None:
    """The power p_m^½ alone has an infinite derivative at p_m = 0."""
    logits = torch.tensor([[-10.0, math.log(0.05 / 0.95), 1.0]], requires_grad=True)
    known = torch.ones(1, 3, dtype=torch.bool)
    value = Asymmetric(gamma_negative=0.5)(logits, torch.zeros(1, 3), known)
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """8 images, 5 labels, 7 positives among 40 entries, all known."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    target = torch.zeros(40, dtype=torch.float64)
    target[torch.randperm(40, generator=generator)[:7]] = 1.0
    return logits, target.reshape(8, 5), torch.ones(8, 5, dtype=torch.bool)


def test_balanced_bce_is_half_the_sum_of_two_means() -> None:
    logits, target, known = batch()
    values = binary_cross_entropy_with_logits(logits, target, reduction="none")
    expected = (values[target == 1].mean() + values[target == 0].mean()) / 2
    torch.testing.assert_close(BalancedBinaryCrossEntropy()(logits, target, known), expected)


def test_balanced_bce_is_bce_when_positives_and_negatives_are_equally_many() -> None:
    logits, target, known = batch()
    positive = torch.nonzero(target.flatten())[:, 0]
    negative = torch.nonzero(1 - target.flatten())[:7, 0]
    known = torch.zeros(40, dtype=torch.bool)
    known[torch.cat([positive, negative])] = True
    known = known.reshape(8, 5)
    got = BalancedBinaryCrossEntropy()(logits, target, known)
    expected = binary_cross_entropy_with_logits(logits[known], target[known])
    torch.testing.assert_close(got, expected)


def test_balanced_bce_gives_soft_targets_their_share_of_both_sides() -> None:
    """Targets 0.25 and 1: positives weigh 1.25 in all, negatives 0.75."""
    logits = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    target, known = torch.tensor([[0.25, 1.0]]), torch.tensor([[True, True]])
    positive = [math.log1p(math.exp(-z)) for z in (0.3, -1.2)]
    negative = math.log1p(math.exp(0.3))
    expected = ((0.25 * positive[0] + positive[1]) / 1.25 + negative) / 2
    got = BalancedBinaryCrossEntropy()(logits, target, known)
    assert float(got) == pytest.approx(expected)


def test_balanced_bce_with_one_side_only_keeps_its_half() -> None:
    """Without a positive in the batch the negatives' mean still counts half."""
    logits, known = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    got = BalancedBinaryCrossEntropy()(logits, torch.zeros(2, 3), known)
    assert float(got) == pytest.approx(math.log(2) / 2)


def test_softmax_with_one_label_is_bce() -> None:
    """Softmax over "no finding" (logit 0) and z is the sigmoid of z."""
    logits, target, known = batch()
    logits, target, known = logits[:, :1], target[:, :1], known[:, :1]
    expected = binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(Softmax()(logits, target, known), expected)
    torch.testing.assert_close(Softmax().scores(logits), logits)


def statistics(positives: list[int], known: list[int]) -> LabelStatistics:
    """Of 100 images: each label is known in the first few of them, present in fewer."""
    image = np.arange(100)[:, None]
    return LabelStatistics.of((image < positives).astype(np.float32), image < known, image[:, 0])


def test_softmax_learns_the_most_prevalent_present_label() -> None:
    """Prevalences .1, .5, .3 (of different numbers known) and never known: order 1, 2, 0, 3."""
    bound = Softmax().bind(statistics([10, 5, 30, 0], [100, 10, 100, 0]))
    assert bound.order == (1, 2, 0, 3)
    target = torch.tensor([[1.0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with_none = torch.cat([logits, torch.zeros(4, 1)], 1)
    expected = cross_entropy(with_none, torch.tensor([1, 2, 3, 4]))
    got = bound(logits, target, torch.ones(4, 4, dtype=torch.bool))
    torch.testing.assert_close(got, expected)


def test_softmax_leaves_an_unknown_label_out() -> None:
    """An image that does not know label 1 is an image of a federation without label 1."""
    logits = torch.tensor([[0.5, 3.0, -1.0]])
    target = torch.tensor([[0.0, 1.0, 1.0]])
    got = Softmax()(logits, target, torch.tensor([[True, False, True]]))
    expected = Softmax()(logits[:, ::2], target[:, ::2], torch.tensor([[True, True]]))
    torch.testing.assert_close(got, expected)


def test_softmax_is_a_plain_mean_over_images_however_many_labels_they_know() -> None:
    """No finding among 2 of 4 known labels counts as much as a finding among 4 of 4."""
    logits = torch.tensor([[0.5, 3.0, -1.0, 0.2], [1.0, 0.3, 0.1, -2.0]])
    target = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    known = torch.tensor([[True, False, True, False], [True, True, True, True]])
    single = [Softmax()(logits[[i]], target[[i]], known[[i]]) for i in range(2)]
    torch.testing.assert_close(Softmax()(logits, target, known), torch.stack(single).mean())


def test_softmax_scores_are_the_class_probabilities() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with_none = torch.cat([logits, torch.zeros(6, 1, dtype=torch.float64)], 1)
    expected = with_none.softmax(1)[:, :4]
    torch.testing.assert_close(Softmax().scores(logits).sigmoid(), expected)


def test_softmax_keeps_an_order_that_was_set_and_refuses_a_wrong_one() -> None:
    assert Softmax((2, 0, 1)).bind(statistics([1, 2, 3], [9, 9, 9])).order == (2, 0, 1)
    with pytest.raises(InputError, match="names a label twice"):
        Softmax((0, 0, 1))
    with pytest.raises(InputError, match="must list each label 0 to 1 once"):
        Softmax((2, 0, 1))(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[True, True]]))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("focal", {"gamma": -1.0}),
        ("focal", {"alpha": 1.5}),
        ("asymmetric", {"margin": -0.1}),
        ("asymmetric", {"gamma_negative": float("nan")}),
        ("balanced_bce", {"balance": 2.0}),
        ("softmax", {"order": [-1]}),
        ("bce", {"gamma": 2.0}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        components.build("losses", name, settings)
