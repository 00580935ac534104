"""Which source reads what a user points at: a folder, a table, an archive of arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from concilium.foundation.errors import DataError, Problem
from concilium.sources._npz import Archive, opened
from concilium.sources._table_file import ENDINGS
from concilium.studies.configuration import Choice

# Arrays by which an archive is recognised.
_MARKS = {
    "medmnist": {"train_images", "train_labels"},
    "array_bundle": {"images", "labels"},
    "feature_table": {"features", "labels"},
}
_OUTPUTS = {"logits", "labels", "model"}  # outputs of several networks: features, too


def recognise(path: Path, given: Mapping[str, Any] = MappingProxyType({})) -> Choice:
    """The source that reads a folder of images, a table among images, or one or more archives.

    ``given`` are settings of the source, where the data do not say it themselves. Raises DataError
    for anything else.
    """
    if path.is_dir():
        archives = sorted(path.glob("*.npz"))
        if archives and not any(_is_table(file) for file in path.iterdir()):
            return _archives(archives, given)
        return Choice(name="image_folder", **{"folder": str(path), **given})
    if not path.exists():
        raise DataError(Problem(str(path), "there is no such file or folder", "check the path"))
    if path.suffix == ".npz":
        return _archives([path], given)
    if _is_table(path):
        own = {"folder": str(path.parent), "table": str(path)}
        return Choice(name="image_folder", **{**own, **given})
    remedy = "give a folder of images with its table, a table, an .npz archive or a study (.toml)"
    raise DataError(Problem(str(path), "is none of the things that can be read", remedy))


def as_toml(choice: Choice, labels: Sequence[str] = ()) -> str:
    """The lines of a study file that name a source, and the ``labels`` to keep if not all.

    >>> print(as_toml(Choice(name="feature_table", file="a.npz")))
    [data]
    source = {name = "feature_table", file = "a.npz"}
    """
    settings = {"name": choice.name, **choice.settings}
    pairs = ", ".join(f"{_key(key)} = {toml_value(value)}" for key, value in settings.items())
    kept = f"\nlabels = {toml_value(labels)}" if labels else ""
    return f"[data]\nsource = {{{pairs}}}{kept}"


def _archives(paths: list[Path], given: Mapping[str, Any]) -> Choice:
    archives = opened(paths)
    kinds = {_kind(archive) for archive in archives}
    if len(kinds) > 1:
        what = f"holds archives of several kinds: {', '.join(sorted(kinds))}"
        raise DataError(Problem(str(paths[0].parent), what, "give one of them"))
    kind, files = kinds.pop(), [str(path) for path in paths]
    if kind == "array_bundle":
        return Choice(name=kind, files=files, **given)
    if len(files) > 1 and kind == "medmnist":
        what = "holds several MedMNIST archives"
        raise DataError(Problem(str(paths[0].parent), what, "give one of them"))
    return Choice(name=kind, file=files if len(files) > 1 else files[0], **given)


def _kind(archive: Archive) -> str:
    """The source of an archive, by the names of its arrays."""
    arrays = set(archive.names)
    for kind, marks in _MARKS.items():
        if marks <= arrays:
            return kind
    if arrays >= _OUTPUTS:
        return "feature_table"
    what = f"holds {', '.join(sorted(arrays)) or 'no arrays'}"
    remedy = "name arrays 'images' (or 'features'), 'labels', 'label_names' and 'patient'"
    raise DataError(Problem(archive.name, what, remedy))


def _is_table(path: Path) -> bool:
    return path.name[0] != "." and path.name.casefold().endswith(ENDINGS)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """A value as TOML writes it inline; text, numbers and truth values are as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {toml_value(own)}" for k, own in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
