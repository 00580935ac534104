"""``concilium recommend``: what it shows pastes into the study, and bad input is one message."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from concilium.cli.recommend import _study
from concilium.studies.assembly import with_absolute_paths
from concilium.studies.glossary import explained
from concilium.studies.reading import parse_study

from .conftest import STUDY, Command, files_below, write_features, write_study

SPECIALIST = """hospitals = 3
partitioner = {name = "specialist", specialists = [{labels = ["Hernia"], hospital = "hospital-1"}]}
"""


def specialist_study(folder: Path) -> Path:
    """As STUDY, with more exams, and Hernia at one of three hospitals."""
    path = write_study(folder, STUDY.replace("hospitals = 2\n", SPECIALIST))
    write_features(folder / "features.npz", 600)
    return path


def test_the_table_that_is_shown_makes_a_study_that_splits(
    concilium: Command, tmp_path: Path
) -> None:
    study = specialist_study(tmp_path)
    said = concilium("recommend", study)
    assert said.code == 0, said.err
    assert "Hernia (" in said.out and "1.0 effective holders)" in said.out
    assert "seen" in said.out and "docs/results.md" not in said.out
    for part in ("seen", "measured", "docs/results.md", "loses", "instead"):
        assert part in concilium("recommend", study, "--why").out
    assert re.search(r"the default has +exact_head:", said.out)
    assert re.search(r"recipe +from_sums:", said.out)
    lines = table_of(said.out)
    assert "# rounds = 0" in lines  # a linear head on features
    study.write_text(study.read_text(encoding="utf-8") + "\n" + lines, encoding="utf-8")
    assert tomllib.loads(lines)["methods"]["recommended"]["head"] == "newton"
    again = concilium("recommend", study)
    assert again.out == said.out, again.err


def table_of(shown: str) -> str:
    """What is to be pasted: from its heading to the next."""
    return shown.split("For the study file\n")[1].split("\n\nBefore you use it", maxsplit=1)[0]


def test_the_answer_comes_first_and_then_what_to_know_why_and_the_words(
    concilium: Command, tmp_path: Path
) -> None:
    shown = concilium("recommend", specialist_study(tmp_path)).out.splitlines()
    heads = ["For the study file", "Before you use it", "Why", "Words"]
    places = [shown.index(head) for head in heads]
    assert places[0] == 2
    assert places == sorted(places)
    assert shown.index("[methods.recommended]") < 5


@pytest.mark.parametrize("option", [(), ("--why",), ("--json",)])
def test_who_prints_lines_of_training_says_that_they_hold_for_all_methods(
    concilium: Command, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """rounds = 0 would leave other methods without training."""
    shown = concilium("recommend", specialist_study(tmp_path), *option).out
    assert "and in [training], which holds for ALL methods of the study" in shown
    assert "Lines of [training] hold for all methods of a study" in shown
    assert "With rounds = 0 a method without an exact head is not trained at all" in shown
    if option == ("--why",):
        (line,) = (line for line in shown.splitlines() if line.rstrip().endswith(", rounds = 0"))
        assert "holds for ALL methods" in line


@pytest.mark.parametrize("option", [(), ("--why",)])
def test_the_words_are_those_that_are_shown(
    concilium: Command, tmp_path: Path, option: tuple[str, ...]
) -> None:
    shown = concilium("recommend", specialist_study(tmp_path), *option).out
    text, words = shown.split("\nBefore you use it")[0], shown.split("\nWords\n")[1]
    text += shown.split("\nWhy\n")[1].split("\nWords\n")[0]
    found = {line.strip().split("  ")[0] for line in words.splitlines()}
    assert found == set(explained(text))
    assert {"specialist", "effective holders", "exact head"} <= found
    assert ("AUROC" in found) == bool(option)


def test_a_small_split_is_told_to_be_too_small_and_which_labels_are(
    concilium: Command, tmp_path: Path
) -> None:
    """12 exams in validation: no label can have ten with and ten without."""
    study = write_study(tmp_path)
    write_features(tmp_path / "features.npz", 60)
    shown = concilium("recommend", study).out
    assert table_of(shown).startswith("# too few cases of 3 of 3 labels: for them this is a guess")
    said = " ".join(shown.split())  # a console of any width
    assert "That is every label, so no method" in said
    (named,) = re.findall(
        r"Too few cases in validation, fewer than 10 with or without: (.*?)\. ", said
    )
    for name in ("Effusion", "Mass", "Hernia"):
        assert re.search(rf"{name} \(\d (positive|negative)s?\)", named)
    found = json.loads(concilium("recommend", study, "--json").out)
    assert any("Too few cases in validation" in text for text in found["cautions"])


def test_no_single_hospital_and_no_patient_is_named(concilium: Command, tmp_path: Path) -> None:
    study = specialist_study(tmp_path)
    for said in (concilium("recommend", study), concilium("recommend", study, "--json")):
        assert "MRN" not in said.out
        assert "hospital-" not in said.out


def test_json_is_json_alone(concilium: Command, tmp_path: Path) -> None:
    said = concilium("recommend", specialist_study(tmp_path), "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["seed"] == 0
    assert found["situation"]["labels"] == ["Effusion", "Mass", "Hernia"]
    assert "specialist" in [own["rule"] for own in found["findings"]]


def test_the_seed_says_which_split(concilium: Command, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    seen = [
        json.loads(concilium("recommend", study, "--json", *seed).out)["situation"]
        for seed in ((), ("--seed", 0), ("--seed", 7))
    ]
    assert seen[0] == seen[1] != seen[2]


def test_a_run_folder_is_read_as_its_study(concilium: Command, tmp_path: Path) -> None:
    study = specialist_study(tmp_path)
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    own = parse_study(tomllib.loads(study.read_text(encoding="utf-8")), "tiny.toml")
    own = with_absolute_paths(own, tmp_path)
    (run / "study.json").write_text(own.model_dump_json(), encoding="utf-8")
    assert _study(run) == own
    assert concilium("recommend", run).out == concilium("recommend", study).out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.toml", "nothing.toml: there is no such file"),
        ("empty", "empty: is not a run folder; give a folder that `concilium run` has written"),
        ("features.npz", "features.npz: is not TOML"),
        ("hospitals.toml", "hospitals.toml, split.hospitals"),
        ("partitioner.toml", "did you mean 'dirichlet'?"),
        ("network.toml", "did you mean 'linear'?"),
        ("skewed.toml", "hospital"),
        ("labels.toml", "no positives of the label 'Hernia'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    concilium: Command, tmp_path: Path, name: str, said: str
) -> None:
    write_features(tmp_path / "features.npz")
    (tmp_path / "empty").mkdir()
    labels = np.load(tmp_path / "features.npz")["labels"]
    labels[:, 2] = 0
    write_features(tmp_path / "healthy.npz", labels=labels)
    changes = {
        "hospitals.toml": ("hospitals = 2", "hospitals = 0"),
        "partitioner.toml": ("hospitals = 2", 'partitioner = "dirichlett"'),
        "network.toml": ('"linear"', '"linaer"'),
        "skewed.toml": ("hospitals = 2", "hospitals = 100"),
        "labels.toml": ("features.npz", "healthy.npz"),
    }
    for file, (old, new) in changes.items():
        (tmp_path / file).write_text(STUDY.replace(old, new), encoding="utf-8")
    before = files_below(tmp_path)
    shown = concilium("recommend", name)
    assert shown.code == 2, shown
    assert shown.err.startswith("concilium: ")
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert files_below(tmp_path) - before == set()
