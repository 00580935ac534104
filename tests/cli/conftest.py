"""The command line in this process, and a study on features that trains in a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from concilium.cli.main import main

LABELS = ("Effusion", "Mass", "Hernia")


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def concilium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run ``concilium …`` in a folder of its own, with a cache of its own, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONCILIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["concilium", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    yield run


def write_features(path: Path, num: int = 120, **changed: object) -> Path:
    """An archive of frozen features: two exams a patient, labels that follow a linear rule."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(num, 6)).astype(np.float32)
    rule = generator.normal(size=(6, len(LABELS)))
    noise = generator.logistic(size=(num, len(LABELS)))
    arrays = {
        "features": features,
        "labels": (2 * features @ rule + noise > [0.5, 1.0, 3.0]).astype(np.int8),
        "label_names": np.array(LABELS),
        "patient": np.array([f"MRN-{7000 + row // 2}" for row in range(num)]),
        "sex": np.array(["F", "M"])[np.arange(num) // 2 % 2],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{**arrays, **changed})  # type: ignore[arg-type]
    return path


STUDY = """
title = "Tiny"
seeds = [0, 1]

[data]
source = {name = "feature_table", file = "features.npz"}

[split]
hospitals = 2
fractions = [0.5, 0.2, 0.3]

[network]
architecture = "linear"

[training]
rounds = 1

[methods.local_only]
[methods.fedavg]
[methods.concilium]

[evaluation]
label_sets = [["Effusion", "Mass"]]
rare_labels = ["Hernia"]
min_positives = 1
bootstrap = 20
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """A study file beside its features."""
    write_features(folder / "features.npz")
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
