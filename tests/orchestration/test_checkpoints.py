"""Checkpoints: what is read is what was written; damage is found, and the one before is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import CheckpointError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.orchestration.checkpoints import Best, Checkpoints, Progress
from concilium.orchestration.observers import Event, Warned
from tests.worlds import exams


def progress(round_: int) -> Progress:
    model = NamedTensors({"head.weight": torch.full((2, 3), float(round_)), "b": torch.ones(2)})
    extras = NamedTensors({"control": torch.arange(3.0)})
    statistics: LabelStatistics = exams(20, 0).statistics()
    return Progress(
        ServerState(round_, model, 3, extras, statistics),
        Best(max(1, round_ - 1), 0.25, model * 2),
        {
            "hospital 1/a": ClientState(
                private=NamedTensors({"n": torch.tensor([4.0])}),
                residual=NamedTensors({"n": torch.tensor([-0.25])}),
            ),
            "hospital 1/a|b": ClientState(NamedTensors({"c": torch.tensor([1.5])})),
        },
        tuple({"round": r, "loss": 1 / r} for r in range(1, round_ + 1)),
    )


def saved(folder: Path, *rounds: int) -> Checkpoints:
    checkpoints = Checkpoints(folder, "study")
    for round_ in rounds:
        checkpoints.save(progress(round_))
    return checkpoints


def test_round_trip(tmp_path: Path) -> None:
    found, expected = saved(tmp_path, 3).load(), progress(3)
    assert found is not None and found.best is not None and expected.best is not None
    assert found.server.round == 3
    assert found.server.model.digest() == expected.server.model.digest()
    assert found.server.extras.digest() == expected.server.extras.digest()
    assert found.best.model.digest() == expected.best.model.digest()
    assert (found.best.round, found.best.score) == (2, 0.25)
    assert found.client_states.keys() == expected.client_states.keys()
    assert found.client_states["hospital 1/a|b"].extras["c"].item() == 1.5
    one = found.client_states["hospital 1/a"]  # whose name begins as the other's does
    assert (dict(one.extras), one.private["n"].item()) == ({}, 4.0)
    assert one.residual["n"].item() == -0.25
    assert not found.client_states["hospital 1/a|b"].residual
    assert found.history == expected.history
    assert found.server.label_statistics is not None
    expected_counts = vars(exams(20, 0).statistics())
    for name, value in vars(found.server.label_statistics).items():
        assert np.array_equal(value, expected_counts[name])


def test_two_generations_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00003.json",
        "00003.safetensors",
        "00004.json",
        "00004.safetensors",
    ]


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damage_of_the_newest_is_found_and_the_one_before_is_used(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    path = tmp_path / f"00002.{suffix}"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "flip":
        content[middle] ^= 1
        path.write_bytes(content)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: middle if damage == "cut" else 0])
    events: list[Event] = []
    found = checkpoints.load(events.append)
    assert found is not None and found.server.round == 1
    if (suffix, damage) != ("json", "gone"):  # without a manifest there was never a checkpoint
        assert any(isinstance(e, Warned) and "00002 is damaged" in e.text for e in events)


def test_every_flipped_byte_of_a_manifest_is_found(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    path = tmp_path / "00002.json"
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        found = checkpoints.load()
        assert found is not None and found.server.round == 1, place


def test_nothing_whole_is_an_error_and_nothing_at_all_is_a_fresh_start(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", "study").load() is None
    checkpoints = saved(tmp_path, 1)
    (tmp_path / "00001.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="start afresh"):
        checkpoints.load()


def test_another_study_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another study"):
        Checkpoints(tmp_path, "other").load()


def test_a_crash_between_the_two_files_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    (tmp_path / "00002.safetensors").write_bytes(b"half of it")
    (tmp_path / ".00002.json.1.partial").write_bytes(b"{")
    found = checkpoints.load()
    assert found is not None and found.server.round == 1


def test_another_environment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = saved(tmp_path, 1)
    monkeypatch.setattr("torch.__version__", "0.0")
    events: list[Event] = []
    checkpoints.load(events.append)
    assert any(isinstance(e, Warned) and "torch" in e.text for e in events)
