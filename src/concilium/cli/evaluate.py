"""``concilium evaluate``: a finished model on its test exams, at another operating point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.studies.configuration import Study
    from concilium.studies.reevaluation import OperatingPoint

Cell = tuple[str, tuple[str, ...], str]  # a column's title, where its values stand, their form
RANKING: tuple[Cell, ...] = (
    ("positives", ("positives",), ",.0f"),
    ("AUROC", ("metrics", "auroc"), ".3f"),
    ("AP", ("metrics", "average_precision"), ".3f"),
    ("ECE", ("metrics", "calibration_error"), ".3f"),
)
ALERTS: tuple[Cell, ...] = (
    ("prevalence", ("prevalence",), ".3f"),
    ("threshold", ("probability",), ".3f"),
    ("sens.", ("metrics", "sensitivity"), ".2f"),
    ("spec.", ("metrics", "specificity"), ".2f"),
    ("PPV", ("metrics", "positive_predictive_value"), ".2f"),
    ("NPV", ("metrics", "negative_predictive_value"), ".3f"),
)
WITH_INTERVAL = {"AUROC": "auroc", "AP": "average_precision"}
MEANING = (
    "[low, high]: 95 % interval by a bootstrap over patients. AP: average precision. "
    "ECE: calibration error. group: head > 10 % > medium > 1 % ≥ tail, of the training exams. "
    "threshold: a calibrated probability. sens., spec.: sensitivity, specificity. "
    "PPV, NPV: predictive values at the prevalence of these exams. –: undefined."
)
EXACT = (
    "bins: from the histograms that hospitals add up. exact: from the scores of all test exams in "
    "one place, which a simulation has and a federation has not; its 95 % interval is of the same "
    "weightings of the patients. error ≤: the most by which bins can differ from exact ranks."
)


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    method: Annotated[
        str | None,
        typer.Option(help="Which method; default concilium, or else the first of the study."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Which seed; default the first of the study.")
    ] = None,
    fold: Annotated[int, typer.Option(help="Which fold.")] = 0,
    specificity: Annotated[
        float | None, typer.Option(help="Thresholds at this specificity of every label.")
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option(help="Thresholds at this sensitivity of every label.")
    ] = None,
    alerts_per_100: Annotated[
        float | None, typer.Option(help="Thresholds at so many alerts in 100 exams, all labels.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="AUROC, AP by exact ranks, too.")] = False,
) -> None:
    """Evaluate a trained model again on the test exams, at the operating point you choose.

    Thresholds come from the validation exams of all hospitals, never from the test, and 0.5 has no
    special place. Without a choice, the study's own specificity is used. AUROC and average
    precision come from score histograms, as hospitals could send them; `--exact` adds those of
    exact ranks, for which all scores must stand in one place, as they do in a simulation.

    Example: `concilium evaluate runs/demo --method concilium --sensitivity 0.85`
    """
    from rich.console import Console

    from concilium.cli.places import cache_folder
    from concilium.foundation.files import plain, write_json
    from concilium.studies.bench import Job
    from concilium.studies.reevaluation import OperatingPoint, evaluate_again
    from concilium.studies.run import study_of

    study = study_of(run)
    point = _point(specificity, sensitivity, alerts_per_100) or OperatingPoint(
        "specificity", study.evaluation.specificity
    )
    job = Job(method or default_method(study), study.seeds[0] if seed is None else seed, fold)
    test = evaluate_again(run, job, cache_folder(), point, exact)
    console = Console()
    where = f"{job.method}, seed {job.seed}, fold {fold}, test exams of all hospitals"
    _print(console, plain(_with_rates(test)), where, point.describe())
    out = (
        run
        / f"evaluation-{job.method}-seed-{job.seed}-fold-{fold}-{point.kind}-{point.value:g}.json"
    )
    write_json(out, {"job": vars(job), "operating_point": vars(point), "test": test})
    console.print(f"Written: {out}", soft_wrap=True, markup=False)


def default_method(study: Study) -> str:
    """The method that is evaluated unless another one is named."""
    return "concilium" if "concilium" in study.methods else next(iter(study.methods))


def _point(
    specificity: float | None, sensitivity: float | None, alerts_per_100: float | None
) -> OperatingPoint | None:
    """The one operating point that was given, if any. Raises InputError for several."""
    from concilium.foundation.errors import InputError
    from concilium.studies.reevaluation import OperatingPoint

    given = {
        "specificity": specificity,
        "sensitivity": sensitivity,
        "alerts_per_100": alerts_per_100,
    }
    asked = {kind: value for kind, value in given.items() if value is not None}
    if len(asked) > 1:
        options = " and ".join(f"--{kind.replace('_', '-')}" for kind in asked)
        raise InputError(f"{options} exclude each other: give one of them")
    return next((OperatingPoint(kind, value) for kind, value in asked.items()), None)  # type: ignore[arg-type]


def _print(console: Console, test: dict[str, Any], where: str, point: str) -> None:
    """Tables of labels, how well they rank and what is alerted, and what the columns are."""
    from concilium.cli.tables import print_table

    labels = list(enumerate(test["labels"]))
    rows = [[name, *_cells(test, i, RANKING)] for i, name in labels]
    print_table(console, ["label", *(title for title, _, _ in RANKING)], rows, where)
    for metric in WITH_INTERVAL.values():
        mean = test["macro"][metric]
        text = (
            f"macro {metric}: {_number(mean['mean'], '.3f')} over {mean['num_labels']:.0f} labels"
        )
        left_out = f"; {mean['num_left_out']:.0f} have too few positives"
        text += left_out if mean["num_left_out"] else ""
        error = _number(test["bin_error"][metric]["macro"], ".4f")
        console.print(f"{text}; exact ranks differ by at most {error}", highlight=False)
    rows = [[name, test["groups"][i] or "–", *_cells(test, i, ALERTS)] for i, name in labels]
    titles = ["label", "group", *(title for title, _, _ in ALERTS)]
    print_table(console, titles, rows, f"\nAlerts at {point}, as set on the validation exams")
    console.print(MEANING, style="dim", highlight=False, markup=False)
    if "exact" in test:
        _print_exact(console, test)


def _print_exact(console: Console, test: dict[str, Any]) -> None:
    """The table of what histograms say, what exact ranks say, and the bound of the difference."""
    from concilium.cli.tables import print_table

    exact, metrics = test["exact"], tuple(WITH_INTERVAL.items())
    titles = [f"{title} {what}" for title, _ in metrics for what in ("bins", "exact", "error ≤")]
    rows = [
        [name, *(cell for _, metric in metrics for cell in _exact_cells(test, metric, i))]
        for i, name in enumerate(test["labels"])
    ]
    print_table(console, ["label", *titles], rows, "\nHistograms beside exact ranks")
    for _, metric in metrics:
        bins, mean = test["macro"][metric]["mean"], exact["macro"][metric]["mean"]
        text = f"macro {metric}: {_number(bins, '.4f')} from bins, {_number(mean, '.4f')} exact"
        console.print(text, highlight=False)
    console.print(EXACT, style="dim", highlight=False, markup=False)


def _exact_cells(test: dict[str, Any], metric: str, label: int) -> list[str]:
    exact = test["exact"]
    values = (
        test["metrics"][metric][label],
        exact["metrics"][metric][label],
        test["bin_error"][metric]["labels"][label],
    )
    cells = [_number(value, ".4f") for value in values]
    cells[1] += _ends(exact["intervals"], metric, label)
    return cells


def _with_rates(test: dict[str, Any]) -> dict[str, Any]:
    """The description with the prevalence and with thresholds as probabilities."""
    import numpy as np
    from scipy.special import expit

    known, positives = (np.asarray(test[name], np.float64) for name in ("known", "positives"))
    prevalence = positives / np.where(known == 0, np.nan, known)
    thresholds = np.asarray(test["operation"]["thresholds"], np.float64)
    return {**test, "prevalence": prevalence, "probability": expit(thresholds)}


def _cells(test: dict[str, Any], label: int, columns: tuple[Cell, ...]) -> list[str]:
    cells = []
    for title, path, form in columns:
        values: Any = test
        for key in path:
            values = values[key]
        text = _number(values[label], form)
        cells.append(text + _ends(test["intervals"], WITH_INTERVAL.get(title, ""), label))
    return cells


def _ends(intervals: dict[str, Any], metric: str, label: int) -> str:
    own = intervals.get(metric)
    if own is None or own["low"][label] is None:
        return ""
    return f" [{own['low'][label]:.2f}, {own['high'][label]:.2f}]"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
