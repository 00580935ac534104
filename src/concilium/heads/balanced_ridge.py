"""Ridge regression in which a label's positives weigh as much in all as its negatives.

For each label l, over its known training exams of all hospitals, with targets t = 2y − 1 = ±1,

    w_l = (G_l + λI)⁻¹ r_l,   G_l = Σ_k X_kᵀD_lX_k,   r_l = Σ_k X_kᵀD_lt,
    D_l = 1/n⁺_l at a positive, 1/n⁻_l at a negative

with n⁺_l and n⁻_l counted over the federation, so a hospital that holds one positive of a rare
label among a thousand gives it the weight that pooled data would. After arXiv 2607.20641 (2026),
whose text could not be seen: the formulas are a summary's, not compared with its equations. Ours
standardises by summed moments, has an unpenalised intercept, and takes λ by the balanced squared
error of the validation parts (weights by the counts in training); whether the paper does, is
unknown to us. With equal counts n⁺ = n⁻ = n it is ridge with n·λ.

Scores are no log-odds, and lean to the rare side: their sigmoid is no probability before the
calibration (Platt) that follows in every study.

Sends: summed moments and label counts, then for each label XᵀDX over its known exams (upper
  triangle) and XᵀDt, then the summed validation loss of each penalty.
Costs: three exchanges, the largest of L·d²/2 numbers; no pass through the encoder after the first.
Secure sum: yes, the server needs totals only.
Differential privacy: no, its sums are not clipped, and a rare positive weighs the most.
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._held_out import check_penalties
from concilium.heads._least_squares import EntryWeights, least_squares
from concilium.heads._standardisation import MomentsRequest
from concilium.heads.contract import Ask, Head, Solution


@dataclass(frozen=True)
class BalancedRidge(Head):
    """``penalties``: the λ to choose from, by the summed validation error (one: no choice is made).

    They stand beside a total weight of 2, whatever the number of exams. A label without a positive
    or without a negative in training keeps its old row.
    """

    penalties: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

    def __post_init__(self) -> None:
        check_penalties(self.penalties)

    def solution(self, ask: Ask, model: NamedTensors) -> Solution:
        moments = ask(MomentsRequest(model))
        weights = EntryWeights(1 / moments.positives, 1 / moments.negatives)
        return least_squares(ask, model, moments, weights, self.penalties)
