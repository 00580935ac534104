"""The one gradient loop: plain descent by hand, masks, terms, clipping, determinism."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.algorithms.fedavg import FedAvg
from concilium.data.augmentation import Augmentation
from concilium.data.batch import Batch
from concilium.data.dataset import Exams
from concilium.data.prefetch import one_ahead
from concilium.federation.sharing import load, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation.errors import DivergenceError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.mlp import MultilayerPerceptron
from concilium.networks.small_cnn import SmallCNN
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


def test_a_term_is_added_to_the_loss() -> None:
    settings, own = LocalTraining(), exams(50, 1)
    constant = None, lambda step: torch.full((), 5.0)
    plain = train(network(), own, BinaryCrossEntropy(), settings, generator())
    more = train(network(), own, BinaryCrossEntropy(), settings, generator(), *constant)
    assert more.mean_loss == pytest.approx(plain.mean_loss + 5)


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


def images(count: int, side: int = 16) -> Exams:
    """Exams with an image of noise each, some entries unknown; a bright middle says label 0."""
    own = exams(count, 4)
    pixels = np.random.default_rng(7).integers(0, 60, (count, side, side), dtype=np.uint8)
    pixels[:, 4:-4, 4:-4] += (180 * own.target[:, 0, None, None]).astype(np.uint8)
    return replace(own, images=pixels)


def small_cnn() -> Network:
    return SmallCNN(width=8, depth=1, num_features=8).build((1, 16, 16), 3, 0)


def trained_on_images(settings: LocalTraining, own: Exams) -> tuple[NamedTensors, Trained]:
    made = small_cnn()
    done = train(made, own, BinaryCrossEntropy(), settings, generator())
    return travelling(made), done


AUGMENTED = LocalTraining(2, 8, augmentation=Augmentation(10, 0.1, 0.1, 0.1, 0.1, 0.1))


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for every training whose batches are made one ahead."""
    used: list[str] = []

    def noted(items: Iterator[Batch]) -> AbstractContextManager[Iterator[Batch]]:
        used.append("ahead")
        return one_ahead(items)

    monkeypatch.setattr("concilium.training.local.one_ahead", noted)
    return used


def test_a_spare_core_changes_no_bit(ahead: list[str]) -> None:
    """Epochs, unknown rows (no step), the generator: all in the order of one thread."""
    own = images(50)
    own.known[20:45] = False
    without = trained_on_images(AUGMENTED, own)
    assert ahead == []
    with_it = trained_on_images(replace(AUGMENTED, spare_core=True), own)
    assert ahead == ["ahead"]
    assert with_it[0].digest() == without[0].digest()
    assert with_it[1] == without[1]


def test_a_thread_is_used_for_augmented_images_only(ahead: list[str]) -> None:
    trained_on_images(LocalTraining(spare_core=True), images(20))
    trained(replace(AUGMENTED, spare_core=True))  # on features, which augmentation leaves alone
    assert ahead == []


@pytest.mark.parametrize("spare_core", [False, True])
def test_trainings_in_two_threads_are_those_of_one_after_the_other(spare_core: bool) -> None:
    settings = replace(AUGMENTED, spare_core=spare_core, epochs=1)
    own = [images(24), images(32)]

    def one(made: Network, exams: Exams) -> str:
        train(made, exams, BinaryCrossEntropy(), settings, generator())
        return travelling(made).digest()

    alone = [one(small_cnn(), each) for each in own]
    networks = [small_cnn() for _ in own]  # not in the threads: torch's initialisers share a state
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, networks, own)) == alone


def test_an_error_in_a_step_ends_the_thread() -> None:
    made = small_cnn()
    settings = replace(AUGMENTED, spare_core=True)

    def stop(step: Step) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(made, images(40), BinaryCrossEntropy(), settings, generator(), None, stop)
    assert not any(t.name.startswith("next batch") for t in threading.enumerate())


BFLOAT16 = LocalTraining(1, 8, OptimizerSettings("sgd", 0.1), precision="bfloat16")


def test_bfloat16_differs_a_little_and_learns() -> None:
    """A bfloat16 has 8 bits of mantissa: relative steps of 1/256."""
    own = images(32)
    standing = replace(BFLOAT16, optimizer=OptimizerSettings("sgd", 1e-9))
    start, at_start = trained_on_images(standing, own)
    low, done = trained_on_images(replace(BFLOAT16, epochs=5), own)
    full, in_full = trained_on_images(replace(BFLOAT16, epochs=5, precision="float32"), own)
    assert {tensor.dtype for tensor in low.values()} == {torch.float32}
    # Seen: 0.07, where the training moved by 0.66.
    assert 0 < (low - full).norm() < 0.25 * (full - start).norm()
    assert done.mean_loss != in_full.mean_loss
    assert done.mean_loss == pytest.approx(in_full.mean_loss, rel=0.02)
    assert done.mean_loss < at_start.mean_loss - 0.03


def test_bfloat16_is_repeatable_and_leaves_no_trace() -> None:
    own = images(16)
    plain = replace(BFLOAT16, precision="float32")
    before = trained_on_images(plain, own)[0].digest()
    low = [trained_on_images(BFLOAT16, own)[0].digest() for _ in range(2)]
    assert low[0] == low[1] != before
    assert trained_on_images(plain, own)[0].digest() == before


def test_in_bfloat16_loss_and_its_terms_see_float32() -> None:
    """And another model with the same tensors gives the very same scores, so a term can vanish."""
    made = small_cnn()
    seen: list[Tensor] = []

    def watch(step: Step) -> Tensor:
        model = travelling(made)
        assert torch.equal(step.features_of(model), step.features)
        assert torch.equal(step.logits_of(model), step.logits)
        seen.extend((step.features, step.logits, step.features_of(model), step.logits_of(model)))
        return torch.zeros(())

    class Watched(BinaryCrossEntropy):
        def __call__(self, logits: Tensor, *rest: Tensor | None) -> Tensor:  # type: ignore[override]
            assert not torch.is_autocast_enabled("cpu")
            seen.append(logits)
            value: Tensor = super().__call__(logits, *rest)  # type: ignore[arg-type]
            assert value.dtype == torch.float32
            return value

    train(made, images(16), Watched(), BFLOAT16, generator(), None, watch)
    assert {tensor.dtype for tensor in seen} == {torch.float32}
    logits = seen[0]
    assert torch.equal(logits, logits.bfloat16().float()), "yet they were computed in bfloat16"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="precision"):
        LocalTraining(precision="float16")  # type: ignore[arg-type]


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
