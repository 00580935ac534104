"""Losses that learn something of the federation's counts: their formulas, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics
from concilium.losses.asymmetric import Asymmetric
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.losses.distribution_balanced import DistributionBalanced
from concilium.losses.focal import Focal
from concilium.losses.positive_weighted import PositiveWeighted
from tests.losses.small_worlds import fitted, present, shown, with_one


def statistics(positives: list[int], known: list[int]) -> LabelStatistics:
    """Of 1,000 images: each label is known in the first few of them, present in fewer."""
    image = np.arange(1000)[:, None]
    return LabelStatistics.of((image < positives).astype(np.float32), image < known, image[:, 0])


def one(loss: Loss, score: float, target: float, label: int, num_labels: int) -> float:
    """The loss of the one known entry of an image: that of this label."""
    scores = torch.full((1, num_labels), score, dtype=torch.float64)
    known = torch.zeros(1, num_labels, dtype=torch.bool)
    known[0, label] = True
    return float(loss(scores, torch.full((1, num_labels), target), known))


def log1pexp(value: float) -> float:
    return math.log1p(math.exp(value))


# Positive-weighted BCE.


def test_positive_weights_are_the_federations_negatives_a_positive_to_the_power_tau() -> None:
    """25 of 250 known: ratio 9, its root 3. 100 of 1,000: the same. 500 of 1,000: 1."""
    loss = PositiveWeighted().bind(statistics([25, 100, 500], [250, 1000, 1000]))
    assert loss.weights == pytest.approx((3.0, 3.0, 1.0))
    assert one(loss, 0.7, 1.0, 0, 3) == pytest.approx(3 * log1pexp(-0.7))
    assert one(loss, 0.7, 0.0, 0, 3) == pytest.approx(log1pexp(0.7))
    assert one(loss, 0.7, 0.25, 0, 3) == pytest.approx(
        0.25 * 3 * log1pexp(-0.7) + 0.75 * log1pexp(0.7)
    )


def test_positive_weights_come_from_the_sum_of_hospitals() -> None:
    """9 and 1 positives of 10 and 90: together 10 of 100, ratio 9; the mean of both is no such."""
    total = statistics([9], [10]) + statistics([1], [90])
    assert PositiveWeighted(tau=1.0).bind(total).weights == pytest.approx((9.0,))


def test_positive_weights_are_capped_and_1_where_a_side_is_missing() -> None:
    """1 of 1,000: ratio 999, capped. Never present, always present, never known: weight 1."""
    loss = PositiveWeighted(tau=1.0, cap=50.0).bind(statistics([1, 0, 9, 0], [1000, 50, 9, 0]))
    assert loss.weights == (50.0, 1.0, 1.0, 1.0)


def test_the_cap_bounds_the_weight_not_the_ratio() -> None:
    """1 of 901: ratio 900, its root 30, capped at 20; the root of the capped ratio is 4.5."""
    assert PositiveWeighted(tau=0.5, cap=20.0).bind(statistics([1], [901])).weights == (20.0,)


def test_weights_of_common_labels_fall_below_1() -> None:
    """90 of 100: one negative for nine positives."""
    loss = PositiveWeighted().bind(statistics([90], [100]))
    assert loss.weights == pytest.approx((1 / 3,))


def test_what_a_study_sets_is_not_overwritten() -> None:
    counts = statistics([25, 100], [250, 1000])
    for loss in (
        PositiveWeighted(weights=(2.0, 3.0)),
        Focal(federated=True, alphas=(0.3, 0.4)),
        Asymmetric(federated=True, shares=(0.3, 0.4)),
        DistributionBalanced(prevalence=(0.3, 0.4)),
    ):
        assert loss.bind(counts) == loss


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (PositiveWeighted(weights=(1.0, 2.0)), "weights has 2 values for 3 labels"),
        (Focal(alphas=(0.5,)), "alphas has 1 values for 3 labels"),
        (Asymmetric(shares=(0.5,)), "shares has 1 values for 3 labels"),
        (DistributionBalanced(prevalence=(0.5,)), "prevalence has 1 values for 3 labels"),
    ],
)
def test_values_for_other_labels_are_refused(loss: Loss, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))


def test_settings_out_of_range_are_refused() -> None:
    for build in (
        lambda: PositiveWeighted(tau=-1.0),
        lambda: PositiveWeighted(cap=0.5),
        lambda: PositiveWeighted(weights=(1.0, 0.0)),
        lambda: Focal(alphas=(1.5,)),
        lambda: Asymmetric(shares=(-0.1,)),
        lambda: Asymmetric(full_ratio=1.0),
        lambda: DistributionBalanced(prevalence=(0.0, 0.5)),
        lambda: DistributionBalanced(lambda_=0.0),
    ):
        with pytest.raises(InputError, match="must"):
            build()


# Focal and asymmetric, federated.


def test_federated_alpha_is_the_share_of_negatives() -> None:
    """Half a case on each side: 100 of 1,000 gives 900.5 / 1001; never present 50.5 / 51."""
    loss = Focal(gamma=2.0, federated=True).bind(statistics([100, 0, 0], [1000, 50, 0]))
    assert loss.alphas == pytest.approx((900.5 / 1001, 50.5 / 51, 0.5))
    p = 1 / (1 + math.exp(-0.7))
    expected = 900.5 / 1001 * (1 - p) ** 2 * log1pexp(-0.7)
    assert one(loss, 0.7, 1.0, 0, 3) == pytest.approx(expected)
    expected = 100.5 / 1001 * p**2 * log1pexp(0.7)
    assert one(loss, 0.7, 0.0, 0, 3) == pytest.approx(expected)


def test_federated_focal_with_equal_counts_is_focal_with_alpha_a_half() -> None:
    loss = Focal(federated=True).bind(statistics([50, 500], [100, 1000]))
    assert loss.alphas == pytest.approx((0.5, 0.5))
    scores, target = torch.linspace(-3, 3, 8).reshape(4, 2), torch.eye(4, 2)
    known = torch.ones(4, 2, dtype=torch.bool)
    torch.testing.assert_close(loss(scores, target, known), Focal(alpha=0.5)(scores, target, known))


def test_federated_asymmetric_with_equal_counts_is_the_symmetric_loss() -> None:
    """γ⁺ on both sides and no margin; the asymmetric loss with these settings is focal loss."""
    loss = Asymmetric(federated=True).bind(statistics([50, 500], [100, 1000]))
    assert loss.shares == (0.0, 0.0)
    for score in (-4.0, -1.0, 0.0, 2.0):
        for target in (0.0, 1.0):
            ours = one(loss, score, target, 0, 2)
            assert ours == pytest.approx(one(Asymmetric(1.0, 1.0, 0.0), score, target, 0, 2))
            assert ours == pytest.approx(one(Focal(1.0, None), score, target, 0, 2))


def test_federated_asymmetric_is_the_plain_loss_for_labels_as_rare_as_on_coco() -> None:
    """5 of 1,000: 199 negatives a positive. Never present, as well."""
    loss = Asymmetric(federated=True).bind(statistics([5, 0], [1000, 900]))
    assert loss.shares == (1.0, 1.0)
    for score in (-4.0, -1.0, 0.0, 2.0):
        for target in (0.0, 1.0):
            ours = one(loss, score, target, 0, 2)
            assert ours == pytest.approx(one(Asymmetric(), score, target, 0, 2))


def test_federated_asymmetric_between_the_two() -> None:
    """p = ½, share ½: γ⁻ = 1 + ½ (4 − 1) = 2.5 and m = 0.025. The positive side stays as it is."""
    loss = Asymmetric(federated=True, shares=(0.5,))
    assert one(loss, 0.0, 0.0, 0, 1) == pytest.approx(-(0.475**2.5) * math.log(0.525))
    assert one(loss, 0.0, 1.0, 0, 1) == pytest.approx(0.5 * math.log(2))


def test_federated_asymmetric_grows_with_the_logarithm_of_the_imbalance() -> None:
    """749.5 : 250.5 negatives a positive, of 27; more present than absent: no asymmetry."""
    loss = Asymmetric(federated=True).bind(statistics([250, 900], [999, 999]))
    assert loss.shares == pytest.approx((math.log(749.5 / 250.5) / math.log(27), 0.0))
    rarer = Asymmetric(federated=True).bind(statistics([500, 250, 100, 50], [999] * 4))
    assert list(rarer.shares) == sorted(set(rarer.shares))


def test_the_imbalance_of_the_full_asymmetry_can_be_set() -> None:
    """749.5 : 250.5 of 9 negatives a positive, not of COCO's 27."""
    loss = Asymmetric(federated=True, full_ratio=9.0).bind(statistics([250], [999]))
    assert loss.shares == pytest.approx((math.log(749.5 / 250.5) / math.log(9),))


def test_without_the_setting_counts_change_neither_focal_nor_asymmetric() -> None:
    counts = statistics([5], [1000])
    assert Focal().bind(counts) == Focal()
    assert Asymmetric().bind(counts) == Asymmetric()


# Distribution-balanced loss.

PREVALENCE = (0.5, 0.1, 0.02)


def test_distribution_balanced_by_hand() -> None:
    """y = (1, 0, 1): Σ y/p = 2 + 50 = 52, r = (2, 10, 50) / 52 = (.0385, .1923, .9615).

    r̂ = 0.1 + σ(10 (r − 0.2)), λ = 2 on negatives, and ν = 0.05/2 log(1/p − 1) = (0, .0549, .0973):
    the authors' code divides its 0.05 by λ.
    """
    loss = DistributionBalanced(prevalence=PREVALENCE)
    scores = torch.tensor([[0.4, -0.3, 1.1]], dtype=torch.float64)
    target, known = torch.tensor([[1.0, 0.0, 1.0]]), torch.ones(1, 3, dtype=torch.bool)
    weight = [0.1 + 1 / (1 + math.exp(-10 * (r / 52 - 0.2))) for r in (2, 10, 50)]
    shift = [0.05 / 2 * math.log(x) for x in (1.0, 9.0, 49.0)]
    expected = (
        weight[0] * log1pexp(-(0.4 - shift[0]))
        + weight[1] * log1pexp(2 * (-0.3 - shift[1])) / 2
        + weight[2] * log1pexp(-(1.1 - shift[2]))
    ) / 3
    assert float(loss(scores, target, known)) == pytest.approx(expected)


def test_distribution_balanced_weighs_an_image_without_a_finding_most() -> None:
    """P^I = 0: r = ∞ and r̂ = 1.1, as the authors' code has it."""
    loss = DistributionBalanced(prevalence=PREVALENCE, kappa=0.0)
    assert one(loss, 0.3, 0.0, 1, 3) == pytest.approx(1.1 * log1pexp(0.6) / 2)


def test_distribution_balanced_does_not_let_unknown_labels_draw_an_image() -> None:
    """Label 2 stands as present, but unknown: r of label 1 is 1; without the mask it is 10/62."""
    loss = DistributionBalanced(prevalence=PREVALENCE, kappa=0.0)
    assert one(loss, 0.3, 1.0, 1, 3) == pytest.approx(
        (0.1 + 1 / (1 + math.exp(-8))) * log1pexp(-0.3)
    )


def test_distribution_balanced_weighs_an_image_by_all_its_labels_whatever_they_weigh() -> None:
    """Labels 1 and 2 present: r of label 1 is 10/60, also where label 2 weighs 0 in the mean."""
    loss = DistributionBalanced(prevalence=PREVALENCE, kappa=0.0)
    target, known = torch.tensor([[0.0, 1.0, 1.0]]), torch.ones(1, 3, dtype=torch.bool)
    scores = torch.full((1, 3), 0.3, dtype=torch.float64)
    got = loss(scores, target, known, torch.tensor([0.0, 1.0, 0.0]))
    weight = 0.1 + 1 / (1 + math.exp(-10 * (10 / 60 - 0.2)))
    assert float(got) == pytest.approx(weight * log1pexp(-0.3))


def test_distribution_balanced_binds_the_federations_smoothed_prevalence() -> None:
    loss = DistributionBalanced().bind(statistics([100, 0], [1000, 50]))
    assert loss.prevalence == pytest.approx((100.5 / 1001, 0.5 / 51))


# What it is for.


def rare_and_common(num: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features and labels: label 0 in 4 % of exams, label 1 in 40 %; both are shown by 2σ."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.stack([present(p, num, generator) for p in (0.04, 0.4)], 1)
    return shown(target, 2.0, generator), target


def recall(loss: Loss) -> list[float]:
    """Share of the present, of each label, that a model trained on 1,000 exams puts above ½."""
    features, target = rare_and_common(1000, seed=3)
    counts = LabelStatistics.of(
        target.numpy().astype(np.float32), target.numpy() >= 0, np.arange(1000)
    )
    weights = fitted(loss.bind(counts), features, target)
    features, target = rare_and_common(10_000, seed=4)
    alert = with_one(features) @ weights > 0
    return [float(alert[target[:, label] == 1, label].double().mean()) for label in (0, 1)]


def test_losses_for_imbalance_find_more_of_a_rare_label_at_a_fixed_threshold() -> None:
    """Label 0 at ½ with BCE: where the feature is 1 + log(24)/2 = 2.6, P(N(2, 1) > 2.6) = .28.

    Positives that weigh √24: above 1.8, .58. The distribution-balanced loss weighs rare labels and
    shifts their scores, in between. The common label hardly changes.
    """
    plain, weighted = recall(BinaryCrossEntropy()), recall(PositiveWeighted())
    balanced = recall(DistributionBalanced())
    assert plain[0] == pytest.approx(0.28, abs=0.1)
    assert weighted[0] == pytest.approx(0.58, abs=0.1)
    assert balanced[0] > plain[0] + 0.05
    assert abs(weighted[1] - plain[1]) < 0.1
