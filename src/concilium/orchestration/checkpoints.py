"""Checkpoints: safetensors, a manifest and checksums, committed atomically, the previous one kept.

A generation is two files, ``00012.safetensors`` and ``00012.json``. The manifest is written last
and names the SHA-256 of the tensors and of itself, so a generation exists exactly when its manifest
does and both checksums hold. Loading takes the newest one that holds.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from concilium import __version__
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import CheckpointError
from concilium.foundation.files import plain, write_atomically
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.orchestration.observers import Observer, Record, Warned, silent

FORMAT = 2
GENERATIONS_KEPT = 2


@dataclass(frozen=True)
class Best:
    """The model with the best validation score so far."""

    round: int
    score: float
    model: NamedTensors


@dataclass(frozen=True)
class Progress:
    """All that a run needs to go on: the server, the clients' memories, the best model, history."""

    server: ServerState
    best: Best | None = None
    client_states: Mapping[str, ClientState] = field(default_factory=dict)
    history: tuple[Record, ...] = ()


def environment() -> dict[str, str | int]:
    """What the bits of a result depend on besides seed and study."""
    return {
        "concilium": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in one folder; ``study`` is the digest of what is run."""

    folder: Path
    study: str

    def save(self, progress: Progress) -> None:
        """Commit a generation; then remove all but the last two."""
        name = f"{progress.server.round:05d}"
        tensors = to_safetensors(_tensors(progress))
        write_atomically(self.folder / f"{name}.safetensors", tensors)
        manifest = plain(
            {
                "format": FORMAT,
                "study": self.study,
                "environment": environment(),
                "tensors": hashlib.sha256(tensors).hexdigest(),
                **_numbers(progress),
            }
        )
        sealed = {"sha256": _seal(manifest), **manifest}
        write_atomically(self.folder / f"{name}.json", json.dumps(sealed).encode())
        for old in self._names()[GENERATIONS_KEPT:]:
            (self.folder / f"{old}.json").unlink()
            (self.folder / f"{old}.safetensors").unlink(missing_ok=True)

    def load(self, observer: Observer = silent) -> Progress | None:
        """The newest generation that holds, or None where there was never one.

        Raises CheckpointError where none of them holds, or where they belong to another study.
        """
        names = self._names()
        for name in names:
            try:
                progress, made_by = self._read(name)
            except (ValueError, KeyError, OSError) as error:
                observer(Warned(f"checkpoint {name} is damaged ({error}); trying the one before"))
                continue
            _compare_environment(made_by, observer)
            return progress
        if names:
            raise CheckpointError(f"no checkpoint in {self.folder.name} is whole; start afresh")
        return None

    def _names(self) -> list[str]:
        return sorted((path.stem for path in self.folder.glob("[0-9]*.json")), reverse=True)

    def _read(self, name: str) -> tuple[Progress, Mapping[str, Any]]:
        manifest = json.loads((self.folder / f"{name}.json").read_bytes())
        if _seal({k: v for k, v in manifest.items() if k != "sha256"}) != manifest["sha256"]:
            raise ValueError("its manifest does not match its checksum")
        if manifest["study"] != self.study:
            raise CheckpointError(
                "the checkpoint was made by another study; use another --out, or the old study file"
            )
        content = (self.folder / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["tensors"]:
            raise ValueError("its tensors do not match their checksum")
        return _progress(manifest, read_safetensors(content)), manifest["environment"]


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _tensors(progress: Progress) -> dict[str, Tensor]:
    groups: dict[str, NamedTensors] = {
        "model": progress.server.model,
        "extras": progress.server.extras,
    }
    if progress.best is not None and progress.best.round != progress.server.round:
        groups["best"] = progress.best.model
    for place, state in enumerate(progress.client_states.values()):  # a name may hold any letter
        groups[f"client/{place}"] = state.extras
        groups[f"private/{place}"] = state.private
        groups[f"residual/{place}"] = state.residual
    return {
        f"{group}|{name}": tensor.contiguous()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def _numbers(progress: Progress) -> dict[str, Any]:
    statistics = progress.server.label_statistics
    best = progress.best
    return {
        "round": progress.server.round,
        "num_clients": progress.server.num_clients,
        "best": None if best is None else {"round": best.round, "score": best.score},
        "clients": list(progress.client_states),
        "history": list(progress.history),
        "label_statistics": None if statistics is None else vars(statistics),
    }


def _progress(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Progress:
    def group(prefix: str) -> NamedTensors:
        start = f"{prefix}|"
        return NamedTensors(
            {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        )

    best = manifest["best"]
    if best is not None:  # where the best model is the newest one, it is stored once
        newest = best["round"] == manifest["round"]
        best = Best(best["round"], best["score"], group("model" if newest else "best"))
    return Progress(
        ServerState(
            manifest["round"],
            group("model"),
            manifest["num_clients"],
            group("extras"),
            _statistics(manifest["label_statistics"]),
        ),
        best,
        {
            client: ClientState(
                *(group(f"{kind}/{place}") for kind in ("client", "private", "residual"))
            )
            for place, client in enumerate(manifest["clients"])
        },
        tuple(manifest["history"]),
    )


def _statistics(counts: Mapping[str, Any] | None) -> LabelStatistics | None:
    if counts is None:
        return None
    matrices = ("both_known", "both_present", "present_and_known")
    return LabelStatistics(
        counts["num_images"],
        counts["num_patients"],
        **{name: np.array(counts[name], np.int64) for name in matrices},
    )


def _compare_environment(made_by: Mapping[str, Any], observer: Observer) -> None:
    here = environment()
    for key in here:
        if made_by.get(key) != here[key]:
            observer(
                Warned(
                    f"the checkpoint was made with {key} {made_by.get(key)}, this is {here[key]}: "
                    "the resumed run may differ in the last bits"
                )
            )
