"""pfl's simulator: in one process, or in two that reduce by gloo, as its documentation advises.

    python benchmarks/speed/peer_pfl.py one|two     (in the environment of this peer)

Its own local training, on batches that lie ready in memory. It evaluates in the first round
whatever one asks for: the metric it computes is free.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from functools import partial
from importlib.metadata import version

OTHER = "other"  # the argument of the second process


def start_other_process() -> subprocess.Popen[bytes]:
    """The second process; pfl reads when it is imported who takes part."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(free.getsockname()[1])
    os.environ["PFL_WORKER_ADDRESSES"] = ",".join(f"localhost:{port}" for port in ports)
    os.environ["PFL_WORKER_RANK"] = "1"
    other = subprocess.Popen([sys.executable, __file__, OTHER])
    os.environ["PFL_WORKER_RANK"] = "0"
    return other


if __name__ == "__main__" and sys.argv[1] == "two":
    second = start_other_process()

import torch  # noqa: E402
from pfl.aggregate.simulate import SimulatedBackend  # noqa: E402
from pfl.aggregate.weighting import WeightByDatapoints  # noqa: E402
from pfl.algorithm.base import NNAlgorithmParams  # noqa: E402
from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: E402
from pfl.callback.base import TrainingProcessCallback  # noqa: E402
from pfl.data.dataset import Dataset  # noqa: E402
from pfl.data.federated_dataset import FederatedDataset  # noqa: E402
from pfl.data.sampling import get_user_sampler  # noqa: E402
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams  # noqa: E402
from pfl.metrics import Metrics, Weighted  # noqa: E402
from pfl.model.pytorch import PyTorchModel  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import binary_cross_entropy_with_logits  # noqa: E402
from workload import BATCH, CLIENTS, RATE, ROUNDS, Clock, Model, order, report, tensors  # noqa: E402


class Trainable(Model):
    """The model with the two methods that pfl asks for."""

    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(self(image), target)

    def metrics(self, image: Tensor, target: Tensor) -> dict[str, Weighted]:
        return {"images": Weighted(len(image), 1)}


class Rounds(TrainingProcessCallback):
    """Stamps the end of each round."""

    def __init__(self) -> None:
        self.clock = Clock()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.clock()
        return False, Metrics()


def exams(rounds: Rounds, client: int) -> Dataset:
    """A client's images in the order of this round."""
    rows = order(client, len(rounds.clock.rounds))
    image, target = tensors(client)
    return Dataset([image[rows], target[rows]], user_id=str(client))


def main() -> None:
    torch.set_num_threads(1)
    network, rounds = Trainable(), Rounds()
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    sampler = get_user_sampler("minimize_reuse", list(range(CLIENTS)))
    data = FederatedDataset(partial(exams, rounds), sampler)
    FederatedAveraging().run(
        NNAlgorithmParams(ROUNDS, ROUNDS, CLIENTS, None),
        SimulatedBackend(data, data, postprocessors=[WeightByDatapoints()]),
        model,
        NNTrainHyperParams(local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=RATE),
        NNEvalHyperParams(local_batch_size=None),
        callbacks=[rounds],
        send_metrics_to_platform=False,
    )
    if sys.argv[1] != OTHER:
        report(rounds.clock.rounds, network, pfl=version("pfl"))


if __name__ == "__main__":
    main()
    if sys.argv[1] == "two":
        sys.exit(second.wait())
