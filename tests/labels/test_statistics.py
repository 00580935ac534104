"""Label statistics: counts by hand, merged equals pooled, and labels may be permuted."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concilium.labels.statistics import LabelStatistics

NUM_LABELS = 3
Exams = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]


@st.composite
def hospitals(draw: st.DrawFn) -> Exams:
    """Targets with soft values, masks and patients of 0 to 8 images."""
    num_images = draw(st.integers(0, 8))
    size = num_images * NUM_LABELS

    def column(values: st.SearchStrategy[float], length: int) -> npt.NDArray[np.float64]:
        return np.array(draw(st.lists(values, min_size=length, max_size=length)))

    target = column(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), size)
    known = column(st.booleans(), size)
    patient = column(st.integers(0, 3), num_images)
    shape = (num_images, NUM_LABELS)
    return (
        target.reshape(shape).astype(np.float32),
        known.reshape(shape).astype(bool),
        patient.astype(np.int64),
    )


def assert_equal(one: LabelStatistics, two: LabelStatistics) -> None:
    for field in fields(LabelStatistics):
        np.testing.assert_array_equal(
            getattr(one, field.name), getattr(two, field.name), err_msg=field.name
        )


@given(hospitals())
def test_counts_equal_counting_image_by_image(exams: Exams) -> None:
    target, known, patient = exams
    statistics = LabelStatistics.of(*exams)
    assert statistics.num_images == len(target)
    assert statistics.num_patients == len(set(patient.tolist()))
    for i in range(NUM_LABELS):
        for j in range(NUM_LABELS):
            rows = list(zip(target, known, strict=True))
            assert statistics.both_known[i, j] == sum(k[i] and k[j] for _, k in rows)
            assert statistics.both_present[i, j] == sum(
                k[i] and k[j] and t[i] > 0.5 and t[j] > 0.5 for t, k in rows
            )
            assert statistics.present_and_known[i, j] == sum(
                k[i] and k[j] and t[i] > 0.5 for t, k in rows
            )


@given(st.lists(hospitals(), min_size=1, max_size=4))
def test_merged_equals_pooled(several: list[Exams]) -> None:
    # Patients of different hospitals are different people: their codes are moved apart.
    apart = [(t, k, p + 10 * i) for i, (t, k, p) in enumerate(several)]
    pooled = LabelStatistics.of(*(np.concatenate(column) for column in zip(*apart, strict=True)))
    merged = LabelStatistics.zero(NUM_LABELS)
    for exams in apart:
        merged = merged + LabelStatistics.of(*exams)
    assert_equal(merged, pooled)


@given(hospitals(), hospitals(), hospitals())
def test_addition_is_a_commutative_monoid(one: Exams, two: Exams, three: Exams) -> None:
    a, b, c = (LabelStatistics.of(*exams) for exams in (one, two, three))
    assert_equal(a + b, b + a)
    assert_equal((a + b) + c, a + (b + c))
    assert_equal(a + LabelStatistics.zero(NUM_LABELS), a)


@given(hospitals(), st.permutations(range(NUM_LABELS)))
def test_permuting_the_labels_permutes_the_counts(exams: Exams, order: list[int]) -> None:
    target, known, patient = exams
    plain = LabelStatistics.of(*exams)
    permuted = LabelStatistics.of(target[:, order], known[:, order], patient)
    for field in ("both_known", "both_present", "present_and_known"):
        expected = getattr(plain, field)[np.ix_(order, order)]
        np.testing.assert_array_equal(getattr(permuted, field), expected, err_msg=field)


@given(hospitals())
def test_what_an_unknown_entry_holds_does_not_matter(exams: Exams) -> None:
    target, known, patient = exams
    for filling in (0.0, 1.0, np.nan):
        filled = np.where(known, target, np.float32(filling))
        assert_equal(LabelStatistics.of(filled, known, patient), LabelStatistics.of(*exams))


@given(hospitals())
def test_known_positives_and_negatives_fit_together(exams: Exams) -> None:
    target, known, _ = exams
    statistics = LabelStatistics.of(*exams)
    np.testing.assert_array_equal(statistics.known, known.sum(axis=0))
    np.testing.assert_array_equal(statistics.positives, ((target > 0.5) & known).sum(axis=0))
    np.testing.assert_array_equal(statistics.negatives, ((target <= 0.5) & known).sum(axis=0))


def test_prevalence_counts_known_images_only_and_is_nan_where_nothing_is_known() -> None:
    # Label 0: 1 of 2 known is present. Label 1: never annotated. Label 2: absent in all 3.
    target = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 0]], np.float32)
    known = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1]], bool)
    prevalence = LabelStatistics.of(target, known, np.arange(3)).prevalence
    assert prevalence[0] == pytest.approx(1 / 2)
    assert np.isnan(prevalence[1])
    assert prevalence[2] == 0


def test_counts_stay_exact_integers() -> None:
    # A float32 product would lose counts above 2^24: 16,777,217 images cannot be told from
    # 16,777,216. The types guard it, and a sum beyond 2^31 guards int64.
    many = LabelStatistics.of(np.ones((4, 1), np.float32), np.ones((4, 1), bool), np.arange(4))
    assert many.both_known.dtype == many.both_present.dtype == np.int64
    for _ in range(40):
        many = many + many
    assert many.positives.tolist() == [4 * 2**40]
