"""The update that most algorithms send: a weighted delta with the cohort's training loss."""

from __future__ import annotations

from concilium.algorithms.contract import LocalWork
from concilium.federation.messages import Update
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import Trained
from concilium.weightings.contract import Weighting


def update_of(
    delta: NamedTensors,
    work: LocalWork,
    done: Trained,
    weighting: Weighting,
    extras: NamedTensors | None = None,
) -> Update:
    """Weight and weighted delta of one client; its loss weighs as its known entries."""
    weight = weighting(delta, work.statistics, work.federation)
    return weighted(delta, weight, work, done, extras)


def weighted(
    delta: NamedTensors,
    weight: NamedTensors,
    work: LocalWork,
    done: Trained,
    extras: NamedTensors | None = None,
) -> Update:
    """The update of a delta that has this weight."""
    entries = float(work.statistics.known.sum()) if done.num_steps else 0.0
    loss = done.mean_loss * entries if entries else 0.0
    extras = NamedTensors({}) if extras is None else extras
    return Update(delta * weight, weight, extras, loss=loss, loss_weight=entries)
