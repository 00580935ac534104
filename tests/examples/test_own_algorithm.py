"""The example with an algorithm of one's own runs as its first line says, and uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.cli.main import main
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from tests.algorithms.test_fedavg import one_round
from tests.worlds import hospital_parts, linear_network, runtime

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "own_algorithm"
NAME = "my_federation.clipped"


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's folder on the path of modules, as PYTHONPATH puts it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for module in [name for name in sys.modules if name.split(".")[0] == "my_federation"]:
        del sys.modules[module]


def build(norm: float) -> Algorithm:
    algorithm: Algorithm = components.build("algorithms", NAME, {"norm": norm})
    return algorithm


@pytest.mark.usefixtures("on_path")
def test_it_is_built_by_its_dotted_name_and_no_client_goes_further_than_its_norm() -> None:
    parts = hospital_parts((40, 25))
    own = runtime(parts, algorithm=build(0.02))
    model = travelling(linear_network(parts))
    server = ServerState(0, model, 2)
    sent = dict(own.train(own.algorithm.broadcast(server), own.clients))
    plain = dict(runtime(parts).train(FedAvg().broadcast(server), own.clients))
    for client, update in sent.items():
        delta = update.weighted_delta.safe_divide(update.weight)
        free = plain[client].weighted_delta.safe_divide(plain[client].weight)
        assert delta.norm() == pytest.approx(0.02) and free.norm() > 0.04
        assert (delta * (free.norm() / 0.02) - free).norm() < 1e-5  # shorter, not turned
    assert one_round(own, model).digest() != model.digest()


@pytest.mark.usefixtures("on_path")
def test_with_a_norm_that_nobody_reaches_it_is_fedavg() -> None:
    parts = hospital_parts((40, 25))
    parts["hospital-1"]["train"].known[:] = False  # and a client without a step is harmless
    model = travelling(linear_network(parts))
    plain = one_round(runtime(parts), model)
    assert one_round(runtime(parts, algorithm=build(1e6)), model).digest() == plain.digest()


@pytest.mark.usefixtures("on_path")
def test_it_is_described_and_its_settings_are_checked_like_those_of_the_package() -> None:
    described = components.describe("algorithms", NAME)
    assert set(described.facts) == set(components.FACTS)
    assert described.settings == {"norm": "1.0"}
    with pytest.raises(InputError, match=r"norm=0.0 must be > 0"):
        build(0)


def test_without_its_folder_on_the_path_the_message_says_what_to_do() -> None:
    with pytest.raises(InputError, match="put its folder on PYTHONPATH"):
        components.build("algorithms", NAME)


def test_the_first_line_of_the_study_is_the_command_that_the_readme_gives() -> None:
    first = (FOLDER / "study.toml").read_text(encoding="utf-8").splitlines()[0]
    command = "PYTHONPATH=examples/own_algorithm concilium run examples/own_algorithm/study.toml"
    assert first == f"# {command}"
    assert command in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("on_path")
def test_the_study_runs_and_uses_the_algorithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CONCILIUM_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    study = "examples/own_algorithm/study.toml"
    monkeypatch.setattr(sys, "argv", ["concilium", "run", study, "--out", str(run)])
    try:
        main()
    except SystemExit as end:
        assert not end.code
    assert {path.name for path in (run / "methods").iterdir()} == {"clipped", "fedavg"}
    assert step(run, "clipped") <= 0.02 + 1e-6 < 0.04 < step(run, "fedavg")
    history = (run / "methods" / "clipped" / "seed-0-fold-0" / "history.jsonl").read_text()
    assert [json.loads(line)["round"] for line in history.splitlines()] == [1, 2]
    assert (run / "report.html").exists()


def step(run: Path, method: str) -> float:
    """How far the model of the second round is from that of the first."""
    folder = run / "methods" / method / "seed-0-fold-0" / "rate-0.1" / "model" / "checkpoints"
    first, second = (load_file(folder / f"0000{r}.safetensors") for r in (1, 2))
    names = [name for name in second if name.startswith("model|")]
    assert names
    return NamedTensors({n: second[n] - first[n] for n in names}).norm()
