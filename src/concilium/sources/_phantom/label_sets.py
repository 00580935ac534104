"""Sets of findings as they occur together on real radiographs, and how often.

The counts are those of NIH ChestX-ray14 (Wang et al., ChestX-ray8, CVPR 2017, arXiv 1705.02315):
they stand, with their attribution, in ``nih_label_sets.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import DataError, Problem
from concilium.labels.schema import LabelSchema
from concilium.labels.vocabularies import is_no_finding, vocabulary

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelSets:
    """S sets of L findings.

    ``states`` (S, L) int8, 1 where a set has a finding; ``images`` (S,) int64, on how many images
    of NIH ChestX-ray14 exactly this set stands; ``ap`` (S,) int64, on how many of those in AP view.
    """

    schema: LabelSchema
    states: npt.NDArray[np.int8]
    images: npt.NDArray[np.int64]
    ap: npt.NDArray[np.int64]

    def having(self, findings: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which sets have all these findings (S,); an empty sequence: all of them."""
        chosen = list(self.schema.indices(findings))
        return np.asarray(self.states[:, chosen].all(axis=1))


@cache
def nih_label_sets() -> LabelSets:
    """The 801 sets of the 14 findings on the 112,120 images of NIH ChestX-ray14."""
    table = resources.files(__package__).joinpath("nih_label_sets.csv")
    lines = [x for x in table.read_text("utf-8").splitlines() if not x.startswith("#")]
    rows = list(csv.DictReader(lines))
    schema = vocabulary("nih")
    states = np.zeros((len(rows), len(schema)), np.int8)
    for row, entry in enumerate(rows):
        if not is_no_finding(entry["findings"]):
            states[row, list(schema.indices(entry["findings"].split("|")))] = 1
    return LabelSets(
        schema,
        states,
        np.array([int(entry["images"]) for entry in rows]),
        np.array([int(entry["ap"]) for entry in rows]),
    )


def set_probabilities(
    sets: LabelSets,
    enrichment: float = 0.0,
    rare_combination: Sequence[str] = (),
    rare_share: float = 0.0,
) -> Floats:
    """Probability of each label set (S,), p(set) ∝ images(set) · rarity(set)^enrichment.

    ``rarity`` is the number of images without a finding over the number of images that have the
    rarest finding of the set (1 for "No Finding"): at 0 the sets are as frequent as on real
    images, at 1 the rarest findings are about as frequent as the others. Sets that share their
    rarest finding keep their proportions. Then the sets that have all findings of
    ``rare_combination`` are raised together to a share of ``rare_share``, if they have less.

    Raises DataError if no real image has that combination.
    """
    positives = sets.images @ sets.states
    nothing = int(sets.images[~sets.states.any(axis=1)].sum())
    rarest = np.where(sets.states > 0, positives, nothing).min(axis=1)
    weight = sets.images * (nothing / rarest) ** enrichment
    probability: Floats = weight / weight.sum()
    chosen = sets.having(rare_combination)
    share = float(probability[chosen].sum())
    if share == 0:
        what = f"no image of NIH ChestX-ray14 has {' and '.join(rare_combination)} together"
        raise DataError(Problem("phantom, rare_combination", what, "choose other findings"))
    if share >= rare_share:
        return probability
    scale = np.where(chosen, rare_share / share, (1 - rare_share) / (1 - share))
    return probability * scale


def ap_probabilities(sets: LabelSets) -> Floats:
    """Probability of an AP view given the set (S,): sick patients are imaged in bed.

    Small counts are drawn to the overall 40 % by five imagined images.
    """
    overall = sets.ap.sum() / sets.images.sum()
    return np.asarray((sets.ap + 5 * overall) / (sets.images + 5))
