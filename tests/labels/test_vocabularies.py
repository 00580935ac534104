"""The label lists of public collections and their aliases."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.foundation.errors import LabelError
from concilium.labels.schema import fold
from concilium.labels.states import State
from concilium.labels.vocabularies import (
    VOCABULARIES,
    apply_no_finding,
    is_no_finding,
    vocabulary,
)

# Sizes as published: 14, 14, 14 and 28 (22 local + 6 global) without "No Finding" where it is one.
SIZES = {"nih": 14, "chestmnist": 14, "chexpert": 13, "padchest": 28, "vindr": 27}

# torchxrayvision's names (datasets.default_pathologies) of the findings that a collection has.
TORCHXRAYVISION = {
    "nih": "Atelectasis Consolidation Infiltration Pneumothorax Edema Emphysema Fibrosis Effusion "
    "Pneumonia Pleural_Thickening Cardiomegaly Nodule Mass Hernia",
    "chexpert": "Enlarged_Cardiomediastinum Cardiomegaly Lung_Opacity Lung_Lesion Edema "
    "Consolidation Pneumonia Atelectasis Pneumothorax Effusion Fracture Support_Devices",
    "padchest": "Effusion Pleural_Thickening Hernia Granuloma Tube' Air_Trapping Tuberculosis",
    "vindr": "Effusion Pleural_Thickening Fibrosis Lung_Opacity Cardiomegaly Infiltration",
}


def test_sizes_are_as_published() -> None:
    assert {name: len(schema) for name, schema in VOCABULARIES.items()} == SIZES


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_alias_finds_its_label_and_none_hides_a_label(name: str) -> None:
    schema = vocabulary(name)
    for alias, label in schema.aliases.items():
        assert schema.names[schema.index(alias)] == label, alias
    folded = [fold(word) for word in (*schema.names, *schema.aliases)]
    assert len(folded) == len(set(folded))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_no_finding_is_in_no_vocabulary(name: str) -> None:
    assert not any(is_no_finding(word) for word in VOCABULARIES[name].names)
    assert vocabulary(name).find("No Finding") is None


@pytest.mark.parametrize("collection", TORCHXRAYVISION)
def test_torchxrayvision_names_are_understood(collection: str) -> None:
    vocabulary(collection).indices(TORCHXRAYVISION[collection].split())


def test_the_nih_order_is_that_of_chestmnist() -> None:
    nih, chestmnist = vocabulary("nih"), vocabulary("chestmnist")
    assert chestmnist.indices(nih.names) == tuple(range(14))
    assert nih.indices(chestmnist.names) == tuple(range(14))
    assert chestmnist.names[12:] == ("pleural", "hernia")


def test_one_finding_has_its_place_in_every_vocabulary() -> None:
    places = {name: schema.names[schema.index("Effusion")] for name, schema in VOCABULARIES.items()}
    assert places == {
        "nih": "Effusion",
        "chestmnist": "effusion",
        "chexpert": "Pleural Effusion",
        "padchest": "Effusion",
        "vindr": "Pleural effusion",
    }


def test_a_term_is_not_taken_for_another_finding_that_contains_its_name() -> None:
    assert vocabulary("padchest").find("subcutaneous emphysema") is None
    assert vocabulary("padchest").find("mediastinal mass") is None
    assert vocabulary("vindr").find("Nodule") is None  # its label is "Nodule/Mass", not the same


def test_an_unknown_vocabulary_is_refused_with_a_suggestion() -> None:
    with pytest.raises(LabelError, match="did you mean 'chexpert'"):
        vocabulary("chexprt")


@pytest.mark.parametrize("said", ["No Finding", "no finding", "No_Finding", "normal"])
def test_no_finding_is_recognised(said: str) -> None:
    assert is_no_finding(said)
    assert not is_no_finding("Fracture")


def test_no_finding_makes_unknown_findings_absent_and_nothing_else() -> None:
    schema = vocabulary("chexpert")
    states = np.full((2, 13), State.UNKNOWN, np.int8)
    states[:, schema.index("Lung Opacity")] = State.UNCERTAIN
    changed = apply_no_finding(states, np.array([True, False]), schema)
    expected = states.copy()
    expected[0] = State.ABSENT
    expected[0, schema.index("Lung Opacity")] = State.UNCERTAIN  # what was said stays
    expected[0, schema.index("Support Devices")] = State.UNKNOWN  # a tube is no finding
    np.testing.assert_array_equal(changed, expected)
    assert (states[0] != expected[0]).any()  # the states given are not written into
    assert changed.dtype == np.int8
