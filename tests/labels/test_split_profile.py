"""A split's profile: it adds up, follows its labels, and its numbers are those of counting."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import pytest

from concilium.labels.correlation import phi
from concilium.labels.split_profile import ENOUGH, ENOUGH_TO_COMPARE, SplitProfile
from concilium.labels.statistics import LabelStatistics

Exams = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]


def hospital(
    num: int, seed: int, each: int = 1, known: float = 1.0, together: float = 0.0
) -> Exams:
    """``num`` patients with ``each`` equal images, three labels (.5, .3, .1); some are unknown.

    Label 1 repeats label 0 at the fraction ``together`` of the patients.
    """
    generator = np.random.default_rng(seed)
    target = (generator.random((num, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    copied = generator.random(num) < together
    target[copied, 1] = target[copied, 0]
    mask = generator.random((num, 3)) < known
    patient = np.arange(num) + 10_000 * seed
    return np.repeat(target, each, 0), np.repeat(mask, each, 0), np.repeat(patient, each)


def profile(hospitals: list[Exams]) -> SplitProfile:
    return reduce(add, (SplitProfile.of(*own) for own in hospitals))


def flat(own: SplitProfile) -> dict[str, npt.NDArray[np.float64]]:
    """All numbers of a profile by name."""
    parts = {"statistics": own.statistics, "prevalence": own.prevalence, "coupling": own.coupling}
    plain = {name: value for name, value in vars(own).items() if name not in parts}
    inner = {f"{p}.{n}": v for p, part in parts.items() for n, v in vars(part).items()}
    return {name: np.asarray(value, np.float64) for name, value in (plain | inner).items()}


SPLIT = [hospital(60, 1), hospital(40, 2, known=0.7), hospital(200, 3)]


def test_counts_are_those_of_the_hospitals_one_by_one() -> None:
    own = profile(SPLIT)
    positives = np.stack([(target * known).sum(0) for target, known, _ in SPLIT])
    assert own.hospitals == 3
    assert own.statistics.num_images == 300
    assert own.images_squared == 60**2 + 40**2 + 200**2
    assert own.effective_hospitals == pytest.approx(300**2 / own.images_squared)
    assert own.positives_squared.tolist() == (positives**2).sum(0).tolist()
    assert own.effective_holders == pytest.approx(positives.sum(0) ** 2 / (positives**2).sum(0))
    assert own.holders.tolist() == (positives >= ENOUGH).sum(0).tolist()


def test_the_order_of_hospitals_does_not_matter_and_an_empty_one_adds_nothing() -> None:
    own, turned = flat(profile(SPLIT)), flat(profile([hospital(0, 9), *SPLIT[::-1]]))
    for name, value in own.items():
        assert turned[name] == pytest.approx(value), name


def test_the_statistics_are_those_of_pooled_exams() -> None:
    target, known, patient = (np.concatenate(arrays) for arrays in zip(*SPLIT, strict=True))
    merged, pooled = profile(SPLIT).statistics, LabelStatistics.of(target, known, patient)
    assert all(np.array_equal(vars(merged)[name], vars(pooled)[name]) for name in vars(pooled))


def test_permuting_labels_permutes_all_of_it() -> None:
    order = [2, 0, 1]
    own = flat(profile(SPLIT))
    turned = flat(profile([(t[:, order], k[:, order], p) for t, k, p in SPLIT]))
    for name, value in own.items():
        expected = value
        for axis in range(value.ndim):
            expected = np.take(expected, order, axis)
        assert turned[name] == pytest.approx(expected), name


def test_what_stands_at_unknown_entries_changes_nothing() -> None:
    target, known, patient = SPLIT[1]
    other = np.where(known, target, 1 - target).astype(np.float32)
    own, changed = (
        flat(SplitProfile.of(target, known, patient)),
        flat(SplitProfile.of(other, known, patient)),
    )
    assert all(np.array_equal(changed[name], value) for name, value in own.items())


def test_the_rows_of_a_patient_may_stand_anywhere() -> None:
    target, known, patient = hospital(50, 4, each=3, known=0.8)
    order = np.random.default_rng(0).permutation(len(patient))
    own, shuffled = (
        flat(SplitProfile.of(target, known, patient)),
        flat(SplitProfile.of(target[order], known[order], patient[order])),
    )
    for name, value in own.items():
        assert shuffled[name] == pytest.approx(value), name


def test_the_coupling_is_phi_weighted_by_images_of_both() -> None:
    target, known, patient = hospital(200, 5, known=0.9, together=0.5)
    own = SplitProfile.of(target, known, patient)
    statistics = LabelStatistics.of(target, known, patient)
    assert own.coupling.mean[0, 1] == pytest.approx(phi(statistics)[0, 1])
    assert own.coupling.weight[0, 1] == statistics.both_known[0, 1]
    assert own.coupling.hospitals.diagonal().tolist() == [0, 0, 0]
    assert np.array_equal(own.coupling.hospitals, own.coupling.hospitals.T)


def test_small_cells_say_nothing() -> None:
    """Nine patients with a label make no holder and no coupling, whatever number of images."""
    target, known, patient = hospital(100, 6, each=4)
    target[:, 2] = 0
    target[: 4 * (ENOUGH - 1), 2] = 1
    own = SplitProfile.of(target, known, patient)
    assert own.statistics.positives[2] == 36
    assert own.holders.tolist() == [1, 1, 0]
    assert own.coupling.hospitals[2].tolist() == [0, 0, 0]
    target[4 * (ENOUGH - 1), 2] = 1  # one image of the tenth patient
    more = SplitProfile.of(target, known, patient)
    assert more.holders.tolist() == [1, 1, 1]
    assert more.coupling.hospitals[2].tolist() == [1, 1, 0]


def test_few_patients_say_nothing_of_a_prevalence_but_count() -> None:
    few = SplitProfile.of(*hospital(ENOUGH_TO_COMPARE - 1, 7, each=5))
    enough = SplitProfile.of(*hospital(ENOUGH_TO_COMPARE, 7))
    assert few.prevalence.hospitals.tolist() == [0, 0, 0]
    assert enough.prevalence.hospitals.tolist() == [1, 1, 1]
    assert few.annotators.tolist() == [1, 1, 1]


def test_a_label_that_nobody_annotates_is_undefined_not_zero() -> None:
    target, known, patient = hospital(100, 8)
    known[:, 1] = False
    own = SplitProfile.of(target, known, patient) + SplitProfile.of(*hospital(0, 9))
    assert own.annotators.tolist() == [1, 0, 1]
    assert np.isnan(own.effective_holders[1]) and np.isnan(own.prevalence_spread[1])
    assert np.isnan(SplitProfile.of(*hospital(0, 9)).effective_hospitals)


@pytest.mark.parametrize("each", [1, 6])
def test_hospitals_that_are_alike_differ_by_chance_alone(each: int) -> None:
    """Eight federations of five hospitals of 80 patients, each patient seen once or six times.

    Were images, not patients, taken to be drawn independently, the variance of what six images of
    one patient say would be six times too small, and nearly all of them would be beyond chance.
    """
    chances = []
    for world in range(8):
        own = profile([hospital(80, 100 * world + k, each, together=0.3) for k in range(5)])
        chances += [*own.prevalence.chance, own.coupling.chance[0, 1]]
    assert (np.array(chances) < 0.01).mean() < 0.05


def test_the_error_of_phi_is_that_of_repeated_drawing() -> None:
    """Rare labels that go together, phi .5: about 2.5 times the 1/n of independent ones."""
    generator = np.random.default_rng(0)

    def drawn() -> Exams:
        first = generator.random(600) < 0.08
        second = np.where(generator.random(600) < 0.5, first, generator.random(600) < 0.08)
        target = np.stack([first, second], 1).astype(np.float32)
        return target, np.ones((600, 2), bool), np.arange(600)

    each = [SplitProfile.of(*drawn()).coupling for _ in range(60)]
    found = np.var([own.mean[0, 1] for own in each])
    said = np.mean([own.noise[0, 1] / own.weight[0, 1] for own in each])
    assert 0.6 < said / found < 1.6
    assert said > 2 / 600


def test_a_prevalence_and_a_coupling_that_differ_are_seen() -> None:
    generator = np.random.default_rng(3)

    def one(prevalence: float, together: float) -> Exams:
        first = generator.random(400) < prevalence
        second = np.where(generator.random(400) < together, first, generator.random(400) < 0.5)
        target = np.stack([first, second], 1).astype(np.float32)
        return target, np.ones((400, 2), bool), np.arange(400)

    shifted = profile([one(p, 0.0) for p in (0.1, 0.2, 0.4)])
    # .1, .2, .4 have log-odds −2.2, −1.4, −.4: about .9 apart
    assert 0.6 < shifted.prevalence_spread[0] < 1.1
    assert shifted.prevalence.chance[0] < 1e-6
    coupled = profile([one(0.5, t) for t in (0.0, 0.0, 0.6)])
    assert 0.25 < coupled.coupling.between[0, 1] < 0.45  # of phi 0, 0 and .6: .35
    assert coupled.coupling.chance[0, 1] < 1e-6
