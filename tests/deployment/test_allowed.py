"""Which studies a hospital answers: the digest, and the files that its people put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from concilium.deployment.allowed import Allowed, allow, federation_digest, read_federated
from concilium.foundation.errors import StudyError
from tests.deployment.worlds import METHODS, STUDY


def digest(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return federation_digest(read_federated(path))


def test_where_exams_are_and_a_simulations_division_are_no_part_of_a_study(tmp_path: Path) -> None:
    text = STUDY + METHODS
    own = digest(tmp_path / "a.toml", text)
    other = text.replace('source = "phantom"', 'source = {name = "feature_table", file = "x.npz"}')
    other = other.replace("[split]", '[split]\nhospitals = 7\npartitioner = "coupling_skew"')
    other = other.replace("Three hospitals", "Another title")
    assert digest(tmp_path / "elsewhere" / "b.toml", other) == own


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rounds = 3", "rounds = 4"),
        ("[0.1]", "[0.2]"),
        ("[0.5, 0.25, 0.25]", "[0.6, 0.2, 0.2]"),
        ('"Mass", "Hernia"]', '"Hernia", "Mass"]'),
        ("seeds = [3]", "seeds = [4]"),
        ('head = "newton"', 'head = "ridge"'),
        ("hidden = [4]", "hidden = [5]"),
    ],
)
def test_whatever_changes_a_result_is_another_study(tmp_path: Path, old: str, new: str) -> None:
    text = STUDY + METHODS
    assert text.count(old) == 1
    assert digest(tmp_path / "a.toml", text) != digest(tmp_path / "a.toml", text.replace(old, new))


def test_a_weights_file_counts_by_its_content_and_is_copied(tmp_path: Path) -> None:
    text = (STUDY + METHODS).replace("[network]", '[network]\nweights = "start.safetensors"')
    weights = tmp_path / "start.safetensors"
    weights.write_bytes(b"one")
    one = digest(tmp_path / "study.toml", text)
    weights.write_bytes(b"two")
    two = allow(tmp_path / "study.toml", tmp_path / "east")
    assert two == digest(tmp_path / "study.toml", text) != one
    weights.unlink()  # the hospital has its own copy, the study is not touched
    found = Allowed(tmp_path / "east").studies()
    assert Path(found[two].network.weights).read_bytes() == b"two"
    with pytest.raises(StudyError, match=r"start\.safetensors.*cannot be read"):
        allow(tmp_path / "study.toml", tmp_path / "east")


def test_a_file_that_is_not_what_its_name_says_is_not_allowed(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY + METHODS, encoding="utf-8")
    own = allow(study, tmp_path)
    path = tmp_path / "studies" / f"{own}.toml"
    path.with_name("study.toml").write_bytes(path.read_bytes())
    path.with_name(f"{'0' * 64}.toml").write_bytes(path.read_bytes())
    path.with_name(f"{'1' * 64}.toml").write_text("title = ", encoding="utf-8")
    assert list(Allowed(tmp_path).studies()) == [own]
    allowed = Allowed(tmp_path)
    assert list(allowed.studies()) == [own]
    path.write_text(path.read_text(encoding="utf-8").replace("rounds = 3", "rounds = 40"))
    assert not allowed.studies()


def test_what_is_put_there_or_taken_away_counts_at_once(tmp_path: Path) -> None:
    study, allowed = tmp_path / "study.toml", Allowed(tmp_path)
    assert not allowed.studies()
    study.write_text(STUDY + METHODS, encoding="utf-8")
    own = allow(study, tmp_path)
    assert list(allowed.studies()) == [own]
    (tmp_path / "studies" / f"{own}.toml").unlink()
    assert not allowed.studies()


def test_all_that_a_federation_cannot_do_is_said_at_once(tmp_path: Path) -> None:
    text = STUDY.replace('labels = ["Effusion", "Mass", "Hernia"]\n', "")
    text = text.replace("[4]}", '"four"}') + "[methods.pooled]\n"
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        read_federated(tmp_path / "study.toml")
    said = "\n".join(map(str, caught.value.problems))
    assert "names no labels" in said
    assert "no method trains over a federation" in said
    assert "networks.mlp.hidden" in said


def test_unknown_labels_of_the_evaluation_are_named(tmp_path: Path) -> None:
    text = STUDY.replace('[["Effusion", "Mass"]]', '[["Effusion", "Mas"]]\nrare_labels = ["X"]')
    (tmp_path / "study.toml").write_text(text + METHODS, encoding="utf-8")
    with pytest.raises(StudyError, match="did you mean 'Mass'"):
        read_federated(tmp_path / "study.toml")
