"""A model on the test parts: as it is used, before calibration, and on decoupled labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from concilium.evaluation.decoupling import DecoupledSums, LabelSetCounts
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.client import Client
from concilium.federation.requests import EvaluationRequest
from concilium.federation.sharing import travelling
from concilium.foundation.named_tensors import NamedTensors
from concilium.metrics.calibration_error import CalibrationError
from concilium.orchestration.phases import Assessment, Operation, Recipe, asking, assess, operate
from concilium.orchestration.rounds import Schedule
from concilium.studies.columns import columns
from concilium.studies.results import describe
from tests.worlds import hospital_parts, joined, linear_network, runtime

PARTS = hospital_parts((200, 150, 220))
ORDER = ("train", "validation", "test")


def model() -> NamedTensors:
    """Scores far from calibrated: nine times too wide."""
    tensors = travelling(linear_network(PARTS))
    return NamedTensors({**tensors, "head.weight": tensors["head.weight"] * 9})


def at_90(sums: EvaluationSums) -> np.ndarray:
    return at_specificity(sums, 0.9)


def assessed(parts: Any = PARTS) -> tuple[Assessment, Operation]:
    own = runtime(PARTS)
    operation = operate(model(), asking(own), at_90)
    return assess(model(), operation, runtime(parts), Recipe(Schedule(0))), operation


def test_the_sums_before_calibration_are_those_of_the_scores_as_they_come() -> None:
    found, operation = assessed()
    own = asking(runtime(PARTS))
    raw = own(EvaluationRequest(model(), "test"))
    assert found.uncalibrated is not None
    np.testing.assert_array_equal(found.uncalibrated.positives, raw.positives)
    np.testing.assert_array_equal(found.uncalibrated.probability, raw.probability)
    assert not found.uncalibrated.alerts.has_threshold.any()
    used = own(EvaluationRequest(model(), "test", operation.calibration, operation.thresholds))
    np.testing.assert_array_equal(found.all.positives, used.positives)
    np.testing.assert_array_equal(found.all.alerts.false_alerts, used.alerts.false_alerts)
    error, varied = CalibrationError(), operation.calibration.slope != 1  # better than chance
    assert varied.sum() == 2
    assert error(found.uncalibrated)[varied].mean() > 2 * error(found.all)[varied].mean()


def test_the_decoupled_test_is_that_of_all_test_exams_in_one_place() -> None:
    """With weights from the label sets of all hospitals, on calibrated scores."""
    found, operation = assessed()
    exams = joined([own["test"] for own in PARTS.values()])
    client: Client = runtime({"pooled": dict.fromkeys(ORDER, exams)}).members[0]
    scores = operation.calibration.apply(client.scores(model(), "test"))
    counts = LabelSetCounts.of(exams.target, exams.known)
    weights = counts.weights()
    pooled = DecoupledSums.of(scores, exams.target, exams.known, weights, operation.thresholds)
    assert found.decoupled is not None
    np.testing.assert_array_equal(found.decoupled.counts.counts, counts.counts)
    assert found.decoupled.counts.num_left_out == (~exams.known.all(1)).sum() > 0
    np.testing.assert_array_equal(found.decoupled.weights.weight, weights.weight)
    np.testing.assert_array_equal(found.decoupled.sums.positives, pooled.positives)
    np.testing.assert_array_equal(found.decoupled.sums.negatives, pooled.negatives)
    beside = found.decoupled.sums.false_alerts_beside
    np.testing.assert_array_equal(beside, pooled.false_alerts_beside)
    assert beside.sum() > 0


def test_a_hospital_without_test_exams_changes_nothing() -> None:
    nobody = {part: joined([PARTS["hospital-0"][part]]) for part in ORDER}
    empty = nobody["test"]
    nobody["test"] = type(empty)(
        empty.images[:0], empty.target[:0], empty.known[:0], empty.patient[:0]
    )
    (first, _), (other, _) = assessed(), assessed({**PARTS, "empty": nobody})
    assert first.decoupled is not None and other.decoupled is not None
    np.testing.assert_array_equal(first.decoupled.sums.positives, other.decoupled.sums.positives)
    assert first.decoupled.counts.num_left_out == other.decoupled.counts.num_left_out


def test_columns_find_what_a_result_says_and_are_undefined_in_older_results() -> None:
    found, operation = assessed()
    result = describe(found, operation, ("a", "b", "c"), ("head",) * 3, 5)
    every = columns()

    def value(key: str, test: Any) -> float:
        return every[key].value({}, test, ())

    decoupled, before = result["decoupled"], result["uncalibrated"]
    for key, name in (
        ("decoupled_auroc", "auroc"),
        ("decoupled_map", "average_precision"),
        ("decoupled_coupling", "false_coupling"),
    ):
        labels = decoupled["metrics"][name]
        assert value(key, result) == pytest.approx(np.nanmean(labels))
    error = CalibrationError()(found.uncalibrated)  # type: ignore[arg-type]
    np.testing.assert_array_equal(before["metrics"]["calibration_error"], error)
    assert value("ece_before", result) == pytest.approx(error.mean())
    assert value("ece_before", result) > value("calibration_error", result)
    assert value("brier_before", result) > result["macro"]["brier"]["mean"]
    assert 0 < decoupled["effective_exams"] < decoupled["exams"]
    older = {k: v for k, v in result.items() if k not in ("decoupled", "uncalibrated")}
    new = ("decoupled_auroc", "decoupled_map", "decoupled_coupling", "ece_before", "brier_before")
    assert all(np.isnan(value(key, older)) for key in new)


def test_sums_alone_are_described_without_what_they_do_not_tell() -> None:
    found, operation = assessed()
    bare = Assessment(found.by_client, None)
    result = describe(bare, operation, ("a", "b", "c"), ("head",) * 3, 5)
    assert not {"decoupled", "uncalibrated"} & result.keys()
