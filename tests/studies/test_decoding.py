"""No image is decoded twice: all jobs of a study, and all its processes, read the cache."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concilium.data import image_cache
from concilium.data.images import ImageForm, Pixels, read_image
from concilium.studies.run import Workplace
from tests.studies.test_same_numbers import run

STUDY = """
title = "counted"
seeds = [0, 1]
[data]
source = {name = "image_folder", folder = "scans", image_size = 16}
[split]
hospitals = 2
[network]
architecture = {name = "small_cnn", width = 8, depth = 1}
[training]
rounds = 0
learning_rates = [0.1]
[methods.fedavg]
[evaluation]
bootstrap = 0
min_positives = 1
"""


def scans(folder: Path) -> None:
    """Twenty images of ten patients."""
    folder.mkdir()
    lines = ["image,Effusion,Mass,patient"]
    for row in range(20):
        pixels = np.random.default_rng(row).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{row % 2},{row % 3 // 2},{row // 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_jobs_and_processes_decode_each_image_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()

    def counted(path: Path, form: ImageForm) -> Pixels:
        decoded[path.name] += 1
        return read_image(path, form)

    monkeypatch.setattr(image_cache, "read_image", counted)
    scans(tmp_path / "scans")
    (tmp_path / "study.toml").write_text(STUDY)
    assert len(run(tmp_path / "study.toml", tmp_path / "out")) == 2
    Workplace.of(tmp_path / "out", tmp_path)  # as another process opens it
    assert decoded == {f"{row}.png": 1 for row in range(20)}
