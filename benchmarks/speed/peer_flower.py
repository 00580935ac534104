"""Flower's simulation engine: Ray with two actors of one CPU each, Message API, FedAvg as shipped.

    python benchmarks/speed/peer_flower.py     (in the environment of this peer)

Without evaluation at clients and without dashboard. A round ends when the strategy has averaged.
"""

from __future__ import annotations

import logging
import os
import tempfile

# Read when Flower is imported; its home is a folder that goes away.
HOME = tempfile.TemporaryDirectory()
os.environ |= {
    "FLWR_HOME": HOME.name,
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

import flwr  # noqa: E402
import torch  # noqa: E402
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402
from flwr.serverapp.strategy import FedAvg  # noqa: E402
from flwr.simulation import run_simulation  # noqa: E402
from workload import CLIENTS, IMAGES, ROUNDS, WORKERS, Clock, Model, local_epoch, report  # noqa: E402

client_app, server_app = ClientApp(), ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One client's local epoch, in an actor of Ray."""
    torch.set_num_threads(1)
    model = Model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    client = int(context.node_config["partition-id"])
    local_epoch(model, client, int(message.content["config"]["server-round"]) - 1)
    parts = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": IMAGES}),
    }
    return Message(content=RecordDict(parts), reply_to=message)


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """All rounds; the shipped strategy tells when one is over by asking for an evaluation."""
    model, clock = Model(), Clock()

    def round_is_over(round_: int, arrays: ArrayRecord) -> None:
        if round_ > 0:
            clock()

    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=CLIENTS)
    result = strategy.start(
        grid, ArrayRecord(model.state_dict()), num_rounds=ROUNDS, evaluate_fn=round_is_over
    )
    model.load_state_dict(result.arrays.to_torch_state_dict())
    report(clock.rounds, model, flwr=flwr.__version__)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    run_simulation(
        server_app,
        client_app,
        num_supernodes=CLIENTS,
        backend_config={
            "init_args": {"num_cpus": WORKERS, "include_dashboard": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
