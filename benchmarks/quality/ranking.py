"""Many models over many worlds: wins, ties and losses, and average ranks.

Janez Demšar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine
Learning Research 2006: Friedman's test over ranks, then Nemenyi's critical difference (section
3.2.2). Where it differs: a block is a world AND a seed there, not a data set. Seeds of one world
resemble each other, so the difference is too small for statements about other worlds; the number of
worlds stands beside it, and so does the difference with a block for each world.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from evidence import Evidence, Model
from paired import paired
from scipy import stats

from concilium.studies.columns import NAN, Better


@dataclass(frozen=True)
class Score:
    """Over worlds: the paired interval excludes 0 to the good side, includes it, to the bad side.

    ``unknown`` worlds have both models and too few pairs for an interval.
    """

    wins: int = 0
    ties: int = 0
    losses: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """Worlds that have both."""
        return self.wins + self.ties + self.losses + self.unknown

    def text(self) -> str:
        """As a table writes it: wins / ties / losses, and what nobody can say."""
        said = f"{self.wins} / {self.ties} / {self.losses}"
        return f"{said} ({self.unknown} unknown)" if self.unknown else said


def score(evidence: Evidence, first: Model, second: Model, key: str, better: Better) -> Score:
    """How often the first beats the second, over the worlds in which both have rows."""
    verdicts = Counter(
        paired(evidence.values(world, first, key), evidence.values(world, second, key)).verdict(
            better
        )
        for world in evidence.worlds
        if evidence.runs(world, first) and evidence.runs(world, second)
    )
    return Score(verdicts["better"], verdicts["tie"], verdicts["worse"], verdicts["unknown"])


@dataclass(frozen=True)
class Ranks:
    """Average ranks of k models (1 is the best) over N blocks, Friedman's p, critical difference.

    ``difference`` is Nemenyi's at 5 % with N blocks, ``by_world`` with a block a world. ``p`` is
    NaN with fewer than three models.
    """

    models: tuple[Model, ...]
    average: tuple[float, ...]
    num_blocks: int
    worlds: tuple[str, ...]
    num_left_out: int
    p: float
    difference: float
    by_world: float


def ranks(evidence: Evidence, models: Sequence[Model], key: str, better: Better) -> Ranks | None:
    """Average ranks over every (world, seed) in which all models have a row.

    A block in which a model is undefined is left out and counted. None with fewer than two models
    or without a block.
    """
    worlds = [w for w in evidence.worlds if all(evidence.runs(w, model) for model in models)]
    blocks: list[list[float]] = []
    used, num_left_out = [], 0
    for world in worlds:
        values = [evidence.values(world, model, key) for model in models]
        for seed in evidence.seeds(world):
            block = [own.get(seed, NAN) for own in values]
            if any(map(math.isnan, block)):
                num_left_out += 1
            else:
                blocks.append(block)
                used.append(world)
    if len(models) < 2 or not blocks:
        return None
    own = np.array(blocks) * (-1 if better == "higher" else 1)
    k, names = len(models), tuple(dict.fromkeys(used))
    return Ranks(
        tuple(models),
        tuple(stats.rankdata(own, axis=1).mean(0).tolist()),
        len(blocks),
        names,
        num_left_out,
        friedman(own),
        nemenyi(k, len(blocks)),
        nemenyi(k, len(names)),
    )


def friedman(blocks: np.ndarray) -> float:
    """The p value of Friedman's test on (N, k) values; NaN where there is none.

    It needs three models, two blocks, and a block that is not all ties.
    """
    if blocks.shape[0] < 2 or blocks.shape[1] < 3 or (np.ptp(blocks, axis=1) == 0).all():
        return NAN
    return float(stats.friedmanchisquare(*blocks.T).pvalue)


def nemenyi(num_models: int, num_blocks: int) -> float:
    """How far two average ranks must lie apart at 5 %: q √(k (k + 1) / 6 N), Demšar equation 7."""
    q = float(stats.studentized_range.ppf(0.95, num_models, math.inf)) / math.sqrt(2)
    return q * math.sqrt(num_models * (num_models + 1) / (6 * num_blocks))
