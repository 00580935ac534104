"""Rounds of small federations, and how well a model ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concilium.data.dataset import Exams
from concilium.federation.messages import Update, total
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.runtimes.contract import Simulation


def rounds(
    run: Simulation,
    start: NamedTensors | ServerState,
    num: int = 1,
    cohorts: Sequence[Sequence[str]] = (),
) -> ServerState:
    """The server after so many rounds; round i asks cohort i, or everybody where none is given."""
    server = start if isinstance(start, ServerState) else ServerState(0, start, len(run.clients))
    for turn in range(num):
        cohort = tuple(cohorts[turn]) if cohorts else run.clients
        server = run.algorithm.server_update(server, totalled(run, server, cohort))
    return server


def totalled(run: Simulation, server: ServerState, cohort: Sequence[str] = ()) -> Update:
    """What the server gets of one round: the sum of the cohort's updates."""
    cohort = tuple(cohort) or run.clients
    return total(run.train(run.algorithm.broadcast(server), cohort), cohort)


def linear_scores(model: NamedTensors, exams: Exams) -> Tensor:
    """Scores (N, L) of a linear network."""
    images = torch.from_numpy(np.asarray(exams.images))
    return images @ model["head.weight"].T + model["head.bias"]


def auroc(score: Tensor, target: npt.NDArray[np.float32]) -> float:
    """How often a positive outranks a negative (one label)."""
    present = torch.from_numpy(target) > 0.5
    higher = score[present].unsqueeze(1) > score[~present].unsqueeze(0)
    return float(higher.double().mean())
