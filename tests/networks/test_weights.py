"""Starting from a local weights file: what is accepted and refused, and that nothing is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from concilium.foundation.errors import DataError
from concilium.networks import load_weights
from concilium.networks.contract import Network
from concilium.networks.mlp import MultilayerPerceptron


def build(seed: int = 0, num_labels: int = 3, hidden: int = 8) -> Network:
    return MultilayerPerceptron((hidden,)).build((5,), num_labels, seed)


def tensors(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(network: Network, expected: dict[str, Tensor], prefix: str = "") -> bool:
    own = {n: t for n, t in network.state_dict().items() if n.startswith(prefix)}
    return all(torch.equal(tensor, expected[name]) for name, tensor in own.items())


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_saved_network_comes_back(tmp_path: Path, suffix: str) -> None:
    saved, path = tensors(build(1)), tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(saved, path)
    else:
        torch.save(saved, path)
    network = build(2)
    report = load_weights(network, path)
    assert same(network, saved)
    assert set(report.loaded) == set(saved)
    assert report.kept == report.unused == ()


@pytest.mark.parametrize(
    ("prefix", "wrapper"), [("module.", None), ("", "state_dict"), ("module.", "model")]
)
def test_names_of_other_tools_are_understood(
    tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    saved = tensors(build(1))
    content: dict[str, object] = {prefix + name: tensor for name, tensor in saved.items()}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "w.pt")
    network = build(2)
    load_weights(network, tmp_path / "w.pt")
    assert same(network, saved)


def test_an_encoder_alone_leaves_the_head_as_it_was(tmp_path: Path) -> None:
    other = build(1)
    save_file(dict(other.encoder.state_dict()), tmp_path / "encoder.safetensors")
    network = build(2)
    report = load_weights(network, tmp_path / "encoder.safetensors")
    assert same(network, tensors(other), "encoder.")
    assert same(network, tensors(build(2)), "head.")
    assert report.kept == ("head.weight", "head.bias")
    assert "it has no head: the head starts afresh" in report.notes


def test_a_head_for_other_labels_is_left_out_and_reported(tmp_path: Path) -> None:
    other = build(1, num_labels=14)
    save_file(tensors(other), tmp_path / "w.safetensors")
    network = build(2)
    report = load_weights(network, tmp_path / "w.safetensors")
    assert same(network, tensors(other), "encoder.")
    assert same(network, tensors(build(2)), "head.")
    assert "its head is for 14 labels, not 3: the head starts afresh" in report.notes


def test_unused_tensors_are_reported_and_types_are_converted(tmp_path: Path) -> None:
    saved = {name: tensor.half() for name, tensor in tensors(build(1)).items()}
    save_file({**saved, "encoder.classifier.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    network = build(2)
    report = load_weights(network, tmp_path / "w.safetensors")
    assert report.unused == ("encoder.classifier.weight",)
    assert same(network, {name: tensor.float() for name, tensor in saved.items()})


def test_all_problems_are_listed_at_once_and_nothing_is_changed(tmp_path: Path) -> None:
    """Another hidden size (three tensors), a tensor without its bias, one with a NaN."""
    saved = tensors(build(1, hidden=9))
    del saved["encoder.0.bias"]
    saved["encoder.0.weight"][2] = float("nan")
    save_file(saved, tmp_path / "w.safetensors")
    network = build(2)
    with pytest.raises(DataError) as caught:
        load_weights(network, tmp_path / "w.safetensors")
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "encoder.0.bias: is missing" in text
    assert "encoder.0.weight: holds values that are not finite" in text
    assert "encoder.1.weight: has shape (9, 5), the network's (8, 5)" in text
    assert "head.weight: has shape (3, 9), the network's (3, 8)" in text
    assert same(network, tensors(build(2)))


class Intruder:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    target = tmp_path / "written_by_the_file"
    torch.save({"head.weight": Intruder(target)}, tmp_path / "w.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Intruder(target)))
    for name in ("w.pt", "plain.pt"):
        with pytest.raises(DataError, match="running what is in it is refused"):
            load_weights(build(), tmp_path / name)
    assert not target.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_file_that_is_no_weights_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no such weights file"):
        load_weights(build(), tmp_path / name)
    for content in (b"", b"not weights at all", b"PK\x03\x04 cut off"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            load_weights(build(), tmp_path / name)


def test_a_checkpoint_of_other_things_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "head.bias": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="'epoch' is not a tensor"):
        load_weights(build(), tmp_path / "w.pt")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(DataError, match="holds no named tensors"):
        load_weights(build(), tmp_path / "list.pt")
