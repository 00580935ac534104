"""The numbers that tables show: their titles, how they are written, and which way is better.

Most are columns of ``concilium.studies.columns``; the others need more than one model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from evidence import Evidence, Model, Values
from paired import hospital_gain, relative_to_pooled

from concilium.studies.columns import COLUMNS, Better
from concilium.studies.comparison import Measured

COUPLINGS = ("false_coupling", "decoupled_coupling")
DIVERGED = "diverged"
IDEAL_COUPLING = 0.10  # thresholds give 90 % specificity; below that a model merely alerts less


@dataclass(frozen=True)
class Shown:
    """One number of a model in a world: how it is named and written, and its values by seed.

    ``of_cost`` numbers are neither better nor worse results.
    """

    key: str
    title: str
    form: str
    better: Better
    meaning: str
    values: Callable[[Evidence, str, Model], Values]
    of_cost: bool = False

    def measured(self, evidence: Evidence, world: str, model: Model) -> Measured:
        """Mean and spread over the seeds of the world; those that the model lacks are undefined."""
        return evidence.over_seeds(world, self.values(evidence, world, model))

    def text(self, evidence: Evidence, world: str, model: Model) -> str:
        """As a table writes it, see ``written``; "diverged" where every training did."""
        if all_diverged(evidence, world, model):
            return DIVERGED
        return written(self.measured(evidence, world, model), self.form)

    def judged(self, evidence: Evidence, world: str, model: Model) -> Values:
        """Values by which models are called better or worse.

        False coupling below the ideal is not better still: what never alerts is below it.
        """
        values = self.values(evidence, world, model)
        if self.key not in COUPLINGS:
            return values
        return {s: v if math.isnan(v) else max(v, IDEAL_COUPLING) for s, v in values.items()}


def all_diverged(evidence: Evidence, world: str, model: Model) -> bool:
    """Whether no training of this model stayed finite; False where there was none."""
    runs = evidence.runs(world, model)
    return bool(runs) and len(evidence.diverged(world, model)) == len(runs)


def written(measured: Measured, form: str) -> str:
    """Mean ± spread as tables write it; "–" where undefined, (2 of 3) where partly so."""
    return measured.text(form).replace("± +", "± ").replace("-", "−")


def _column(key: str) -> Shown:
    own = COLUMNS[key]

    def values(evidence: Evidence, world: str, model: Model) -> Values:
        return evidence.values(world, model, key)

    of_cost = key in ("megabytes", "seconds")
    return Shown(key, own.title, own.form, own.better, own.meaning, values, of_cost)


def _of_pooled(key: str) -> Shown:
    own = COLUMNS[key]

    def values(evidence: Evidence, world: str, model: Model) -> Values:
        found = relative_to_pooled(evidence, world, model, key)
        return {seed: 100 * value for seed, value in found.items()}

    meaning = f"{own.title} in percent of the pooled model's of the same seed"
    return Shown(
        f"{key}_of_pooled", f"{own.title}, % of pooled", ".1f", own.better, meaning, values
    )


def _gain(key: str, title: str, meaning: str, form: str = "+.3f") -> Shown:
    def values(evidence: Evidence, world: str, model: Model) -> Values:
        return hospital_gain(evidence, world, model).by_seed(key)

    return Shown(f"gain_{key}", title, form, "higher", meaning, values)


EVERY: tuple[Shown, ...] = (
    *map(_column, ("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap", "set_recall")),
    *map(_column, ("false_coupling", "decoupled_auroc", "decoupled_map", "decoupled_coupling")),
    *map(_column, ("phi_gap", "missed", "missed_second", "ece_before", "calibration_error")),
    _column("worst_hospital"),
    _gain(
        "mean",
        "gain over local-only",
        "macro AUROC on a hospital's own test exams minus that of what it has alone, mean",
    ),
    _gain("worst", "least gain", "that of the hospital that gains least"),
    _gain("share", "share that gains", "share of hospitals that gain", ".2f"),
    *map(_of_pooled, ("auroc", "map", "rare_ap", "set_recall", "false_coupling")),
    *map(_column, ("megabytes", "seconds")),
)
SHOWN = {shown.key: shown for shown in EVERY}
COMPACT = (
    *("auroc", "map", "map_of_pooled", "tail_ap", "rare_ap", "set_recall", "false_coupling"),
    *("missed_second", "calibration_error", "worst_hospital", "gain_mean", "megabytes", "seconds"),
)
FULL = (
    *("auroc", "map", "map_of_pooled", "head_ap", "medium_ap", "tail_ap", "rare_ap"),
    *("set_recall", "false_coupling", "decoupled_map", "decoupled_auroc", "decoupled_coupling"),
    *("phi_gap", "missed", "missed_second", "ece_before", "calibration_error", "worst_hospital"),
    *("gain_mean", "gain_worst", "gain_share", "megabytes", "seconds"),
)
JUDGED = (
    *("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap", "set_recall"),
    *("false_coupling", "decoupled_map", "decoupled_auroc", "decoupled_coupling"),
    *("phi_gap", "missed", "missed_second", "ece_before", "calibration_error", "worst_hospital"),
)
