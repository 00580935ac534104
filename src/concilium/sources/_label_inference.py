"""Which labels a table has, where neither a vocabulary nor a study names them: by its cells.

Never in silence: what was taken for a label is said in the notes of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from concilium.foundation.errors import DataError, Problem
from concilium.labels.schema import LabelSchema, fold
from concilium.labels.vocabularies import is_no_finding
from concilium.sources._conventions import Columns, named
from concilium.sources._label_cells import is_label_value
from concilium.sources._label_names import LabelNames
from concilium.sources._table_file import TableFile

# Names (folded) under which a column of lists of findings is found without a setting.
_LISTS = ("findinglabels", "findings", "labels", "findinglist", "labellist", "diagnoses")
_LEAST_FITTING = 0.5  # of the filled cells of a label; a label with some wrong cells is still one
_MOST_NAMED = 10


def label_columns(table: TableFile, others: Sequence[str]) -> tuple[str, ...]:
    """The columns that hold labels: 1, 0, -1, true, false, yes, no, and blanks; in order.

    A column is one, too, where some of its cells are other words: a mistake in a label must be
    told, and not cost the label. With other numbers (a count, an age) it is none. ``others`` and
    "No Finding" are none.
    """
    free = [column for column in table.columns if column not in others]
    return tuple(c for c in free if not is_no_finding(c) and _holds_labels(table.columns[c]))


def has_label_columns(table: TableFile, others: Sequence[str], labels: LabelNames | None) -> bool:
    """Whether a column is one of the labels, or, where nobody named them, looks like one."""
    if labels is None:
        return bool(label_columns(table, others))
    return any(labels.is_known(column) for column in table.columns if column not in others)


def list_column(table: TableFile, separator: str, others: Sequence[str]) -> str:
    """The column of lists of findings: by its usual name, else the only one with separators; ""."""
    usual = named(table, _LISTS)
    if usual and usual not in others and not all(map(is_label_value, table.columns[usual])):
        return usual
    found = [
        column
        for column, cells in table.columns.items()
        if column not in others and any(separator in cell for cell in cells)
    ]
    return found[0] if len(found) == 1 else ""


def inferred(
    table: TableFile, columns: Columns, separator: str, given_aliases: Mapping[str, str]
) -> tuple[LabelNames, dict[str, str]]:
    """The labels of a table that nobody named, and the note that says which were taken.

    Raises DataError, which names the columns and the remedies, where there are none.
    """
    if columns.label_list:
        names = _listed(table.columns[columns.label_list], separator)
        said = f"all {len(names)} names in column {columns.label_list!r}{_alike(names)}"
    else:
        names = label_columns(table, columns.not_labels())
        said = f"the columns {', '.join(names)} (they hold only values of labels)"
    if not names:
        raise DataError(_no_labels(table, columns))
    aliases = {other: name for other, name in given_aliases.items() if name in names}
    schema = LabelSchema(names, aliases)
    return LabelNames(schema, schema), {"labels": f"{said}; `labels` of the source changes this"}


def _holds_labels(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell and cell.casefold() != "nan"]
    others = [cell for cell in filled if not is_label_value(cell)]
    if not filled or any(_is_number(cell) for cell in others):
        return False
    return len(others) < _LEAST_FITTING * len(filled)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _listed(cells: Sequence[str], separator: str) -> tuple[str, ...]:
    """The findings that lists name, by the alphabet, so that the order of rows is no matter."""
    found = {name.strip() for cell in set(cells) for name in cell.split(separator)}
    by_fold = {fold(name): name for name in sorted(found, reverse=True) if name}
    return tuple(sorted(name for name in by_fold.values() if not is_no_finding(name)))


def _alike(names: Sequence[str]) -> str:
    """A warning of names that may be one label written in two ways, or ""."""
    pairs = []
    for i, name in enumerate(names):
        near = get_close_matches(name, names[i + 1 :], n=1, cutoff=0.85)
        pairs += [f"{name!r} and {other!r}" for other in near]
    return f", of which {', '.join(pairs[:_MOST_NAMED])} look alike" if pairs else ""


def _no_labels(table: TableFile, columns: Columns) -> Problem:
    free = [column for column in table.columns if column not in columns.not_labels()]
    among = ", ".join(free) or "none besides images, patients and covariates"
    what = f"it is not said which labels there are, and no column looks like one (columns: {among})"
    remedy = (
        "in the source, set `labels` (the columns that are labels), `vocabulary`, or `label_column`"
        " (a column of lists such as A|B); `labels` in [data] only chooses among these"
    )
    return Problem(table.name, what, remedy)
