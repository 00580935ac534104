"""Label sets that training never sees: whoever has one goes to the test part, with all exams.

What a model makes of findings together that it has only met one by one is measured there. Everybody
else stays in the part that the split gave, so a study with held-out sets and the same one without
differ in these patients alone. The test part grows by them: its frequencies are no longer those of
the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.patients import numbered
from concilium.data.splits import PARTS, Split
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError, Problem

LabelSet = tuple[int, ...]
WHERE = "split.held_out"


@dataclass(frozen=True)
class HeldOut:
    """A label set that is in the test part alone.

    ``exams`` on which all of it is present, ``patients`` who have such an exam, and the ``images``
    of these patients, all of which are in the test part.
    """

    labels: tuple[str, ...]
    exams: int
    patients: int
    images: int

    def to_json(self) -> dict[str, Any]:
        """Give the plain values that a JSON file holds."""
        return asdict(self)


def hold_out(
    split: Split,
    table: ExamTable,
    present: npt.NDArray[np.bool_],
    label_sets: tuple[LabelSet, ...],
) -> tuple[Split, tuple[HeldOut, ...]]:
    """The split with every patient who has a whole label set in the test part; and who that is.

    ``present`` (N, L): what counts as present in training. Raises DataError with every set that
    nobody has, or everybody, and where nobody is left for a part that had somebody.
    """
    code, of_row = numbered(table.patient)
    found, moved = [], np.zeros(len(table), np.bool_)
    problems: list[Problem] = []
    for labels in label_sets:
        exams = present[:, list(labels)].all(1)
        whose = np.bincount(of_row[exams], minlength=len(code)) > 0
        rows = whose[of_row]
        names = tuple(table.schema.names[label] for label in labels)
        found.append(HeldOut(names, int(exams.sum()), int(whose.sum()), int(rows.sum())))
        problems += _problems(found[-1], len(code))
        moved |= rows
    if problems:
        raise DataError(problems)
    part = np.where(moved, PARTS.index("test"), split.part).astype(np.int8)
    _check_parts(split.part, part)
    return Split(part), tuple(found)


def _problems(own: HeldOut, num_patients: int) -> list[Problem]:
    """Why a set cannot be held out, if so."""
    who = {0: "nobody has", num_patients: "every patient has"}.get(own.patients)
    if who is None:
        return []
    what = f"{who} an exam with {' and '.join(own.labels)} together"
    return [Problem(WHERE, what, "hold out a set that some patients have")]


def _check_parts(before: npt.NDArray[np.int8], after: npt.NDArray[np.int8]) -> None:
    """Raise DataError for every part that held-out patients leave without anybody."""
    emptied = [name for p, name in enumerate(PARTS) if p in before and p not in after]
    if emptied:
        what = f"without the patients who are held out nobody is left for {' and '.join(emptied)}"
        raise DataError(Problem(WHERE, what, "hold out rarer sets"))


def say_held_out(own: Mapping[str, Any]) -> str:
    """One set, as ``HeldOut.to_json`` gives it, in a sentence.

    >>> say_held_out(HeldOut(("Mass", "Edema"), 3, 2, 8).to_json())
    'Mass + Edema: on 3 exams of 2 patients, whose 8 images are all in test'
    """
    return (
        f"{' + '.join(own['labels'])}: on {own['exams']:,} exams of {own['patients']:,} patients, "
        f"whose {own['images']:,} images are all in test"
    )
