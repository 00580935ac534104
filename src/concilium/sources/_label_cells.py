"""From the cells of a table to the states of labels: ``A|B|C`` lists, and one column a label.

"No Finding" is a statement about all labels of an image, never a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import Problem
from concilium.labels.schema import fold
from concilium.labels.states import State
from concilium.labels.vocabularies import apply_no_finding, is_no_finding
from concilium.sources._label_names import LabelNames
from concilium.sources._table_file import TableFile

States = npt.NDArray[np.int8]

_VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), State.PRESENT),
    **dict.fromkeys(("0", "0.0", "false", "no"), State.ABSENT),
    **dict.fromkeys(("-1", "-1.0"), State.UNCERTAIN),
    **dict.fromkeys(("", "nan"), State.UNKNOWN),  # a table that pandas wrote may say NaN
}
_MEANING = "1, true or yes is present, 0, false or no absent, -1 uncertain, blank or NaN unknown"
_MOST_QUOTED = 3


def is_label_value(cell: str) -> bool:
    """Whether a cell can stand in the column of a label, blank ones too."""
    return cell.casefold() in _VALUES


@dataclass(frozen=True)
class ReadStates:
    """States (N, L), everything wrong with the cells, and counts for the report."""

    states: States
    problems: Sequence[Problem]
    notes: Mapping[str, str] = field(default_factory=dict)


def states_of_lists(
    table: TableFile, column: str, separator: str, labels: LabelNames
) -> ReadStates:
    """States from one column of lists such as ``Effusion|Mass``.

    What a list does not name is absent; after "No Finding" all labels are; an empty cell says
    nothing, so that all are unknown. Labels of the vocabulary that are not wanted are passed over.
    """
    cells, first, inverse, counts = _distinct(table.columns[column])
    states = np.full((len(cells), len(labels.schema)), State.UNKNOWN, np.int8)
    unknown: dict[str, list[int]] = {}
    problems = []
    for i, cell in enumerate(cells):
        names = [name.strip() for name in cell.split(separator) if name.strip()]
        findings = [name for name in names if not is_no_finding(name)]
        if findings and len(findings) < len(names):
            what = f"column {column!r} says both 'No Finding' and {findings[0]!r}"
            problems.append(_problem(table, first[i], counts[i], what, "decide which is right"))
        if names:
            states[i] = State.ABSENT
        for name in findings:
            label = labels.schema.find(name)
            if label is not None:
                states[i, label] = State.PRESENT
            elif not labels.is_known(name):
                place = unknown.setdefault(name, [int(first[i]), 0])
                place[0] = min(place[0], int(first[i]))
                place[1] += int(counts[i])
    problems += [
        _problem(table, row, count, f"unknown label {name!r}", labels.suggestion(name))
        for name, (row, count) in unknown.items()
    ]
    return ReadStates(states[inverse], problems)


def states_of_columns(
    table: TableFile,
    labels: LabelNames,
    others: Sequence[str],
    all_required: bool,
    no_finding_as_absent: bool,
) -> ReadStates:
    """States from one column a label: 1 present, 0 absent, −1 uncertain, blank unknown; or words.

    ``others`` are columns that hold no label. A label without a column is unknown on every image,
    or a problem where ``all_required``. With ``no_finding_as_absent`` the blanks of an image whose
    "No Finding" is 1 become absent (but for support devices, which are no finding).
    """
    columns, problems = _columns(table, labels, others, all_required)
    states = np.full((len(table), len(labels.schema)), State.UNKNOWN, np.int8)
    for label, column in columns.items():
        states[:, label] = _values(table, column)
    said, notes = np.zeros(len(table), bool), {}
    statements = [c for c in table.columns if is_no_finding(c) and c not in others]
    for column in statements:
        said |= _values(table, column) == State.PRESENT
    problems += _no_values(table, [*columns.values(), *statements])
    contradictions = int(
        np.count_nonzero(said & (_findings(states, labels) == State.PRESENT).any(1))
    )
    if contradictions:
        notes["images with 'No Finding' and a finding"] = f"{contradictions:,} (the finding counts)"
    if no_finding_as_absent:
        states = apply_no_finding(states, said, labels.schema)
        notes["blanks beside 'No Finding'"] = "count as absent"
    elif said.any():
        notes["blanks beside 'No Finding'"] = "are unknown (no_finding = 'absent' changes this)"
    return ReadStates(states, problems, notes)


def _columns(
    table: TableFile, labels: LabelNames, others: Sequence[str], all_required: bool
) -> tuple[dict[int, str], list[Problem]]:
    """Which column belongs to which label."""
    found: dict[int, str] = {}
    problems = []
    free = []
    for column in table.columns:
        if column in others or is_no_finding(column):
            continue
        label = labels.schema.find(column)
        if label is None:
            free += [] if labels.is_known(column) else [column]
        elif label in found:
            what = f"the columns {found[label]!r} and {column!r} are the same label"
            problems.append(Problem(table.name, what, "remove one"))
        else:
            found[label] = column
    if not found and not all_required:
        what = f"no column has the name of a label, among {', '.join(table.columns)}"
        problems.append(Problem(table.name, what, "set `labels`, `aliases` or `label_column`"))
    for label, name in enumerate(labels.schema.names):
        if label not in found:
            problems += _without_column(table, name, free, all_required)
    return found, problems


def _without_column(
    table: TableFile, label: str, free: Sequence[str], required: bool
) -> list[Problem]:
    """The problem of a label that has no column, where one is required or nearly has its name."""
    folded = {fold(column): column for column in free}
    near = get_close_matches(fold(label), folded, n=1, cutoff=0.8)
    what = f"there is no column for the label {label!r}"
    if near:
        remedy = f"is it {folded[near[0]]!r}? Rename it, or add it to `aliases`"
        return [Problem(table.name, what, remedy)]
    remedy = "add the column, or leave the label out of `labels`"
    return [Problem(table.name, what, remedy)] if required else []


def _values(table: TableFile, column: str) -> States:
    """The states of a column (N,); what is no value of a label is unknown."""
    cells = table.columns[column]
    return np.array([_VALUES.get(cell.casefold(), State.UNKNOWN) for cell in cells], np.int8)


def _no_values(table: TableFile, columns: Sequence[str]) -> list[Problem]:
    """Cells that are no value of a label: a cause once, whether a column repeats or a value."""
    problems = []
    by_value: dict[str, dict[str, list[int]]] = {}
    for column in columns:
        wrong: dict[str, list[int]] = {}
        for i, cell in enumerate(table.columns[column]):
            if not is_label_value(cell):
                wrong.setdefault(cell, []).append(i)
        if len(wrong) > _MOST_QUOTED:
            problems.append(_no_label_column(table, column, wrong))
            continue
        for value, rows in wrong.items():
            by_value.setdefault(value, {})[column] = rows
    for value, places in by_value.items():
        rows = sorted({row for own in places.values() for row in own})
        many = len(places) > 1
        named = f"column{'s' * many} {' and '.join(map(repr, places))} hold{'s' * (not many)}"
        problems.append(_problem(table, rows[0], len(rows), f"{named} {value!r}", _MEANING))
    return problems


def _no_label_column(table: TableFile, column: str, wrong: Mapping[str, list[int]]) -> Problem:
    """The problem of a column of many different values that are none of a label."""
    rows = [row for own in wrong.values() for row in own]
    quoted = ", ".join(map(repr, list(wrong)[:_MOST_QUOTED]))
    what = f"column {column!r} holds {len(wrong):,} different values such as {quoted}"
    return _problem(table, min(rows), len(rows), what, f"is it a label? {_MEANING}")


def _findings(states: States, labels: LabelNames) -> States:
    """The states without support devices, which "No Finding" says nothing of."""
    devices = labels.schema.find("Support Devices")
    return states if devices is None else np.delete(states, devices, axis=1)


def _distinct(
    cells: Sequence[str],
) -> tuple[list[str], npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Distinct cells, the first row of each, which of them each row has, and how often each is."""
    values, first, inverse, counts = np.unique(
        np.asarray(cells, dtype=np.str_), return_index=True, return_inverse=True, return_counts=True
    )
    return values.tolist(), first, inverse, counts


def _problem(table: TableFile, row: int, count: int, what: str, remedy: str) -> Problem:
    more = f" (and in {count - 1:,} more rows)" if count > 1 else ""
    return Problem(table.where(int(row)), what + more, remedy)
