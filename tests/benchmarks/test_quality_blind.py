"""Test labels have no say: whatever they are, everything but the measures on them is the same.

Who is where is dealt out by labels, test exams' among them. So exams are divided first, then the
labels of the test exams alone are drawn anew. That the comparison sees a leak is shown by leaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import assessment
import bodies
import numpy as np
import pytest
from bodies import Training, Workplace
from definitions import Catalogue
from methods import Method
from rows import Row
from store import whole_lines
from tuning import Trial

from concilium.data.dataset import Dataset
from concilium.data.splits import PARTS
from concilium.studies import assembly, bench
from concilium.studies.configuration import Study
from concilium.studies.division import Division
from tests.benchmarks import tiny

METHOD = Method("weighted", "", {"loss": "positive_weighted"}, heads=("none", "balanced_ridge"))
RATES = (0.1, 1.0)
Found = dict[str, Any]


def catalogue(data: Path) -> Catalogue:
    """A division that depends on labels: by Dirichlet over labels, patients stratified."""
    world = replace(tiny.world(data), rates=RATES)
    dealt = {"hospitals": 3, "fractions": [0.5, 0.2, 0.3]}
    dealt["partitioner"] = {"name": "dirichlet", "alpha": 1.0}  # type: ignore[assignment]
    world = replace(world, study={**world.study, "split": dealt})
    return Catalogue({world.name: world}, {METHOD.name: METHOD})


def divided(known: Catalogue, folder: Path) -> tuple[Dataset, Division]:
    """The exams as they are, and who holds what."""
    study = Training(known.worlds["tiny"].study, METHOD.settings, 0.1, 0).as_study()
    workplace = Workplace(folder)
    return workplace.dataset(study), workplace.division(study)


def with_other_test_labels(dataset: Dataset, division: Division) -> Dataset:
    """The same exams; of the test exams each label is drawn anew, present in seven of ten."""
    states = dataset.table.states.copy()
    test = division.split.part == PARTS.index("test")
    drawn = np.random.default_rng(5).random((int(test.sum()), states.shape[1])) < 0.7
    states[test] = drawn
    return replace(dataset, table=replace(dataset.table, states=states))


def outcome(data: Path, out: Path, patch: pytest.MonkeyPatch, changed: bool) -> Found:
    """All that a run of the benchmark finds before it looks at test exams, and one thing after."""
    known = catalogue(data)
    dataset, division = divided(known, data.parent)
    if changed:
        dataset = with_other_test_labels(dataset, division)

    def load_data(study: Study, cache: Path) -> Dataset:
        return dataset

    patch.setattr(assembly, "load_data", load_data)
    patch.setattr(bodies, "divide", lambda *_: division)
    operations: list[Any] = []
    tested = assessment._test

    def noting(headed: assessment.Headed, label: str) -> assessment.Plain:
        found = tested(headed, label)
        operations.append(found["operation"])
        return found

    patch.setattr(assessment, "_test", noting)
    assert tiny.run(known, out) == 0
    patch.undo()
    trials = [Trial.of_json(line) for line in whole_lines(out / "tiny.trials.jsonl")]
    rows = {row.head: row for row in tiny.rows(out)}
    return {
        "division": [own.tolist() for own in (division.split.part, division.partition.client)],
        "order of tuning": [(own.rate, own.seed) for own in trials],
        "scores of tuning": [own.validation for own in trials],
        "setting": {head: (row.rate, row.value, row.trials) for head, row in rows.items()},
        "kept round": {head: row.kept_round for head, row in rows.items()},
        "body": rows["none"].model,
        "exact head": (rows["balanced_ridge"].model, rows["balanced_ridge"].head_report),
        "validation": {head: row.validation for head, row in rows.items()},
        "curve": {head: curve_of(row) for head, row in rows.items()},
        "operation": [
            [own[name].tolist() for name in ("thresholds", "slope", "offset")] for own in operations
        ],
        "test": {head: row.measures["auroc"] for head, row in rows.items()},
    }


def curve_of(row: Row) -> list[tuple[float, float]]:
    """Rounds and validation scores; the recall beside them is of test exams, chosen by nothing."""
    return [(point["round"], point["validation_score"]) for point in row.curve]


def what_differs(tmp_path: Path, patch: pytest.MonkeyPatch, leak: Leak | None = None) -> set[str]:
    """Names of what is another thing under other test labels."""
    data, found = tiny.write_data(tmp_path / "tiny.npz"), []
    for changed in (False, True):
        if leak is not None:
            leak(patch)
        found.append(outcome(data, tmp_path / str(changed), patch, changed))
    first, second = found
    return {name for name in first if first[name] != second[name]}


def test_other_test_labels_change_nothing_but_what_is_measured_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert what_differs(tmp_path, monkeypatch) == {"test"}


# ---- leaks, to see that they would be seen

Leak = Callable[[pytest.MonkeyPatch], None]
Ask = Callable[[Any], Any]


def of_test(ask: Ask) -> Ask:
    """The same questions, about test exams."""
    return lambda request: ask(replace(request, part="test"))


def scores_of_test(patch: pytest.MonkeyPatch) -> None:
    """A setting is chosen by its score on test exams."""
    request = assessment.EvaluationRequest
    patch.setattr(
        assessment,
        "EvaluationRequest",
        lambda model, _, posterior: request(model, "test", posterior=posterior),
    )


def round_of_test(patch: pytest.MonkeyPatch) -> None:
    """The round is kept that is best on test exams."""
    watching = bodies.watching
    patch.setattr(
        bodies,
        "watching",
        lambda ask, ask_test, recipe: watching(of_test(ask), ask_test, recipe),
    )


def thresholds_of_test(patch: pytest.MonkeyPatch) -> None:
    """Calibration and thresholds are fitted on test exams."""
    operate = bench.operate
    patch.setattr(
        bench,
        "operate",
        lambda model, ask, rule, posterior: operate(model, of_test(ask), rule, posterior),
    )


def head_of_test(patch: pytest.MonkeyPatch) -> None:
    """The exact head is solved on test exams, on a body that is not."""
    solve = assessment._solve

    def solving(own: bench.Bench, name: str, body: bodies.Body, rate: float) -> assessment.Used:
        parts = {hospital: {**each, "train": each["test"]} for hospital, each in own.parts.items()}
        return solve(replace(own, parts=parts), name, body, rate)

    patch.setattr(assessment, "_solve", solving)


def weights_of_test(patch: pytest.MonkeyPatch) -> None:
    """Losses weigh positives by what the test exams have."""
    train = bodies._train

    def training(own: bench.Bench, parts: bodies.Parts, rate: float) -> bodies.Body:
        leaking = {
            hospital: {**each, "train": each["test"]} for hospital, each in own.parts.items()
        }
        return train(replace(own, parts=leaking), leaking, rate)

    patch.setattr(bodies, "_train", training)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leak", "seen"),
    [
        (scores_of_test, {"scores of tuning", "validation"}),
        (round_of_test, {"curve"}),
        (thresholds_of_test, {"operation"}),
        (head_of_test, {"exact head"}),
        (weights_of_test, {"body", "scores of tuning", "operation"}),
    ],
)
def test_a_leak_of_test_labels_is_seen(
    leak: Leak, seen: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen <= what_differs(tmp_path, monkeypatch, leak) - {"division"}
