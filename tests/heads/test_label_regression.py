"""Label regression: the identity it stands on, its pooled equal, and what it takes apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from concilium.data.dataset import Exams
from concilium.foundation.errors import InputError
from concilium.heads.contract import Solution
from concilium.heads.label_regression import LabelRegression
from tests.heads.worlds import Parts, dealt, largest_gap, solution
from tests.worlds import hospital_parts, joined

Array = npt.NDArray[np.float64]
EXACT = LabelRegression(penalty=1e-9, shrinkage=1e-12)


def gaussian(num: int, seed: int, together: float = 0.0) -> tuple[Exams, Array]:
    """Features N(μ(y), I) of labels that co-occur in a part of exams; the effects (3, 5)."""
    generator = np.random.default_rng(seed)
    target = (generator.random((num, 3)) < 0.3).astype(np.float32)
    same = generator.random(num) < together
    target[same, 1] = target[same, 0]
    effects = np.zeros((3, 5))
    effects[[0, 1, 2], [0, 1, 2]] = 2.0
    effects[1, 0] = 0.5
    images = (target @ effects + generator.normal(size=(num, 5))).astype(np.float32)
    return Exams(images, target, np.ones((num, 3), np.bool_), np.arange(num)), effects


def dummy_regression(
    own: Exams, owner: npt.NDArray[np.int64], penalty: float
) -> tuple[Array, Array, Array]:
    """Effects, residual covariance and mean without a finding, with a column for each hospital.

    Features as standardised; the residuals' degrees of freedom are exams less columns.
    """
    images = np.asarray(own.images, np.float64)
    images = (images - images.mean(0)) / images.std(0)
    rows = own.known.all(1)
    images, labels, site = images[rows], own.target[rows].astype(float), owner[rows]
    sites = np.unique(site)
    columns = np.c_[labels, (site[:, None] == sites).astype(float)]
    ridge = np.diag(np.r_[np.full(labels.shape[1], penalty), np.zeros(len(sites))])
    found = np.linalg.solve(columns.T @ columns + ridge, columns.T @ images)
    residual = images - columns @ found
    effects = found[: labels.shape[1]]
    covariance = residual.T @ residual / (len(images) - columns.shape[1])
    return effects, covariance, (images - labels @ effects).mean(0)


@pytest.mark.parametrize("penalty", [1e-9, 5.0])
def test_equals_the_pooled_regression_with_a_column_for_each_hospital(penalty: float) -> None:
    own, _ = gaussian(150, 0, together=0.5)
    owner = np.arange(150) % 4
    own.known[::7, 1] = False
    found = solution(dealt(own, owner, 4), LabelRegression(penalty, shrinkage=0.2))
    effects, covariance, base = dummy_regression(own, owner, penalty)
    mean = np.asarray(own.images, np.float64).mean(0)
    deviation = np.asarray(own.images, np.float64).std(0)
    shrunk = 0.8 * covariance + (0.2 * covariance.trace() / 5 + 1e-9) * np.eye(5)
    pull = np.linalg.solve(shrunk, effects.T).T
    np.testing.assert_allclose(found.weight.numpy(), pull / deviation, atol=1e-9)
    offset = -pull @ base - (pull * effects).sum(1) / 2 - (pull / deviation) @ mean
    np.testing.assert_allclose(found.bias.numpy(), offset, atol=1e-9)
    assert found.report == {"complete_exams": 128.0, "left_out_exams": 22.0}


def test_without_site_means_it_is_the_regression_with_one_column_for_all() -> None:
    own, _ = gaussian(150, 0, together=0.5)
    owner = np.arange(150) % 4
    plain = LabelRegression(1e-9, 0.1, site_means=False)
    one = solution(dealt(own, np.zeros(150, np.int64), 1), LabelRegression(1e-9, 0.1))
    assert largest_gap(solution(dealt(own, owner, 4), plain), one) < 1e-8


def test_head_and_coupling_are_the_gaussian_density_of_every_label_set() -> None:
    """log N(h; μ(y), Σ) − log N(h; μ(0), Σ) = Σ y_l score_l + Σ_{l<m} K_lm y_l y_m, all 8 sets.

    The density is SciPy's, of the pooled regression's μ and Σ.
    """
    own, _ = gaussian(200, 1, together=0.5)
    owner = np.zeros(200, np.int64)
    found = solution(dealt(own, owner, 1), EXACT)
    effects, covariance, base = dummy_regression(own, owner, 0.0)
    images = np.asarray(own.images, np.float64)
    scaled = (images - images.mean(0)) / images.std(0)
    score = images[:20] @ found.weight.numpy().T + found.bias.numpy()
    assert found.coupling is not None
    coupling = found.coupling.numpy()
    without = multivariate_normal(base, covariance).logpdf(scaled[:20])
    for number in range(8):
        y = np.array([number & 1, number >> 1 & 1, number >> 2 & 1], float)
        density = multivariate_normal(base + y @ effects, covariance).logpdf(scaled[:20])
        pairs = sum(coupling[i, j] * y[i] * y[j] for i in range(3) for j in range(i))
        np.testing.assert_allclose(score @ y + pairs, density - without, atol=1e-5)
    assert np.abs(coupling).max() > 0.1  # labels 0 and 1 look alike, so the term is a real one


def test_with_one_label_it_is_fishers_discriminant() -> None:
    own, _ = gaussian(200, 2)
    one = Exams(own.images, own.target[:, :1], own.known[:, :1], own.patient)
    found = solution(dealt(one, np.zeros(200, np.int64), 1), EXACT)
    images = np.asarray(own.images, np.float64)
    other = LinearDiscriminantAnalysis(solver="lsqr").fit(images, own.target[:, 0])
    direction, expected = found.weight[0].numpy(), other.coef_[0]
    cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-10)


def test_findings_that_co_occur_are_taken_apart_where_prototypes_couple_them() -> None:
    """Label 1 is mostly where label 0 is. A test exam with label 0 alone: what does label 1's score
    rise by over an exam without a finding? By the model, μ₀·Σ⁻¹μ₁ = 2 × 0.5 = 1 (Σ = I), not more;
    class means give label 1 most of label 0's effect of 2 as its own."""
    own, effects = gaussian(2000, 3, together=0.9)
    found = solution(dealt(own, np.arange(2000) % 5, 5), LabelRegression(shrinkage=0.01))
    rise = float(found.weight[1].numpy() @ effects[0])
    present = own.target[:, 1] == 1
    images = np.asarray(own.images, np.float64)
    prototype = images[present].mean(0) - images[~present].mean(0)
    assert rise == pytest.approx(1.0, abs=0.3)
    assert float(prototype @ effects[0]) > 3.5  # as if label 1 were there


def test_what_a_scanner_adds_is_not_learnt_as_a_finding() -> None:
    """Feature 4 is shifted at the hospital where label 2 is common."""
    own, _ = gaussian(600, 4)
    owner = (np.random.default_rng(0).random(600) < 0.2 + 0.6 * own.target[:, 2]).astype(np.int64)
    images = np.asarray(own.images) + np.float32(3) * np.outer(owner, np.eye(5)[4])
    shifted = Exams(images.astype(np.float32), own.target, own.known, own.patient)
    parts = dealt(shifted, owner, 2)
    apart = solution(parts, LabelRegression()).weight[2, 4]
    shared = solution(parts, LabelRegression(site_means=False)).weight[2, 4]
    assert abs(float(apart)) < 0.25
    assert float(shared) > 0.5


def mixed_up(parts: Parts, label: int) -> Solution:
    for k, own in enumerate(parts.values()):
        own["train"].known[:] = True
        own["train"].target[:, label] = k % 2
    return solution(parts, EXACT)


def test_a_label_that_varies_only_between_hospitals_keeps_its_row_and_couples_nothing() -> None:
    found = mixed_up(hospital_parts((40, 40)), 1)
    assert found.solved.tolist() == [True, False, True]
    assert found.coupling is not None
    assert not found.coupling[1].any()
    assert found.coupling[0, 2] != 0


def test_without_a_complete_exam_it_is_refused_with_what_to_take() -> None:
    parts = hospital_parts((40, 40))
    for own in parts.values():
        own["train"].known[:, 2] = False
    with pytest.raises(InputError, match="no hospital has one; take newton"):
        solution(parts, EXACT)
    assert joined([own["train"] for own in parts.values()]).known.any()


def test_it_gives_evidence_and_checks_its_settings() -> None:
    assert LabelRegression.gives_evidence
    with pytest.raises(InputError, match=r"shrinkage=0\.0 must be > 0"):
        LabelRegression(shrinkage=0.0)
    with pytest.raises(InputError, match=r"shrinkage=1\.5 must lie between 0 and 1"):
        LabelRegression(shrinkage=1.5)
