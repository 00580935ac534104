"""A hospital's own file: what it says, and every mistake in it at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from concilium.deployment.holdings import Holdings
from concilium.deployment.policy import read_hospital
from concilium.foundation.errors import InputError, LabelError, StudyError
from concilium.labels.states import State
from concilium.studies import assembly
from tests.deployment.worlds import PATIENTS, write_hospital


def test_a_file_is_read_and_its_paths_start_at_its_folder(tmp_path: Path) -> None:
    own = read_hospital(write_hospital(tmp_path / "east", "east", 1))
    assert own.name == "east"
    assert own.policy.least_patients == 10
    assert own.data.source.settings == {"file": str(tmp_path / "east" / "features.npz")}


def test_every_mistake_is_said_at_once_with_its_remedy(tmp_path: Path) -> None:
    folder = write_hospital(tmp_path, "east", 1)
    (folder / "hospital.toml").write_text(
        'name = "ea/st"\n'
        "[data]\n"
        'source = {name = "feature_tabel", file = "features.npz"}\n'
        "label = {}\n"
        "[policy]\n"
        "least_patients = 3\n"
        "leastpatients = 3\n"
        "[extra]\n",
        encoding="utf-8",
    )
    with pytest.raises(StudyError) as caught:
        read_hospital(folder)
    said = {problem.where: str(problem) for problem in caught.value.problems}
    assert said.keys() == {
        "hospital.toml, name",
        "hospital.toml, data.source: sources",
        "hospital.toml, data.label",
        "hospital.toml, policy.least_patients",
        "hospital.toml, policy.leastpatients",
        "hospital.toml, extra",
    }
    assert all(problem.remedy for problem in caught.value.problems)
    assert "feature_table" in said["hospital.toml, data.source: sources"]
    assert "labels" in said["hospital.toml, data.label"]
    assert "below 10, the least of every federation" in said["hospital.toml, policy.least_patients"]


@pytest.mark.parametrize(("text", "said"), [("name = ", "is not TOML"), (None, "federation init")])
def test_no_file_or_no_toml_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "hospital.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=said):
        read_hospital(tmp_path)


def test_labels_are_called_as_studies_call_them(tmp_path: Path) -> None:
    """Also two names that change places, and a label that nobody here looks for."""
    more = 'never_annotated = ["Fibrosis"]\n[data.labels]\nMass = "Hernia"\nHernia = "mass"\n'
    folder = write_hospital(tmp_path / "own", "east", 1, more)
    holdings = Holdings(folder, read_hospital(folder))
    read = assembly.make("sources", holdings.hospital.data.source).load(tmp_path / "cache")
    renamed = holdings.hospital.in_its_words(read)
    assert renamed.table.schema.names == ("Effusion", "Hernia", "Mass", "Fibrosis")
    np.testing.assert_array_equal(renamed.table.states[:, :3], read.table.states)
    assert (renamed.table.states[:, 3] == State.UNKNOWN).all()
    assert renamed.table.states.shape == (PATIENTS, 4)
    assert renamed.table.states.dtype == read.table.states.dtype


def test_what_is_there_but_never_annotated_is_unknown_not_absent(tmp_path: Path) -> None:
    folder = write_hospital(tmp_path / "own", "east", 1, 'never_annotated = ["Mass"]\n')
    own = read_hospital(folder)
    read = assembly.make("sources", own.data.source).load(tmp_path / "cache")
    before = read.table.states.copy()
    states = own.in_its_words(read).table.states
    assert (states[:, 1] == State.UNKNOWN).all()
    np.testing.assert_array_equal(states[:, [0, 2]], before[:, [0, 2]])
    np.testing.assert_array_equal(read.table.states, before)


def test_a_label_that_the_files_do_not_have_is_named(tmp_path: Path) -> None:
    more = '[data.labels]\nMass = "Mas"\nHernia = "Rupture"\n'
    folder = write_hospital(tmp_path / "own", "east", 1, more)
    own = read_hospital(folder)
    read = assembly.make("sources", own.data.source).load(tmp_path / "cache")
    with pytest.raises(LabelError) as caught:
        own.in_its_words(read)
    assert isinstance(caught.value, InputError)
    assert [p.where for p in caught.value.problems] == [
        "hospital.toml, data.labels.Mass",
        "hospital.toml, data.labels.Hernia",
    ]
    assert "'Mass'" in str(caught.value.problems[0])
