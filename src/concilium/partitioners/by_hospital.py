"""The natural partition: a column of the table names the hospital of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from concilium.data.patients import Patients
from concilium.data.table import ExamTable
from concilium.foundation.checks import suggestion
from concilium.foundation.errors import DataError, Problem
from concilium.partitioners._dealing import partition_of
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class ByHospital(Partitioner):
    """Hospitals are the values of a covariate ``column``, in the order of their names.

    Their number comes from the column; ``num_clients`` and the seed have no say. Raises DataError
    for a column that is not there, a row without a value, and a patient of two hospitals.
    """

    column: str = "hospital"

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        if self.column not in table.covariates:
            raise DataError(Problem("partitioners.by_hospital", *_missing(self.column, table)))
        values = table.covariates[self.column].astype(str)
        names, of_row = np.unique(values, return_inverse=True)
        patients = Patients.of(table)
        hospital = np.empty(len(patients), np.intp)
        hospital[patients.of_row] = of_row
        unnamed = int(np.isin(values, ("", "nan")).sum())
        divided = len(np.unique(patients.of_row[hospital[patients.of_row] != of_row]))
        problems = []
        if unnamed:
            what = f"{unnamed} rows name no hospital"
            remedy = "fill the column, or leave the rows out"
            problems.append(Problem(f"column {self.column!r}", what, remedy))
        if divided:
            what = f"{divided} patients have images at two hospitals or more"
            remedy = "patients must be whole: give each patient one hospital"
            problems.append(Problem(f"column {self.column!r}", what, remedy))
        if problems:
            raise DataError(problems)
        return partition_of(table, patients, hospital, tuple(names.tolist()))


def _missing(column: str, table: ExamTable) -> tuple[str, str]:
    """What is wrong where the covariate is not there, and what to do."""
    there = ", ".join(table.covariates) or "none"
    what = f"there is no column {column!r} among the covariates of the data ({there})"
    setting = f'in [data] name the table\'s column: source.covariates = {{{column} = "…"}}'
    if not table.covariates:
        return what, setting
    near = suggestion(column, table.covariates)
    choose = near if near.startswith("did") else "set `column` to one of them"
    return what, f"{choose} Or {setting}" if choose.endswith("?") else f"{choose}, or {setting}"
