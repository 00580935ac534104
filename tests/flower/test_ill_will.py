"""A member of a federation of real processes that works against the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.proto.control_pb2 import ListNodesRequest

from concilium.flower.processes import Process
from tests.flower.hostile import FORGED, ILL_WILL, TAKEN, TRIED
from tests.flower.test_processes import ROOT, Trial

pytestmark = pytest.mark.slow

HEARD = "heard"


class Noting:
    """Answers with its folder's name before the letter, and notes each that it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, question: bytes) -> bytes:
        """Note and echo."""
        with (self._folder / HEARD).open("ab") as file:
            file.write(question[:80] + b"\n")
        return self._folder.name.encode() + b":" + question


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
        trial = Trial(tmp_path_factory.mktemp("trial"))
        for hospital in trial.hospitals.values():
            hospital.made_by = "tests.flower.test_ill_will:Noting"
        north = trial.hospitals["north"]
        north.supernode = Process(
            "tests.flower.hostile", north.supernode.arguments, north.supernode.folder
        )
        try:
            trial.coordinator.start()
            for hospital in trial.hospitals.values():
                hospital.start()
            yield trial
        finally:
            trial.stop()


def test_no_hospital_can_write_to_another_in_the_coordinators_name(trial: Trial) -> None:
    with trial.coordinator.commands._client() as client:
        nodes = client.ListNodes(ListNodesRequest()).nodes_info
    (node,) = [own.node_id for own in nodes if own.name == "south"]
    (trial.base / "north" / ILL_WILL).write_text(f"forge {node}")
    trial.ended(trial.begin(["hello", "sleep 2"], "forged", deadline=20.0))
    assert TRIED in trial.hospitals["north"].supernode.said()
    heard = (trial.base / "south" / HEARD).read_bytes().splitlines()
    assert heard == [b"hello", b"sleep 2"]
    assert FORGED not in heard
    assert TAKEN not in trial.hospitals["north"].supernode.said()
    rows = {(r[0], r[1]): r[4] for r in trial.rows("forged")}
    assert rows["hello", "south"] == rows["sleep 2", "south"] == rows["sleep 2", "north"] == ""


def test_an_answer_that_is_announced_and_never_sent_holds_nobody_else(trial: Trial) -> None:
    (trial.base / "north" / ILL_WILL).write_text("hold")
    trial.ended(trial.begin(["hello", "again"], "held", deadline=6.0))
    rows = {(r[0], r[1]): r[4:] for r in trial.rows("held")}
    for letter in ("hello", "again"):
        assert rows[letter, "north"] == ["late", 6.0]
        assert rows[letter, "south"][0] == ""
        assert rows[letter, "south"][1] < 5
