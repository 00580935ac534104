"""A label table on disk: CSV or TSV, plain or gzipped, every cell kept as text."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import DataError, Problem

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True)
class TableFile:
    """A table of N rows: ``columns`` maps a header to its N cells, stripped of spaces around them.

    ``rows`` are numbers as a spreadsheet shows them: the header is row 1.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, index: int) -> str:
        """The place of a row in messages: "labels.csv, row 3"."""
        return f"{self.name}, row {self.rows[index]}"

    def in_row_order(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems in the order of their rows; those of no row first."""
        start = f"{self.name}, row "

        def row(problem: Problem) -> int:
            number = re.match(r"\d+", problem.where.removeprefix(start))
            return int(number[0]) if number and problem.where.startswith(start) else 0

        return sorted(problems, key=row)

    def missing(self, column: str, setting: str) -> Problem | None:
        """The problem that a column is not there, or None."""
        if column in self.columns:
            return None
        what = f"there is no column {column!r} (setting {setting})"
        return Problem(self.name, what, suggestion(column, self.columns))


def find_table(folder: Path, table: Path | None) -> Path:
    """The table that was given (relative: below the folder), or the only one in the folder."""
    if not folder.is_dir():
        raise DataError(
            Problem(str(folder), "is not a folder", "set `folder` to that of the images")
        )
    if table is not None:
        path = folder / table
        if not path.is_file():
            remedy = suggestion(path.name, _tables(folder)) if _tables(folder) else ""
            raise DataError(Problem(str(path), "there is no such table", remedy))
        return path
    found = _tables(folder)
    if len(found) == 1:
        return folder / found[0]
    what = (
        f"holds {len(found)} tables: {', '.join(found)}" if found else "holds no CSV or TSV table"
    )
    raise DataError(Problem(str(folder), what, "set `table` to the one with the labels"))


def read_table(path: Path) -> TableFile:
    """Read a table. The separator is the one of ``, ; tab`` that the header has most of.

    Raises DataError for an unreadable file, no rows, duplicate columns and rows of another length.
    """
    records = _records(path)
    header = [cell.strip() for cell in records[0]] if records else []
    rows = [i + 1 for i, cells in enumerate(records) if i and cells]
    problems = [
        Problem(
            path.name, f"the column {name!r} stands {times} times", "rename or remove the others"
        )
        for name, times in Counter(filter(None, header)).items()
        if times > 1
    ]
    for row in rows:
        if len(records[row - 1]) != len(header):
            what = f"has {len(records[row - 1])} cells, the header has {len(header)}"
            problems.append(Problem(f"{path.name}, row {row}", what, "check its separators"))
    if not rows:
        problems.append(Problem(path.name, "holds no rows", "give a table with one row an image"))
    if problems:
        raise DataError(problems)
    cells = zip(*(records[row - 1] for row in rows), strict=True)
    columns = {
        name: [cell.strip() for cell in column]
        for name, column in zip(header, cells, strict=True)
        if name
    }
    return TableFile(path.name, columns, rows)


def _tables(folder: Path) -> list[str]:
    names = (path.name for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(name for name in names if name.casefold().endswith(ENDINGS))


def _records(path: Path) -> list[list[str]]:
    try:
        content = path.read_bytes()
        if path.suffix.casefold() == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        separator = max(",;\t", key=first.count)
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except UnicodeDecodeError:
        raise DataError(Problem(path.name, "is not UTF-8 text", "save it as UTF-8")) from None
    except csv.Error as error:
        raise DataError(Problem(path.name, f"is not a table: {error}", "save it again")) from None
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise DataError(Problem(path.name, what, "copy it again")) from None
