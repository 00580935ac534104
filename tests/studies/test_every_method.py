"""Every loss, algorithm, weighting, head and sampling runs in a study, as it is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from concilium.foundation import components
from concilium.heads.contract import Head
from concilium.orchestration.observers import silent
from concilium.studies.bench import Bench, Job
from concilium.studies.job import run_job
from concilium.studies.reading import parse_study
from tests.studies.test_jobs import form
from tests.worlds import hospital_parts

PLACES = {"losses": "loss", "algorithms": "algorithm", "weightings": "weighting", "heads": "head"}
CHOICES = [(kind, name) for kind in PLACES for name in components.names(kind)]

# About 80 % of all entries are known; the second hospital never says anything of the second label.
PARTS = hospital_parts((60, 45, 75))
for _own in PARTS["hospital-1"].values():
    _own.known[:, 1] = False


def result(
    folder: Path, method: dict[str, Any], network: Any = "linear", **training: Any
) -> dict[str, Any]:
    content = {
        "title": "small",
        "data": {"source": "phantom"},  # not read: the exams are given
        "network": {"architecture": network},
        "training": {"rounds": 3, "batch_size": 8, "learning_rates": [0.1, 2.0], **training},
        "methods": {"own": method},
        "evaluation": {"bootstrap": 0, "min_positives": 1},
    }
    study = parse_study(content, "small.toml")
    return run_job(Bench.of(study, Job("own", 0), form(), PARTS, folder, silent))


def settings_of(kind: str, name: str) -> dict[str, Any]:
    """The method with one choice changed; evidence is made log-odds by a label prior."""
    method: dict[str, Any] = {PLACES[kind]: name}
    if name == "fedopt":  # its default suits hundreds of rounds, here are three
        method["algorithm"] = {"name": name, "server_learning_rate": 0.3}
    choice = components.find(kind, name)
    if issubclass(choice, Head) and choice.gives_evidence:
        method["prior"] = "federation"
    return method


@pytest.mark.parametrize(("kind", "name"), CHOICES)
def test_it_learns_in_a_study(kind: str, name: str, tmp_path: Path) -> None:
    """Untrained, these models are at chance (AUROC about .5); no test exam is trained on."""
    found = result(tmp_path, settings_of(kind, name))
    assert found["test"]["macro"]["auroc"]["mean"] > 0.6
    assert found["bytes_up"] > 0


@pytest.mark.parametrize("name", components.names("samplings"))
def test_it_samples_in_a_study(name: str, tmp_path: Path) -> None:
    found = result(tmp_path, {"loss": "bce"}, sampling=name, participation=0.67, rounds=4)
    cohorts = [tuple(record["cohort"]) for record in found["history"]]
    assert all(len(cohort) == 2 for cohort in cohorts)
    assert len(set(cohorts)) > 1


@pytest.mark.parametrize("name", components.names("algorithms"))
def test_an_algorithm_learns_an_encoder_with_normalisation_at_home(
    name: str, tmp_path: Path
) -> None:
    """Where there is an encoder, MOON's term is not void."""
    method = {**settings_of("algorithms", name), "sharing": "all_but_normalisation"}
    found = result(tmp_path, method, network={"name": "mlp", "hidden": [8]})
    assert found["test"]["macro"]["auroc"]["mean"] > 0.6
    assert len(list(tmp_path.rglob("private-*.safetensors"))) == len(PARTS)


def test_a_label_graph_starts_from_the_summed_labels_and_trains(tmp_path: Path) -> None:
    graph = {"name": "label_graph", "of": "linear", "edges": 1}
    untrained = result(tmp_path / "start", {"loss": "bce"}, network=graph, rounds=0)
    trained = result(tmp_path / "end", {"loss": "bce"}, network=graph)
    start, end = (
        load_file(next((tmp_path / place).rglob("model.safetensors")))["graph.coupling"]
        for place in ("start", "end")
    )
    assert (start != 0).sum(1).tolist() == [1, 1, 1]  # one edge a label
    assert torch.equal(start != 0, end != 0)
    assert not torch.equal(start, end)
    assert trained["validation_score"] > untrained["validation_score"]
