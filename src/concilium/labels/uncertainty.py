"""What an uncertain label counts as. An unknown label is never a negative unless asked by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import fraction, one_of
from concilium.labels.states import State

UNCERTAIN_AS = ("ignore", "positive", "negative", "soft")


@dataclass(frozen=True)
class UncertaintyPolicy:
    """How the states of labels become targets.

    ``uncertain`` is what "may be" counts as: ``ignore`` (not known), ``positive``, ``negative``, or
    ``soft``, a target of ``soft_target`` in [0, 1]. The policies are U-Ignore, U-Ones and U-Zeros
    of J. Irvin et al., "CheXpert", AAAI 2019, arXiv 1901.07031; soft targets follow H. H. Pham et
    al., "Interpreting chest X-rays via CNNs that exploit hierarchical disease dependencies and
    uncertainty labels", Neurocomputing 2021, arXiv 1911.06475. ``unknown_as_negative`` takes what
    nobody said for absent; labels that only one hospital annotates lose by it.
    Raises InputError for another policy or a target outside [0, 1].
    """

    uncertain: Literal["ignore", "positive", "negative", "soft"] = "ignore"
    soft_target: float = 0.5
    unknown_as_negative: bool = False

    def __post_init__(self) -> None:
        one_of(UNCERTAIN_AS, uncertain=self.uncertain)
        fraction(soft_target=self.soft_target)

    def describe(self) -> str:
        """Say the policy in a sentence, as reports print it.

        >>> UncertaintyPolicy().describe()
        'Uncertain labels are ignored; unknown labels are ignored.'
        """
        uncertain = {
            "ignore": "are ignored",
            "positive": "count as present",
            "negative": "count as absent",
            "soft": f"count as present with probability {self.soft_target:g}",
        }[self.uncertain]
        unknown = "COUNT AS ABSENT" if self.unknown_as_negative else "are ignored"
        return f"Uncertain labels {uncertain}; unknown labels {unknown}."


def resolve(
    states: npt.NDArray[np.int8], policy: UncertaintyPolicy
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Turn states (N, L) of ``labels.states.State`` into target (N, L) and known (N, L).

    The target lies in [0, 1]; it is 0 wherever ``known`` is False.
    """
    uncertain = states == State.UNCERTAIN
    target = (states == State.PRESENT).astype(np.float32)
    target[uncertain] = {
        "ignore": 0.0,
        "positive": 1.0,
        "negative": 0.0,
        "soft": policy.soft_target,
    }[policy.uncertain]
    known = states >= State.ABSENT
    if policy.uncertain != "ignore":
        known |= uncertain
    if policy.unknown_as_negative:
        known |= states == State.UNKNOWN
    return target, known
