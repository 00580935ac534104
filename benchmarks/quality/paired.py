"""Two models over the same seeds: differences with intervals, ratios, and who wins.

Only seeds that both have are compared; the others are named. Undefined is NaN with a count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from evidence import Evidence, Model, Values
from scipy import stats

from concilium.studies.columns import NAN, Better
from concilium.studies.comparison import MIN_PAIRS, UNDEFINED

Verdict = Literal["better", "worse", "tie", "unknown"]


@dataclass(frozen=True)
class Paired:
    """Mean of first − second over seeds, with a 95 % t interval.

    ``low`` and ``high`` are NaN with fewer than ``MIN_PAIRS`` defined pairs. ``undefined`` are
    seeds that both have and in which one is NaN, ``unpaired`` those that only one of them has.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[int, ...]
    undefined: tuple[int, ...] = ()
    unpaired: tuple[int, ...] = ()

    @property
    def num_pairs(self) -> int:
        """Seeds in which both are defined."""
        return len(self.seeds)

    def verdict(self, better: Better) -> Verdict:
        """What the interval says of the first; "unknown" where there is none."""
        if math.isnan(self.low):
            return "unknown"
        if self.low <= 0 <= self.high:
            return "tie"
        return "better" if (self.mean > 0) == (better == "higher") else "worse"

    def text(self, form: str, num_seeds: int = 0) -> str:
        """Mean and interval as a table writes them: "+.010 [−.002, +.022]".

        With (2 of 3) behind them where there are fewer pairs than seeds that were run.
        """
        if not self.num_pairs:
            return UNDEFINED
        mean, low, high = (format(v, f"+{form}") for v in (self.mean, self.low, self.high))
        ends = f"[{low}, {high}]" if not math.isnan(self.low) else "[too few pairs]"
        return counted(f"{mean} {ends}".replace("-", "−"), self.num_pairs, num_seeds)


def counted(text: str, number: int, of: int) -> str:
    """A mean over fewer seeds than were run says so.

    >>> counted("0.3", 2, 3), counted("0.3", 3, 3)
    ('0.3 (2 of 3)', '0.3')
    """
    return f"{text} ({number} of {of})" if number < of else text


def paired(first: Values, second: Values) -> Paired:
    """First − second over the seeds in which both are defined."""
    shared = sorted(set(first) & set(second))
    gaps = {seed: first[seed] - second[seed] for seed in shared}
    seeds = tuple(seed for seed in shared if not math.isnan(gaps[seed]))
    own = np.array([gaps[seed] for seed in seeds], np.float64)
    low, high = t_interval(own)
    return Paired(
        float(own.mean()) if len(own) else NAN,
        low,
        high,
        seeds,
        undefined=tuple(seed for seed in shared if math.isnan(gaps[seed])),
        unpaired=tuple(sorted(set(first) ^ set(second))),
    )


def divergences(
    evidence: Evidence,
    world: str,
    models: tuple[Model, Model],
    values: tuple[Values, Values],
) -> int:
    """At how many more seeds the first diverged where the second has a value than the reverse."""
    lost, won = (
        sum(not math.isnan(other.get(seed, NAN)) for seed in evidence.diverged(world, model))
        for model, other in zip(models, reversed(values), strict=True)
    )
    return lost - won


def decided(gap: Paired, balance: int, better: Better) -> Verdict:
    """What a world says of the first of two models, by what differs and by ``divergences``.

    The one that diverged at more seeds is the worse one, whatever the others say: else it would
    gain by it, as the seeds that are left out may be the hard ones.
    """
    if balance:
        return "worse" if balance > 0 else "better"
    return gap.verdict(better)


def t_interval(gaps: np.ndarray) -> tuple[float, float]:
    """The 95 % t interval of a mean of (n,) values; NaN below ``MIN_PAIRS``.

    Without any spread, as where nothing differs in any seed, both ends are the mean.
    """
    if len(gaps) < MIN_PAIRS:
        return NAN, NAN
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    reach = float(stats.t.ppf(0.975, len(gaps) - 1)) * error
    return mean - reach, mean + reach


def ratios(first: Values, second: Values) -> dict[int, float]:
    """First / second by shared seed; NaN where either is undefined or the second is not above 0."""
    shared = sorted(set(first) & set(second))
    return {seed: first[seed] / second[seed] if second[seed] > 0 else NAN for seed in shared}


def relative_to_pooled(evidence: Evidence, world: str, model: Model, key: str) -> dict[int, float]:
    """A measure as a part of the pooled model's (``Evidence.pooled``) by seed; empty without it."""
    pooled = evidence.pooled(world)
    if pooled is None:
        return {}
    return ratios(evidence.values(world, model, key), evidence.values(world, pooled, key))


@dataclass(frozen=True)
class HospitalGain:
    """Gain in AUROC over training alone of each hospital on its own test part, by seed and name.

    Only hospitals whose AUROC is defined under both stand in it; ``num_undefined`` others do not,
    all seeds together.
    """

    every: dict[int, dict[str, float]]
    num_undefined: int

    def by_seed(self, what: str) -> dict[int, float]:
        """The "mean" or "worst" gain, or the "share" of hospitals that gain, in each seed."""
        return {seed: _over_hospitals(what, list(own.values())) for seed, own in self.every.items()}


def hospital_gain(evidence: Evidence, world: str, model: Model) -> HospitalGain:
    """What each hospital has of a model against what it has alone (``Evidence.alone``)."""
    alone = evidence.alone(world)
    others = evidence.runs(world, alone) if alone is not None else {}
    every, num_undefined = {}, 0
    for seed, row in sorted(evidence.runs(world, model).items()):
        if seed not in others:
            continue
        own, other = row.by_hospital, others[seed].by_hospital
        gaps = {
            name: own.get(name, {}).get("auroc", NAN) - other.get(name, {}).get("auroc", NAN)
            for name in sorted(set(own) | set(other))
        }
        every[seed] = {name: gap for name, gap in gaps.items() if not math.isnan(gap)}
        num_undefined += len(gaps) - len(every[seed])
    return HospitalGain(every, num_undefined)


def _over_hospitals(what: str, gaps: list[float]) -> float:
    if not gaps:
        return NAN
    match what:
        case "mean":
            return math.fsum(gaps) / len(gaps)
        case "worst":
            return min(gaps)
        case "share":
            return sum(gap > 0 for gap in gaps) / len(gaps)
    raise ValueError(f"there is no {what!r} over hospitals")
