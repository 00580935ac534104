"""``concilium inspect`` shows what is there, and the lines that it ends with make a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .conftest import LABELS, STUDY, Command, write_features, write_study


def test_the_lines_shown_make_a_study_of_these_data(concilium: Command, tmp_path: Path) -> None:
    labels = np.load(write_features(tmp_path / "features.npz"))["labels"]
    labels[:, 2] = 0
    write_features(tmp_path / "features.npz", labels=labels)
    said = concilium("inspect", "features.npz")
    assert said.code == 0, said.err
    assert all(label in said.out for label in LABELS)
    assert "120 images of 60 patients" in said.out
    assert "sex: F 60, M 60" in said.out
    assert "no positives, a study must leave them out: Hernia" in said.out
    assert "MRN" not in said.out
    lines = said.out[said.out.index("[data]") :]
    text = STUDY[: STUDY.index("[data]")] + lines + STUDY[STUDY.index("[split]") :]
    study = tmp_path / "mine.toml"
    study.write_text(text.replace('rare_labels = ["Hernia"]', ""), encoding="utf-8")
    divided = concilium("split", study)
    assert divided.code == 0, divided.err


def test_a_study_file_is_inspected_too(concilium: Command, tmp_path: Path) -> None:
    said = concilium("inspect", write_study(tmp_path))
    assert said.code == 0, said.err
    assert "Strongest couplings" in said.out
    assert "In a study file" not in said.out  # it is one already


@pytest.mark.slow
def test_the_real_folder_of_36_originals_is_inspected(concilium: Command, real_data: Path) -> None:
    said = concilium("inspect", real_data / "nih" / "originals")
    assert said.code == 0, said.err
    assert "36 images of 36 patients, 64 x 64 pixels" in said.out
    assert "Edema" in said.out[said.out.index("Problems") :].splitlines()[1]
    assert 'labels = ["Atelectasis"' in said.out
