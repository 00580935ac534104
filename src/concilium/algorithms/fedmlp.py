"""Class prototypes tag missing labels, the surest first; the global model teaches the others.

Sun, Wu, Shi, Yu, Yang, Cheng, Yan: "FedMLP: Federated Multi-Label Medical Image Classification
under Task Heterogeneity", MICCAI 2024 (arXiv 2406.18995); read as its abstract and the authors'
code (github.com/szbonaldo/FedMLP) have it, not checked against the equations of the text.

Throughout, entries without a label or tag keep near the broadcast model w: the loss gains
``consistency`` times the mean of (σ(z) − σ(z_w))² over them. From the last of ``warm_up`` rounds
on, clients sum the features of their known positives and of their known negatives of each label
under the model they have trained; the means of these sums are the prototypes p⁺_l and p⁻_l. After
warm-up a client ranks its images without label l by d = cos(h, p⁻_l) − cos(h, p⁺_l), h under w: the
share ``absent_share`` of those with d ≥ 0 that is farthest up is tagged absent, the share
``present_share`` of those with d < 0 that is farthest down present. Tags are remembered, are never
revised, and are trained on as labels; the next round ranks what is left.

A run of at most ``warm_up`` rounds never tags: it is masked FedAvg with consistency. In a study of
fewer rounds than the default 50, set ``warm_up``.

Where ours differs. (1) Shares are fixed, as in the code; the text derives thresholds from how well
each class is learned. They are rounded up: rounded down, as in the code, a hospital of a few
hundred images never tags any. (2) A prototype is a mean over images of all clients; the paper's is
a mean of client means, which do not add up. A label that nobody of the last cohort annotates keeps
its older prototype. (3) The study's loss, a mean over labels and tags, stands in for the weighted
BCE with logit adjustment. (4) One augmented view, not two; consistency goes on after warm-up, as
the abstract has it (in the code it is switched off there). With all labels known there is nothing
to tag or to teach, and this is FedAvg bit for bit.

Sends: the weighted delta of every tensor that travels, and its weight; after warm-up also sums and
counts of features by label, 2 L (d + 1) numbers. Tags stay at the client.
Costs: a round is one model down and one up, after warm-up 2 L (d + 1) numbers more each way. Each
step has one more forward pass, and after warm-up a round has two more over the training exams.
Secure sum: yes, the server needs the total only; the prototype of a label that one hospital alone
annotates is that hospital's even in the sum.
Differential privacy: no, sums of features and counts of positives leave the client exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concilium.algorithms._prototypes import class_sums, nearness_to_absent, newest
from concilium.algorithms._pseudo_labels import with_pseudo_labels
from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.client import Labels
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import at_least, fraction, not_negative
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LossTerm, Step
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedMlp(Algorithm):
    """``warm_up`` ≥ 1 rounds without tags; ``consistency`` ≥ 0; shares in [0, 1] of a round's tags.

    Defaults are those of the authors' code, in a training of 500 rounds.
    """

    warm_up: int = 50
    consistency: float = 1.0
    present_share: float = 0.01
    absent_share: float = 0.005

    def __post_init__(self) -> None:
        at_least(1, warm_up=self.warm_up)
        not_negative(consistency=self.consistency)
        fraction(present_share=self.present_share, absent_share=self.absent_share)

    def broadcast(self, server: ServerState) -> Broadcast:
        return replace(super().broadcast(server), extras=server.extras)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        model, sums, labels = broadcast.model, broadcast.extras, work.labels()
        if sums and not bool(labels[1].all()):
            state = self._tagged(state, labels[1], work.features(model), sums)
        labels = _with_tags(labels, state)
        term = None if bool(labels[1].all()) else self._consistency(model)
        trained, done = work.train(model, loss_term=term, labels=labels)
        sends = broadcast.round + 1 >= self.warm_up
        extras = class_sums(work.features(trained), work.labels()) if sends else None
        return update_of(trained - model, work, done, weighting, extras), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        model = server.model + total.mean_delta()
        sums = newest(server.extras, total.extras.map(Tensor.float))
        return replace(server, round=server.round + 1, model=model, extras=sums)

    def _consistency(self, model: NamedTensors) -> LossTerm | None:
        def term(step: Step) -> Tensor:
            gap = torch.sigmoid(step.logits) - torch.sigmoid(step.logits_of(model))
            missing = (~step.known).to(gap.dtype)
            return self.consistency * (gap.square() * missing).sum() / missing.sum().clamp_min(1)

        return term if self.consistency else None

    def _tagged(
        self, state: ClientState, known: Tensor, features: Tensor, sums: NamedTensors
    ) -> ClientState:
        """The memory with this round's tags (N, L): 1 present, −1 absent, 0 none."""
        tags = state.extras["tags"] if state.extras else torch.zeros(known.shape, dtype=torch.int8)
        farther = nearness_to_absent(features, sums)
        free = ~known & (tags == 0) & ~farther.isnan()
        present = _first(-farther, free & (farther < 0), self.present_share)
        absent = _first(farther, free & (farther >= 0), self.absent_share)
        tags = tags + present.to(tags.dtype) - absent.to(tags.dtype)
        return replace(state, extras=NamedTensors({"tags": tags}))


def _first(score: Tensor, candidates: Tensor, share: float) -> Tensor:
    """The share, rounded up, of each label's candidates (N, L) that have the highest scores."""
    wanted = torch.ceil(share * candidates.sum(dim=0).double() - 1e-9)
    order = score.masked_fill(~candidates, -torch.inf).argsort(dim=0, descending=True, stable=True)
    rank = order.argsort(dim=0)
    return candidates & (rank < wanted)


def _with_tags(labels: Labels, state: ClientState) -> Labels:
    if not state.extras:
        return labels
    tags = state.extras["tags"]
    return with_pseudo_labels(labels, tags > 0, tags < 0)
