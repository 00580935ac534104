"""What each weighting promises: its equation by hand, and its paper's claim in miniature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.messages import total
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.orchestration.phases import asking
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.by_label_evidence import ByLabelEvidence, evidence
from concilium.weightings.by_positives import ByPositives
from concilium.weightings.contract import Weighting
from concilium.weightings.equal import Equal
from concilium.weightings.surgical import Surgical
from tests.weightings.counts import federation_of, hospital, random_delta, rows, weights
from tests.worlds import hospital_parts, linear_network, runtime

Parts = dict[str, dict[str, Exams]]

# Two labels: at the first hospital 10 of 40 and 2 of 20 known are present, at the second 30 of 30
# and 8 of 10. Federation: 40 of 70 and 10 of 30; 100 known entries, 60 and 40 of them theirs.
PAIR = [hospital(40, [40, 20], [10, 2]), hospital(30, [30, 10], [30, 8])]


def trained(parts: Parts, weighting: Weighting, rounds: int) -> NamedTensors:
    """The model of rounds of FedAvg with five full-batch steps at each hospital."""
    training = LocalTraining(5, 1_000_000, OptimizerSettings("sgd", 1.0))
    own = runtime(parts, training, weighting=weighting)
    statistics = asking(own)(StatisticsRequest())
    model = travelling(linear_network(parts))
    server = ServerState(0, model, len(own.clients), label_statistics=statistics)
    for _ in range(rounds):
        replies = own.train(FedAvg().broadcast(server), own.clients)
        server = FedAvg().server_update(server, total(replies, own.clients))
    return server.model


def scores(model: Mapping[str, torch.Tensor], images: np.ndarray) -> np.ndarray:
    return images @ model["head.weight"].numpy().T + model["head.bias"].numpy()


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        (ByImages(), [40, 30]),
        (ByKnownEntries(), [60, 40]),
        (Equal(), [1, 1]),
    ],
)
def test_one_number_for_every_tensor(weighting: Weighting, expected: list[float]) -> None:
    for weight, number in zip(weights(weighting, PAIR), expected, strict=True):
        assert {float(tensor) for tensor in weight.values()} == {number}


def test_by_images_counts_images_not_patients() -> None:
    """Six images of two patients."""
    nothing = np.zeros((6, 2), np.float32)
    own = LabelStatistics.of(nothing, nothing == 0, np.array([0, 0, 0, 0, 1, 1]))
    weight = ByImages()(random_delta(2), own, own)
    assert {float(tensor) for tensor in weight.values()} == {6}


def test_surgical_by_hand() -> None:
    hospitals = [
        hospital(9, [9, 0], [3, 0]),
        hospital(2, [1, 2], [0, 1]),
        hospital(5, [0, 0], [0, 0]),
    ]
    found = weights(Surgical(), hospitals)
    assert [float(weight["encoder.0.weight"]) for weight in found] == [1, 1, 0]
    assert [rows(weight, 2).tolist() for weight in found] == [[1, 0], [1, 1], [0, 0]]


def test_by_positives_by_hand() -> None:
    found = weights(ByPositives(), PAIR)
    np.testing.assert_allclose([float(weight["encoder.0.weight"]) for weight in found], [0.6, 0.4])
    assert [rows(weight, 2).tolist() for weight in found] == [[10, 2], [30, 8]]


def test_by_label_evidence_by_hand() -> None:
    """T = 10. e: 10·30/40 = 7.5 and 2·18/20 = 1.8; 30·0/30 = 0 and 8·2/10 = 1.6.

    E: 40·30/70 = 17.142857 and 10·20/30 = 6.666667. s: 10/(10 + 40) = 0.2 and 10/(10 + 10) = 0.5.
    """
    first, second = weights(ByLabelEvidence(shrinkage=10), PAIR)
    by_hand = [
        [0.8 * 7.5 / 17.142857 + 0.2 * 0.6, 0.5 * 1.8 / 6.666667 + 0.5 * 0.6],
        [0.8 * 0.0 + 0.2 * 0.4, 0.5 * 1.6 / 6.666667 + 0.5 * 0.4],
    ]
    np.testing.assert_allclose([rows(first, 2), rows(second, 2)], by_hand, rtol=1e-6)
    np.testing.assert_allclose([float(w["graph.coupling"]) for w in (first, second)], [0.6, 0.4])
    with pytest.raises(InputError, match="must be > 0"):
        ByLabelEvidence(shrinkage=0)


def test_evidence_of_the_pooled_counts_is_at_least_the_sum_of_the_hospitals() -> None:
    """So shares of evidence add up to at most 1; to exactly 1 where prevalences are equal."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        known = generator.integers(0, 30, (4, 3))
        present = generator.integers(0, known + 1)
        own = [hospital(30, k, p) for k, p in zip(known, present, strict=True)]
        assert (evidence(federation_of(own)) >= sum(map(evidence, own)) - 1e-9).all()
    alike = [hospital(n, [n], [n // 4]) for n in (8, 20, 40)]
    np.testing.assert_allclose(evidence(federation_of(alike)), sum(map(evidence, alike)))
    # Positives here and negatives there: no hospital can compare, pooled they could.
    apart = [hospital(10, [10], [10]), hospital(10, [10], [0])]
    assert sum(map(evidence, apart)) == 0
    assert evidence(federation_of(apart)) == 5


def test_without_evidence_anywhere_or_with_few_positives_rows_go_with_the_body() -> None:
    """A label that is never absent (E = 0) or never present (s = 1); T far above the positives."""
    never = [hospital(30, [30, 30], [30, 0]), hospital(10, [10, 10], [10, 0])]
    for weight, own in zip(weights(ByLabelEvidence(), never), (0.75, 0.25), strict=True):
        ratio = rows(weight, 2) / torch.tensor([10 / 50, 1.0])  # s of the two labels
        np.testing.assert_allclose(ratio, [own, own], rtol=1e-6)
    far = weights(ByLabelEvidence(shrinkage=1e9), PAIR)
    np.testing.assert_allclose([rows(w, 2).numpy() for w in far], [[0.6] * 2, [0.4] * 2], rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["by_known_entries", "by_label_evidence", "by_positives", "equal", "surgical"]
)
def test_a_hospital_without_labels_does_not_shorten_the_step_of_the_others(name: str) -> None:
    parts = hospital_parts((20, 10))
    alone = {"hospital-0": parts["hospital-0"]}
    parts["hospital-1"]["train"].known[:] = False
    weighting = components.build("weightings", name)
    assert trained(parts, weighting, 1).digest() == trained(alone, weighting, 1).digest()
    # By images it does, as the paper has it: the comparison is not empty.
    assert trained(parts, ByImages(), 1).digest() != trained(alone, ByImages(), 1).digest()


def test_surgical_keeps_the_row_of_a_label_that_one_hospital_annotates_whole() -> None:
    """Kulkarni et al.: averaged over all four hospitals it is a quarter of what was learnt."""
    parts = hospital_parts((40, 40, 40, 40))
    for name in ("hospital-1", "hospital-2", "hospital-3"):
        parts[name]["train"].known[:, 2] = False
    start = travelling(linear_network(parts))
    whole, diluted = (trained(parts, weighting, 1) - start for weighting in (Surgical(), Equal()))
    torch.testing.assert_close(diluted["head.weight"][2] * 4, whole["head.weight"][2])
    own = trained({"hospital-0": parts["hospital-0"]}, Equal(), 1) - start
    torch.testing.assert_close(whole["head.weight"][2], own["head.weight"][2])
    # The rows that all annotate are the plain mean with both.
    torch.testing.assert_close(diluted["head.weight"][:2], whole["head.weight"][:2])
    # After as many rounds it predicts the label better, on the other hospitals' exams, too.
    images = np.concatenate([np.asarray(own["test"].images) for own in parts.values()])
    target = np.concatenate([own["test"].target[:, 2] for own in parts.values()])

    def log_loss(weighting: Weighting) -> float:
        score = scores(trained(parts, weighting, 2), images)[:, 2]
        return float(np.mean(np.logaddexp(0, score) - target * score))

    assert log_loss(Surgical()) < log_loss(Equal()) - 0.02


def false_coupling(weighting: Weighting) -> tuple[float, float]:
    """FC(0|1) at 90 % specificity (ideal 0.10), and sensitivity, on new exams without coupling.

    Feature 0 shows label 0, feature 1 label 1, which says nothing of label 0. The large hospital
    has both, independent; the small one 60 exams that show both, always: positives of label 0 only.
    """

    def seen(num: int, seed: int, prevalence: tuple[float, float]) -> Exams:
        generator = np.random.default_rng(seed)
        target = (generator.random((num, 2)) < prevalence).astype(np.float32)
        images = 1.5 * target + generator.normal(size=(num, 2)).astype(np.float32)
        return Exams(images.astype(np.float32), target, target >= 0, np.arange(num))

    parts = {
        "large": {"train": seen(400, 1, (0.1, 0.3))},
        "small": {"train": seen(60, 2, (1.0, 1.0))},
    }
    model = trained(parts, weighting, 8)
    test = seen(4000, 3, (0.1, 0.3))
    score, target = scores(model, np.asarray(test.images))[:, 0], test.target > 0
    alert = score > np.quantile(score[~target[:, 0]], 0.9)
    beside = ~target[:, 0] & target[:, 1]
    return float(alert[beside].mean()), float(alert[target[:, 0]].mean())


def test_a_hospital_of_positives_alone_couples_labels_by_positives_and_not_by_evidence() -> None:
    coupled, found_by_positives = false_coupling(ByPositives())  # 0.19
    plain, _ = false_coupling(ByKnownEntries())  # 0.14
    evident, found = false_coupling(ByLabelEvidence())  # 0.09
    assert coupled > plain + 0.03 > evident + 0.06
    assert abs(evident - 0.10) < 0.03  # as good as ideal
    assert found > found_by_positives  # and label 0 itself is found more often
