"""What a study may ask of a split beyond its parts: sets held out of training, fewer labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import Dataset
from concilium.data.splits import PARTS
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError, InputError, StudyError
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State
from concilium.labels.uncertainty import UncertaintyPolicy
from concilium.studies import hospitals
from concilium.studies.configuration import Study, changes
from concilium.studies.division import Division, divide, said_of_split, save_division
from concilium.studies.label_checks import check_labels
from concilium.studies.reading import parse_study

NAMES = ("Mass", "Edema", "Hernia")
TRAIN, VALIDATION, TEST = range(3)


def world(num_patients: int = 120) -> Dataset:
    """Two exams a patient; the first two labels stand together on some eighth of them."""
    generator = np.random.default_rng(0)
    patient = np.repeat(np.arange(num_patients), 2)
    states = (generator.random((len(patient), 3)) < [0.35, 0.35, 0.2]).astype(np.int8)
    table = ExamTable(LabelSchema(NAMES, {"Lump": "Mass"}), states, patient)
    return Dataset(table, np.zeros((len(patient), 4), np.float32), "world")


def study(**split: Any) -> Study:
    content = {
        "title": "small",
        "data": {"source": "phantom"},
        "split": {"hospitals": 3, **split},
        "network": {"architecture": "linear"},
        "methods": {"fedavg": {}},
    }
    return parse_study(content, "small.toml")


def together(dataset: Dataset) -> np.ndarray:
    return dataset.table.states[:, :2].all(1)


def test_a_held_out_set_is_in_the_test_part_alone() -> None:
    dataset = world()
    plain, division = (
        divide(dataset, study(), 0),
        divide(dataset, study(held_out=[["Lump", "Edema"]]), 0),
    )
    assert (plain.split.part[together(dataset)] == TRAIN).any()
    assert (division.split.part[together(dataset)] == TEST).all()
    np.testing.assert_array_equal(division.partition.client, plain.partition.client)
    patients = dataset.table.patient
    others = ~np.isin(patients, patients[together(dataset)])
    np.testing.assert_array_equal(division.split.part[others], plain.split.part[others])
    parts = hospitals.parts_of(dataset, division, UncertaintyPolicy())
    for own in parts.values():
        for part in ("train", "validation"):
            assert not own[part].target[:, :2].all(1).any()


def test_uncertain_is_held_out_where_it_counts_as_present() -> None:
    dataset = world()
    dataset.table.states[0] = [1, -1, 0]
    for uncertain, held in (("ignore", False), ("positive", True)):
        own = study(held_out=[["Mass", "Edema"]]).model_copy(
            update={"data": study().data.model_copy(update={"uncertain": uncertain})}
        )
        exams = divide(dataset, own, 0).held_out[0].exams
        assert exams == together(dataset)[1:].sum() + held


def rows(division: Division, part: str) -> set[int]:
    return {row for k in range(3) for row in division.rows(k, part).tolist()}


def test_labelled_thins_training_and_validation_of_each_hospital_and_not_its_test() -> None:
    """A quarter of each hospital's patients, all exams of each; and the pooled exams are fewer."""
    dataset = world()
    whole = divide(dataset, study(), 0)
    fewer, fewest = (divide(dataset, study(labelled=x), 0) for x in (0.25, 0.1))
    patient = dataset.table.patient
    for part in ("train", "validation"):
        assert rows(fewest, part) <= rows(fewer, part) < rows(whole, part)
        for k in range(3):
            had, has = (np.unique(patient[d.rows(k, part)]) for d in (whole, fewer))
            assert len(has) == max(1, round(0.25 * len(had)))
            assert len(fewer.rows(k, part)) == 2 * len(has)
    assert rows(fewest, "test") == rows(whole, "test")
    for k, own in enumerate(fewer.rows_of_all()):
        for part in PARTS:
            np.testing.assert_array_equal(own[part], fewer.rows(k, part))
    parts = hospitals.parts_of(dataset, fewer, UncertaintyPolicy())
    assert len(hospitals.pooled(parts)["train"].target) == len(rows(fewer, "train"))


def test_each_seed_and_each_part_has_its_own_labelled_patients() -> None:
    dataset, own = world(), study(labelled=0.5)
    first, again, other = (divide(dataset, own, seed) for seed in (1, 1, 2))
    assert rows(first, "train") == rows(again, "train") != rows(other, "train")


def test_the_proof_counts_what_has_labels() -> None:
    fewer = divide(world(), study(labelled=0.5), 0)
    assert fewer.proof.images == {part: len(rows(fewer, part)) for part in PARTS}
    assert fewer.proof.patients["train"] == fewer.proof.images["train"] // 2


def test_what_was_held_out_and_thinned_is_saved_and_said(tmp_path: Path) -> None:
    dataset = world()
    division = divide(dataset, study(held_out=[["Mass", "Edema"]], labelled=0.5), 0)
    save_division(tmp_path, dataset, division)
    saved = json.loads((tmp_path / "shifts.json").read_text())
    exams = int(together(dataset).sum())
    assert saved["held_out"][0]["labels"] == ["Mass", "Edema"]
    assert saved["held_out"][0]["exams"] == exams
    train = saved["labelled"]["train"]
    assert train["images"] == len(rows(division, "train")) < train["of"]
    lines = said_of_split(saved)
    assert lines[0].startswith(f"Held out: Mass + Edema: on {exams} exams of ")
    assert lines[1].startswith(f"Labelled: {train['images']} of {train['of']} images of train, ")
    with np.load(tmp_path / "split.npz") as arrays:
        np.testing.assert_array_equal(arrays["labelled"], division.labelled)


def test_a_study_that_asks_for_neither_is_what_it_was(tmp_path: Path) -> None:
    """Its digest does not know of them, so that checkpoints and run folders stay valid."""
    plain = study()
    assert plain.digest() == study(held_out=[], labelled=1).digest()
    assert not {"held_out", "labelled"} & plain.what_changes_results()["split"].keys()
    assert plain.digest() != study(labelled=0.5).digest()
    assert plain.digest() != study(held_out=[["Mass", "Edema"]]).digest()
    assert changes(plain, study(labelled=0.5)) == ["split.labelled"]
    assert changes(study(held_out=[["Mass", "Edema"]]), plain) == ["split.held_out"]
    division = divide(world(), plain, 0)
    assert division.statement == {} and said_of_split({}) == []
    save_division(tmp_path, world(), division)
    with np.load(tmp_path / "split.npz") as arrays:
        assert set(arrays) == {"part", "client", "annotated", "clients"}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"held_out": [["Mass"]]}, "has two labels or more"),
        ({"held_out": [["Mass", "Mass"]]}, "has two labels or more"),
        ({"held_out": [["Mass", "Edema"]], "folds": 5}, "test part of every fold"),
        ({"held_out": [["Mass", "Edema"]], "column": "part"}, "stay as they are"),
        ({"labelled": 0}, r"split\.labelled"),
        ({"labelled": 1.5}, r"split\.labelled"),
    ],
)
def test_what_cannot_be_asked_is_refused_when_it_is_read(
    split: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        study(**split)
    assert "Value error" not in str(caught.value)


def test_a_held_out_label_that_is_not_there_is_named_with_its_neighbour() -> None:
    own = study(held_out=[["Mass", "Edma"]])
    with pytest.raises(InputError, match=r"split\.held_out: unknown label 'Edma'.*'Edema'"):
        check_labels(world(), own, UncertaintyPolicy())


def test_a_set_that_nobody_has_is_refused_before_anything_is_written() -> None:
    dataset = world()
    dataset.table.states[:, 2] = 0
    with pytest.raises(DataError, match="nobody has an exam with Mass and Hernia together"):
        divide(dataset, study(held_out=[["Mass", "Hernia"]]), 0)


def test_folds_and_columns_may_be_thinned() -> None:
    division = divide(world(), study(folds=3, labelled=0.5), 0, 1)
    assert 0 < len(rows(division, "train")) < (division.split.part == TRAIN).sum()


@pytest.mark.parametrize("as_absent", [False, True])
def test_what_a_hospital_never_annotates_is_unknown_or_absent_and_known_in_its_test(
    as_absent: bool,
) -> None:
    dataset = world()
    dataset.table.states[:10] = State.UNCERTAIN
    split = {"partitioner": {"name": "partial_annotation", "labels_per_hospital": 1}}
    division = divide(dataset, study(**split), 0)
    policy = UncertaintyPolicy(unknown_as_negative=as_absent)
    whole = hospitals.parts_of(dataset, replace_annotated(division, True), UncertaintyPolicy())
    for k, (name, own) in enumerate(hospitals.parts_of(dataset, division, policy).items()):
        annotated = division.partition.annotated[k]
        assert annotated.sum() == 1
        for part in ("train", "validation"):
            exams, full = own[part], whole[name][part]
            assert (full.target[:, ~annotated] == 1).any()
            np.testing.assert_array_equal(exams.target[:, annotated], full.target[:, annotated])
            np.testing.assert_array_equal(exams.known[:, annotated], full.known[:, annotated])
            assert (exams.known[:, ~annotated] == as_absent).all()
            if as_absent:
                assert not exams.target[:, ~annotated].any()
        np.testing.assert_array_equal(own["test"].target, whole[name]["test"].target)
        np.testing.assert_array_equal(own["test"].known, whole[name]["test"].known)


def replace_annotated(division: Division, value: bool) -> Division:
    annotated = np.full_like(division.partition.annotated, value)
    return replace(division, partition=replace(division.partition, annotated=annotated))
