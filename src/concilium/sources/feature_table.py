"""Frozen features in .npz archives: vectors of images, without the images.

Either ``features`` (N, d), or the outputs of several networks: ``logits`` (M, N, L) with ``model``
(M,) names such as ``densenet121_seed0``; the seeds of one architecture are averaged, and the
architectures stand side by side: d = architectures · L. Beside them ``labels`` (N, L),
``label_names`` (L,), ``patient`` (N,) and covariates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
from concilium.foundation.errors import DataError, Problem
from concilium.sources._label_arrays import COVARIATES, Rows, rows_of, table_of
from concilium.sources._label_names import label_notes
from concilium.sources._npz import Archive, labelled_rows, opened
from concilium.sources.contract import Source

Features = npt.NDArray[np.float32]

_SEED = re.compile(r"[_-]?seed[_-]?\d+$")


@dataclass(frozen=True)
class FeatureTable(Source):
    """Frozen features (N, d) float32 and labels, not standardised.

    ``file``: the archive, or several, one after the other (say one a hospital, as ``concilium
    extract`` writes them). ``vocabulary``, ``labels``: which labels, under which names; by default
    all that the file names. ``covariates``: which arrays to keep beside age, sex, view, hospital.
    """

    file: Path | tuple[Path, ...]
    vocabulary: str = ""
    labels: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()

    def load(self, cache: Path) -> Dataset:
        archives = opened((self.file,) if isinstance(self.file, Path) else self.file)
        columns = tuple(dict.fromkeys((*COVARIATES, *self.covariates)))
        parts = [rows_of(archive, self.labels, columns) for archive in archives]
        read = [_features(part) for part in parts]
        features = _joined(parts, [features for features, _ in read])
        table, notes = table_of(parts, self.vocabulary, self.labels)
        notes = {"features": f"frozen features, {read[0][1]}"} | notes
        notes |= label_notes(table.schema, table.states)
        title = f"frozen features, {len(table):,} images"
        return Dataset(table, features, title, notes=notes)


def average_seeds(
    logits: npt.NDArray[np.floating], models: npt.NDArray[np.str_]
) -> tuple[Features, tuple[str, ...]]:
    """Mean over the seeds of each architecture, side by side.

    ``logits`` (M, N, L), ``models`` (M,). Gives features (N, A·L) and the A architectures, in order
    of first appearance.
    """
    architectures = np.array([_SEED.sub("", str(model)) for model in models.tolist()])
    names = tuple(dict.fromkeys(architectures.tolist()))
    means = [logits[architectures == name].mean(axis=0, dtype=np.float64) for name in names]
    return np.concatenate(means, axis=1).astype(np.float32), names


def _features(rows: Rows) -> tuple[Features, str]:
    """Features (N, d) of the rows of an archive and where they come from; all finite."""
    features, origin = _vectors(rows.archive)
    if len(features) != len(rows.states):
        what = f"has {len(features)} feature vectors and {len(rows.states)} rows of labels"
        raise DataError(Problem(rows.archive.name, what, "give one row an image to both"))
    _finite(rows.archive, features)
    return features, origin


def _joined(parts: Sequence[Rows], features: Sequence[Features]) -> Features:
    """One array of all archives. Raises DataError where their lengths of vectors differ."""
    widths = {own.shape[1] for own in features}
    if len(widths) > 1:
        what = ", ".join(
            f"{part.archive.name}: {own.shape[1]}"
            for part, own in zip(parts, features, strict=True)
        )
        remedy = "take the same backbone for all of them"
        raise DataError(Problem("file", f"vectors differ in length ({what})", remedy))
    return np.concatenate(features)


def _vectors(archive: Archive) -> tuple[Features, str]:
    """Features (N, d) and where they come from."""
    if "features" in archive.names or "logits" not in archive.names:
        labelled_rows(archive, "features", "labels")
        features = archive.array("features")
        if features.ndim != 2 or features.dtype.kind not in "iuf":
            what = f"'features' has shape {features.shape} and type {features.dtype}"
            raise DataError(Problem(archive.name, what, "give numbers of shape (N, d)"))
        return features.astype(np.float32), f"{features.shape[1]} values an image"
    logits, models = archive.array("logits"), archive.array("model")
    if logits.ndim != 3 or logits.dtype.kind != "f" or models.shape != logits.shape[:1]:
        what = f"'logits' has shape {logits.shape} and 'model' {models.shape}"
        raise DataError(Problem(archive.name, what, "give logits (M, N, L) and model (M,)"))
    features, names = average_seeds(logits, models)
    origin = f"outputs of {len(names)} architectures ({', '.join(names)}), mean over their seeds"
    return features, f"{features.shape[1]} values an image: {origin}"


def _finite(archive: Archive, features: Features) -> None:
    wrong = ~np.isfinite(features)
    remedy = "leave the row out"
    problems = [
        Problem(archive.where(row), f"feature {wrong[row].argmax()} is NaN or infinite", remedy)
        for row in np.flatnonzero(wrong.any(axis=1)).tolist()
    ]
    if problems:
        raise DataError(problems)
