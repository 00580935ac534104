"""Classic multi-label tables (Mulan) as feature tables: that nothing here works on X-rays only.

``yeast`` and ``scene`` stand in the folder of data as sparse matrices, in a training and a test
file; both are joined, since the worlds of the benchmark split anew for each seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from definitions import TABLES, data_folder
from scipy import sparse

NAMES = ("yeast", "scene")


def find_tables(cache: Path) -> None:
    """Say where worlds find them, and write what is missing, where the folder of data is."""
    folder = Path(os.environ.setdefault(TABLES, str(cache / "quality-tables")))
    if data_folder().is_dir():
        _write(folder)


def _write(folder: Path) -> None:
    """Every table as ``NAME.npz`` for the source ``feature_table``."""
    for name in NAMES:
        target = folder / f"{name}.npz"
        if target.exists():
            continue
        parts = [data_folder() / "mulan" / f"{name}-{part}" for part in ("train", "test")]
        features = [sparse.load_npz(f"{part}.X.npz").toarray() for part in parts]
        labels = [np.load(f"{part}.Y.npz") for part in parts]
        number = sum(map(len, features))
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            target,
            features=np.concatenate(features).astype(np.float32),
            labels=np.concatenate([own["Y"] for own in labels]).astype(np.uint8),
            label_names=labels[0]["names"],
            patient=np.array([f"{name}-{row}" for row in range(number)]),
        )
