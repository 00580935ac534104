"""Adding a metric is one new file: laws, results and comparisons find it, and laws catch errors."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

import concilium.metrics
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation import components
from concilium.metrics.contract import Metric
from concilium.studies.columns import columns
from concilium.studies.results import measures

LAWS_FILE = Path(__file__).parent / "test_laws.py"

RIGHT = '''
"""Matthews correlation of alerts and findings: it is signed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from concilium.evaluation.histograms import divide
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class MyCorrelation(Metric):
    """(TP TN − FP FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) of each label."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums):
        alerts, statistics = sums.alerts, sums.statistics
        tp, fp = alerts.true_alerts, alerts.false_alerts
        fn, tn = statistics.positives - tp, statistics.negatives - fp
        spread = 1.0 * (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return alerts.defined(divide(tp * tn - fp * fn, np.sqrt(spread)))
'''
WRONG = RIGHT.replace("alerts.defined(divide(", "np.nan_to_num(divide(")  # undefined becomes 0
UPSIDE_DOWN = RIGHT.replace("higher_is_better: ClassVar[bool] = True", "higher_is_better = False")
SILENT = RIGHT.replace("    ideal: ClassVar[float] = 1.0\n", "")


@pytest.fixture
def drop_in(tmp_path: Path) -> Iterator[Callable[[str], Metric]]:
    """Puts a file my_correlation.py where metrics are found, and builds the metric by its name."""

    def place(source: str) -> Metric:
        (tmp_path / "my_correlation.py").write_text(source, encoding="utf-8")
        metric: Metric = components.build("metrics", "my_correlation")
        return metric

    concilium.metrics.__path__.append(str(tmp_path))
    yield place
    concilium.metrics.__path__.remove(str(tmp_path))
    sys.modules.pop("concilium.metrics.my_correlation", None)
    vars(concilium.metrics).pop("my_correlation", None)


def load_laws() -> ModuleType:
    spec = importlib.util.spec_from_file_location("laws_of_metrics", LAWS_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken_laws(metric: Metric) -> set[str]:
    """Names of the laws that a metric breaks."""
    broken = set()
    laws = {k: law for k, law in vars(load_laws()).items() if k.startswith("test_")}
    assert len(laws) > 8
    for name, law in laws.items():
        try:
            law(metric)
        except AssertionError:
            broken.add(name)
    return broken


def exams() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.random((200, 3)) < [0.5, 0.3, 0.2]
    return rng.normal(size=target.shape) + target, target


def test_a_new_file_is_a_new_metric_that_keeps_the_laws(drop_in: Callable[[str], Metric]) -> None:
    metric = drop_in(RIGHT)
    assert broken_laws(metric) == set()
    scores, target = exams()
    sums = EvaluationSums.of(scores, target, target | True, np.arange(200), np.zeros(3))
    expected = [matthews_corrcoef(target[:, i], scores[:, i] >= 0) for i in range(3)]
    assert metric(sums).tolist() == pytest.approx(expected)


def test_results_and_comparisons_have_it_without_an_edit(drop_in: Callable[[str], Metric]) -> None:
    drop_in(RIGHT)
    scores, target = exams()
    sums = EvaluationSums.of(scores, target, target | True, np.arange(200), np.zeros(3))
    assert measures(sums)["my_correlation"].shape == (3,)
    column = columns()["macro.my_correlation"]
    assert (column.title, column.better) == ("my correlation", "higher")
    assert column.value({}, {"macro": {"my_correlation": {"mean": -0.25}}}, ()) == -0.25


def test_the_laws_catch_what_is_wrong(drop_in: Callable[[str], Metric]) -> None:
    assert broken_laws(drop_in(WRONG)) >= {
        "test_nothing_known_is_nan_and_never_zero",
        "test_without_thresholds_what_needs_them_is_nan",
        "test_one_label_without_a_threshold_is_nan_alone",
    }


def test_the_laws_catch_a_wrong_declaration(drop_in: Callable[[str], Metric]) -> None:
    assert broken_laws(drop_in(UPSIDE_DOWN)) == {
        "test_it_declares_what_laws_and_tables_need",
        "test_the_better_of_two_models_is_on_the_side_that_is_declared",
    }


def test_what_is_not_declared_is_named(drop_in: Callable[[str], Metric]) -> None:
    with pytest.raises(TypeError, match="MyCorrelation does not declare ideal"):
        drop_in(SILENT)


@pytest.mark.slow
def test_the_suite_runs_on_the_new_file_without_an_edit(tmp_path: Path) -> None:
    (tmp_path / "my_correlation.py").write_text(RIGHT, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", str(LAWS_FILE), "-vv", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", "my_correlation"],
        cwd=LAWS_FILE.parents[2],
        env={**os.environ, "CONCILIUM_EXTRA_METRICS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("[my_correlation] PASSED") > 8
