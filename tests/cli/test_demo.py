"""The demo: its study is sound, and it removes nothing but an earlier demo."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from concilium.cli.demo import FIRST_LINE, is_demo
from concilium.studies.choice_checks import check
from concilium.studies.reading import parse_study
from concilium.studies.run import jobs_of

from .conftest import Command, Outcome, files_below, write_study

DEMO = files("concilium.studies") / "demo.toml"


def test_the_study_of_the_demo_is_sound_and_compares_the_five_methods() -> None:
    text = DEMO.read_text(encoding="utf-8")
    assert text.startswith(FIRST_LINE)
    study = parse_study(tomllib.loads(text), "demo.toml")
    check(study, "demo.toml")
    assert {job.method for job in jobs_of(study)} >= {
        "local_only",
        "classic_softmax",
        "fedavg",
        "concilium",
        "pooled",
    }
    assert "synthetic" in study.title
    assert study.evaluation.rare_labels
    assert study.evaluation.label_sets


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(DEMO.read_text(encoding="utf-8"), encoding="utf-8")
    assert is_demo(tmp_path)


def test_a_run_of_another_study_is_never_removed(concilium: Command, tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "study.toml").write_bytes(write_study(tmp_path).read_bytes())
    (run / "manifest.json").write_text('{"study": "of mine"}', encoding="utf-8")
    before = files_below(run)
    said: Outcome = concilium("demo", "--out", run)
    assert said.code == 2
    assert "holds a run already" in said.err
    assert files_below(run) == before
