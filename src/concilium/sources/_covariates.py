"""Age, sex, view and hospital, as every source gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

AGE, SEX, VIEW, HOSPITAL = "age", "sex", "view", "hospital"

_AGE = re.compile(r"(\d+(?:\.\d+)?)([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}  # DICOM's age units
_OLDEST = 120.0  # the NIH table has ages up to 414
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}

Column = npt.NDArray[np.generic]


def covariate(name: str, cells: Sequence[str]) -> tuple[Column, dict[str, str]]:
    """A column from text, and notes for the report.

    Age is float64 in years (a DICOM age such as ``058Y`` too), NaN where it is blank, no number or
    above 120; sex is "F", "M" or "" for anything else; every other column is text as it stands.
    """
    if name == AGE:
        ages = np.array([_age(cell) for cell in cells], np.float64)
        wrong = sum(bool(cell) for cell, age in zip(cells, ages, strict=True) if math.isnan(age))
        notes = {"ages that are no number up to 120": f"{wrong:,} (unknown)"} if wrong else {}
        return ages, notes
    if name == SEX:
        return np.array([_SEXES.get(cell.casefold(), "") for cell in cells], np.str_), {}
    return np.array(list(cells), np.str_), {}


def covariate_of_array(name: str, values: npt.NDArray[np.generic]) -> tuple[Column, dict[str, str]]:
    """A column from an array (N,): numbers other than ages become float64, the rest as text."""
    if values.dtype.kind in "iufb" and name not in {AGE, SEX, VIEW, HOSPITAL}:
        return values.astype(np.float64), {}
    if values.dtype.kind == "f":
        texts = ["" if math.isnan(value) else f"{value:g}" for value in values.tolist()]
        return covariate(name, texts)
    return covariate(name, [str(value).strip() for value in values.tolist()])


def unknown_column(like: Column, count: int) -> Column:
    """A column of ``count`` unknown values of the same kind."""
    return np.full(count, np.nan) if like.dtype.kind == "f" else np.full(count, "", np.str_)


def _age(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None:
        return math.nan
    years = float(match[1]) / _PER_YEAR[match[2].upper()]
    return years if years <= _OLDEST else math.nan
