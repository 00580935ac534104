"""What a hospital remembers of a training, on its own disk: one file a round, written atomically.

A round that the hospital trained may never have been counted: its update came too late, or the
coordinator was killed before it had committed the round. So a state is kept by the number of rounds
that the server has done when it is counted, and every question says which of them counted last:
exactly that one is used. Others are kept as long as the coordinator could still go back to a
checkpoint from before them, and then removed. Of runs the last few are kept, by when they were last
heard of: a coordinator that invents runs does not fill the disk.

    memory/RUN/data.txt                        digest of the data that the run began on
    memory/RUN/TRAINING/bootstraps.txt         digest of every bootstrap that was asked for
    memory/RUN/TRAINING/00003.safetensors      after the update that made the third round
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from concilium.federation import wire
from concilium.federation.questions import Work
from concilium.federation.states import ClientState
from concilium.foundation.errors import ConciliumError, WireError
from concilium.foundation.files import write_atomically
from concilium.studies.configuration import digest_of

FOLDER = "memory"

MOST_RUNS = 20
"""Runs that are remembered; who has not asked for longest is forgotten."""

DATA = "data.txt"

_LIMIT = 2**40  # of one's own file


class MemoryLostError(ConciliumError):
    """A state that a training hangs on is not there, or damaged."""


class DataChangedError(ConciliumError):
    """The data are others than those that the run began on."""


@dataclass(frozen=True)
class Memory:
    """The memory of the hospital in a folder."""

    folder: Path
    _parents: dict[Path, int] = field(default_factory=dict)

    def state(self, work: Work, counted: int) -> ClientState:
        """What was remembered when ``counted`` rounds were done, nothing for 0.

        Raises MemoryLostError where it is not there any more.
        """
        return ClientState() if counted == 0 else self._load(self._file(work, counted))[1]

    def keep(
        self, work: Work, round_: int, counted: int, state: ClientState, checkpoint_every: int
    ) -> None:
        """Commit what is remembered after training in a round (from 0), from the state ``counted``.

        Removes what no checkpoint of the coordinator can ask for any more: it keeps two, one every
        ``checkpoint_every`` rounds.
        """
        path = self._file(work, round_ + 1)
        write_atomically(path, wire.encode(_sealed(counted, state)))
        self._parents[path] = counted
        oldest = max(0, round_ // checkpoint_every - 1) * checkpoint_every
        last = counted
        while last > oldest:
            last = self._parent(self._file(work, last))
        for old in path.parent.glob("[0-9]*.safetensors"):
            if int(old.stem) <= oldest and int(old.stem) != last:
                old.unlink()
                self._parents.pop(old, None)

    def check_data(self, run: str, digest: str) -> None:
        """Remember the digest of the data when a run begins.

        Raises DataChangedError for another one later.
        """
        path = self._run(run) / DATA
        if not path.exists():
            self._forget_all_but(MOST_RUNS - 1)
            write_atomically(path, digest.encode())
        elif path.read_text(encoding="utf-8") != digest:
            raise DataChangedError
        os.utime(path)

    def is_asked_for(self, work: Work, digest: str, most: int) -> bool:
        """Whether a bootstrap is among the first ``most`` of a training: then it is remembered."""
        path = self._file(work, 0).with_name("bootstraps.txt")
        asked = path.read_text(encoding="utf-8").split() if path.exists() else []
        if digest in asked:
            return True
        if len(asked) < most:
            write_atomically(path, "\n".join([*asked, digest]).encode())
        return len(asked) < most

    def _forget_all_but(self, most: int) -> None:
        """Keep the runs that were last heard of; of one that just began there may be no file."""
        runs = [path for path in (self.folder / FOLDER).glob("*") if path.is_dir()]
        for old in sorted(runs, key=_last_heard)[: max(0, len(runs) - most)]:
            shutil.rmtree(old)
            for path in [path for path in self._parents if path.is_relative_to(old)]:
                del self._parents[path]

    def _parent(self, path: Path) -> int:
        """From which state a state was trained."""
        if path not in self._parents:
            self._parents[path] = self._load(path)[0]
        return self._parents[path]

    def _load(self, path: Path) -> tuple[int, ClientState]:
        try:
            found = wire.decode(path.read_bytes(), _LIMIT)
            counted, state = found["counted"], found["state"]
            whole = _sealed(counted, state)["seal"] == found["seal"]
        except (FileNotFoundError, WireError, KeyError, TypeError):
            raise MemoryLostError from None
        if not whole:
            raise MemoryLostError
        return counted, state

    def _run(self, run: str) -> Path:
        # A name that comes from elsewhere is never a path here.
        return self.folder / FOLDER / hashlib.sha256(run.encode()).hexdigest()[:32]

    def _file(self, work: Work, number: int) -> Path:
        training = digest_of({k: v for k, v in asdict(work).items() if k != "run"})[:32]
        return self._run(work.run) / training / f"{number:05d}.safetensors"


def _last_heard(run: Path) -> int:
    path = run / DATA
    return (path if path.exists() else run).stat().st_mtime_ns


def _sealed(counted: int, state: ClientState) -> dict[str, object]:
    seal = hashlib.sha256(f"{counted} ".encode() + wire.encode(state)).hexdigest()
    return {"counted": counted, "seal": seal, "state": state}
