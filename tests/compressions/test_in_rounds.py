"""A compression in the rounds of a federation: a crash loses no memory, and bytes are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from concilium.algorithms.fedavg import FedAvg
from concilium.compressions.contract import Compression
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((24, 16, 20))
every_compression = pytest.mark.parametrize("name", components.names("compressions"))


def federation(compression: Compression | None) -> Simulation:
    clients = runtime(PARTS).members
    return InProcess().over(clients, FedAvg(), ByKnownEntries(), compression)


def rounds(own: Simulation, count: int, checkpoints: Checkpoints | None = None) -> Progress:
    """Rounds from the newest checkpoint, where there is one."""
    progress = checkpoints.load() if checkpoints else None
    if progress is None:
        progress = Progress(ServerState(0, travelling(linear_network(PARTS)), len(PARTS)))
    own.restore(progress.client_states)
    schedule = Schedule(count, participation=0.7, seed=1)
    return run_rounds(progress, schedule, FedAvg(), own, lambda model: {}, checkpoints, silent)


@every_compression
@pytest.mark.parametrize("feedback", [True, False])
def test_an_interrupted_run_ends_with_the_same_model(
    name: str, feedback: bool, tmp_path: Path
) -> None:
    own: Compression = components.build("compressions", name, {"error_feedback": feedback})
    whole = rounds(federation(own), 5)
    checkpoints = Checkpoints(tmp_path, "study")
    rounds(federation(own), 2, checkpoints)
    resumed = rounds(federation(own), 5, checkpoints)
    assert resumed.history == whole.history
    assert any(state.residual for state in whole.client_states.values()) == feedback


@every_compression
def test_a_round_counts_the_bytes_that_travelled(name: str) -> None:
    own: Compression = components.build("compressions", name)
    plain, smaller = rounds(federation(None), 1), rounds(federation(own), 1)
    model = plain.server.model
    entries = sum(tensor.numel() for tensor in model.values())
    cohort, weights = len(plain.history[0]["cohort"]), 4 * len(model)
    assert plain.history[0]["bytes_up"] == cohort * (4 * entries + weights)
    assert smaller.history[0]["bytes_up"] < plain.history[0]["bytes_up"]
    assert smaller.history[0]["bytes_down"] == plain.history[0]["bytes_down"]
