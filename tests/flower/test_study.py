"""A whole study over processes: with each model the same, bit for bit, as in one process."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from concilium.deployment.embedded import run_embedded
from concilium.flower import keys, server_app
from concilium.flower.processes import free_port
from concilium.flower.sides import Coordinator, Hospital
from tests.deployment.worlds import METHODS, STUDY, hashes, silent, study_of, write_federation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def deployed(base: Path, study: Path, folders: dict[str, Path]) -> list[dict[str, Any]]:
    """The results of the study over a coordinator and a SuperNode for each of these folders."""
    home = base / "coordinator"
    keys.make_authority(home)
    keys.make_server_certificate(home)
    shutil.copy(study, home)
    for name, folder in folders.items():
        keys.add_member(home, name, keys.make_node_key(folder, name))
        shutil.copy(home / keys.AUTHORITY, folder)
    coordinator = Coordinator(home, free_port())
    hospitals = [Hospital(folder, coordinator.address) for folder in folders.values()]
    settings = {"study": study.name, "out": "runs/one", "deadline": 120.0}
    try:
        coordinator.start()
        for hospital in hospitals:
            hospital.start()
        run = coordinator.commands.start(ROOT / "apps" / "concilium", settings)
        until = time.monotonic() + 300
        while not (state := coordinator.commands.run(run)).is_over:
            assert time.monotonic() < until, state
            time.sleep(0.5)
    finally:
        for hospital in hospitals:
            hospital.stop()
        coordinator.stop()
    out = home / "runs" / "one"
    error = out / server_app.ERROR
    assert state.outcome == "completed", error.read_text() if error.exists() else state
    results: list[dict[str, Any]] = json.loads((out / "results.json").read_bytes())
    return results


def test_each_model_is_that_of_the_embedded_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    study, folders = write_federation(tmp_path, STUDY.replace("rounds = 3", "rounds = 2") + METHODS)
    over = deployed(tmp_path, study, folders)
    text = study.read_text(encoding="utf-8")
    own = run_embedded(study_of(study), text, tmp_path / "own", list(folders.values()), silent)
    assert hashes(over) == hashes(own)
    assert [len(models) for models in hashes(over)] == [2]
    for one, other in zip(over, own, strict=True):
        assert one["test"] == other["test"]
