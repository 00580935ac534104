"""What labels cost: exams that must be labelled, and labels that hospitals do not annotate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from evidence import Evidence, Model, Values
from paired import counted, paired, ratios
from scipy import stats
from scipy.optimize import isotonic_regression
from shown import SHOWN
from sweeps import Sweep
from table_forms import Table

from concilium.studies.columns import NAN
from concilium.studies.comparison import MIN_PAIRS, UNDEFINED

LABELLED, ANNOTATED = "labelled share", "labels annotated"
GOALS = (Model("softmax", "none"), Model("one_label_bce", "none"))
"""Whose macro AUROC with all labelled exams is to be reached."""
ROUNDING = 1e-9  # by which a mean of equal numbers may differ from them
Curve = Mapping[float, float]
"""AUROC by labelled share."""


def monotone(aurocs: Curve) -> dict[float, float]:
    """The rising curve nearest to a learning curve (isotonic regression, all shares weighed alike).

    A noisy curve crosses a level early: one point that chance has lifted is enough, and no later
    one takes it back. Here it is averaged with the lower ones after it.
    """
    shares = sorted(aurocs)
    fitted = isotonic_regression([aurocs[share] for share in shares]).x
    return dict(zip(shares, fitted.tolist(), strict=True))


def share_needed(aurocs: Curve, goal: float) -> float:
    """The labelled share at which a learning curve, made ``monotone``, reaches a goal.

    Linear in the logarithm of the share between its points. The least share of the curve where it
    is reached there already; NaN where it never is, or where no goal is defined.
    """
    below: tuple[float, float] | None = None
    for share, auroc in monotone(aurocs).items():
        if auroc >= goal - ROUNDING:
            if below is None:
                return share
            part = min((goal - below[1]) / (auroc - below[1]), 1.0)
            return math.exp(math.log(below[0]) + part * math.log(share / below[0]))
        below = (share, auroc)
    return NAN


@dataclass(frozen=True)
class Need:
    """The share needed on the mean over seeds, with a 95 % interval.

    The interval is that of the paired jackknife over seeds, in the logarithm of the share: the
    mean curve and the mean goal without each seed in turn. NaN with fewer than ``MIN_PAIRS`` seeds,
    or where one of these does not reach the goal. ``num_reached`` of ``num_seeds`` seeds reach
    their own goal by themselves; others of the sweep lack a share or are undefined there.
    """

    share: float
    low: float
    high: float
    num_reached: int
    num_seeds: int

    @staticmethod
    def of(curves: Mapping[int, Curve], goals: Values) -> Need:
        """From a learning curve and a goal for each seed; all curves have the same shares."""
        seeds = sorted(curves)
        share = _of_mean(curves, goals, seeds)
        left = [_of_mean(curves, goals, [s for s in seeds if s != out]) for out in seeds]
        low, high = _jackknife(share, left) if len(seeds) >= MIN_PAIRS else (NAN, NAN)
        reached = sum(not math.isnan(share_needed(curves[s], goals[s])) for s in seeds)
        return Need(share, low, high, reached, len(seeds))

    def text(self, least: float, most: float, num_seeds: int) -> str:
        """As a table writes it; nothing is said beyond the ``least`` and ``most`` measured."""
        if not self.num_seeds:
            return UNDEFINED
        said = f"{self.share:.2f} {self._interval(least, most)}"
        if math.isnan(self.share):
            said = "not reached"
        elif self.share <= least:
            said = f"≤ {least:g}"
        if self.num_reached < self.num_seeds:
            said += f"; by {self.num_reached} of {self.num_seeds} seeds"
        return counted(said, self.num_seeds, num_seeds)

    def _interval(self, least: float, most: float) -> str:
        if math.isnan(self.low):
            return "[no interval]"
        low = f"< {least:g}" if self.low < least * (1 - ROUNDING) else f"{self.low:.2f}"
        high = f"> {most:g}" if self.high > most * (1 + ROUNDING) else f"{self.high:.2f}"
        return f"[{low}, {high}]"


def _of_mean(curves: Mapping[int, Curve], goals: Values, seeds: Sequence[int]) -> float:
    """The share needed by the mean curve of some seeds for their mean goal; NaN without any."""
    if not seeds:
        return NAN
    shares = curves[seeds[0]]
    mean = {x: math.fsum(curves[seed][x] for seed in seeds) / len(seeds) for x in shares}
    return share_needed(mean, math.fsum(goals[seed] for seed in seeds) / len(seeds))


def _jackknife(share: float, left: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of a share from the same without each seed."""
    own = np.log(np.array(left))
    error = math.sqrt((len(own) - 1) * float(own.var()))
    reach = float(stats.t.ppf(0.975, len(own) - 1)) * error
    return share * math.exp(-reach), share * math.exp(reach)


def needed(evidence: Evidence, sweep: Sweep) -> Table:
    """The part of the labelled exams with which each model does what others do with all."""
    goals = [goal for goal in GOALS if evidence.runs(sweep.worlds[-1], goal)]
    least, most, num_seeds = sweep.values[0], sweep.values[-1], len(_all_seeds(evidence, sweep))
    rows = []
    for model in sweep.models(evidence):
        every = [_need(evidence, sweep, model, goal) for goal in goals]
        if any(own.num_seeds for own in every):
            rows.append([model.title, *(own.text(least, most, num_seeds) for own in every)])
    titles = [f"share needed for the AUROC of {goal.title}" for goal in goals]
    caption = (
        f"That AUROC with {most:g} of the exams labelled, mean over seeds. The share is read where "
        "the mean learning curve reaches it, made monotone before (isotonic regression, all shares "
        "weighed alike: a noisy curve would cross early), and linear in the logarithm of the share "
        "between measured ones. [95 % t interval of the paired jackknife over seeds, in the "
        f"logarithm.] {least:g} is the least measured. By 2 of 3 seeds: so many reach their own "
        "goal by themselves. (2 of 3): seeds that have every share and the goal, of those that "
        "were run."
    )
    title = f"Labelled exams needed for equal macro AUROC ({sweep.family})"
    return Table.of(title, ["model", *titles], rows, caption)


def _need(evidence: Evidence, sweep: Sweep, model: Model, goal: Model) -> Need:
    """Over the seeds in which the whole curve and the goal are defined."""
    goals = evidence.values(sweep.worlds[-1], goal, "auroc")
    columns = {
        value: evidence.values(world, model, "auroc")
        for value, world in zip(sweep.values, sweep.worlds, strict=True)
    }
    curves = {seed: {value: own.get(seed, NAN) for value, own in columns.items()} for seed in goals}
    whole = {
        seed: curve
        for seed, curve in curves.items()
        if not any(map(math.isnan, (*curve.values(), goals[seed])))
    }
    return Need.of(whole, goals)


def _all_seeds(evidence: Evidence, sweep: Sweep) -> set[int]:
    return {seed for world in sweep.worlds for seed in evidence.seeds(world)}


def kept_of_all(evidence: Evidence, sweep: Sweep, key: str = "auroc") -> Table:
    """What each model keeps of what it does where all is labelled or annotated."""
    last = sweep.worlds[-1]
    rows = []
    for model in sweep.models(evidence):
        cells = []
        for world in sweep.worlds[:-1]:
            part = ratios(evidence.values(world, model, key), evidence.values(last, model, key))
            gap = paired({s: 100 * v for s, v in part.items()}, dict.fromkeys(part, 0.0))
            num_seeds = len({*evidence.seeds(world), *evidence.seeds(last)})
            cells.append(gap.text(".1f", num_seeds).replace("+", ""))
        rows.append([model.title, *cells])
    titles = [f"{sweep.severity} = {value:g}" for value in sweep.values[:-1]]
    caption = (
        f"Percent of the same model's {SHOWN[key].title} at {sweep.values[-1]:g}, paired by seed, "
        "[95 % interval]; (2 of 3): so many of the seeds that were run."
    )
    title = f"{SHOWN[key].title} kept by {sweep.severity} ({sweep.family})"
    return Table.of(title, ["model", *titles], rows, caption, folded=True)


def tables(evidence: Evidence, sweep: Sweep) -> tuple[Table, ...]:
    """What a sweep has to say of labels; nothing where it is about something else."""
    if sweep.severity == LABELLED:
        return needed(evidence, sweep), kept_of_all(evidence, sweep)
    return (kept_of_all(evidence, sweep),) if sweep.severity == ANNOTATED else ()
