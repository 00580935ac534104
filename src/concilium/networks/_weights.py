"""Start from a local weights file: safetensors, or a torch state dict read without running it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from concilium.foundation.errors import DataError, Problem
from concilium.networks.contract import Network

_HEAD = ("head.weight", "head.bias")


@dataclass(frozen=True)
class LoadedWeights:
    """What ``load_weights`` did: names of tensors of the network, and why some were left.

    ``loaded`` are set from the file; ``kept`` keep their initial values (of the head, the only
    tensors that may); ``unused`` are names of the file that the network does not have; ``notes``
    say it for a report.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def load_weights(network: Network, path: Path) -> LoadedWeights:
    """Set the tensors of a network, in place, from a local file.

    ``.safetensors`` files, and any other as a torch state dict (also inside ``"state_dict"`` or
    ``"model"`` of a checkpoint), read with ``weights_only=True``: nothing in the file is run. Names
    must be the network's own, after these rules: a leading ``module.`` that all names have is
    stripped (DataParallel); a file without ``encoder.`` names is an encoder's. Every tensor of the
    encoder must be there; a head that is not, or is of another number of labels, keeps its initial
    values. Tensors of another floating type are converted.

    Raises DataError with all problems at once (missing tensors, shapes, values that are not
    finite); the network is then as it was.
    """
    found = _named_like_network(_read(path))
    # A label graph starts from the federation's statistics, whatever a file says.
    own = {n: t for n, t in network.state_dict().items() if not n.startswith("graph.")}
    kept = _kept_head(found, own)
    problems = _problems(path, found, {n: t for n, t in own.items() if n not in kept})
    if problems:
        raise DataError(problems)
    taken = {name: found[name] for name in own if name not in kept}
    network.load_state_dict(taken, strict=False)
    unused = tuple(sorted(found.keys() - own.keys()))
    return LoadedWeights(tuple(taken), kept, unused, _notes(path, found, own, kept, unused))


def _read(path: Path) -> dict[str, Tensor]:
    """Name → tensor of a file."""
    if not path.is_file():
        raise DataError(Problem(str(path), "there is no such weights file", "check the path"))
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings(action="ignore"):  # torch's advice is for its own developers
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        remedy = "save network.state_dict() alone, best as .safetensors"
        what = "holds more than tensors, and running what is in it is refused"
        raise DataError(Problem(str(path), what, remedy)) from None
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        what = f"cannot be read as weights ({type(error).__name__})"
        raise DataError(Problem(str(path), what, "save the weights again")) from None
    return _state_dict(path, content)


def _state_dict(path: Path, content: object) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise DataError(Problem(str(path), "holds no named tensors", "save network.state_dict()"))
    other = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise DataError(
            [Problem(str(path), f"{name!r} is not a tensor", "remove it") for name in other]
        )
    return {str(name): tensor for name, tensor in content.items()}


def _named_like_network(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names after the two rules: strip "module.", add "encoder."."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if not any(name.startswith("encoder.") for name in tensors):
        return {n if n in _HEAD else f"encoder.{n}": tensor for n, tensor in tensors.items()}
    return dict(tensors)


def _kept_head(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the head's tensors where it is not in the file with this number of labels.

    Its weight and bias come together or not at all. Another number of FEATURES is no other head
    but another network, and is left for ``_problems`` to say.
    """
    if not all(name in found for name in _HEAD):
        return _HEAD
    labels_differ = found["head.bias"].shape != own["head.bias"].shape
    return _HEAD if labels_differ else ()


def _problems(
    path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> list[Problem]:
    problems = []
    for name, tensor in wanted.items():
        if name not in found:
            what, remedy = "is missing", "choose the network that the file was saved from"
        elif found[name].shape != tensor.shape:
            what = f"has shape {tuple(found[name].shape)}, the network's {tuple(tensor.shape)}"
            remedy = "set [network] as it was when the file was saved"
        elif not bool(found[name].isfinite().all()):
            what, remedy = "holds values that are not finite", "save the weights again"
        else:
            continue
        problems.append(Problem(f"{path}, {name}", what, remedy))
    return problems


def _notes(
    path: Path,
    found: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    kept: tuple[str, ...],
    unused: tuple[str, ...],
) -> tuple[str, ...]:
    notes = [f"{len(own) - len(kept)} of {len(own)} tensors start from {path.name}"]
    if kept and "head.bias" in found:
        ours, theirs = len(own["head.bias"]), len(found["head.bias"])
        notes.append(f"its head is for {theirs} labels, not {ours}: the head starts afresh")
    elif kept:
        notes.append("it has no head: the head starts afresh")
    if unused:
        notes.append(f"{len(unused)} of its tensors are not in this network: {', '.join(unused)}")
    return tuple(notes)
