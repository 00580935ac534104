"""A checksum verified once: everything that was written to the file since is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from concilium.data import verification
from concilium.data.verification import is_intact
from concilium.foundation.files import sha256


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read from end to end."""
    done: list[Path] = []

    def noted(path: Path) -> str:
        done.append(path)
        return sha256(path)

    monkeypatch.setattr(verification, "sha256", noted)
    return done


def older(path: Path, note: Path) -> None:
    """Let the note be a second younger than the file: tests run within one tick of the clock."""
    later = path.stat().st_ctime_ns + 10**9
    os.utime(note, ns=(later, later))


def written(folder: Path) -> tuple[Path, str, Path]:
    path, note = folder / "a.npy", folder / "a.verified.json"
    path.write_bytes(b"content")
    return path, sha256(path), note


def test_an_unchanged_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    path, checksum, note = written(tmp_path)
    assert is_intact(path, checksum, note)
    older(path, note)
    assert is_intact(path, checksum, note) and is_intact(path, checksum, note)
    assert reads == [path]


def test_a_file_changed_in_the_same_tick_as_its_note_is_read_again(
    tmp_path: Path, reads: list[Path]
) -> None:
    """Times tell nothing then: the file may have changed after the note was written."""
    path, checksum, note = written(tmp_path)
    assert is_intact(path, checksum, note)
    same = path.stat().st_ctime_ns
    os.utime(note, ns=(same, same))
    assert is_intact(path, checksum, note)
    assert reads == [path, path]


def damage_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"C")


def damage_and_hide(path: Path) -> None:
    """Same size, and the time of the last change of the content set back."""
    before = path.stat()
    damage_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def damage_another(path: Path) -> None:
    """Another file takes the name."""
    other = path.with_name("other")
    other.write_bytes(b"Content")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def cut_off(path: Path) -> None:
    os.truncate(path, 3)


@pytest.mark.parametrize("damage", [damage_in_place, damage_and_hide, damage_another, cut_off])
def test_every_kind_of_writing_is_noticed(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    path, checksum, note = written(tmp_path)
    assert is_intact(path, checksum, note)
    older(path, note)
    # The clock that files are stamped with moves in ticks of up to 10 ms: wait for the next one.
    start = path.stat().st_ctime_ns
    probe = tmp_path / "probe"
    while True:
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > start:
            break
    damage(path)
    assert not is_intact(path, checksum, note)
    assert not is_intact(path, checksum, note), "and nothing was noted"


def test_another_checksum_is_not_taken_from_the_note(tmp_path: Path) -> None:
    path, checksum, note = written(tmp_path)
    assert is_intact(path, checksum, note)
    older(path, note)
    assert not is_intact(path, "0" * 64, note)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_damaged_note_is_no_note(tmp_path: Path, content: bytes, reads: list[Path]) -> None:
    path, checksum, note = written(tmp_path)
    note.write_bytes(content)
    assert is_intact(path, checksum, note)
    assert reads == [path]


def test_a_file_that_changes_while_it_is_read_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, checksum, note = written(tmp_path)

    def changed_behind(path: Path) -> str:
        found = sha256(path)
        os.truncate(path, 3)
        return found

    monkeypatch.setattr(verification, "sha256", changed_behind)
    assert not is_intact(path, checksum, note)
    assert not note.exists()


def test_without_the_right_to_write_a_note_every_opening_reads_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    def refused(path: Path, value: object) -> None:
        raise PermissionError(path)

    path, checksum, note = written(tmp_path)
    monkeypatch.setattr(verification, "write_json", refused)
    assert is_intact(path, checksum, note) and is_intact(path, checksum, note)
    assert reads == [path, path]


def test_a_file_that_is_not_there_is_not_intact(tmp_path: Path) -> None:
    assert not is_intact(tmp_path / "none", "0" * 64, tmp_path / "note")
