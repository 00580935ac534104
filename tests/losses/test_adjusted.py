"""Losses that add what a hospital's labels say of a label to its score, so the score need not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.labels.conditional_odds import conditional_log_odds
from concilium.labels.statistics import LabelStatistics
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.losses.cooccurrence_adjusted import CooccurrenceAdjusted
from concilium.losses.logit_adjusted import LogitAdjusted
from tests.losses.small_worlds import fitted, present, shown, with_one


def all_known(target: Tensor) -> Tensor:
    return torch.ones(target.shape, dtype=torch.bool)


def statistics(*targets: Tensor) -> LabelStatistics:
    """The sum over hospitals with these labels, all known."""
    total = LabelStatistics.zero(targets[0].shape[1])
    for target in targets:
        found = target.numpy().astype(np.float32)
        total = total + LabelStatistics.of(found, found >= 0, np.arange(len(found)))
    return total


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


# Logit adjustment.


def test_logit_adjustment_by_hand() -> None:
    """A client with 3 of 4 known present, in a federation with prevalence 0.2, τ = 2.

    One exam with the federation's prevalence is added: 3.2 of 5 = 0.64.
    """
    target = torch.tensor([[1.0], [1.0], [0.0], [1.0], [1.0]])
    known = torch.tensor([[True], [True], [True], [True], [False]])
    loss = LogitAdjusted(tau=2.0, prevalence=(0.2,)).localise(target, known)
    offset = 2 * (log_odds(0.64) - log_odds(0.2))
    assert loss.offset == pytest.approx((offset,))
    score = torch.tensor([[0.3]], dtype=torch.float64)
    got = loss(score, torch.tensor([[0.0]]), torch.tensor([[True]]))
    assert float(got) == pytest.approx(math.log1p(math.exp(0.3 + offset)))


def test_towards_balance_is_the_papers_own_adjustment() -> None:
    """τ log π_y in a softmax of "present" and "absent" is τ times the log-odds in a sigmoid."""
    target = present(0.1, 1000, torch.Generator().manual_seed(0))[:, None]
    loss = LogitAdjusted(towards="balance", smoothing=1e-9)
    loss = loss.bind(statistics(target)).localise(target, all_known(target))
    score = torch.tensor([[0.7]], dtype=torch.float64)
    classes = torch.tensor([[0.7 + math.log(0.1), math.log(0.9)]], dtype=torch.float64)
    expected = -classes.log_softmax(1)[0, 0]
    got = loss(score, torch.ones(1, 1), torch.tensor([[True]]))
    torch.testing.assert_close(got, expected)


def test_a_client_with_the_federations_prevalence_trains_with_bce() -> None:
    """So does one without a known entry: what is added has the federation's prevalence."""
    target = present(0.25, 400, torch.Generator().manual_seed(0))[:, None]
    bound = LogitAdjusted(prevalence=(0.25,))
    assert bound.localise(target, all_known(target)).offset == pytest.approx((0.0,), abs=1e-12)
    assert bound.localise(target, ~all_known(target)).offset == pytest.approx((0.0,), abs=1e-12)


def test_a_hospital_that_is_the_federation_has_no_offset_with_soft_targets_either() -> None:
    """Half of the exams above one half, so the half case on each side changes nothing: offset 0.

    A quarter above it, 100 of 400: 100.5 of 401 in the federation's counts, next to nothing more.
    Summed, 0.6 and 0.1 would be a prevalence of 0.35 and of 0.225.
    """
    for present_exams, tolerance in ((200, 1e-12), (100, 0.01)):
        target = torch.full((400, 1), 0.1)
        target[:present_exams] = 0.6
        loss = LogitAdjusted().bind(statistics(target)).localise(target, all_known(target))
        assert loss.offset == pytest.approx((0.0,), abs=tolerance)


def test_towards_balance_a_prevalence_that_was_set_has_no_say() -> None:
    target = present(0.1, 100, torch.Generator().manual_seed(0))[:, None]
    plain, told = (
        LogitAdjusted(towards="balance", prevalence=p).localise(target, all_known(target))
        for p in ((), (0.2,))
    )
    assert told.offset == plain.offset == pytest.approx((log_odds(10.5 / 101),))


def test_a_client_without_a_positive_pushes_down_hardly_at_all() -> None:
    """0 of 500, federation 2 %: 0.02 of 501, an offset of −6.2, so σ(z + o) is small by itself."""
    target = torch.zeros(500, 1)
    loss = LogitAdjusted(prevalence=(0.02,)).localise(target, all_known(target))
    assert loss.offset == pytest.approx((log_odds(0.02 / 501) - log_odds(0.02),))
    assert -6.5 < loss.offset[0] < -6.0


def hospitals() -> list[tuple[Tensor, Tensor]]:
    """Features and labels at two hospitals: a finding in 50 and in 5 % of 3,000 exams, 2σ."""
    generator = torch.Generator().manual_seed(5)
    targets = [present(p, 3000, generator)[:, None] for p in (0.5, 0.05)]
    return [(shown(target, 2.0, generator), target) for target in targets]


def scores_at(loss: Loss, *values: float) -> list[list[float]]:
    """Scores of these features by models that the two hospitals train by themselves."""
    found = []
    for features, target in hospitals():
        own = loss.bind(statistics(*(t for _, t in hospitals())))
        own = own.localise(target, all_known(target))
        grid = with_one(torch.tensor(values, dtype=torch.float64)[:, None])
        found.append((grid @ fitted(own, features, target))[:, 0].tolist())
    return found


def test_two_hospitals_of_unlike_prevalence_learn_the_same_scores() -> None:
    """With BCE they differ by the log-odds of .5 less those of .05, 2.9, everywhere."""
    many, few = scores_at(BinaryCrossEntropy(), 0.0, 1.0, 2.0)
    assert all(2.4 < a - b < 3.4 for a, b in zip(many, few, strict=True))
    many, few = scores_at(LogitAdjusted(), 0.0, 1.0, 2.0)
    assert all(abs(a - b) < 0.5 for a, b in zip(many, few, strict=True))
    # Both have the federation's prevalence, 27.5 %, in them: at 1 the feature says nothing.
    assert np.mean([many[1], few[1]]) == pytest.approx(log_odds(0.275), abs=0.2)


def test_towards_balance_score_0_minimises_the_balanced_error() -> None:
    """Where N(0, 1) and N(2, 1) cross, at 1, for both; BCE of 5 %: 1 + 2.94 / 2 = 2.5."""
    for balanced in scores_at(LogitAdjusted(towards="balance"), 0.85, 1.15):
        assert balanced[0] < 0 < balanced[1]
    plain = scores_at(BinaryCrossEntropy(), 1.15, 2.2)[1]
    assert plain[1] < 0


# Co-occurrence adjustment.


def test_the_offset_is_the_log_odds_given_the_other_labels() -> None:
    """o_0 = θ_0 + J_01 y_1 + J_02 y_2; unknown y_2 counts as its prevalence of 0.4."""
    loss = CooccurrenceAdjusted(
        bias=(-1.0, -2.0, -3.0),
        coupling=((9.0, 2.0, 0.5), (1.0, 9.0, 0.0), (0.0, 3.0, 9.0)),  # the diagonal has no say
        prevalence=(0.1, 0.2, 0.4),
    )
    target = torch.tensor([[0.0, 1.0, 1.0]], dtype=torch.float64)
    known = torch.tensor([[True, True, False]])
    expected = torch.tensor([[-1 + 2 + 0.4 * 0.5, -2.0, -3 + 3.0]], dtype=torch.float64)
    torch.testing.assert_close(loss.offset(target, known), expected)
    score = torch.tensor([[0.5, -0.5, 0.0]], dtype=torch.float64)
    got = loss(score, target, known)
    shifted = (score + expected)[:, :2]
    torch.testing.assert_close(got, binary_cross_entropy_with_logits(shifted, target[:, :2]))


def test_what_is_localised_is_the_conditional_log_odds_of_the_clients_labels() -> None:
    target = coupled(500, 0.8, 0.1, torch.Generator().manual_seed(0))
    bias, coupling = conditional_log_odds(target, all_known(target), ridge=2.0)
    loss = CooccurrenceAdjusted(ridge=2.0).localise(target, all_known(target))
    assert loss.bias == tuple(bias.tolist())
    assert loss.coupling == tuple(tuple(row) for row in coupling.tolist())
    assert loss.prevalence == pytest.approx(tuple(target.mean(0).tolist()))
    assert coupling[0, 1] > 2  # 80 and 10 %: log-odds that differ by 3.6


def test_of_independent_labels_only_the_prevalence_is_taken_out() -> None:
    """Each pair is there as often as apart, exactly: 100 exams of each of the four label sets."""
    target = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(100, 1).double()
    loss = CooccurrenceAdjusted().localise(target, all_known(target))
    torch.testing.assert_close(
        loss.offset(target, all_known(target)), torch.zeros_like(target), atol=0.01, rtol=0
    )


def test_all_of_the_offset_is_taken_out_and_no_setting_takes_out_less() -> None:
    """Scores of a part would not be evidence, and a prior would count that part twice."""
    loss = CooccurrenceAdjusted(bias=(2.0,), coupling=((0.0,),), prevalence=(0.5,))
    got = loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[True]]))
    assert float(got) == pytest.approx(math.log1p(math.exp(2.0)))
    with pytest.raises(InputError, match="strength"):
        components.build("losses", "cooccurrence_adjusted", {"strength": 0.5})


def test_a_weight_of_zero_does_not_hide_a_label_from_the_others() -> None:
    """o_0 = J_01 y_1 = 2, whatever the present label 1 weighs; the mean is label 0's alone."""
    loss = CooccurrenceAdjusted(
        bias=(0.0, 0.0), coupling=((0.0, 2.0), (0.0, 0.0)), prevalence=(0.5, 0.5)
    )
    target, known = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
    got = loss(torch.zeros(1, 2), target, known, torch.tensor([1.0, 0.0]))
    assert float(got) == pytest.approx(math.log1p(math.exp(2.0)))


def test_settings_out_of_range_are_refused() -> None:
    for build in (
        lambda: LogitAdjusted(tau=-1.0),
        lambda: LogitAdjusted(smoothing=0.0),
        lambda: LogitAdjusted(prevalence=(1.0,)),
        lambda: CooccurrenceAdjusted(ridge=0.0),
    ):
        with pytest.raises(InputError, match="must"):
            build()


def coupled(num: int, beside: float, alone: float, generator: torch.Generator) -> Tensor:
    """Labels l and m: m in 30 % of exams, l in these fractions of those with and without m."""
    second = present(0.3, num, generator)
    first = torch.zeros(num, dtype=torch.float64)
    for value, prevalence in ((1.0, beside), (0.0, alone)):
        where = second == value
        first[where] = present(prevalence, int(where.sum()), generator)
    return torch.stack([first, second], 1)


def false_coupling(loss: Loss) -> float:
    """P(alert l | m present, l absent) at 90 % specificity where l does not depend on m.

    The training hospital sees l in 80 % of exams with m and in 10 % of the others; each is shown by
    a feature of its own.
    """
    generator = torch.Generator().manual_seed(7)
    target = coupled(2000, 0.8, 0.1, generator)
    features = shown(target, 1.2, generator)
    weights = fitted(loss.localise(target, all_known(target)), features, target)
    test = coupled(10000, 0.3, 0.3, generator)
    scores = (with_one(shown(test, 1.2, generator)) @ weights)[:, 0]
    absent = test[:, 0] == 0
    threshold = scores[absent].quantile(0.9)
    return float((scores[absent & (test[:, 1] == 1)] > threshold).double().mean())


def test_adjusting_for_co_occurrence_takes_false_coupling_out() -> None:
    """The ideal is 0.10. BCE takes the feature of m for evidence of l: nearly twice as many."""
    assert false_coupling(BinaryCrossEntropy()) > 0.16
    assert false_coupling(LogitAdjusted()) > 0.16  # the marginal does not say what goes with what
    assert false_coupling(CooccurrenceAdjusted()) == pytest.approx(0.10, abs=0.02)


def test_evidence_of_an_ising_world_is_learnt_as_it_is() -> None:
    """P(y | x) ∝ exp(Σ y_l z_l(x)) π(y): with shown labels z_l = 1.2 x_l − 0.72, whatever π is."""
    generator = torch.Generator().manual_seed(1)
    target = coupled(3000, 0.8, 0.1, generator)
    features = shown(target, 1.2, generator)
    adjusted = CooccurrenceAdjusted().localise(target, all_known(target))
    evidence = torch.tensor([[1.2, 0.0], [0.0, 1.2], [-0.72, -0.72]], dtype=torch.float64)
    found = fitted(adjusted, features, target)
    torch.testing.assert_close(found, evidence, atol=0.15, rtol=0)
    plain = fitted(BinaryCrossEntropy(), features, target)
    assert plain[1, 0] > 0.4  # BCE: the feature of m speaks for l
