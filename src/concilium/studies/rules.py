"""What of a split calls for which recipe: rules over summed statistics, that say what they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.labels.split_profile import ENOUGH
from concilium.labels.spread import Spread
from concilium.studies.recipes import RECIPES
from concilium.studies.situation import Situation

Floats = npt.NDArray[np.float64]

# Set by dealing out the patients of 25,596 NIH exams (docs/recipes.md, "How a split is read").
FEW_HOLDERS = 3.0
"""Effective holders of a label that few hospitals hold; at most half the effective hospitals."""
ENOUGH_POSITIVES = 10
"""Below so many positives of all hospitals it is chance who holds a label."""
COUPLED = 0.12
"""Standard deviation of phi between hospitals."""
SHIFTED = 0.7
"""The same of log-odds of a prevalence: a factor of two in odds."""
CHANCE = 0.001
"""How probable so much difference may be among like hospitals, over all that is compared."""

FEWEST_HOLDERS = 3
"""Below so many, rows by evidence are nearly one hospital's own (``weightings``)."""
FEW_STEPS = 10.0
"""Gradient steps of a hospital in a round."""
ROUNDS_ON_IMAGES: int = RECIPES["more_rounds"].training["rounds"]
"""The rounds of the toy on pixels that gained by more of them (docs/recipes.md)."""
SMALL_BATCH: int = RECIPES["small_batches"].training["batch_size"]
"""Images; smaller ones are not advised."""
LARGE_UPDATE = 10_000_000
"""Bytes."""

MOST_PAIRS = 3


@dataclass(frozen=True)
class Rule:
    """``sees`` says in numbers what calls for the ``recipe``, or nothing."""

    name: str
    recipe: str
    sees: Callable[[Situation], str]


def _every_split(own: Situation) -> str:
    profile = own.profile
    return (
        f"{_plural(profile.hospitals, 'hospital')} with {profile.statistics.num_images:,} training "
        f"images (as unequal as {profile.effective_hospitals:.1f} of one size), "
        f"{_plural(len(own.labels), 'label')}, {'images' if own.images else 'features'}"
    )


def _nothing_trains(own: Situation) -> str:
    return "" if own.body_trains else "nothing below the head trains"


def _features(own: Situation) -> str:
    return "a body is trained on features" if own.body_trains and not own.images else ""


def _few_holders(own: Situation) -> str:
    profile = own.profile
    few = (profile.holders < FEWEST_HOLDERS) & (profile.statistics.positives > 0)
    if not few.any():
        return ""
    named = own.named(few, lambda i: _plural(profile.holders[i], "hospital"))
    return f"fewer than {FEWEST_HOLDERS} hospitals have {ENOUGH} or more patients with: {named}"


def concentrated(own: Situation) -> npt.NDArray[np.bool_]:
    """Labels (L,) that few hospitals hold, for how many there are."""
    most = min(FEW_HOLDERS, own.profile.effective_hospitals / 2)
    with np.errstate(invalid="ignore"):
        few = own.profile.effective_holders <= most
    found: npt.NDArray[np.bool_] = few & (own.profile.statistics.positives >= ENOUGH_POSITIVES)
    return found


def _specialist(own: Situation) -> str:
    few, profile = concentrated(own), own.profile
    if not few.any():
        return ""

    def text(label: int) -> str:
        positives = profile.statistics.positives[label]
        return f"{positives:,} positives, {profile.effective_holders[label]:.1f} effective holders"

    return f"labels that few of the hospitals hold: {own.named(few, text)}"


def _partial_annotation(own: Situation) -> str:
    profile = own.profile
    partly = (profile.annotators < profile.hospitals) & (profile.annotators > 0)
    if not partly.any():
        return ""
    named = own.named(partly, lambda i: f"{profile.annotators[i]} of {profile.hospitals}")
    return f"labels that some hospitals do not annotate: {named}"


def _coupling(own: Situation) -> str:
    spread, pairs = own.profile.coupling, np.triu(np.ones((len(own.labels),) * 2, bool), k=1)
    found = np.argwhere(pairs & beyond_chance(spread, spread.between, COUPLED, pairs))
    if not len(found):
        return ""
    found = found[np.argsort(-spread.between[tuple(found.T)])]

    def text(a: int, b: int) -> str:
        phi = f"phi {spread.mean[a, b]:+.2f} ± {spread.between[a, b]:.2f}"
        return f"{own.labels[a]} + {own.labels[b]} ({phi})"

    shown = ", ".join(text(a, b) for a, b in found[:MOST_PAIRS].tolist())
    return (
        f"what goes with what differs between hospitals in {_plural(len(found), 'pair')}: {shown}"
    )


def _prevalence(own: Situation) -> str:
    spread, profile = own.profile.prevalence_spread, own.profile
    every = np.ones(len(own.labels), bool)
    found = beyond_chance(profile.prevalence, spread, SHIFTED, every) & ~concentrated(own)
    if not found.any():
        return ""

    def text(label: int) -> str:
        mean = 100 * profile.prevalence.mean[label]
        return f"{mean:.1f} %, odds × or ÷ {np.exp(spread[label]):.1f}"

    return f"labels that are common at one hospital and rare at another: {own.named(found, text)}"


def beyond_chance(
    spread: Spread, size: Floats, least: float, compared: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Where hospitals differ in ``size`` by the ``least``, and by more than chance.

    ``size`` is their spread on the scale of ``least``; all arrays have the shape of the spread's.
    Chance is shared by all that is ``compared`` and says anything.
    """
    number = max(1, int((np.isfinite(spread.chance) & compared).sum()))
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.bool_] = (size >= least) & (spread.chance < CHANCE / number)
    return found


def _images(own: Situation) -> str:
    return "a body is trained on images" if own.images and own.body_trains else ""


def _few_rounds(own: Situation) -> str:
    few = own.images and own.body_trains and own.rounds < ROUNDS_ON_IMAGES
    return f"{own.rounds} rounds of {own.local_epochs} local epochs on images" if few else ""


def _few_steps(own: Situation) -> str:
    few = own.body_trains and own.steps_per_round < FEW_STEPS
    if not few or own.batch_size <= SMALL_BATCH:
        return ""
    return (
        f"{own.steps_per_round:.1f} steps of a hospital in a round ({own.images_per_hospital:,.0f} "
        f"images in batches of {own.batch_size}, {_plural(own.local_epochs, 'local epoch')})"
    )


def _large_update(own: Situation) -> str:
    if own.update_bytes < LARGE_UPDATE:
        return ""
    share = own.participation * own.rounds
    return (
        f"an update of {own.update_bytes / 1e6:,.1f} MB; a hospital sends about "
        f"{share * own.update_bytes / 1e6:,.0f} MB in {own.rounds} rounds"
    )


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


RULES = (
    Rule("every_split", "default", _every_split),
    Rule("nothing_trains", "from_sums", _nothing_trains),
    Rule("features", "linear_features", _features),
    Rule("few_holders", "plain_rows", _few_holders),
    Rule("specialist", "exact_head", _specialist),
    Rule("partial_annotation", "evidence_rows", _partial_annotation),
    Rule("coupling", "decoupled", _coupling),
    Rule("images", "shared_momentum", _images),
    Rule("few_rounds", "more_rounds", _few_rounds),
    Rule("few_steps", "small_batches", _few_steps),
    Rule("prevalence", "as_it_is", _prevalence),
    Rule("large_update", "half_the_bytes", _large_update),
)
"""In order: the settings of an earlier rule stand. Rows of few holders come before rows by
evidence (privacy before gain), an exact head before a loss that wants none."""
