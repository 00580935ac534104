"""NVFlare's simulator: its FedAvg recipe, the training script in the client's process.

    python benchmarks/speed/peer_nvflare.py THREADS     (in the environment of this peer)

With as many threads as clients every client has a process of its own; with fewer, they take turns.
The rounds are those of the server's log.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import nvflare
import nvflare.client as flare
import torch
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv
from workload import CLIENTS, IMAGES, ROUNDS, Model, local_epoch, report

# A line with a time, a ruler, and what begins or ends.
STAMP = re.compile(
    r"^(\S+ \S+?),(\d+) .*\n[-=]+\n +(?:Round \d+ started|Finished FedAvg)", re.MULTILINE
)


def client() -> None:
    """What runs at each client: the Client API's loop."""
    torch.set_num_threads(1)
    flare.init()
    own = int(flare.get_site_name().removeprefix("site-")) - 1
    model = Model()
    while flare.is_running():
        received = flare.receive()
        model.load_state_dict(received.params)
        local_epoch(model, own, received.current_round)
        weight = {"NUM_STEPS_CURRENT_ROUND": IMAGES}
        flare.send(flare.FLModel(params=model.state_dict(), meta=weight))


def seconds_of_rounds(log: str) -> list[float]:
    """Seconds between the starts of rounds, and from the last one's to the end."""
    times = [datetime.fromisoformat(f"{day}.{part}") for day, part in STAMP.findall(log)]
    return [(after - before).total_seconds() for before, after in pairwise(times)]


def simulate(threads: int, folder: Path) -> None:
    """Run the recipe in a folder that goes away."""
    torch.set_num_threads(1)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    model = Model()
    recipe = FedAvgRecipe(
        name="speed",
        model=model,
        min_clients=CLIENTS,
        num_rounds=ROUNDS,
        train_script=__file__,
        train_args="client",
    )
    environment = SimEnv(num_clients=CLIENTS, num_threads=threads, workspace_root=str(folder))
    recipe.execute(environment)
    rounds = seconds_of_rounds(next(folder.rglob("server/**/log.txt")).read_text())
    saved = torch.load(next(folder.rglob("FL_global_model.pt")), weights_only=True)
    model.load_state_dict(saved["model"])
    report(rounds, model, nvflare=nvflare.__version__)


if __name__ == "__main__":
    if sys.argv[1] == "client":
        client()
    else:
        with tempfile.TemporaryDirectory() as scratch:
            simulate(int(sys.argv[1]), Path(scratch))
