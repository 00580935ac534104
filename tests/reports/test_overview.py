"""The picture of a run: synthetic images only, the same bytes twice, names to the letter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from concilium.foundation.errors import DataError
from concilium.foundation.files import write_json
from concilium.reports.evidence import read_evidence
from concilium.reports.overview import Hospital, overview, write_overview


def hospital(name: str, *alone: str) -> Hospital:
    images = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    return Hospital(name, 120, images, ("Mass, Hernia", "no finding"), alone)


def test_it_is_a_picture_of_every_hospital_and_the_same_twice(run: Path) -> None:
    evidence = read_evidence(run)
    hospitals = [hospital("first"), hospital("$second$", "Hernia")]
    drawn = overview(evidence, hospitals)
    assert drawn == overview(evidence, hospitals)
    tags = [node.tag.split("}")[1] for node in ElementTree.fromstring(drawn).iter()]
    assert tags.count("image") == 4
    assert "http" not in drawn.split("<defs>", 1)[1]  # nothing is loaded; the head names schemas


def test_no_picture_of_a_patient_leaves_a_run_folder(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    data = json.loads((run / "data.json").read_text())
    write_json(folder / "data.json", {**data, "synthetic": False})
    with pytest.raises(DataError, match="its images show patients"):
        write_overview(folder, tmp_path / "figure.svg", tmp_path)
    assert not (tmp_path / "figure.svg").exists()


@pytest.mark.slow
def test_a_run_gives_the_same_picture_twice(run: Path, tmp_path: Path) -> None:
    paths = [write_overview(run, tmp_path / f"{place}.svg", tmp_path) for place in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
