"""FedHarmony: phi by hand, the others' mean from the sum alone, weights of dissenting hospitals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from concilium.algorithms._correlations import related_pairs, soft_phi
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedharmony import FedHarmony, consensus
from concilium.data.dataset import Exams
from concilium.federation.messages import Broadcast
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from tests.algorithms.federations import auroc, linear_scores, rounds, totalled
from tests.worlds import close, full_batch_step, hospital_parts, linear_network, runtime

PARTS = hospital_parts((40, 30, 50))
MODEL = travelling(linear_network(PARTS))
NAMES = tuple(PARTS)


def test_without_strength_and_by_volume_alone_it_is_fedavg_bit_for_bit() -> None:
    off = FedHarmony(strength=0, least_volume=1)
    plain = rounds(runtime(PARTS), MODEL, 3).model.digest()
    assert rounds(runtime(PARTS, algorithm=off), MODEL, 3).model.digest() == plain
    for on in (replace(off, strength=1.0, related=0.0), replace(off, least_volume=0.0)):
        assert rounds(runtime(PARTS, algorithm=on), MODEL, 3).model.digest() != plain


def test_phi_of_probabilities_by_hand() -> None:
    """Two labels on four images, of which both are known on three: loops over those three."""
    probability = torch.tensor([[0.9, 0.8], [0.2, 0.4], [0.6, 0.1], [0.3, 0.7]])
    known = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    both = [(0.9, 0.8), (0.2, 0.4), (0.6, 0.1)]
    first, second = sum(a for a, _ in both) / 3, sum(b for _, b in both) / 3
    joint = sum(a * b for a, b in both) / 3
    expected = (joint - first * second) / math.sqrt(first * (1 - first) * second * (1 - second))
    found, pairs = soft_phi(probability, known)
    assert abs(float(found[0, 1]) - expected) < 1e-5
    assert float(found[0, 1]) == float(found[1, 0])
    assert pairs.tolist() == [[4, 3], [3, 3]]


def test_phi_of_certain_predictions_is_pearsons_correlation() -> None:
    target = torch.from_numpy(PARTS["hospital-2"]["train"].target)
    found, _ = soft_phi(target, torch.ones_like(target, dtype=torch.bool))
    assert close(found.double(), torch.from_numpy(np.corrcoef(target.numpy().T)), 1e-4)


def test_phi_has_no_gradient_at_unknown_entries_and_stays_finite() -> None:
    known = torch.tensor([[True, False, True], [True, True, False], [True, True, True]])
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found, _ = soft_phi(torch.sigmoid(logits), known)
    (gradient,) = torch.autograd.grad(found.square().sum(), logits)
    assert torch.equal(gradient == 0, ~known)
    certain = torch.full((3, 3), 100.0).requires_grad_()  # sigmoid is 1: nothing varies
    found, _ = soft_phi(torch.sigmoid(certain), known)
    (gradient,) = torch.autograd.grad(found.sum(), certain)
    assert bool(found.isfinite().all()) and bool(gradient.isfinite().all())


def test_the_teacher_is_the_mean_of_the_others_from_the_sum_alone() -> None:
    """Also where a hospital does not annotate a label, and where one was not asked."""
    parts = hospital_parts((40, 30, 50))
    parts["hospital-1"]["train"].known[:, 0] = False
    run = runtime(parts, algorithm=FedHarmony())
    server = rounds(run, MODEL, 2, [NAMES, NAMES[:2]])
    broadcast = run.algorithm.broadcast(server)
    sent = {name: run.client_states[name].extras for name in NAMES}
    for name in NAMES:
        found = consensus(broadcast, run.client_states[name])
        assert found is not None
        others = [other for other in NAMES[:2] if other != name]
        for pair in itertools.product(range(3), repeat=2):
            weights = [float(sent[other]["pairs"][pair]) for other in others]
            values = [float(sent[other]["correlation"][pair]) for other in others]
            if sum(weights):
                assert abs(float(found[pair]) - sum(values) / sum(weights)) < 1e-5
            else:
                assert bool(found[pair].isnan())
    alone = consensus(broadcast, run.client_states["hospital-0"])
    assert alone is not None and bool(alone[0].isnan().all())  # only hospital-0 says something of 0


def test_what_is_sent_is_the_phi_of_the_model_after_training_times_its_images() -> None:
    run = runtime({"a": PARTS["hospital-0"]}, algorithm=FedHarmony())
    server = rounds(run, MODEL)
    part = PARTS["hospital-0"]["train"]
    trained = torch.sigmoid(linear_scores(server.model, part))  # alone, its model is the server's
    phi, pairs = soft_phi(trained, torch.from_numpy(part.known))
    assert close(server.extras["correlation"], phi * pairs, 1e-3)
    assert torch.equal(server.extras["pairs"], pairs)
    assert server.extras["images"] == 40


def test_labels_are_related_through_chains() -> None:
    """0–1–2–3 in a chain, 4 by itself; NaN joins nothing."""
    correlation = torch.zeros(5, 5)
    for a, b in ((0, 1), (1, 2), (2, 3)):
        correlation[a, b] = correlation[b, a] = -0.3
    correlation[3, 4] = correlation[4, 3] = torch.nan
    joined = related_pairs(correlation, 0.2)
    expected = torch.ones(5, 5, dtype=torch.bool)
    expected[4], expected[:, 4] = False, False
    assert torch.equal(joined, expected & ~torch.eye(5, dtype=torch.bool))
    assert not bool(related_pairs(correlation, 0.4).any())


def test_weight_is_the_papers_mix_of_volume_and_quality() -> None:
    """α n̄ + (1 − α) q̄ in round 3 of a turn of 4, q̄ against the last cohort; by images."""
    algorithm = FedHarmony(turn=4, least_share=0, sharpness=3)
    run = runtime(PARTS, algorithm=algorithm, weighting=ByImages())
    server = rounds(run, MODEL, 3)
    broadcast, before = run.algorithm.broadcast(server), dict(run.client_states)
    shares = []
    for name, update in run.train(broadcast, NAMES):
        teacher = consensus(broadcast, before[name])
        assert teacher is not None
        own = run.client_states[name].extras
        phi = own["correlation"] / own["pairs"]
        gaps = [float(phi[a, b] - teacher[a, b]) for a, b in itertools.permutations(range(3), 2)]
        quality = math.exp(-3 * math.sqrt(sum(gap**2 for gap in gaps) / len(gaps)))
        assert abs(float(update.extras["quality"]) - quality) < 1e-4
        volume = len(PARTS[name]["train"]) / 120
        expected = 0.25 * volume + 0.75 * quality / float(server.extras["quality"])
        assert abs(float(update.weight["head.bias"]) / 120 - expected) < 1e-4
        shares.append(expected / volume)
    assert max(shares) / min(shares) > 1.2  # so quality had a say


def test_one_step_adds_the_gradient_of_the_gap_to_the_teacher() -> None:
    """λ times the mean of (R − R*)² over related pairs, here of those two labels; by autograd."""
    step = full_batch_step(0.5)
    off = FedHarmony(strength=0, least_volume=1)
    before = runtime(PARTS, algorithm=off)
    server = rounds(before, MODEL, 8)
    broadcast, memory = off.broadcast(server), before.client_states
    teacher = consensus(broadcast, memory["hospital-0"])
    assert teacher is not None
    by_size = sorted(float(teacher[a, b].abs()) for a, b in ((0, 1), (0, 2), (1, 2)))
    related = (by_size[1] + by_size[2]) / 2  # one pair of labels is beyond it
    moved = {}
    for strength in (0.0, 2.0):
        on = FedHarmony(strength=strength, related=related, least_volume=1)
        run = runtime(PARTS, step, algorithm=on)
        run.restore(memory)
        ((_, update),) = run.train(broadcast, NAMES[:1])
        moved[strength] = update.weighted_delta["head.weight"] / update.weight["head.weight"]
    train = PARTS["hospital-0"]["train"]
    weight = server.model["head.weight"].clone().requires_grad_()
    logits = torch.from_numpy(np.asarray(train.images)) @ weight.T + server.model["head.bias"]
    phi, _ = soft_phi(torch.sigmoid(logits), torch.from_numpy(train.known))
    (pair,) = [(a, b) for a, b in ((0, 1), (0, 2), (1, 2)) if abs(teacher[a, b]) > related]
    (gradient,) = torch.autograd.grad(2.0 * (phi[pair] - teacher[pair]).square(), weight)
    assert float(gradient.abs().max()) > 1e-5
    assert torch.allclose(moved[2.0] - moved[0.0], -0.5 * gradient, rtol=0.02, atol=1e-7)


def test_a_pair_that_one_image_shows_is_not_in_the_mean() -> None:
    """Its phi is 0 without a gradient, but it would be one of the pairs that the mean is over."""
    train = PARTS["hospital-0"]["train"]
    known = np.ones_like(train.known)
    known[1:, 2] = False
    part, ones = replace(train, known=known), torch.ones(3, 3)
    last = {"correlation": 5 * ones, "pairs": 10 * ones, "images": 10 * ones[0, 0]}
    broadcast = Broadcast(1, MODEL, NamedTensors({**last, "quality": ones[0, 0]}))
    moved = {}
    for strength in (0.0, 2.0):
        on = FedHarmony(strength=strength, least_volume=1)
        run = runtime({"a": {"train": part}}, full_batch_step(0.5), algorithm=on)
        ((_, update),) = run.train(broadcast, ("a",))
        moved[strength] = update.weighted_delta["head.weight"] / update.weight["head.weight"]
    weight = MODEL["head.weight"].clone().requires_grad_()
    logits = torch.from_numpy(np.asarray(part.images)) @ weight.T + MODEL["head.bias"]
    phi, _ = soft_phi(torch.sigmoid(logits), torch.from_numpy(known))
    (gradient,) = torch.autograd.grad(2.0 * (phi[0, 1] - 0.5).square(), weight)  # the only pair
    assert float(gradient.abs().max()) > 1e-3
    assert torch.allclose(moved[2.0] - moved[0.0], -0.5 * gradient, rtol=0.02, atol=1e-6)


def coupled(num: int, seed: int, coupling: float) -> Exams:
    """Three labels, each seen in one of six noisy features; label 1 repeats label 0 that often."""
    generator = np.random.default_rng(seed)
    target = (generator.random((num, 3)) < 0.5).astype(np.float32)
    again = generator.random(num) < coupling
    target[again, 1] = target[again, 0]
    images = (2 * target - 1) @ np.eye(3, 6) + generator.normal(size=(num, 6))
    known = np.ones((num, 3), dtype=bool)
    return Exams(images.astype(np.float32), target, known, np.arange(num) + 1000 * seed)


def odd_world(seed: int) -> dict[str, dict[str, Exams]]:
    """Two hospitals where labels are independent, and a big one that couples two of them."""
    sizes = {"a": (60, 0.0), "b": (60, 0.0), "odd": (120, 0.9)}
    return {
        name: {"train": coupled(size, 10 * seed + i, coupling)}
        for i, (name, (size, coupling)) in enumerate(sizes.items())
    }


def drift_and_auroc(algorithm: FedAvg | FedHarmony, seed: int, num: int = 8) -> tuple[float, float]:
    """Phi of two labels that are independent in the test exams, as predicted; their mean AUROC."""
    parts, test = odd_world(seed), coupled(400, 10 * seed + 7, 0.0)
    training = LocalTraining(1, 20, OptimizerSettings("sgd", 0.5))
    run = runtime(parts, training, algorithm=algorithm, weighting=ByImages())
    scores = linear_scores(rounds(run, travelling(linear_network(parts)), num).model, test)
    phi, _ = soft_phi(torch.sigmoid(scores), torch.from_numpy(test.known))
    return float(phi[0, 1]), sum(auroc(scores[:, i], test.target[:, i]) for i in (0, 1)) / 2


@pytest.mark.slow
def test_drift_of_correlations_shrinks() -> None:
    """The paper's claim, by its loss and by its weights: a hospital's coupling spreads less."""
    seeds = range(4)
    plain = np.mean([drift_and_auroc(FedAvg(), seed) for seed in seeds], axis=0)
    loss = np.mean([drift_and_auroc(FedHarmony(least_volume=1), seed) for seed in seeds], axis=0)
    weights = FedHarmony(strength=0, turn=1, least_share=0)
    weighed = np.mean([drift_and_auroc(weights, seed) for seed in seeds], axis=0)
    assert loss[0] < 0.8 * plain[0] and weighed[0] < 0.8 * plain[0]
    assert loss[1] > plain[1] and weighed[1] > plain[1]


def test_the_term_lessens_the_drift_in_a_few_rounds() -> None:
    found = drift_and_auroc(FedHarmony(least_volume=1), 0, 6)[0]
    assert found < 0.85 * drift_and_auroc(FedAvg(), 0, 6)[0]


def test_the_say_of_the_dissenting_hospital_is_bounded_below() -> None:
    """It is the hospital that holds the combination: the rule alone would take most of its say."""
    parts = odd_world(0)
    training = LocalTraining(1, 20, OptimizerSettings("sgd", 0.5))
    model = travelling(linear_network(parts))
    said = {}
    for least in (0.0, 0.7):
        algorithm = FedHarmony(strength=0, turn=1, least_share=least)
        run = runtime(parts, training, algorithm=algorithm, weighting=ByImages())
        server = rounds(run, model, 3)
        updates = dict(run.train(run.algorithm.broadcast(server), run.clients))
        said[least] = float(updates["odd"].weight["head.bias"]) / 120
    assert said[0.0] < 0.6
    assert said[0.7] == pytest.approx(0.7)


def test_a_hospital_alone_has_no_teacher() -> None:
    one = {"a": PARTS["hospital-0"]}
    plain, alone = runtime(one), runtime(one, algorithm=FedHarmony(strength=10, turn=1))
    found = rounds(alone, MODEL, 3).model
    assert found.digest() == rounds(plain, MODEL, 3).model.digest()


def test_a_hospital_without_exams_has_no_say() -> None:
    empty = {part: _none(own) for part, own in PARTS["hospital-0"].items()}
    run = runtime({**PARTS, "empty": empty}, algorithm=FedHarmony(turn=1), weighting=ByImages())
    without = runtime(PARTS, algorithm=FedHarmony(turn=1), weighting=ByImages())
    assert rounds(run, MODEL, 3).model.digest() == rounds(without, MODEL, 3).model.digest()


def _none(exams: Exams) -> Exams:
    images = np.asarray(exams.images)[:0]
    return Exams(images, exams.target[:0], exams.known[:0], exams.patient[:0])


def test_only_sums_leave() -> None:
    """Names and sizes of what a client sends: nothing has a row for an image."""
    run = runtime(PARTS, algorithm=FedHarmony())
    sent = totalled(run, rounds(run, MODEL, 2)).extras
    assert {name: tuple(tensor.shape) for name, tensor in sent.items()} == {
        "correlation": (3, 3),
        "pairs": (3, 3),
        "images": (),
        "quality": (),
    }


def test_before_the_first_round_there_is_no_teacher() -> None:
    assert consensus(Broadcast(0, MODEL), ClientState()) is None
    assert not FedHarmony().broadcast(ServerState(0, MODEL, 3)).extras


@pytest.mark.parametrize("wrong", [{"strength": -1}, {"turn": 0}, {"least_share": 1.5}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        FedHarmony(**wrong)  # type: ignore[arg-type]


def test_an_old_memory_is_not_taken_from_a_sum_without_it() -> None:
    pairs = torch.full((2, 2), 4.0)
    last = NamedTensors({"correlation": pairs * 0.5, "pairs": pairs})
    own = NamedTensors({"correlation": pairs * 0.1, "pairs": pairs / 4, "round": torch.tensor(3)})
    for round_, expected in ((4, (2 - 0.4) / 3), (5, 0.5)):
        found = consensus(Broadcast(round_, MODEL, last), ClientState(own))
        assert found is not None
        assert torch.allclose(found, torch.full((2, 2), expected))
