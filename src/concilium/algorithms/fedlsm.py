"""Pseudo-labels of a teacher where it is sure; head rows averaged by each label's positives.

Deng, Luo, Chen: "Scale Federated Learning for Label Set Mismatch in Medical Image Classification",
MICCAI 2023 (arXiv 2304.06931); read as its abstract and the authors' code (on GitHub as
dzp2095/FedLSM) have it, not checked against the equations of the text.

An unknown entry is taken as present where the teacher's probability is at least ``present_above``,
as absent where it is at most ``absent_below``, and stays unknown between them. Row l of the head
becomes Σ_k n_kl W_kl / Σ_k n_kl, n_kl being the known positives of label l at client k plus its
pseudo-positives; a row that nobody has positives for stays as it is. The weighting decides over all
other tensors (the paper: by images).

Where ours differs. (1) The teacher is asked once a round on images as they are, not at each step on
weakly augmented ones. (2) In the code the teacher is an average over the steps of one local
training (decay 0.999) that restarts from the broadcast model in every round; after its ten steps it
still is that model to 1 %. Here the teacher is the broadcast model, or, with ``teacher_decay`` > 0,
an average of the broadcasts that this client has seen. (3) Images on which the teacher is least
sure are mixed up with others in the paper; here they only lack the pseudo-label. (4) The study's
loss stands in for the weighted BCE. Rows by positives alone hand a label to hospitals that never
see its absence; ``rows_by_positives`` = false leaves them to the weighting. Then, and with all
labels known, this is FedAvg bit for bit.

The teacher's probability is the sigmoid of the study loss's scores. It is one for losses whose
scores are log-odds at the federation's prevalence (bce, softmax, logit_adjusted as it is by
default). Where they are something else (logit_adjusted towards "balance" or balanced_bce: at even
odds; cooccurrence_adjusted: evidence; two_way: good for ranking only; weighted and focused losses,
such as distribution_balanced: moved), the thresholds do not mean what they say.

Sends: the weighted delta of every tensor that travels, and its weight; that of a head row is the
hospital's number of positives and pseudo-positives of the label.
Costs: a round is one model down and one up, and one more forward pass over the training exams. With
``teacher_decay`` a client remembers one more model.
Secure sum: yes, the server needs the total only; a row that one hospital alone has positives for is
that hospital's row even in the sum.
Differential privacy: no, the weight of a head row is an exact count of positives; yes without
``rows_by_positives``, as a pseudo-label depends on its own image and on models already sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concilium.algorithms._pseudo_labels import with_pseudo_labels
from concilium.algorithms._updates import weighted
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.client import Labels
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import fraction
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedLsm(Algorithm):
    """Thresholds in [0, 1] on the teacher's probability (defaults: the authors' for chest X-rays).

    ``teacher_decay`` in [0, 1) is the say of the old teacher in the new one. Raises InputError
    outside these ranges and unless ``absent_below`` < ``present_above``.
    """

    present_above: float = 0.85
    absent_below: float = 0.01
    teacher_decay: float = 0.0
    rows_by_positives: bool = True

    def __post_init__(self) -> None:
        fraction(present_above=self.present_above, absent_below=self.absent_below)
        fraction(teacher_decay=self.teacher_decay)
        if self.absent_below >= self.present_above:
            raise InputError("absent_below must be less than present_above")
        if self.teacher_decay == 1:
            raise InputError("teacher_decay=1 would never learn: it must be less than 1")

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        teacher = self._teacher(state.extras, broadcast.model)
        labels = self._labelled(work, teacher)
        trained, done = work.train(broadcast.model, labels=labels)
        delta = trained - broadcast.model
        weight = weighting(delta, work.statistics, work.federation)
        if self.rows_by_positives:
            weight = _with_rows_by(_num_positives(labels), weight)
        if self.teacher_decay:
            state = replace(state, extras=teacher)
        return weighted(delta, weight, work, done), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        return replace(server, round=server.round + 1, model=server.model + total.mean_delta())

    def _teacher(self, before: NamedTensors, model: NamedTensors) -> NamedTensors:
        if not before:
            return model
        return before * self.teacher_decay + model * (1 - self.teacher_decay)

    def _labelled(self, work: LocalWork, teacher: NamedTensors) -> Labels:
        labels = work.labels()
        if bool(labels[1].all()):
            return labels
        probability = torch.sigmoid(work.scores(teacher))
        sure = probability >= self.present_above, probability <= self.absent_below
        return with_pseudo_labels(labels, *sure)


def _num_positives(labels: Labels) -> Tensor:
    """Known positives and pseudo-positives of each label (L,); a soft target counts above ½."""
    target, known = labels
    return ((target > 0.5) & known).sum(dim=0).float()


def _with_rows_by(counts: Tensor, weight: NamedTensors) -> NamedTensors:
    """The weight with one number (L,) a row for the head."""
    return NamedTensors({**weight, "head.weight": counts.unsqueeze(1), "head.bias": counts})
