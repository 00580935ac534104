"""Exact ranks of a simulation's test exams: scikit-learn's values, the hospitals' own weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.evaluation.bootstrap import interval, patient_weights
from concilium.evaluation.calibration import Calibration
from concilium.federation.client import Client
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import derive_seed
from concilium.orchestration.phases import Operation
from concilium.studies.exact_values import exact_values
from tests.worlds import hospital_parts, linear_network, runtime

SEED, REPLICATES = 5, 6
SCIKIT_LEARN = {"auroc": roc_auc_score, "average_precision": average_precision_score}
OPERATION = Operation(Calibration(np.array([0.5, 1, 2]), np.array([0.1, 0, -1])), np.zeros(3))


def simulation() -> tuple[NamedTensors, tuple[Client, ...]]:
    """Two hospitals that number their patients alike, from 0, not in order, two exams each."""
    parts = hospital_parts((150, 240))
    for own in parts.values():
        number = np.arange(len(own["test"].patient)) * 7 % 10
        own["test"] = replace(own["test"], patient=number)
    model = NamedTensors(linear_network(parts).state_dict()).map(lambda t: t.clone())
    return model, runtime(parts).members


def of_scikit_learn(name: str, label: int, weights: np.ndarray | None = None) -> float:
    model, clients = simulation()
    tests = [client.parts["test"] for client in clients]
    known = np.concatenate([own.known for own in tests])[:, label]
    target = np.concatenate([own.target for own in tests])[known, label]
    scores = np.concatenate([client.scores(model, "test") for client in clients])[known, label]
    weights = None if weights is None else weights[known]
    return float(SCIKIT_LEARN[name](target, scores, sample_weight=weights))


@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_values_are_those_of_scikit_learn_on_all_test_exams(name: str) -> None:
    """A calibration has a positive slope: it changes no rank."""
    model, clients = simulation()
    found = exact_values(model, OPERATION, clients, 0, seed=SEED, min_positives=1)["exact"]
    expected = [of_scikit_learn(name, label) for label in range(3)]
    np.testing.assert_allclose(found["metrics"][name], expected, rtol=0, atol=1e-12)
    assert found["macro"][name]["mean"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found["intervals"] == {}


@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_intervals_are_of_the_weights_that_hospitals_draw_themselves(name: str) -> None:
    model, clients = simulation()
    exact = exact_values(model, OPERATION, clients, REPLICATES, seed=SEED, min_positives=1)
    weights = np.concatenate(
        [
            patient_weights(10, range(REPLICATES), derive_seed(SEED, "bootstrap", client.name))[
                client.parts["test"].patient
            ]
            for client in clients
        ]
    )
    replicated = np.array(
        [[of_scikit_learn(name, label, own) for label in range(3)] for own in weights.T]
    )
    low, high, _ = interval(replicated)
    found = exact["exact"]["intervals"][name]
    np.testing.assert_allclose([found["low"], found["high"]], [low, high], rtol=0, atol=1e-12)
    whole = interval(replicated.mean(1))
    np.testing.assert_allclose(found["macro"], [whole.low, whole.high], rtol=0, atol=1e-12)
