"""Many models over many worlds: wins, ties and losses, and average ranks.

Janez Demšar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine
Learning Research 2006: Friedman's test over ranks, then Nemenyi's critical difference (section
3.2.2). Where it differs: a block is a world AND a seed there, not a data set. Seeds of one world
resemble each other, so the difference is too small for statements about other worlds; the number of
worlds stands beside it, and so does the difference with a block for each world.

A training that diverged is worse than any that did not. A number that is undefined for another
reason says nothing: its pair or block is left out for all, and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from evidence import Evidence, Model
from paired import decided, divergences, paired
from scipy import stats

from concilium.studies.columns import NAN, Better


@dataclass(frozen=True)
class Score:
    """Over worlds: the paired interval excludes 0 to the good side, includes it, to the bad side.

    ``unknown`` worlds have both models and too few pairs for an interval. ``diverged`` of the wins
    and losses are those of the model that diverged less often; ``left_out`` pairs, of all worlds,
    lack one of the two or are undefined.
    """

    wins: int = 0
    ties: int = 0
    losses: int = 0
    unknown: int = 0
    diverged: int = 0
    left_out: int = 0

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
    models, verdicts = (first, second), Counter[str]()
    diverged = left_out = 0
    for world in evidence.worlds:
        if all(evidence.runs(world, model) for model in models):
            values = (evidence.values(world, first, key), evidence.values(world, second, key))
            gap, balance = paired(*values), divergences(evidence, world, models, values)
            verdicts[decided(gap, balance, better)] += 1
            diverged += balance != 0
            left_out += len(gap.undefined) + len(gap.unpaired)
    counts = (verdicts[own] for own in ("better", "tie", "worse", "unknown"))
    return Score(*counts, diverged, left_out)


@dataclass(frozen=True)
class Ranks:
    """Average ranks of k models (1 is the best) over N blocks, Friedman's p, critical difference.

    ``difference`` is Nemenyi's at 5 % with N blocks, ``by_world`` with a block a world. ``p`` is
    NaN with fewer than three models. Left out are ``num_left_out`` blocks of the ``worlds``, other
    worlds that some of the models have, and models that do not compete (``answers.ranked``).
    ``num_diverged`` trainings stand last in their block, side by side where there are several.
    """

    models: tuple[Model, ...]
    average: tuple[float, ...]
    num_blocks: int
    worlds: tuple[str, ...]
    num_left_out: int
    p: float
    difference: float
    by_world: float
    num_diverged: int = 0
    num_worlds_left_out: int = 0
    num_models_left_out: int = 0

    def text(self) -> str:
        """What the ranks go over, and what they leave out."""
        said = (
            f"{self.num_blocks} blocks (world and seed) in {len(self.worlds)} worlds; left out: "
            f"{self.num_left_out} blocks and {self.num_worlds_left_out} worlds in which a model "
            f"has no row or no number, {self.num_models_left_out} models that less than half of "
            "the worlds have."
        )
        last = f" {self.num_diverged} trainings diverged and stand last in their block."
        return said + last if self.num_diverged else said


def ranks(evidence: Evidence, models: Sequence[Model], key: str, better: Better) -> Ranks | None:
    """Average ranks over every (world, seed) in which all models have a row.

    A block in which a model is undefined is left out and counted, unless it diverged: then it is
    last. None with fewer than two models or without a block.
    """
    blocks: list[list[float]] = []
    used, num_left_out = [], 0
    some = [w for w in evidence.worlds if any(evidence.runs(w, model) for model in models)]
    worlds = [w for w in some if all(evidence.runs(w, model) for model in models)]
    for world in worlds:
        values = [_ranked_values(evidence, world, model, key, better) for model in models]
        for seed in evidence.seeds(world):
            block = [own.get(seed, NAN) for own in values]
            if any(map(math.isnan, block)):
                num_left_out += 1
            else:
                blocks.append(block)
                used.append(world)
    if len(models) < 2 or not blocks:
        return None
    found = _of_blocks(tuple(models), np.array(blocks), tuple(dict.fromkeys(used)))
    num_worlds = len(some) - len(found.worlds)
    return replace(found, num_left_out=num_left_out, num_worlds_left_out=num_worlds)


def _ranked_values(
    evidence: Evidence, world: str, model: Model, key: str, better: Better
) -> dict[int, float]:
    """Values by seed of which less is better; infinite where the training diverged."""
    sign = -1 if better == "higher" else 1
    found = {seed: sign * value for seed, value in evidence.values(world, model, key).items()}
    return found | dict.fromkeys(evidence.diverged(world, model), math.inf)


def _of_blocks(models: tuple[Model, ...], own: np.ndarray, worlds: tuple[str, ...]) -> Ranks:
    """Ranks of (N, k) values of which less is better."""
    places, k = stats.rankdata(own, axis=1), len(models)
    return Ranks(
        models,
        tuple(places.mean(0).tolist()),
        len(own),
        worlds,
        0,
        friedman(places),
        nemenyi(k, len(own)),
        nemenyi(k, len(worlds)),
        num_diverged=int(np.isinf(own).sum()),
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
