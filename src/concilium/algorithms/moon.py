"""Local training pulled to the global model's features and away from the last local model's.

Li, He, Song: "Model-Contrastive Federated Learning", CVPR 2021 (arXiv 2103.16257), Eq. 3: with
cosine similarity s, the loss gains μ ℓ, the mean over a batch's images of

    ℓ = −log exp(s(z, z_glob)/τ) / (exp(s(z, z_glob)/τ) + exp(s(z, z_prev)/τ)),

z, z_glob and z_prev being the image's representation under the network in training, the broadcast
model and the model that this client ended its last training with. The paper contrasts the outputs
of a projection head that it adds to the network; here z is the encoder's output, as no network of a
study has such a head. In a client's first round there is no last model: as in the authors' code the
term is then left out (with z_prev = z_glob it would be the constant log 2). An encoder without
tensors that train has no term either. With normalisation at home, z_glob and z_prev both use the
hospital's own as it was at the start of the round, which is the one its last training ended with.

Sends: the weighted delta of every tensor that travels, and its weight. The last local model is
remembered at the client and never leaves it.
Costs: a round is one model down and one up; each step has two more forward passes of the encoder.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, the term is a mean of one number an image, so DP-SGD covers it; what the
client remembers is its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import cosine_similarity, softplus

from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import not_negative, positive
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import Step
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class Moon(Algorithm):
    """``strength`` μ ≥ 0 of the contrast (0 is FedAvg); ``temperature`` τ > 0.

    The paper tunes μ over 0.1, 1, 5 and 10 and uses τ = 0.5.
    """

    strength: float = 1.0
    temperature: float = 0.5

    def __post_init__(self) -> None:
        not_negative(strength=self.strength)
        positive(temperature=self.temperature)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        last, now = state.extras, broadcast.model

        def contrast(step: Step) -> Tensor:
            z_glob, z_prev = step.features_of(now), step.features_of(last)
            each = model_contrast(step.features, z_glob, z_prev, self.temperature)
            return self.strength * each.mean()

        trained, done = work.train(now, loss_term=contrast if last else None)
        if self.strength:
            state = replace(state, extras=_encoder_of(trained))
        return update_of(trained - now, work, done, weighting), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        return replace(server, round=server.round + 1, model=server.model + total.mean_delta())


def model_contrast(z: Tensor, z_glob: Tensor, z_prev: Tensor, temperature: float) -> Tensor:
    """ℓ (B,) of Eq. 3 for representations (B, d); log 2 where z is as near to both.

    >>> import torch
    >>> here, there = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> model_contrast(here, here, there, 1.0)  # log(1 + 1/e)
    tensor([0.3133])
    """
    nearer_to_last = cosine_similarity(z, z_prev) - cosine_similarity(z, z_glob)
    return softplus(nearer_to_last / temperature)


def _encoder_of(model: NamedTensors) -> NamedTensors:
    return NamedTensors({n: t for n, t in model.items() if n.startswith("encoder.")})
