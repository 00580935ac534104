"""The label schema: order, aliases, and mistakes named with a suggestion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concilium.foundation.errors import LabelError
from concilium.labels.schema import LabelSchema, fold

SCHEMA = LabelSchema(
    ("Effusion", "Pleural_Thickening", "Mass"),
    {"Pleural Effusion": "Effusion", "pleura, thick": "Pleural_Thickening"},
)


def test_every_name_finds_its_own_place() -> None:
    assert len(SCHEMA) == 3
    assert SCHEMA.indices(SCHEMA.names) == (0, 1, 2)


@pytest.mark.parametrize(
    "name",
    ["Pleural_Thickening", "pleural thickening", "PLEURAL-THICKENING", " pleural  thickening"],
)
def test_case_spaces_underscores_and_hyphens_do_not_matter(name: str) -> None:
    assert SCHEMA.index(name) == 1


@pytest.mark.parametrize(("alias", "index"), [("Pleural Effusion", 0), ("pleural_effusion", 0)])
def test_an_alias_finds_the_label_it_stands_for(alias: str, index: int) -> None:
    assert SCHEMA.index(alias) == index


def test_a_label_goes_before_an_alias_of_the_same_name() -> None:
    assert LabelSchema(("Mass", "Nodule"), {"mass": "Nodule"}).index("Mass") == 0


def test_an_unknown_name_is_found_nowhere_and_refused_with_a_suggestion() -> None:
    assert SCHEMA.find("Efusion") is None
    with pytest.raises(LabelError, match="unknown label 'Efusion'; did you mean 'Effusion'"):
        SCHEMA.index("Efusion")


def test_a_suggestion_may_be_an_alias() -> None:
    with pytest.raises(LabelError, match="did you mean 'Pleural Effusion'"):
        SCHEMA.index("Pleural Efusion")


def test_all_mistakes_of_a_schema_are_listed_at_once() -> None:
    with pytest.raises(LabelError) as caught:
        LabelSchema(("Mass", "Edema", "mass"), {"Oedema": "Edma", "Lump": "Mass"})
    assert [str(problem) for problem in caught.value.problems] == [
        "labels: 'mass' stands twice; remove one",
        "labels: alias 'Oedema' stands for 'Edma', which is not a label; did you mean 'Edema'?",
    ]


def test_a_schema_without_labels_is_refused() -> None:
    with pytest.raises(LabelError, match="name at least one label"):
        LabelSchema(())


@given(st.text("aB _-", max_size=8))
def test_folding_twice_is_folding_once(name: str) -> None:
    assert fold(fold(name)) == fold(name)
