"""FedAvg: its equation, and pooled training as its special case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.federation.messages import total
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.runtimes.contract import Simulation
from concilium.weightings.by_images import ByImages
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.worlds import full_batch_step, hospital_parts, joined, linear_network, runtime


def one_round(run: Simulation, model: NamedTensors) -> NamedTensors:
    server = ServerState(0, model, len(run.clients))
    replies = run.train(run.algorithm.broadcast(server), run.clients)
    return run.algorithm.server_update(server, total(replies, run.clients)).model


def distance(left: NamedTensors, right: NamedTensors) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_by_known_entries_one_full_batch_step_is_pooled_descent_masks_included() -> None:
    parts = hospital_parts((30, 70, 11))
    parts["hospital-1"]["train"].known[:, 0] = False  # one hospital never annotates a label
    pooled = {"all": {"train": joined([p["train"] for p in parts.values()])}}
    model = travelling(linear_network(parts))
    step = full_batch_step(0.5)
    together = one_round(runtime(parts, step, weighting=ByKnownEntries()), model)
    alone = one_round(runtime(pooled, step, weighting=ByKnownEntries()), model)
    assert distance(together, alone) < 1e-6
    # By images the same round ends elsewhere: the masks matter, so the law above is not empty.
    by_images = one_round(runtime(parts, step, weighting=ByImages()), model)
    assert distance(by_images, alone) > 1e-3


def test_by_images_is_by_known_entries_where_all_is_known() -> None:
    parts = hospital_parts((20, 35))
    for own in parts.values():
        own["train"].known[:] = True
    model = travelling(linear_network(parts))
    first = one_round(runtime(parts, weighting=ByImages()), model)
    second = one_round(runtime(parts, weighting=ByKnownEntries()), model)
    assert distance(first, second) < 1e-6


def test_equation_by_hand() -> None:
    """w ← w + Σ n_k (w_k − w) / Σ n_k with one-step clients: w − η Σ n_k g_k / Σ n_k."""
    parts = hospital_parts((8, 24))
    for own in parts.values():
        own["train"].known[:] = True
    model = travelling(linear_network(parts))
    weight, bias = model["head.weight"].double(), model["head.bias"].double()
    moved = torch.zeros_like(weight)
    for own in parts.values():
        x = torch.from_numpy(np.asarray(own["train"].images)).double()
        y = torch.from_numpy(own["train"].target).double()
        residual = torch.sigmoid(x @ weight.T + bias) - y
        moved += len(x) * (residual.T @ x) / residual.numel()  # loss: a mean over entries
    expected = weight - 0.5 * moved / 32
    found = one_round(runtime(parts, full_batch_step(0.5), weighting=ByImages()), model)
    assert float((found["head.weight"].double() - expected).abs().max()) < 1e-6


def test_server_learning_rate_scales_the_mean_delta() -> None:
    parts = hospital_parts((20, 35))
    model = travelling(linear_network(parts))
    whole = one_round(runtime(parts), model)
    half = one_round(runtime(parts, algorithm=FedAvg(server_learning_rate=0.5)), model)
    middle = (model + whole) * 0.5
    assert distance(half, middle) < 1e-6
    with pytest.raises(InputError, match="must be > 0"):
        FedAvg(server_learning_rate=0)


def test_two_hospitals_with_the_same_data_are_one() -> None:
    parts = hospital_parts((25,))
    twins = {"a": parts["hospital-0"], "b": parts["hospital-0"]}
    model = travelling(linear_network(parts))
    step = full_batch_step(0.3)
    both, one = one_round(runtime(twins, step), model), one_round(runtime(parts, step), model)
    assert distance(both, one) < 1e-6


def test_a_hospital_without_a_known_entry_changes_nothing() -> None:
    parts = hospital_parts((25, 10))
    parts["hospital-1"]["train"].known[:] = False
    model = travelling(linear_network(parts))
    with_it = one_round(runtime(parts), model)
    without = one_round(runtime({"hospital-0": parts["hospital-0"]}), model)
    assert with_it.digest() == without.digest()
