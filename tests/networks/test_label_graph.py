"""The label graph: its equation, its edges, how it starts, and what it does to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from concilium.algorithms.fedavg import FedAvg
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.sharing import load, travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import ComponentError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.correlation import phi
from concilium.labels.statistics import LabelStatistics
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks import load_weights
from concilium.networks.contract import Network
from concilium.networks.label_graph import LabelGraphNetwork, SparseCoupling, strongest
from concilium.networks.mlp import MultilayerPerceptron
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.worlds import hospital_parts


def statistics(seed: int = 0, num_labels: int = 5, shuffled: bool = False) -> LabelStatistics:
    """Of 500 exams whose labels share a cause, each to another extent; or no longer share it."""
    generator = np.random.default_rng(seed)
    cause = generator.normal(size=(500, 1)) * np.linspace(0.2, 3, num_labels)
    present = (cause + generator.normal(size=(500, num_labels)) > 0.8).astype(np.float32)
    if shuffled:
        present = generator.permuted(present, axis=0)
    return LabelStatistics.of(present, present >= 0, np.arange(500))


def build(edges: int = 2, strength: float = 1.0, num_labels: int = 5) -> Network:
    settings = {"of": {"name": "mlp", "hidden": [8]}, "edges": edges, "strength": strength}
    network: Network = components.build("networks", "label_graph", settings).build(
        (5,), num_labels, 3
    )
    return network


def started(network: Network, found: LabelStatistics | None = None) -> NamedTensors:
    return network.started(travelling(network), found or statistics())


def some_features() -> Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def test_before_it_starts_and_with_strength_0_it_is_the_network_that_it_wraps() -> None:
    plain = MultilayerPerceptron((8,)).build((5,), 5, 3)
    network = build()
    assert torch.equal(network(some_features()), plain(some_features()))
    without = build(strength=0.0)
    load(without, started(without))
    assert torch.equal(without(some_features()), plain(some_features()))
    load(network, started(network))
    assert not torch.allclose(network(some_features()), plain(some_features()), atol=0.05)


def test_the_equation_by_loops() -> None:
    """z'_l = z_l + Σ_m C_lm σ(z_m)."""
    network = build()
    load(network, started(network))
    coupling = travelling(network)["graph.coupling"]
    plain = MultilayerPerceptron((8,)).build((5,), 5, 3)(some_features()).detach()
    refined = network(some_features()).detach()
    for image in range(7):
        for label in range(5):
            heard = sum(
                float(coupling[label, m]) / (1 + np.exp(-float(plain[image, m]))) for m in range(5)
            )
            expected = float(plain[image, label]) + heard
            assert float(refined[image, label]) == pytest.approx(expected, abs=1e-5)


def test_it_starts_from_the_strongest_phi_of_each_label() -> None:
    network = build(edges=2, strength=0.5)
    coupling = started(network)["graph.coupling"]
    correlation = phi(statistics())
    assert coupling.dtype == torch.float32
    for label in range(5):
        others = sorted(set(range(5)) - {label}, key=lambda m: -abs(correlation[label, m]))
        for m in others[:2]:
            assert float(coupling[label, m]) == pytest.approx(0.5 * correlation[label, m])
        assert all(coupling[label, m] == 0 for m in [label, *others[2:]])


def test_only_the_graph_is_changed_by_the_start() -> None:
    network = build()
    before, after = travelling(network), started(network)
    assert {n for n in before if not torch.equal(before[n], after[n])} == {"graph.coupling"}
    plain = MultilayerPerceptron((8,)).build((5,), 5, 3)
    assert plain.started(travelling(plain), statistics()).digest() == travelling(plain).digest()


def test_the_strongest_are_by_size_of_either_sign_and_what_is_undefined_is_no_edge() -> None:
    matrix = np.array([[1.0, 0.2, -0.7, np.nan], [0.2, 1.0, 0.2, 0.1], [-0.7, 0.2, 1.0, np.nan]])
    square = np.concatenate([matrix, np.full((1, 4), np.nan)])
    kept = strongest(square, 1)
    expected = np.zeros((4, 4))
    expected[0, 2], expected[1, 0], expected[2, 0] = -0.7, 0.2, -0.7  # of equal ones the first
    np.testing.assert_array_equal(kept, expected)
    assert (strongest(square, 99) != 0).sum() == 7  # all that are defined


def test_permuting_labels_permutes_the_graph() -> None:
    correlation = phi(statistics())
    order = np.array([3, 1, 4, 0, 2])
    permuted = strongest(correlation[order][:, order], 2)
    np.testing.assert_array_equal(permuted, strongest(correlation, 2)[order][:, order])


def test_absent_edges_have_exactly_no_gradient_and_the_others_have_one() -> None:
    network = build()
    load(network, started(network))
    assert network.graph is not None
    (coupling,) = network.graph.parameters()
    value = network(some_features()).square().sum()
    (gradient,) = torch.autograd.grad(value, coupling)
    assert ((gradient != 0) == (coupling != 0)).all()
    assert int((coupling != 0).sum()) == 10  # 5 labels, 2 edges each


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_edges_survive_training_and_averaging(optimizer: str) -> None:
    """Two hospitals, two local epochs: absent edges are 0 still, bit for bit, the others moved."""
    parts = hospital_parts((30, 40), num_labels=5)
    network = build()
    training = LocalTraining(2, 8, OptimizerSettings(optimizer, 0.05))  # type: ignore[arg-type]
    clients = tuple(
        Client(name, own, network, BinaryCrossEntropy(), training, 0) for name, own in parts.items()
    )
    run = InProcess().over(clients, FedAvg(), ByKnownEntries())
    model = started(network)
    server = ServerState(0, model, 2)
    replies = run.train(run.algorithm.broadcast(server), run.clients)
    after = run.algorithm.server_update(server, total(replies, run.clients)).model
    edges = model["graph.coupling"] != 0
    assert (after["graph.coupling"][~edges] == 0).all()
    assert (after["graph.coupling"] != model["graph.coupling"])[edges].all()
    # A client scores with the graph, as the network itself does.
    load(network, after)
    images = torch.from_numpy(np.asarray(parts["hospital-0"]["test"].images))
    expected = network(images).detach().numpy()
    np.testing.assert_allclose(clients[0].scores(after, "test"), expected, atol=1e-5)


def area(scores: Tensor, present: Tensor) -> float:
    """AUROC: how often an exam with the label scores above one without."""
    above = scores[present][:, None] > scores[~present][None]
    return float(above.double().mean())


def test_a_label_that_is_hardly_seen_is_found_by_those_that_it_goes_with() -> None:
    """ML-GCN's claim in miniature, on scores as a network without a graph may give them.

    Label 0 goes with label 1 (80 and 10 %) and shows by 0.3σ only, label 1 by 3σ. The graph lifts
    the AUROC of label 0. One from labels that were shuffled, so that they no longer go together,
    does not. And what it costs: where the two come apart, the first is alerted beside the second.
    """
    generator = np.random.default_rng(0)
    second = generator.random(1500) < 0.3
    first = generator.random(1500) < np.where(second, 0.8, 0.1)
    present = np.stack([first, second], 1)
    shown = present * [0.3, 3.0] + generator.normal(size=(1500, 2))
    scores = torch.from_numpy(shown * [0.3, 3.0] - [1.0, 5.4])  # the evidence and the log-odds

    def with_graph(labels: np.ndarray) -> float:
        found = LabelStatistics.of(labels.astype(np.float32), labels >= 0, np.arange(1500))
        graph = SparseCoupling(2, edges=1, strength=1.0).double()
        model = NamedTensors({"graph.coupling": graph.coupling})
        with torch.no_grad():
            graph.coupling.copy_(graph.started(model, found)["graph.coupling"])
            return area(graph(scores)[:, 0], torch.from_numpy(first))

    alone = area(scores[:, 0], torch.from_numpy(first))
    assert with_graph(present) > alone + 0.15
    shuffled = np.stack([generator.permutation(first), second], 1)
    assert with_graph(shuffled) < alone + 0.05


def test_what_it_wraps_is_checked_as_it_is_set() -> None:
    with pytest.raises(ComponentError, match="did you mean 'small_cnn'"):
        LabelGraphNetwork(of="small_cn")
    with pytest.raises(ComponentError, match="'of' does not say which network to wrap"):
        LabelGraphNetwork(of={"width": 16})
    with pytest.raises(ComponentError, match="unknown setting 'wdth'"):
        LabelGraphNetwork(of={"name": "small_cnn", "wdth": 16})
    with pytest.raises(InputError, match="edges=0 must be at least 1"):
        LabelGraphNetwork(edges=0)
    with pytest.raises(InputError, match=r"strength=-1\.0 must be >= 0"):
        LabelGraphNetwork(strength=-1.0)


def test_a_graph_on_a_graph_is_refused() -> None:
    with pytest.raises(InputError, match="wraps a network that has a label graph"):
        LabelGraphNetwork(of="label_graph").build((1, 64, 64), 3, 0)


def test_a_weights_file_need_not_hold_the_graph(tmp_path: Path) -> None:
    """It starts from the federation's statistics; the rest is taken from the file."""
    saved = MultilayerPerceptron((8,)).build((5,), 5, seed=9).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(saved, path)
    network = build()
    report = load_weights(network, path)
    assert report.kept == ()
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in saved.items())
