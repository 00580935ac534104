"""BlazeFL's simulator with two threads, the mode that it recommends; server and client as shipped.

    python benchmarks/speed/peer_blazefl.py     (in the environment of this peer)

Only the loss (its client knows cross entropy alone) and the data are given to it.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from blazefl.contrib.fedavg import (
    FedAvgBaseServerHandler,
    FedAvgDownlinkPackage,
    FedAvgThreadPoolClientTrainer,
    FedAvgUplinkPackage,
)
from blazefl.core import deserialize_model, serialize_model
from workload import (
    BATCH,
    CLIENTS,
    IMAGES,
    RATE,
    ROUNDS,
    SEED,
    WORKERS,
    Clock,
    Model,
    local_epoch,
    report,
)


class Models:
    """The model that server and clients ask for by name."""

    def select_model(self, model_name: str) -> Model:
        return Model()


class Trainer(FedAvgThreadPoolClientTrainer):
    """The shipped trainer; a client's work is its own but for the loss and the batches."""

    round = 0

    def worker(
        self, cid: int, device: str, payload: FedAvgDownlinkPackage, stop_event: object
    ) -> FedAvgUplinkPackage:
        model = self.model_selector.select_model(self.model_name)
        deserialize_model(model, payload.model_parameters)
        local_epoch(model, cid, self.round)
        return FedAvgUplinkPackage(cid, serialize_model(model), IMAGES)


def main() -> None:
    torch.set_num_threads(1)
    server = FedAvgBaseServerHandler(
        Models(), "cnn", None, ROUNDS, CLIENTS, 1.0, "cpu", BATCH, SEED
    )
    trainer = Trainer(Models(), "cnn", None, "cpu", CLIENTS, 1, BATCH, RATE, SEED, WORKERS)
    clock = Clock()
    while not server.if_stop():
        trainer.round = server.round
        trainer.local_process(server.downlink_package(), server.sample_clients())
        for package in trainer.uplink_package():
            server.load(package)
        clock()
    report(clock.rounds, server.model, blazefl=version("blazefl"))


if __name__ == "__main__":
    main()
