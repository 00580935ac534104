"""The choice of a label prior at inference: scores in, log-odds of each label out.

    "none"          scores as they are
    "independent"   each label with its prevalence in the federation, no couplings
    "federation"    the prior fitted to the federation's summed label statistics
    "site"          the same fit on each hospital's own training labels, held to the federation's

A prior is combined with evidence. Scores that are log-odds under the federation's prevalence (what
an unbalanced loss trains for, and the exact logistic head gives) become evidence by taking the
federation's log-odds off; a method that gives evidence has it already. So for ordinary scores
"independent" changes nothing but rounding. That the evidence of two labels adds up is an assumption
there: findings with the same look share theirs, and calibration follows for that reason. A balanced
loss shifts its scores by a constant of each label, which no prior knows of.

What a site's prior is fitted to stays at the site; the federation's counts go to every client, as
they do in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from concilium.joint.label_prior import MOST_ENUMERATED, LabelPrior
from concilium.joint.maximum_entropy import RIDGE, SITE_EXAMS, fit_site_prior
from concilium.joint.pair_counts import PairCounts
from concilium.joint.posterior import posterior_log_odds
from concilium.joint.pseudo_likelihood import PseudoSums, fit_pseudo_likelihood
from concilium.labels.statistics import LabelStatistics

PriorChoice = Literal["none", "independent", "federation", "site"]


@dataclass(frozen=True)
class ScoreMeaning:
    """What the scores of a model are: evidence already, or log-odds under the prevalence.

    ``evidence`` is True or False for all labels, or (L,) bool: a label that an exact head could not
    solve keeps the scores of the rounds. ``coupling`` (L, L), where a head has found it, is what
    two labels say together on an image beyond what each says alone; it is added to the prior's.
    """

    evidence: bool | Tensor = False
    coupling: Tensor | None = None

    def solved(self, rows: Tensor, evidence: bool, coupling: Tensor | None) -> ScoreMeaning:
        """That of a model whose ``rows`` (L,) bool a head solved, which gives evidence or not."""
        kept = torch.as_tensor(self.evidence, device=rows.device)
        return ScoreMeaning(torch.where(rows, torch.full_like(rows, evidence), kept), coupling)


@dataclass(frozen=True)
class Posterior:
    """How every client turns scores into posterior log-odds. It could be put into a message.

    ``baseline`` (L,) is taken off scores to leave evidence; ``prior`` is the federation's, or what
    a site's is held to; ``federation`` are the summed statistics of the training parts.
    """

    choice: PriorChoice
    baseline: Tensor
    prior: LabelPrior
    federation: LabelStatistics
    coupling: Tensor | None = None

    @staticmethod
    def of(
        choice: PriorChoice, scores: ScoreMeaning, prior: LabelPrior, federation: LabelStatistics
    ) -> Posterior:
        """The posterior of scores with this meaning."""
        own = PairCounts.of(federation).log_odds
        baseline = own.masked_fill(torch.as_tensor(scores.evidence), 0.0)
        return Posterior(choice, baseline, prior, federation, scores.coupling)

    def prior_at(self, own: LabelStatistics, target: Tensor, known: Tensor) -> LabelPrior:
        """The prior at a client with these training labels (N, L): its own, or everybody's."""
        prior = self.prior
        if self.choice == "site":
            prior = site_prior(own, target, known, self.federation, prior)
        return prior if self.coupling is None else prior.coupled_by(self.coupling)

    def apply(self, scores: npt.NDArray[Any], prior: LabelPrior) -> npt.NDArray[Any]:
        """Posterior log-odds (N, L) of scores (N, L), in their own type."""
        evidence = torch.from_numpy(scores).double() - self.baseline
        found: npt.NDArray[Any] = posterior_log_odds(evidence, prior).numpy().astype(scores.dtype)
        return found


def site_prior(
    own: LabelStatistics,
    target: Tensor,
    known: Tensor,
    federation: LabelStatistics,
    prior: LabelPrior,
) -> LabelPrior:
    """A site's own prior, held to the federation's as if it had seen 100 exams of it.

    By maximum entropy up to 16 labels, by pseudo-likelihood above.
    """
    if len(prior.bias) <= MOST_ENUMERATED:
        return fit_site_prior(own, federation, prior)
    prevalence = PairCounts.of(federation).log_odds.sigmoid()
    ask = partial(PseudoSums.of, target, known, prevalence)
    return fit_pseudo_likelihood(ask, prevalence, prior, RIDGE, SITE_EXAMS)
