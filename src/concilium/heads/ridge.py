"""Federated ridge regression: the least-squares head that pooled data would give, from sums.

For each label l, over all known training exams of all hospitals, with targets t = 2y − 1 = ±1 and
the standardised encoder output x,

    min Σ_i (w·x_i + b − t_i)² + λ‖w‖²,   so   (w, b) = (Σ_k X_kᵀX_k + λI)⁻¹ Σ_k X_kᵀt_k

with b unpenalised: Hoerl, Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal
Problems", Technometrics 1970, from sums as in Fanì, Camoriano, Caputo, Ciccone, "Accelerating
Heterogeneous Federated Learning with Closed-form Classifiers", ICML 2024 (arXiv 2406.01116; Fed3R,
read in its abstract and summaries only). Ours has a Gram matrix a label, over the exams where it is
known, standardises by summed moments, has an intercept, and takes λ by the summed squared error of
the validation parts; the paper has classes, one matrix and a λ that is set.

±1, not 0 and 1: a score of 0 then stands where both are as probable (a score estimates 2p − 1); 0
and 1 would halve the scores at the same λ. They are no log-odds: their sigmoid is no probability
before the calibration (Platt) that follows in every study.

Sends: summed moments, then for each label XᵀX over its known exams (upper triangle) and Xᵀt, then
  the summed validation loss of each penalty.
Costs: three exchanges, the largest of L·d²/2 numbers; no pass through the encoder after the first.
Secure sum: yes, the server needs totals only.
Differential privacy: no, its sums are not clipped; noise on a matrix of d² numbers costs much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._held_out import check_penalties
from concilium.heads._least_squares import EntryWeights, least_squares
from concilium.heads._standardisation import MomentsRequest
from concilium.heads.contract import Ask, Head, Solution


@dataclass(frozen=True)
class Ridge(Head):
    """``penalties``: the λ to choose from, by the summed validation error (one: no choice is made).

    A label without a positive or without a negative in training keeps its old row.
    """

    penalties: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)

    def __post_init__(self) -> None:
        check_penalties(self.penalties)

    def solution(self, ask: Ask, model: NamedTensors) -> Solution:
        moments = ask(MomentsRequest(model))
        alike = torch.ones_like(moments.positives)
        return least_squares(ask, model, moments, EntryWeights(alike, alike), self.penalties)
