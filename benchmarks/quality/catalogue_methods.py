"""Every method of the benchmark. Beside FedAvg on BCE, each changes one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods import Method

PARTIAL = ("fedmlp", "fedlsm")
"""Made for labels that some hospitals do not annotate: only there."""


def _all(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


def _opt(**settings: Any) -> dict[str, Any]:
    return {"loss": "bce", "algorithm": {"name": "fedopt", **settings}}


def _loss(name: str, **settings: Any) -> dict[str, Any]:
    return {"loss": {"name": name, **settings}}


def _with(**settings: Any) -> dict[str, Any]:
    return {"loss": "bce", **settings}


# What brackets everything else: alone, all in one place, and the one most obvious finding.
LINES = _all(
    Method("local_only", "each hospital alone", _with(trains="hospitals")),
    Method(
        "local_positive_weighted",
        "each hospital alone, concilium's loss",
        {"trains": "hospitals", "loss": "positive_weighted"},
        "loss.tau",
        (0.5, 1.0),
    ),
    Method("pooled_bce", "all exams in one place, BCE", _with(trains="pooled")),
    Method(
        "pooled_balanced",
        "all exams in one place, balanced BCE",
        {"trains": "pooled", "loss": "balanced_bce"},
    ),
    Method(
        "pooled_positive_weighted",
        "all exams in one place, concilium's loss",
        {"trains": "pooled", "loss": "positive_weighted"},
        "loss.tau",
        (0.5, 1.0),
    ),
    Method("softmax", "FedAvg, one softmax over findings", _loss("softmax"), heads=("none",)),
    Method(
        "pooled_softmax",
        "all exams in one place, softmax",
        {"trains": "pooled", "loss": "softmax"},
        heads=("none",),
    ),
    Method(
        "local_softmax",
        "each hospital alone, softmax",
        {"trains": "hospitals", "loss": "softmax"},
        heads=("none",),
    ),
)

LOSSES = _all(
    Method("fedavg_bce", "FedAvg, BCE", _loss("bce")),
    Method("fedavg_balanced", "FedAvg, balanced BCE", _loss("balanced_bce")),
    Method(
        "fedavg_positive_weighted",
        "FedAvg, positive-weighted BCE",
        _loss("positive_weighted"),
        "loss.tau",
        (0.5, 1.0),
    ),
    Method("fedavg_focal", "FedAvg, focal", _loss("focal", alpha=None), "loss.gamma", (1.0, 2.0)),
    Method(
        "fedavg_asymmetric",
        "FedAvg, asymmetric",
        _loss("asymmetric"),
        "loss.gamma_negative",
        (2.0, 4.0),
    ),
    Method(
        "logit_adjusted",
        "marginal logit adjustment",
        _loss("logit_adjusted"),
        "loss.tau",
        (0.5, 1.0),
    ),
    Method(
        "cooccurrence_adjusted",
        "co-occurrence adjustment, no prior",
        _loss("cooccurrence_adjusted"),
        "loss.ridge",
        (1.0, 10.0),
    ),
)

ALGORITHMS = _all(
    Method("fedprox", "FedProx", _with(algorithm="fedprox"), "algorithm.strength", (0.01, 0.1)),
    Method("scaffold", "SCAFFOLD", _with(algorithm="scaffold")),
    Method("feddyn", "FedDyn", _with(algorithm="feddyn"), "algorithm.strength", (0.01, 0.1)),
    Method("fednova", "FedNova", _with(algorithm="fednova")),
    Method("fedavgm", "server momentum", _opt(optimizer="momentum"), "algorithm.beta1", (0.5, 0.8)),
    Method(
        "fedcm",
        "shared momentum",
        _with(algorithm={"name": "fedcm", "alpha": 0.3}),
        "algorithm.alpha",
        (0.1, 0.3),
    ),
    Method("fedadam", "FedAdam", _opt(), "algorithm.server_learning_rate", (0.003, 0.01)),
    Method(
        "fedharmony",
        "consensus of correlations",
        _with(algorithm="fedharmony"),
        "algorithm.strength",
        (0.1, 1.0),
    ),
    Method("fedmlp", "FedMLP", _with(algorithm="fedmlp"), "algorithm.warm_up", (5, 10)),
    Method("fedlsm", "FedLSM", _with(algorithm="fedlsm"), "algorithm.absent_below", (0.01, 0.05)),
)

WEIGHTINGS = _all(
    Method("by_known_entries", "by known entries", _with(weighting="by_known_entries")),
    Method("by_positives", "rows by positives", _with(weighting="by_positives")),
    Method(
        "by_label_evidence",
        "rows by evidence",
        _with(weighting="by_label_evidence"),
        "weighting.shrinkage",
        (10.0, 100.0),
    ),
    Method("surgical", "surgical masks", _with(weighting="surgical")),
)

# What takes the co-occurrence of hospitals out; at use, labels are independent.
DECOUPLED = _all(
    Method(
        "label_regression",
        "FedAvg, label regression",
        _with(prior="independent"),
        heads=("label_regression",),
    ),
    Method(
        "decoupled",
        "shared momentum, co-occurrence adjustment",
        {
            "loss": "cooccurrence_adjusted",
            "algorithm": {"name": "fedcm", "alpha": 0.3},
            "weighting": "by_known_entries",
            "prior": "independent",
        },
        "algorithm.alpha",
        (0.1, 0.3),
        heads=("none", "label_regression"),
    ),
)

# One network a label: what an image teaches is one detector.
ONE_LABEL = _all(
    Method(
        "one_label_bce",
        "one label at a time, FedAvg",
        _loss("bce"),
        heads=("none",),
        one_label_at_a_time=True,
    ),
    Method(
        "one_label_local",
        "one label at a time, each hospital alone",
        _with(trains="hospitals"),
        heads=("none",),
        one_label_at_a_time=True,
    ),
)

# What we recommend; ``docs/recipes.md`` says why.
RECIPE = _all(
    Method(
        "concilium",
        "concilium",
        {
            "loss": "positive_weighted",
            "algorithm": {"name": "fedcm", "alpha": 0.3},
            "weighting": "by_known_entries",
        },
        "algorithm.alpha",
        (0.1, 0.3),
    )
)

METHODS: Mapping[str, Method] = {
    **LINES,
    **LOSSES,
    **ALGORITHMS,
    **WEIGHTINGS,
    **DECOUPLED,
    **ONE_LABEL,
    **RECIPE,
}
