"""Predicted label correlations drawn to those of the other hospitals; dissent weighs less.

Kou, Wu, Huang, He, Xie, Wang, Jia, Jiang, Liu, Geng, Yang: "FedHarmony: Harmonizing Heterogeneous
Label Correlations in Federated Multi-Label Learning", CVPR 2026 (arXiv 2604.28024), without code;
equations as a published summary gives them (papernotes.org), not checked against the paper.

R_k (L, L) is the phi matrix of a client's probabilities p on its training exams, (mean p_l p_m −
p̄_l p̄_m) / (√(p̄_l (1 − p̄_l) p̄_m (1 − p̄_m)) + ε), and n_k the numbers of exams that it is taken
over. With S = Σ n_k R_k and N = Σ n_k over the last cohort, a client's teacher is the mean of the
others, R*_k = (S − n_k R_k) / (N − n_k), formed at the client from the sum and from what it
remembers having sent; a client outside that cohort uses S / N. The loss gains λ times the mean of
(R − R*_k)² over pairs of strongly related labels, R being the phi matrix of the batch. A client's
share of the average is α n̄_k + (1 − α) q̄_k, with q_k = exp(−γ s_k), s_k the root mean square of
R_k − R*_k, bars for shares of the cohort, and α = max(``least_volume``, 1 − t / ``turn``) in round
t.

Where ours differs. (1) Only images on which both labels are known count for a pair, so n_k is a
matrix, hospitals say nothing of labels that they do not annotate, and an unknown entry has no
gradient. (2) R_k is taken once, after local training, for the quality now and the teachers of the
next round. (3) Related are labels joined by a chain of |R*_lm| > ``related``; the paper clusters
spectrally, into a number of clusters to be chosen. The diagonal, which says how sharp predictions
are, is left out. (4) The distance of the summary is not spelled out; ours is the squared one. (5)
q̄_k is taken against the last cohort's Σ q (a client cannot know this one's), and multiplies the
weighting as a factor, (α + (1 − α) q̄_k / n̄_k), which by images is the equation above. (6) The
factor is at least ``least_share``: the rule lowers the say of the hospital that dissents, which may
be the one that holds a rare combination. Measure that before trusting it. Without ``strength`` and
with ``least_volume`` = 1 this is FedAvg bit for bit.

It is an algorithm, not a weighting, since it needs an exchange and a term of the loss. The term
reads sigmoid(logits), R_k the sigmoid of scores, as the probability. It is one for losses whose
logits are log-odds at the federation's prevalence (bce, logit_adjusted as it is by default); not in
softmax, whose logits are none, nor where they are something else (logit_adjusted towards "balance"
or balanced_bce: at even odds; cooccurrence_adjusted: evidence; two_way: good for ranking only;
weighted and focused losses, such as distribution_balanced: moved), for which phi is that of other
predictions.

Sends: the weighted delta of every tensor that travels, and its weight; n_k R_k and n_k (L × L
each), the number of images and the quality q_k.
Costs: a round is one model and 2 L² + 2 numbers down, the same up; one more forward pass over the
training exams.
Secure sum: yes, the teacher is formed from the sum; with two clients the sum shows each the
other's.
Differential privacy: no, the term compares the images of a batch, and R_k leaves the client exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concilium.algorithms._correlations import related_pairs, soft_phi
from concilium.algorithms._updates import weighted
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import at_least, fraction, not_negative
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LossTerm, Step
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedHarmony(Algorithm):
    """``strength`` λ ≥ 0, ``sharpness`` γ ≥ 0, ``turn`` ≥ 1 rounds until quality alone decides.

    ``related``, ``least_volume`` and ``least_share`` lie in [0, 1]. The defaults are ours.
    """

    strength: float = 1.0
    related: float = 0.1
    sharpness: float = 5.0
    turn: int = 50
    least_volume: float = 0.0
    least_share: float = 0.5

    def __post_init__(self) -> None:
        not_negative(strength=self.strength, sharpness=self.sharpness)
        at_least(1, turn=self.turn)
        fraction(related=self.related, least_volume=self.least_volume, least_share=self.least_share)

    def broadcast(self, server: ServerState) -> Broadcast:
        return replace(super().broadcast(server), extras=server.extras)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        teacher = consensus(broadcast, state)
        trained, done = work.train(broadcast.model, loss_term=self._harmony(teacher))
        known = work.labels()[1]
        own, pairs = soft_phi(torch.sigmoid(work.scores(trained)), known)
        images = torch.tensor(float(len(known)))
        quality = torch.exp(-self.sharpness * _distance(own, pairs, teacher)) * bool(images)
        factor = self._factor(broadcast, images, quality)
        delta = trained - broadcast.model
        weight = weighting(delta, work.statistics, work.federation) * factor
        sent = NamedTensors({"correlation": pairs * own, "pairs": pairs})
        extras = NamedTensors({**sent, "images": images, "quality": quality})
        sent_in = torch.tensor(broadcast.round)
        memory = replace(state, extras=NamedTensors({**sent, "round": sent_in}))
        return weighted(delta, weight, work, done, extras), memory

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        model, last = server.model + total.mean_delta(), total.extras.map(Tensor.float)
        return replace(server, round=server.round + 1, model=model, extras=last)

    def _harmony(self, teacher: Tensor | None) -> LossTerm | None:
        if teacher is None or not self.strength:
            return None
        blocks = related_pairs(teacher, self.related)

        def term(step: Step) -> Tensor:
            phi, pairs = soft_phi(torch.sigmoid(step.logits), step.known)
            wanted = teacher.to(phi)
            among = blocks.to(phi.device) & (pairs > 1)  # one image has no correlation
            gap = torch.where(among, phi - wanted, torch.zeros_like(phi))
            return self.strength * gap.square().sum() / among.sum().clamp_min(1)

        return term

    def _factor(self, broadcast: Broadcast, images: Tensor, quality: Tensor) -> float:
        """How much more or less say a client has than its weight alone gives it."""
        alpha = max(self.least_volume, 1 - broadcast.round / self.turn)
        last = broadcast.extras
        if alpha == 1 or not last or not bool(images * last["quality"]):
            return 1.0
        better = (quality / last["quality"]) / (images / last["images"])
        return max(self.least_share, alpha + (1 - alpha) * float(better))


def consensus(broadcast: Broadcast, state: ClientState) -> Tensor | None:
    """The mean correlation of the last cohort without one's own; NaN at pairs without others."""
    if not broadcast.extras:
        return None
    total, pairs = broadcast.extras["correlation"], broadcast.extras["pairs"]
    own = state.extras
    if own and int(own["round"]) == broadcast.round - 1:
        total, pairs = total - own["correlation"], pairs - own["pairs"]
    return torch.where(pairs > 0.5, total / pairs.clamp_min(1), torch.nan)


def _distance(own: Tensor, pairs: Tensor, teacher: Tensor | None) -> Tensor:
    """Root mean square of R_k − R*_k over pairs of two labels that both know; 0 without one."""
    if teacher is None:
        return torch.tensor(0.0)
    itself = torch.eye(len(own), dtype=torch.bool)
    among = (pairs > 0) & ~teacher.isnan() & ~itself
    gap = torch.where(among, own - teacher, torch.zeros_like(own))
    return (gap.square().sum() / among.sum().clamp_min(1)).sqrt()
