"""Splits: patients whole, labels in proportion, and a proof that says what is shared."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from concilium.data.patients import Patients
from concilium.data.splits import (
    PARTS,
    Split,
    check_disjoint,
    disjointness,
    fold_by_patient,
    folds_by_patient,
    split_by_column,
    split_by_patient,
    strata,
)
from concilium.data.table import ExamTable, patient_codes
from concilium.foundation.errors import DataError, InputError
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State
from concilium.labels.vocabularies import vocabulary

FRACTIONS = (0.7, 0.1, 0.2)


def some_table(
    seed: int = 0, num_patients: int = 300, column: npt.NDArray[np.generic] | None = None
) -> ExamTable:
    """About 2.5 images a patient in random order, five labels of 30 % to 2 %, all known."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(num_patients), generator.integers(1, 5, num_patients))
    patient = patient_codes(generator.permutation(patient))
    prevalence = np.array([0.3, 0.2, 0.1, 0.05, 0.02])
    states = (generator.random((len(patient), 5)) < prevalence).astype(np.int8)
    covariates = {} if column is None else {"part": column}
    return ExamTable(LabelSchema(("A", "B", "C", "D", "E")), states, patient, covariates)


def positives_by_part(table: ExamTable, split: Split) -> npt.NDArray[np.int64]:
    return np.stack([(table.states[split.rows(name)] == 1).sum(0) for name in PARTS])


@pytest.mark.parametrize("seed", range(5))
def test_laws_of_a_split(seed: int) -> None:
    table = some_table(seed)
    split = split_by_patient(table, FRACTIONS, seed)
    assert split.part.dtype == np.int8
    rows = np.concatenate([split.rows(name) for name in PARTS])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(table)))
    assert sum(check_disjoint(split, table).shared_patients.values()) == 0
    expected = np.outer(FRACTIONS, (table.states == 1).sum(0))
    assert abs(positives_by_part(table, split) - expected).max() < 2


def test_one_seed_gives_one_split_and_another_seed_another() -> None:
    table = some_table()
    parts = [split_by_patient(table, FRACTIONS, seed).part for seed in (3, 3, 4)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()


def test_permuting_the_labels_changes_no_split() -> None:
    table, order = some_table(), np.array([4, 0, 3, 1, 2])
    names = tuple(table.schema.names[i] for i in order)
    permuted = ExamTable(LabelSchema(names), table.states[:, order], table.patient)
    for seed in range(3):
        np.testing.assert_array_equal(
            split_by_patient(table, FRACTIONS, seed).part,
            split_by_patient(permuted, FRACTIONS, seed).part,
        )


def test_a_fraction_of_zero_leaves_a_part_empty() -> None:
    split = split_by_patient(some_table(), (0.8, 0.0, 0.2), 0)
    assert len(split.rows("validation")) == 0
    assert len(split.rows("test")) > 0


def test_only_patients_of_the_table_count() -> None:
    # The rows of every second patient keep their codes, which are then not consecutive.
    table = some_table()
    part = table.take(np.flatnonzero(table.patient % 2 == 1))
    split = split_by_patient(part, FRACTIONS, 0)
    assert sum(check_disjoint(split, part).patients.values()) == 150


def test_known_negatives_are_balanced_where_a_label_is_not_always_known() -> None:
    table = some_table(1, num_patients=400)
    states = table.states.copy()
    unknown = np.random.default_rng(0).random(len(table)) < 0.9
    states[unknown & (states[:, 0] == 0), 0] = State.UNKNOWN
    table = ExamTable(table.schema, states, table.patient)
    split = split_by_patient(table, FRACTIONS, 0)
    absent = np.array([(states[split.rows(name), 0] == State.ABSENT).sum() for name in PARTS])
    assert abs(absent - np.array(FRACTIONS) * absent.sum()).max() < 2
    # five labels present, one of them sometimes not known, and images
    assert strata(table, Patients.of(table)).shape == (400, 7)


@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_the_test_parts_of_all_folds_are_the_table(validation: float) -> None:
    table = some_table()
    splits = [fold_by_patient(table, 4, fold, validation, seed=7) for fold in range(4)]
    tests = np.concatenate([split.rows("test") for split in splits])
    np.testing.assert_array_equal(np.sort(tests), np.arange(len(table)))
    for split in splits:
        check_disjoint(split, table)
        rest = len(table) - len(split.rows("test"))
        assert len(split.rows("validation")) == pytest.approx(validation * rest, abs=4)
        positives = (table.states[split.rows("test")] == 1).sum(0)
        assert abs(positives - (table.states == 1).sum(0) / 4).max() < 2


def test_all_folds_at_once_are_the_folds_one_by_one() -> None:
    table = some_table()
    of_row = folds_by_patient(table, 4, seed=7)
    for fold in range(4):
        split = fold_by_patient(table, 4, fold, 0.1, seed=7)
        np.testing.assert_array_equal(split.rows("test"), np.flatnonzero(of_row == fold))


def test_the_proof_counts_and_hashes_what_it_says() -> None:
    table = some_table()
    split = split_by_patient(table, FRACTIONS, 0)
    proof = disjointness(split, table)
    for name in PARTS:
        codes = sorted(set(table.patient[split.rows(name)].tolist()))
        assert proof.patients[name] == len(codes)
        assert proof.images[name] == len(split.rows(name))
        digest = hashlib.sha256(b"".join(code.to_bytes(8, "little") for code in codes))
        assert proof.patients_sha256[name] == digest.hexdigest()
    assert json.loads(json.dumps(proof.to_json())) == proof.to_json()


def test_a_patient_in_two_parts_is_refused_without_being_named() -> None:
    table = ExamTable(
        LabelSchema(("A",)), np.zeros((6, 1), np.int8), np.array([70001, 70001, 2, 2, 2, 3])
    )
    split = Split(np.array([0, 2, 0, 1, 2, 1], np.int8))
    assert disjointness(split, table).shared_patients == {
        "train/validation": 1,
        "train/test": 2,
        "validation/test": 1,
    }
    with pytest.raises(DataError) as caught:
        check_disjoint(split, table)
    assert [str(problem) for problem in caught.value.problems][:2] == [
        "split: 1 patient has images in both train and validation; "
        "split by patient instead of using this column",
        "split: 2 patients have images in both train and test; "
        "split by patient instead of using this column",
    ]
    assert "70001" not in str(caught.value)


def test_a_split_column_is_read_by_its_usual_names() -> None:
    schema, states = LabelSchema(("A",)), np.zeros((6, 1), np.int8)
    column = np.array(["train", "Training ", "val", "valid", "TEST", "testing"])
    table = ExamTable(schema, states, np.arange(6), {"part": column})
    assert split_by_column(table, "part").part.tolist() == [0, 0, 1, 1, 2, 2]


def test_every_other_value_of_a_split_column_is_refused_with_its_count() -> None:
    schema, states = LabelSchema(("A",)), np.zeros((4, 1), np.int8)
    column = np.array(["train", "holdout", "", "Holdout "])
    table = ExamTable(schema, states, np.arange(4), {"part": column})
    with pytest.raises(DataError) as caught:
        split_by_column(table, "part")
    assert len(caught.value.problems) == 2
    assert "2 rows say 'holdout'" in str(caught.value)
    with pytest.raises(DataError, match="did you mean 'part'"):
        split_by_column(table, "prt")


def test_a_split_column_that_divides_a_patient_is_refused() -> None:
    schema, states = LabelSchema(("A",)), np.zeros((2, 1), np.int8)
    table = ExamTable(schema, states, np.zeros(2, np.int64), {"part": np.array(["train", "test"])})
    with pytest.raises(DataError, match="1 patient has images in both train and test"):
        split_by_column(table, "part")


def test_what_cannot_be_split_is_refused() -> None:
    table = some_table(num_patients=2)
    with pytest.raises(InputError, match="must sum to 1"):
        split_by_patient(table, (0.5, 0.1, 0.1), 0)
    with pytest.raises(DataError, match="2 patients leave no patient for"):
        split_by_patient(table, FRACTIONS, 0)
    with pytest.raises(DataError, match="2 patients cannot be split into 5 folds"):
        fold_by_patient(table, 5, 0, 0.1, 0)
    with pytest.raises(InputError, match="fold=5 must lie between 0 and 4"):
        fold_by_patient(table, 5, 5, 0.1, 0)


@pytest.mark.slow
def test_the_whole_nih_table(real_data: Path) -> None:
    frame = pd.read_csv(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz")
    schema = vocabulary("nih")
    findings = frame["Finding Labels"].str.get_dummies("|")
    states = findings[list(schema.names)].to_numpy(np.int8)
    table = ExamTable(schema, states, patient_codes(frame["Patient ID"].to_numpy()))
    start = perf_counter()
    split = split_by_patient(table, FRACTIONS, 0)
    seconds = perf_counter() - start  # printed, not asserted: machines differ
    sys.stdout.write(f"\nsplit of 112,120 images of 30,805 patients: {seconds:.3f} s\n")
    proof = check_disjoint(split, table)
    assert sum(proof.patients.values()) == 30805
    # Every label, Hernia's 227 as well as Infiltration's 19,894, to within one image.
    expected = np.outer(FRACTIONS, states.sum(0))
    assert abs(positives_by_part(table, split) - expected).max() < 1


def test_a_published_column_that_shares_patients_is_found_out(real_data: Path) -> None:
    # The split that came with these 1,000 radiographs is by image: their notes warn of it.
    bundle = np.load(real_data / "nih" / "nih_kcr1000_64.npz", allow_pickle=False)
    table = ExamTable(
        vocabulary("nih"),
        bundle["labels"].astype(np.int8),
        patient_codes(bundle["patient"]),
        {"split": bundle["split"]},
    )
    with pytest.raises(DataError, match="patients have images in both"):
        split_by_column(table, "split")
    check_disjoint(split_by_patient(table, FRACTIONS, 0), table)
