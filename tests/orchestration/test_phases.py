"""The phases: what is chosen by validation alone, and what the test is assessed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.evaluation.calibration import fit_calibration
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.requests import BootstrapRequest, EvaluationRequest, StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads.newton import Newton
from concilium.labels.statistics import LabelStatistics
from concilium.losses.softmax import Softmax
from concilium.orchestration.checkpoints import Checkpoints
from concilium.orchestration.observers import silent
from concilium.orchestration.phases import (
    Developed,
    Operation,
    Recipe,
    asking,
    assess,
    develop,
    operate,
    validation_score,
    watching,
)
from concilium.orchestration.rounds import Inspection, Schedule
from concilium.runtimes.contract import Simulation
from tests.worlds import exams, hospital_parts, linear_network, runtime, with_labels_permuted

PARTS = hospital_parts((60, 40, 50))


def developed(
    own: Simulation,
    recipe: Recipe,
    watch: Inspection | None = None,
    checkpoints: Checkpoints | None = None,
) -> Developed:
    """A training of the linear network, looked at as a study does it unless told otherwise."""
    watch = watch or watching(asking(own), None, recipe)
    model = travelling(linear_network(PARTS))
    return develop(model, recipe, FedAvg(), own, checkpoints, silent, watch)


def at_90(sums: EvaluationSums) -> np.ndarray:
    return at_specificity(sums, 0.9)


def test_nothing_is_chosen_by_the_test_parts() -> None:
    """With other test exams: the same model, round, scores, calibration and thresholds."""
    others = {
        name: {**own, "test": exams(30, 900 + k, known=0.6)}
        for k, (name, own) in enumerate(PARTS.items())
    }
    found: list[tuple[Developed, Operation]] = []
    for parts in (PARTS, others):
        own = runtime(parts)
        done = developed(own, Recipe(Schedule(3), head=Newton()))
        found.append((done, operate(done.final, asking(own), at_90)))
    (first, use), (second, other_use) = found
    assert first.final.digest() == second.final.digest()
    assert first.kept_round == second.kept_round
    assert first.validation_score == second.validation_score
    assert first.history == second.history
    np.testing.assert_array_equal(use.calibration.slope, other_use.calibration.slope)
    np.testing.assert_array_equal(use.calibration.offset, other_use.calibration.offset)
    np.testing.assert_array_equal(use.thresholds, other_use.thresholds)


def test_the_kept_round_is_the_best_and_the_score_is_that_of_the_final_model() -> None:
    own, scores = runtime(PARTS), iter([0.9, 0.1, 0.2])
    recipe = Recipe(Schedule(3), head=Newton(penalties=(3.0,)))
    done = developed(own, recipe, lambda model: {"validation_score": next(scores)})
    assert done.kept_round == 1
    assert done.model.digest() == done.history[0]["model"]
    assert done.final.digest() != done.model.digest()
    by_model = [
        validation_score(asking(own)(EvaluationRequest(model, "validation")))
        for model in (done.final, done.model)
    ]
    assert done.validation_score == by_model[0] != by_model[1]


def test_the_last_round_is_kept_where_that_is_asked_or_nothing_has_a_score() -> None:
    scores = iter([0.9, 0.1, 0.2])
    last = Recipe(Schedule(3), keep="last")
    done = developed(runtime(PARTS), last, lambda model: {"validation_score": next(scores)})
    assert done.kept_round == 3
    assert done.model.digest() == done.history[2]["model"]
    never = developed(runtime(PARTS), Recipe(Schedule(3)), lambda model: {})
    assert never.model.digest() == done.model.digest()


def test_the_test_is_assessed_with_calibration_and_thresholds_of_validation() -> None:
    own = runtime(hospital_parts((200, 200)))
    ask, model = asking(own), travelling(linear_network(PARTS))
    model = NamedTensors({**model, "head.weight": model["head.weight"] * 9})  # not calibrated
    use = operate(model, ask, at_90)
    expected = fit_calibration(ask(EvaluationRequest(model, "validation")))
    assert expected.num_identity == 0
    np.testing.assert_array_equal(use.calibration.slope, expected.slope)
    np.testing.assert_array_equal(use.calibration.offset, expected.offset)
    calibrated = ask(EvaluationRequest(model, "validation", expected))
    np.testing.assert_array_equal(use.thresholds, at_90(calibrated))

    found = assess(model, use, own, Recipe(Schedule(0)), replicates=4, seed=7)
    tested = ask(EvaluationRequest(model, "test", expected, use.thresholds))
    np.testing.assert_array_equal(found.all.positives, tested.positives)
    np.testing.assert_array_equal(found.all.alerts.false_alerts, tested.alerts.false_alerts)
    drawn = ask(BootstrapRequest(model, "test", 4, 7, expected))
    assert found.bootstrap is not None
    np.testing.assert_array_equal(found.bootstrap.positives, drawn.positives)
    np.testing.assert_array_equal(found.bootstrap.negatives, drawn.negatives)
    # Without calibration both would be others, so the comparisons are not empty.
    assert not np.array_equal(
        tested.positives, ask(EvaluationRequest(model, "test", None, use.thresholds)).positives
    )
    raw = ask(BootstrapRequest(model, "test", 4, 7))
    assert not np.array_equal(drawn.positives, raw.positives)


def test_label_sets_are_followed_in_test_at_the_thresholds_of_validation() -> None:
    own = runtime(PARTS)
    ask, model = asking(own), travelling(linear_network(PARTS))
    recipe = Recipe(Schedule(1), specificity=0.3, label_sets=((0, 1),))
    thresholds = at_specificity(ask(EvaluationRequest(model, "validation")), 0.3)
    alerts = ask(EvaluationRequest(model, "test", None, thresholds, ((0, 1),))).alerts
    seen = watching(ask, ask, recipe)(model)
    assert seen["label_sets_present"] == alerts.set_present.tolist()
    assert seen["label_sets_found"] == alerts.set_found.tolist()
    assert 0 < alerts.set_found[0] < alerts.set_present[0]


def test_a_resumed_training_gives_the_clients_their_memories_back(tmp_path: Path) -> None:
    checkpoints, recipe = Checkpoints(tmp_path, "study"), Recipe(Schedule(1))
    first = runtime(PARTS)
    first.restore({"hospital-0": ClientState(NamedTensors({"control": torch.ones(2)}))})
    done = developed(first, recipe, checkpoints=checkpoints)
    second = runtime(PARTS)
    again = developed(second, recipe, checkpoints=checkpoints)
    assert second.client_states["hospital-0"].extras["control"].tolist() == [1.0, 1.0]
    assert again.history == done.history


def test_the_order_of_a_loss_comes_from_the_statistics_of_all_training_parts() -> None:
    """The softmax baseline orders labels by the federation's prevalence, not a hospital's own."""
    parts, recipe = with_labels_permuted(PARTS, [2, 0, 1]), Recipe(Schedule(2))
    bound = Softmax().bind(asking(runtime(parts))(StatisticsRequest()))
    fixed = developed(runtime(parts, loss=bound), recipe)
    assert bound.order != (0, 1, 2)  # else binding would change nothing
    assert developed(runtime(parts, loss=Softmax()), recipe).history == fixed.history


@pytest.mark.parametrize(("positives", "defined"), [(0, False), (1, True)])
def test_a_label_counts_in_the_validation_score_from_its_first_positive(
    positives: int, defined: bool
) -> None:
    scores = np.array([[3.0], [2.0], [1.0], [0.0]])
    target = np.arange(4)[:, None] < positives
    sums = EvaluationSums.of(scores, target, np.ones((4, 1), bool), np.arange(4))
    score = validation_score(sums)
    assert score == 1.0 if defined else np.isnan(score)


def test_the_start_takes_the_summed_statistics_of_the_training_parts() -> None:
    heard = []

    def start(model: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
        heard.append(statistics)
        return model * 2.0

    own = runtime(PARTS)
    found = developed(own, Recipe(Schedule(0), start=start))
    assert [statistics.num_images for statistics in heard] == [60 + 40 + 50]
    assert found.model.digest() == (travelling(linear_network(PARTS)) * 2.0).digest()
