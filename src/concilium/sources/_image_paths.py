"""Image names of a table as files of the data folder; nothing outside the folder is ever opened."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from concilium.data.image_cache import ImageFile
from concilium.foundation.errors import Problem
from concilium.sources._table_file import TableFile

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = (".png", ".jpg", ".jpeg")
_LEAST_MASKED = 4  # characters; shorter patient numbers do not tell who somebody is


@dataclass(frozen=True)
class LocatedImages:
    """The file of each row, or None where it is missing; what is wrong; which rows lack a file.

    ``missing`` tells of ``num_missing`` rows; ``num_unnamed`` images of the folder have no row.
    """

    files: Sequence[ImageFile | None]
    problems: Sequence[Problem]
    missing: Sequence[Problem]
    num_missing: int = 0
    num_unnamed: int = 0


@dataclass(frozen=True)
class _Folder:
    """A data folder, and what was learnt of it."""

    path: Path
    real: str
    inside: dict[str, bool] = field(default_factory=dict)
    by_name: dict[str, list[Path]] = field(default_factory=dict)
    by_stem: dict[str, list[str]] = field(default_factory=dict)  # names of images; stem folded


def locate(
    folder: Path, table: TableFile, column: str, patients: Sequence[str] | None
) -> LocatedImages:
    """Find the image of each row of a table.

    A name is a path below the folder, or below its parent (CheXpert's paths begin with the data
    set's folder), or a bare name that stands once anywhere below the folder (NIH's twelve folders).
    A path that leads out of the folder, also by a symbolic link, is refused, and so is an image
    that two rows name. Patient identifiers are masked in messages.
    """
    known = _Folder(folder, os.path.realpath(folder))
    files: list[ImageFile | None] = []
    problems = []
    missing: dict[tuple[str, str] | int, list[int]] = {}  # rows that lack a file, by the cause
    first: dict[Path, int] = {}
    names = table.columns[column]
    for i, name in enumerate(names):
        shown = masked(name, patients[i] if patients else "")
        where = f"{table.where(i)}, image {shown!r}"
        found = _find(known, name)
        if isinstance(found, str):
            problems.append(Problem(where, found, "give a path inside the data folder"))
            files.append(None)
        elif found is None:
            missing.setdefault(_cause(known, name) or i, []).append(i)
            files.append(None)
        elif first.setdefault(found, i) != i:
            what = f"stands in row {table.rows[first[found]]} already"
            problems.append(Problem(where, what, "keep one row an image"))
            files.append(None)
        else:
            files.append(ImageFile(found, where))
    named = [masked(name, patients[i] if patients else "") for i, name in enumerate(names)]
    return LocatedImages(
        files,
        problems,
        [_missing(table, named, cause, rows) for cause, rows in missing.items()],
        sum(map(len, missing.values())),
        max(0, sum(map(len, _images(known).values())) - len(first)),
    )


def masked(name: str, patient: str) -> str:
    """A file name with the patient's identifier hidden, with or without leading zeros.

    >>> masked("00001873_000.png", "1873")
    '[patient]_000.png'
    """
    bare = patient.lstrip("0").casefold()
    if not bare or bare not in name.casefold():
        return name
    if not bare.isalnum():
        return re.sub(re.escape(patient), "[patient]", name, flags=re.IGNORECASE)

    def hide(match: re.Match[str]) -> str:
        word = match[0]
        same = word.lstrip("0").casefold() == bare and len(word) >= _LEAST_MASKED
        return "[patient]" if same else word

    return _WORD.sub(hide, name)


def _cause(folder: _Folder, name: str) -> tuple[str, str] | None:
    """In what the name of a missing image differs from a file's: ("ending", ".jpg"), ("case", "").

    Nothing else is compared: the nearest other name may be another patient's.
    """
    bare = PureWindowsPath(name).name
    stems = (bare.casefold(), PureWindowsPath(bare).stem.casefold())
    near = [file for stem in stems for file in _images(folder).get(stem, [])]
    if any(file.casefold() == bare.casefold() for file in near):
        return "case", ""
    return ("ending", Path(near[0]).suffix) if near else None


def _missing(
    table: TableFile, shown: Sequence[str], cause: tuple[str, str] | int, rows: Sequence[int]
) -> Problem:
    """The problem of the rows whose images are missing by one cause; without a cause, of a row."""
    where = f"{table.where(rows[0])}, image {shown[rows[0]]!r}"
    more = f" (and in {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
    match cause:
        case ("ending", ending):
            what = f"is not there, but an image of this name ending in {ending!r} is{more}"
            return Problem(where, what, f"end the name in {ending!r}")
        case ("case", _):
            what = f"is not there, but with other upper and lower case letters it is{more}"
            return Problem(where, what, "write the name as the file's")
    return Problem(where, "is not there", "check the name and the folder")


def _find(folder: _Folder, name: str) -> Path | str | None:
    """The file, or why its name is refused, or None where it is missing."""
    if not name:
        return "is not named"
    parts = [part for part in re.split(r"[/\\]", name) if part not in {"", "."}]
    if name[0] in "/\\" or PureWindowsPath(name).drive or ".." in parts:
        return "lies outside the data folder"
    candidates = [folder.path.joinpath(*parts)]
    if len(parts) > 1:
        candidates.append(folder.path.joinpath(*parts[1:]))
    found = next((path for path in candidates if _is_file(path)), None)
    if found is None and len(parts) == 1:
        same = _index(folder).get(parts[0], [])
        if len(same) > 1:
            return f"stands {len(same)} times below the data folder"
        found = same[0] if same else None
    if found is not None and not _is_inside(folder, found):
        return "is a link that leads out of the data folder"
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _is_inside(folder: _Folder, file: Path) -> bool:
    """Whether the real file lies in the folder; each parent is resolved once."""
    if file.is_symlink():
        return _below(os.path.realpath(file), folder.real)
    parent = str(file.parent)
    if parent not in folder.inside:
        folder.inside[parent] = _below(os.path.realpath(parent), folder.real)
    return folder.inside[parent]


def _below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _images(folder: _Folder) -> dict[str, list[str]]:
    """The names of all PNG and JPG files below the folder, by their stems (folded)."""
    if not folder.by_stem:
        for name, places in _index(folder).items():
            path = Path(name)
            if path.suffix.casefold() in _ENDINGS and name[0] != ".":
                folder.by_stem.setdefault(path.stem.casefold(), []).extend([name] * len(places))
    return folder.by_stem


def _index(folder: _Folder) -> dict[str, list[Path]]:
    """All files below the folder by bare name, listed once."""
    if not folder.by_name:
        for parent, _, names in os.walk(folder.path):
            for name in names:
                folder.by_name.setdefault(name, []).append(Path(parent, name))
    return folder.by_name
