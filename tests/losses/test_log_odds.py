"""What a loss says of its scores: log-odds under the federation's prevalence, evidence, neither.

A label prior takes the federation's prevalence off log-odds: where they are none, it takes off
what is not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.foundation import components
from concilium.labels.statistics import LabelStatistics
from concilium.losses.asymmetric import Asymmetric
from concilium.losses.contract import Loss
from concilium.losses.focal import Focal
from concilium.losses.logit_adjusted import LogitAdjusted
from concilium.losses.positive_weighted import PositiveWeighted

PREVALENCE = (0.2, 0.4)
NUM = 1000
CLOSE, CLEAR = 0.0005, 0.005
"""Smoothing of counts moves a probability by less than the first here."""

EVERY: list[Loss] = [components.build("losses", name) for name in components.names("losses")]


def exams() -> tuple[Tensor, Tensor]:
    """Labels (1000, 2) that 20 % and 40 % of exams have, independent of each other, all known."""
    both = [(1.0, 1.0)] * 80 + [(1.0, 0.0)] * 120 + [(0.0, 1.0)] * 320 + [(0.0, 0.0)] * 480
    return torch.tensor(both, dtype=torch.float64), torch.ones(NUM, 2, dtype=torch.bool)


def bound(loss: Loss) -> Loss:
    """As it is trained at the one hospital that is the federation."""
    target, known = exams()
    statistics = LabelStatistics.of(
        target.numpy().astype(np.float32), known.numpy(), np.arange(NUM)
    )
    return loss.bind(statistics).localise(target, known)


def slope(loss: Loss, shift: float) -> Tensor:
    """Slopes (2,) of each label's loss where all images have its log-odds and a shift.

    With BCE a slope is p minus the prevalence: .01 means that the best p is .01 away.
    """
    target, known = exams()
    score = (torch.tensor(PREVALENCE, dtype=torch.float64).logit() + shift).requires_grad_()
    value = bound(loss)(score.expand(NUM, 2), target, known)
    (found,) = torch.autograd.grad(value, score)
    return 2 * found  # a mean over two labels


def is_least_at_log_odds(loss: Loss) -> bool:
    """Whether no other score is better; a loss that only compares is the same at all of them."""
    least = bool((slope(loss, 0).abs() < CLOSE).all())
    return least and bool((slope(loss, 1) > CLEAR).all() and (slope(loss, -1) < -CLEAR).all())


@pytest.mark.parametrize("loss", EVERY, ids=components.names("losses"))
def test_a_loss_that_says_so_gives_log_odds(loss: Loss) -> None:
    """The law; a loss of this package that does not say so gives none."""
    scores = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    as_they_are = torch.equal(loss.scores(scores), scores)
    if loss.gives_log_odds:
        assert is_least_at_log_odds(loss) and as_they_are
        assert not loss.gives_evidence, "is the prevalence in the scores, or not?"
    elif type(loss).__module__.startswith("concilium."):
        assert not (is_least_at_log_odds(loss) and as_they_are)


@pytest.mark.parametrize(
    "loss",
    [
        LogitAdjusted(towards="balance"),
        Focal(alpha=None),
        Focal(gamma=0, alpha=0.25),
        Focal(federated=True),
        Asymmetric(federated=True),
        PositiveWeighted(tau=0.5),
    ],
)
def test_with_these_settings_the_best_score_is_not_the_log_odds(loss: Loss) -> None:
    assert not loss.gives_log_odds
    assert (slope(loss, 0).abs() > CLEAR).any()


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_towards_the_federation_the_scores_keep_its_prevalence(tau: float) -> None:
    loss = LogitAdjusted(tau=tau)
    assert loss.gives_log_odds
    assert is_least_at_log_odds(loss)


def test_a_loss_need_not_say_what_its_scores_are() -> None:
    """Then they are taken for neither, as a prior over them might be wrong."""

    class Silent(Loss):
        def __call__(self, logits: Any, target: Any, known: Any, label_weight: Any = None) -> Any:
            raise NotImplementedError

        @classmethod
        def like_bce(cls) -> None:
            return None

    assert (Silent().gives_log_odds, Silent().gives_evidence) == (False, False)
