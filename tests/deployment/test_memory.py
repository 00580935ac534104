"""What a hospital remembers: exactly what was counted, whatever was killed or came too late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from concilium.deployment.memory import DataChangedError, Memory, MemoryLostError
from concilium.deployment.site import Site
from concilium.federation.questions import Answer, Work
from concilium.federation.requests import StatisticsRequest
from concilium.federation.states import ClientState
from concilium.foundation.named_tensors import NamedTensors
from tests.deployment.letters import ask, broadcast_of, code, work_of
from tests.deployment.worlds import STUDY, write_federation

WORK = Work("0" * 64, "scaffold", 3, 0, 0.1, "a run")


def state(value: float) -> ClientState:
    named = NamedTensors({"b": torch.full((2, 3), value).T, "a": torch.tensor(value)})
    return ClientState(named, NamedTensors({"home": torch.tensor([value])}))


def value(found: ClientState) -> float:
    return float(found.extras["a"]) if found.extras else 0.0


def files(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.rglob("*.safetensors"))


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    Memory(tmp_path).keep(WORK, 0, 0, state(0.1), 1)
    found = Memory(tmp_path).state(WORK, 1)  # another process
    assert list(found.extras) == ["b", "a"]
    assert torch.equal(found.extras["b"], state(0.1).extras["b"])
    assert found.extras["b"].stride() == state(0.1).extras["b"].stride()
    assert torch.equal(found.private["home"], torch.tensor([0.1]))
    assert not found.residual


def test_nothing_counted_is_nothing_remembered(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.keep(WORK, 0, 0, state(1), 1)
    assert memory.state(WORK, 0) == ClientState()


def test_an_update_that_was_never_counted_leaves_no_trace(tmp_path: Path) -> None:
    """Rounds 2 and 3 came too late, so round 4 begins where round 1 ended, in every order."""
    memory = Memory(tmp_path)
    for round_, counted in ((0, 0), (1, 1), (2, 1)):
        memory.keep(WORK, round_, counted, state(round_ + 1), 1)
    assert value(memory.state(WORK, 1)) == 1
    memory.keep(WORK, 3, 1, state(4), 1)
    assert value(memory.state(WORK, 4)) == 4
    memory.keep(WORK, 4, 4, state(5), 1)
    assert value(memory.state(WORK, 5)) == 5


def test_another_training_has_another_memory(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    others = [
        Work("1" * 64, "scaffold", 3, 0, 0.1, "a run"),
        Work("0" * 64, "fedavg", 3, 0, 0.1, "a run"),
        Work("0" * 64, "scaffold", 4, 0, 0.1, "a run"),
        Work("0" * 64, "scaffold", 3, 1, 0.1, "a run"),
        Work("0" * 64, "scaffold", 3, 0, 0.2, "a run"),
        Work("0" * 64, "scaffold", 3, 0, 0.1, "../../another run"),
    ]
    for number, work in enumerate((WORK, *others)):
        memory.keep(work, 0, 0, state(number), 1)
    assert [value(memory.state(work, 1)) for work in (WORK, *others)] == [0, 1, 2, 3, 4, 5, 6]
    assert {path.parent.parent.parent for path in tmp_path.rglob("*.safetensors")} == {
        tmp_path / "memory"
    }


@pytest.mark.parametrize("every", [1, 2, 5])
def test_every_checkpoint_that_a_coordinator_keeps_can_be_gone_back_to(
    tmp_path: Path, every: int
) -> None:
    """It keeps two, and a round is committed after the hospital trained it.

    The hospital takes part in all rounds but some, so the last counted is not always the last.
    """
    memory, counted, after = Memory(tmp_path), 0, {0: 0}
    for round_ in range(24):
        if round_ % 7 in (3, 4) or round_ in range(10, 18):
            after[round_ + 1] = counted
            continue
        memory.keep(WORK, round_, counted, state(round_ + 1), every)
        newest = round_ // every * every  # at this moment round_ + 1 is not yet committed
        for checkpoint in (newest, max(0, newest - every)):
            assert value(memory.state(WORK, after[checkpoint])) == after[checkpoint]
        counted = after[round_ + 1] = round_ + 1
        assert len(files(tmp_path)) <= 2 * every + 2


def test_what_stands_from_before_a_resume_is_written_anew(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for round_ in range(6):
        memory.keep(WORK, round_, round_, state(round_ + 1), 5)
    again = Memory(tmp_path)  # the coordinator went back to the beginning, nothing was committed
    again.keep(WORK, 0, 0, state(-1), 5)
    again.keep(WORK, 1, 1, state(-2), 5)
    assert [value(again.state(WORK, number)) for number in (1, 2)] == [-1, -2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: b"",
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    ],
)
def test_a_damaged_or_missing_state_is_lost_not_guessed(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    memory = Memory(tmp_path)
    with pytest.raises(MemoryLostError):
        memory.state(WORK, 1)
    memory.keep(WORK, 0, 0, state(1), 1)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MemoryLostError):
        memory.state(WORK, 1)


def test_a_run_stays_with_the_data_that_it_began_on(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.check_data("a run", "one")
    memory.check_data("another run", "two")
    Memory(tmp_path).check_data("a run", "one")
    with pytest.raises(DataChangedError):
        Memory(tmp_path).check_data("a run", "two")


# ---- at a site


def updates(site: Site, study: Path, asked: Sequence[tuple[int, int]]) -> list[str]:
    """The digest of the update to each broadcast (round, counted)."""
    found = []
    for round_, counted in asked:
        answer = ask(site, work_of(study), broadcast_of(study, round_), counted)
        assert isinstance(answer, Answer)
        update = answer.value
        found.append(update.weighted_delta.digest() + update.extras.digest())
    return found


@pytest.mark.slow
def test_a_late_update_does_not_change_the_next_round_of_scaffold(tmp_path: Path) -> None:
    """Round 2 comes too late: round 3 is as if the hospital had not trained round 2 at all."""
    study, folders = write_federation(
        tmp_path / "one", STUDY + '[methods.own]\nalgorithm = "scaffold"\n', ("east",)
    )
    late = updates(Site(folders["east"]), study, [(0, 0), (1, 1), (2, 1)])
    other, others = write_federation(tmp_path / "two", study.read_text(encoding="utf-8"), ("east",))
    absent = updates(Site(others["east"]), other, [(0, 0), (2, 1)])
    counted = updates(Site(others["east"]), other, [(1, 1), (2, 2)])
    assert late[2] == absent[1]
    assert late[2] != counted[1]  # else nothing would be remembered at all


def test_a_memory_that_was_lost_is_a_refusal(tmp_path: Path) -> None:
    study, folders = write_federation(tmp_path, STUDY + "[methods.fedbn]\n", ("east",))
    site, work = Site(folders["east"]), work_of(study)
    assert code(site, work, broadcast_of(study, 1), counted=1) == "memory_lost"
    assert code(site, work, StatisticsRequest(), counted=1) == "memory_lost"
    assert isinstance(ask(site, work, broadcast_of(study, 1)), Answer)
