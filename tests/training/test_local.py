"""The one gradient loop: plain descent by hand, masks, terms, clipping, determinism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.algorithms.fedavg import FedAvg
from concilium.data.augmentation import Augmentation
from concilium.federation.sharing import load, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation.errors import DivergenceError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.mlp import MultilayerPerceptron
from concilium.orchestration.checkpoints import Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.training.local import LocalTraining, Step, Trained, train
from concilium.training.optimizers import OptimizerSettings
from tests.worlds import (
    exams,
    full_batch_step,
    hospital_parts,
    linear_network,
    runtime,
    with_labels_permuted,
)


def network(seed: int = 0) -> Network:
    return MultilayerPerceptron(hidden=(8,)).build((5,), 3, seed)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(settings: LocalTraining, seed: int = 0) -> tuple[NamedTensors, Trained]:
    made = network()
    done = train(made, exams(50, 1), BinaryCrossEntropy(), settings, generator(seed))
    return travelling(made), done


def test_one_full_batch_step_is_gradient_descent_by_hand() -> None:
    parts = hospital_parts((40,))
    made = linear_network(parts)
    before, own = travelling(made), parts["hospital-0"]["train"]
    train(made, own, BinaryCrossEntropy(), full_batch_step(0.7), generator())
    x = torch.from_numpy(np.asarray(own.images)).double()
    y, known = torch.from_numpy(own.target).double(), torch.from_numpy(own.known).double()
    weight = before["head.weight"].double()
    p = torch.sigmoid(x @ weight.T + before["head.bias"].double())
    expected = weight - 0.7 * ((p - y) * known).T @ x / known.sum()
    assert float((travelling(made)["head.weight"] - expected).abs().max()) < 1e-6


def test_steps_and_loss_are_counted() -> None:
    _, done = trained(LocalTraining(epochs=3, batch_size=16))
    assert done.num_steps == 3 * 4  # 50 exams are 4 batches of at most 16
    assert 0.3 < done.mean_loss < 1.2  # around ln 2 = 0.69, where training begins


def test_the_generator_decides_everything() -> None:
    settings = LocalTraining(augmentation=Augmentation(), batch_size=8)
    assert trained(settings, 3)[0].digest() == trained(settings, 3)[0].digest()
    assert trained(settings, 3)[0].digest() != trained(settings, 4)[0].digest()


def test_what_stands_at_unknown_entries_has_no_influence() -> None:
    own = exams(30, 2)
    garbage = np.where(own.known, own.target, 1 - own.target)
    models = []
    for target in (own.target, garbage):
        made = network()
        train(made, replace(own, target=target), BinaryCrossEntropy(), LocalTraining(), generator())
        models.append(travelling(made).digest())
    assert models[0] == models[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_batch_without_a_known_entry_takes_no_step(optimizer: str) -> None:
    """An optimiser with memory would move on a zero gradient."""
    own = exams(64, 2)
    own.known[:] = False
    own.known[:4] = True
    settings = LocalTraining(2, 1, OptimizerSettings(optimizer, 0.1))
    made = network()
    done = train(made, own, BinaryCrossEntropy(), settings, generator())
    assert done.num_steps == 2 * 4
    own.known[:] = False
    before = travelling(made)
    nothing = train(made, own, BinaryCrossEntropy(), settings, generator())
    assert nothing.num_steps == 0
    assert np.isnan(nothing.mean_loss)
    assert travelling(made).digest() == before.digest()


def test_a_gradient_term_is_added_in_every_step() -> None:
    """A term that takes the loss's gradient out and adds μ(w − w₀): 1 − ημ is left a step."""
    parts = hospital_parts((40,))
    own = parts["hospital-0"]["train"]
    made = linear_network(parts)
    anchor = travelling(made)
    load(made, anchor.map(lambda tensor: tensor + 1))
    start = travelling(made)

    def proximal(parameters: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {
            n: 0.5 * (p - anchor[n]) - parameters_gradient(parameters, n)
            for n, p in parameters.items()
        }

    def parameters_gradient(parameters: Mapping[str, Tensor], name: str) -> Tensor:
        gradient = parameters[name].grad
        assert gradient is not None
        return gradient.clone()

    settings = LocalTraining(1, 10, OptimizerSettings("sgd", 0.2))  # 4 steps
    train(made, own, BinaryCrossEntropy(), settings, generator(), proximal)
    for name, tensor in travelling(made).items():
        expected = anchor[name] + (start[name] - anchor[name]) * 0.9**4
        assert torch.allclose(tensor, expected, atol=1e-6)


def test_another_model_stands_still_while_what_stays_at_home_trains() -> None:
    """Normalisation does not travel: a teacher without it must not take the student's."""
    made = network()
    home = private(made, "all_but_normalisation")
    model = travelling(made, "all_but_normalisation")
    teacher: list[tuple[Tensor, Tensor]] = []
    student: list[tuple[Tensor, Tensor]] = []

    def watch(step: Step) -> Tensor:
        teacher.append((step.features_of(model).mean(0), step.logits_of(model).mean(0)))
        student.append((step.features.detach().mean(0), step.logits.detach().mean(0)))
        return torch.zeros(())

    settings = replace(full_batch_step(0.5), epochs=4)
    term = None, watch
    train(made, exams(50, 1), BinaryCrossEntropy(), settings, generator(), *term, home)
    moved = private(made, "all_but_normalisation") - home
    assert len(teacher) == 4 and moved.norm() > 0.05
    for first, last, of_student in zip(teacher[0], teacher[-1], student[-1], strict=True):
        assert torch.allclose(first, last, atol=1e-6)
        assert float((of_student - first).abs().max()) > 0.01


def test_clipping_bounds_a_step() -> None:
    settings = replace(full_batch_step(1.0), clip_norm=1e-3)
    made = network()
    before = travelling(made)
    train(made, exams(50, 1), BinaryCrossEntropy(), settings, generator())
    assert (travelling(made) - before).norm() == pytest.approx(1e-3, rel=1e-3)


def test_divergence_is_told() -> None:
    own = exams(50, 1)
    own.images[:] *= 1e18  # type: ignore[index, operator]
    made = linear_network({"a": {"train": own}})
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        train(
            made,
            own,
            BinaryCrossEntropy(),
            LocalTraining(20, 5, OptimizerSettings("sgd", 1e25)),
            generator(),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1.0}, r"learning_rate=-1\.0 must be > 0"),
        ({"name": "sdg"}, "did you mean 'sgd'"),
        ({"momentum": 2.0}, "momentum=2.0 must lie between 0 and 1"),
    ],
)
def test_bad_optimizer_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimizerSettings(**settings)  # type: ignore[arg-type]


def test_permuting_labels_permutes_the_trained_federation() -> None:
    """From a permuted head, on permuted labels, with mini-batches and several rounds."""
    parts, order = hospital_parts((40, 25)), [2, 0, 1]
    plain = travelling(linear_network(parts))
    head = {"head.weight": plain["head.weight"][order], "head.bias": plain["head.bias"][order]}
    models = []
    for own, start in (
        (parts, plain),
        (with_labels_permuted(parts, order), NamedTensors({**plain, **head})),
    ):
        run = runtime(own)
        progress = Progress(ServerState(0, start, 1))
        end = run_rounds(progress, Schedule(4), FedAvg(), run, lambda model: {}, None, silent)
        models.append(end.server.model)
    assert torch.allclose(models[1]["head.weight"], models[0]["head.weight"][order], atol=1e-6)
