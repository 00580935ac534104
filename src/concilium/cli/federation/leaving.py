"""What leaves a hospital, in words: a line for each kind of answer, with how often and how long."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from concilium.cli.tables import print_table
from concilium.deployment.rehearsal import UPDATE, Sent
from concilium.evaluation.histograms import NUM_BINS
from concilium.studies.configuration import Study

WORDS = {
    "Introduce": "the size of an input, the version, whether parts hold enough patients",
    "StatisticsRequest": "counts of images, patients, labels and pairs of labels",
    UPDATE: "the change of the model by local training, and its weight",
    "EvaluationRequest": "histograms of scores by label, counts of alerts and label sets",
    "TrialRequest": "the same of the test part, also uncalibrated and by label sets",
    "BootstrapRequest": "histograms of scores under random weightings of patients",
    "LabelSetRequest": "how many exams have each set of labels (an exam's own set may be a 1)",
    "PseudoLikelihoodRequest": "sums over labels that fit which findings go together",
    "MomentsRequest": "sums and squares of the encoder's features",
    "LossRequest": "the loss and the gradient of the exact head",
    "HessianRequest": "the curvature of the exact head's loss",
    "HeldOutRequest": "the exact head's loss on validation exams",
    "SquaresRequest": "products of features and labels, added up",
    "RegressionRequest": "sums that relate scores of labels to each other",
    "NumTrainingImages": "the number of training images",
}
"""What an answer to each kind of question is."""


def print_leaving(
    console: Console, study: Study, sent: Mapping[str, Mapping[str, Sent]], exams: int
) -> None:
    """What a study sends from a hospital: kinds, times and bytes of every method.

    ``exams`` is how many its test part holds.
    """
    titles = ("bytes each", "how often", "what leaves")
    for method, kinds in sent.items():
        rows = [
            [_size(study, kind, own, exams), _times(study, kind, own), WORDS[kind]]
            for kind, own in kinds.items()
        ]
        print_table(console, titles, rows, f"\n{method}", text=(2,))


def _times(study: Study, kind: str, own: Sent) -> str:
    trainings = len(study.seeds) * max(1, study.split.folds)
    rates = len(study.training.learning_rates)
    if kind == UPDATE:
        return f"{study.training.rounds * rates * trainings}"
    if kind in ("TrialRequest", "BootstrapRequest", "LabelSetRequest"):
        return f"{own.times * trainings}"
    return f"about {_looks(study, kind, own) * rates * trainings}"


def _looks(study: Study, kind: str, own: Sent) -> int:
    """How often in a training; one is looked at after every so many rounds."""
    if kind != "EvaluationRequest" or not study.training.rounds:
        return own.times
    return own.times * -(-study.training.rounds // study.training.evaluate_every)


def _size(study: Study, kind: str, own: Sent, exams: int) -> str:
    if kind == "BootstrapRequest":  # a cell for every score, at most: it grows with the exams
        cells = len(study.data.labels) * min(exams, 2 * NUM_BINS)
        return f"≤ {max(own.most_bytes, cells * (4 * study.evaluation.bootstrap + 8)):,}"
    return f"{own.most_bytes:,}"
