"""The phantom's label sets: the real counts, and how rare ones are raised."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from concilium.foundation.errors import DataError, LabelError
from concilium.sources._phantom.cohort import BLOCK, draw_block, draw_cohort
from concilium.sources._phantom.label_sets import (
    ap_probabilities,
    nih_label_sets,
    set_probabilities,
)

SETS = nih_label_sets()


def test_the_table_has_the_published_counts() -> None:
    positives = dict(zip(SETS.schema.names, SETS.images @ SETS.states, strict=True))
    assert SETS.images.sum() == 112_120
    assert positives["Infiltration"] == 19_894
    assert positives["Hernia"] == 227
    # 51,759 images have a finding, 40.2 % of those two or more.
    size = SETS.states.sum(axis=1)
    assert SETS.images[size > 0].sum() == 51_759
    assert SETS.images[size > 1].sum() / 51_759 == pytest.approx(0.402, abs=0.0005)
    assert len(np.unique(SETS.states, axis=0)) == len(SETS.images) == 801


@pytest.mark.slow
def test_the_table_equals_the_original_one(real_data: Path) -> None:
    found: Counter[frozenset[str]] = Counter()
    with gzip.open(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            found[frozenset(row["Finding Labels"].split("|")) - {"No Finding"}] += 1
    names = np.array(SETS.schema.names)
    stored = {
        frozenset(names[states > 0].tolist()): int(images)
        for states, images in zip(SETS.states, SETS.images, strict=True)
    }
    assert stored == found


def test_without_enrichment_the_probabilities_are_the_real_frequencies() -> None:
    np.testing.assert_allclose(set_probabilities(SETS), SETS.images / 112_120, rtol=1e-12)


@pytest.mark.parametrize("enrichment", [0.3, 0.5, 1.0])
def test_enrichment_keeps_proportions_among_sets_with_the_same_rarest_finding(
    enrichment: float,
) -> None:
    probability = set_probabilities(SETS, enrichment)
    hernia = SETS.having(["Hernia"])  # the rarest of all, so of every set that has it
    ratio = probability[hernia] / SETS.images[hernia]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    # Raised, against "No Finding", by (60,361 / 227) ** enrichment: the docstring's formula.
    nothing = ~SETS.states.any(axis=1)
    base = (probability[nothing] / SETS.images[nothing])[0]
    assert ratio[0] / base == pytest.approx((60_361 / 227) ** enrichment)


def test_a_rare_combination_gets_its_share_and_the_others_keep_theirs() -> None:
    pair = ("Mass", "Pneumothorax")
    plain, raised = set_probabilities(SETS, 0.5), set_probabilities(SETS, 0.5, pair, 0.08)
    chosen = SETS.having(pair)
    assert plain[chosen].sum() < 0.08
    assert raised[chosen].sum() == pytest.approx(0.08)
    for some in (chosen, ~chosen):
        np.testing.assert_allclose(
            raised[some] / raised[some].sum(), plain[some] / plain[some].sum(), rtol=1e-9
        )


def test_a_share_that_is_there_already_is_not_lowered() -> None:
    plain = set_probabilities(SETS)
    np.testing.assert_array_equal(set_probabilities(SETS, 0.0, ("Effusion",), 0.01), plain)


def test_combinations_that_cannot_be_are_refused() -> None:
    with pytest.raises(LabelError, match="did you mean 'Hernia'"):
        set_probabilities(SETS, 0.0, ("Hernya",), 0.1)
    with pytest.raises(DataError, match="Hernia and Pneumonia and Edema"):
        set_probabilities(SETS, 0.0, ("Hernia", "Pneumonia", "Edema"), 0.1)


@pytest.mark.parametrize("enrichment", [0.0, 0.5])
def test_drawn_sets_are_as_frequent_as_the_table_says(enrichment: float) -> None:
    probability = set_probabilities(SETS, enrichment)
    cohort = draw_cohort(SETS, probability, seed=3, num_exams=8 * BLOCK)
    # First exams of patients only: they are independent, as the chi-square test assumes.
    first = np.diff(cohort.patient, prepend=-1) > 0
    powers = 2 ** np.arange(14)
    code = {int(states @ powers): row for row, states in enumerate(SETS.states)}
    drawn = [code[int(states @ powers)] for states in cohort.states[first]]
    expected = probability * len(drawn)
    observed = np.bincount(drawn, minlength=len(expected))
    common = expected >= 5  # the usual least count of a cell; all rarer sets make one cell
    result = chisquare(
        [*observed[common], observed[~common].sum()], [*expected[common], expected[~common].sum()]
    )
    assert common.sum() > 10
    assert result.pvalue > 0.01


def test_later_exams_have_the_same_prevalence_as_first_ones() -> None:
    probability = set_probabilities(SETS, 0.5)
    cohort = draw_cohort(SETS, probability, seed=1, num_exams=16 * BLOCK)
    later = np.diff(cohort.patient, prepend=-1) == 0
    prevalence = cohort.states[later].mean(axis=0)
    wanted = probability @ SETS.states
    # About 4,900 later exams, half of them repeats of a patient's findings: as good as 2,000.
    assert np.all(np.abs(prevalence - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 2000))


def test_edema_is_seen_in_bed_and_fibrosis_is_not() -> None:
    # 88 % and 16 % of the real images with these findings are AP views.
    chance = ap_probabilities(SETS)
    share = [
        np.average(chance, weights=SETS.images * SETS.states[:, SETS.schema.index(name)])
        for name in ("Edema", "Fibrosis")
    ]
    assert share == pytest.approx([0.88, 0.16], abs=0.06)


def test_patients_have_several_exams_that_share_body_age_sex_and_often_findings() -> None:
    cohort = draw_cohort(SETS, set_probabilities(SETS, 0.5), seed=0, num_exams=4 * BLOCK)
    patients = int(cohort.patient[-1]) + 1
    assert np.array_equal(np.unique(cohort.patient), np.arange(patients))
    assert 2 < len(cohort) / patients < 3  # 2.5 by construction, NIH has 3.6
    together = np.flatnonzero(np.diff(cohort.patient) == 0)
    for column in (cohort.age, cohort.female, cohort.hospital, cohort.body):
        np.testing.assert_array_equal(column[together], column[together + 1])
    same = (cohort.states[together] == cohort.states[together + 1]).all(axis=1)
    assert 0.5 < same.mean() < 0.7  # half stay, some are drawn equal by chance


def test_a_block_depends_on_its_number_and_the_seed_only() -> None:
    probability = set_probabilities(SETS)
    first, again = (draw_block(SETS, probability, 5, 1).traits for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, draw_block(SETS, probability, 5, 2).traits)
    assert not np.array_equal(first, draw_block(SETS, probability, 6, 1).traits)
