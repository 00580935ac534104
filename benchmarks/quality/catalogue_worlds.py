"""Every world of the benchmark: which data, who holds what, how long one trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worlds import Plain, World

DATA = "${CONCILIUM_DATA:-../../../shared/data}"
RARE = ("Hernia", "Fibrosis", "Pneumonia")
RARE_PAIR = ("Mass", "Pneumothorax")
PAIRS = [["Effusion", "Infiltration"], ["Atelectasis", "Nodule"], ["Mass", "Consolidation"]]
"""Findings that are coupled at one hospital each where co-occurrence is skewed."""
EVERYBODY: Plain = {"participation": 1.0, "rounds": 20}
"""How some few hospitals train on features."""
TUNING_SEEDS = 3
"""Where trainings are short: one seed's validation exams are too few to choose by."""
FEATURE_RATES = (0.03, 0.1, 0.3, 1.0)
RADIOGRAPH_RATES = (0.01, 0.03, 0.05, 0.1)
PIXEL_RATES = (0.3, 0.8)
"""Of plain SGD, for every method: SCAFFOLD and FedCM take no other."""
PIXEL_REGIMES = tuple(
    {"weight_decay": weight_decay, "decay": decay}
    for weight_decay in (0.001, 0.003)
    for decay in ("none", "cosine")
)
"""What a CNN from scratch hangs on most, beside the rate, and differently for each method."""


def _named(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, **settings}


def _specialists(
    findings: Sequence[Sequence[str]], hospitals: int, last: int, concentration: float, of: Plain
) -> dict[str, Any]:
    """Each finding (a label, or several together) at one of the ``last`` hospitals, in turn."""
    homes = [hospitals - last + 1 + place % last for place in range(len(findings))]
    own = [
        {"labels": list(labels), "hospital": home, "concentration": concentration}
        for labels, home in zip(findings, homes, strict=True)
    ]
    return _named("specialist", specialists=own, of=of)


def _partial(labels: int) -> dict[str, Any]:
    of = _named("dirichlet", alpha=1.0)
    return _named("partial_annotation", labels_per_hospital=labels, of=of)


def _coupled(strength: float) -> dict[str, Any]:
    """Three pairs of findings, each at one hospital."""
    return _named("coupling_skew", pairs=PAIRS, strength=strength)


# Frozen features -------------------------------------------------------------------------------


def _features(
    name: str,
    title: str,
    partitioner: Plain,
    *,
    hospitals: int = 20,
    network: Plain | None = None,
    severity: tuple[str, float] | None = None,
    tuned_in: str = "",
    split: Plain | None = None,
    data: Plain | None = None,
    **training: Any,
) -> World:
    file = f"{DATA}/casp_nih28_test_logits.npz"
    study = {
        "title": title,
        "data": {"source": _named("feature_table", file=file), **(data or {})},
        "split": {
            "hospitals": hospitals,
            "fractions": [0.6, 0.1, 0.3],
            "partitioner": partitioner,
            **(split or {}),
        },
        "network": {"architecture": network or _named("mlp", hidden=[64])},
        "training": {
            "rounds": 40,
            "local_epochs": 2,
            "participation": 0.4,
            "batch_size": 64,
            "evaluate_every": 4,
            **training,
        },
        "evaluation": {
            "rare_labels": list(RARE),
            "label_sets": [["Effusion", "Fibrosis"], ["Infiltration", "Pneumonia"]],
        },
    }
    return World(name, "features", title, study, FEATURE_RATES, severity, tuned_in, TUNING_SEEDS)


def _three(hospitals: int = 20, alpha: float = 0.3, concentration: float = 1.0) -> dict[str, Any]:
    """Dirichlet, and Hernia, Fibrosis and Pneumonia at one hospital each."""
    of = _named("dirichlet", alpha=alpha)
    return _specialists([[label] for label in RARE], hospitals, 3, concentration, of)


def _swept(base: str, name: str, title: str, what: str, value: float, **given: Any) -> World:
    """A features world that differs from ``base`` in one thing; settings are chosen there."""
    return _features(f"{name}", title, severity=(what, value), tuned_in=base, **given)


FEATURES = [
    _features("features-20", "frozen features, 20 hospitals, three specialists", _three()),
    _features(
        "features-20-linear",
        "the same with a linear network",
        _three(),
        network=_named("linear"),
    ),
    _features(
        "features-5",
        "frozen features, 5 silos, three specialists, everybody takes part",
        _three(5, 1.0),
        hospitals=5,
        participation=1.0,
        local_epochs=5,
        rounds=16,
    ),
    _features(
        "features-8",
        "frozen features, 8 silos, three specialists, everybody takes part",
        _three(8),
        hospitals=8,
        participation=1.0,
        rounds=24,
    ),
    _features(
        "features-100",
        "frozen features, 100 hospitals, three specialists",
        _three(100, 3.0),  # at α = 1 one of five seeds leaves a hospital without an exam
        hospitals=100,
    ),
    *(
        _swept(
            "features-20",
            f"features-20-lambda-{value:g}",
            f"20 hospitals, specialists hold {100 * value:g} % of their finding",
            "specialist λ",
            value,
            partitioner=_three(concentration=value),
        )
        for value in (0.0, 0.25, 0.5, 0.75)
    ),
    *(
        _swept(
            "features-20",
            f"features-20-alpha-{value:g}",
            f"20 hospitals, three specialists, Dirichlet α = {value:g}",
            "Dirichlet α",
            value,
            partitioner=_three(alpha=value),
        )
        for value in (0.1, 1.0)
    ),
    _swept(
        "features-20",
        "features-20-everybody",
        "20 hospitals, three specialists, all take part in every round",
        "participation",
        1.0,
        partitioner=_three(),
        participation=1.0,
        rounds=16,
    ),
    *(
        _swept(
            "features-20",
            f"features-20-epochs-{value}",
            f"20 hospitals, three specialists, {value} local epochs",
            "local epochs",
            value,
            partitioner=_three(),
            local_epochs=value,
            rounds=80 // value,
        )
        for value in (1, 5)
    ),
    _features("features-iid", "frozen features, 20 hospitals, alike", _named("iid")),
    _features(
        "features-coupling-1",
        "frozen features, 6 hospitals, three pairs coupled at one hospital each",
        _coupled(1.0),
        hospitals=6,
        severity=("coupling strength", 1.0),
        **EVERYBODY,
    ),
    *(
        _swept(
            "features-coupling-1",
            f"features-coupling-{value:g}",
            f"the same, coupling at strength {value:g}",
            "coupling strength",
            value,
            partitioner=_coupled(value),
            hospitals=6,
            **EVERYBODY,
        )
        for value in (0.0, 0.5)
    ),
    _features(
        "features-partial-5",
        "frozen features, 8 hospitals annotate 5 of 14 labels each",
        _partial(5),
        hospitals=8,
        severity=("labels annotated", 5),
        **EVERYBODY,
    ),
    *(
        _swept(
            "features-partial-5",
            f"features-partial-{value}",
            f"the same, {value} of 14 labels each",
            "labels annotated",
            value,
            partitioner=_partial(value),
            hospitals=8,
            **EVERYBODY,
        )
        for value in (3, 8)
    ),
    _features(
        "features-partial-14",
        "the same, all labels annotated",
        _partial(14),
        hospitals=8,
        severity=("labels annotated", 14),
        **EVERYBODY,
    ),
    _features(
        "features-partial-5-as-absent",
        "the same, 5 of 14 labels each, and what is not annotated counts as absent",
        _partial(5),
        hospitals=8,
        data={"unknown_as_negative": True},
        **EVERYBODY,
    ),
    _features(
        "features-quantity",
        "frozen features, 20 hospitals of very different size",
        _named("quantity", sizes="power_law", exponent=1.5),
    ),
]

# Pixels -----------------------------------------------------------------------------------------


def _phantom(
    name: str,
    title: str,
    partitioner: Plain,
    *,
    hospitals: int = 5,
    severity: tuple[str, float] | None = None,
    tuned_in: str = "",
    split: Plain | None = None,
    **training: Any,
) -> World:
    study = {
        "title": title,
        "data": {
            "source": _named(
                "phantom",
                num_exams=8000,
                image_size=56,
                enrichment=0.25,
                rare_combination=list(RARE_PAIR),
                rare_share=0.03,
            )
        },
        "split": {
            "hospitals": hospitals,
            "fractions": [0.3, 0.12, 0.58],  # few to train on, many to test the rare findings on
            "partitioner": partitioner,
            **(split or {}),
        },
        "network": {"architecture": _named("small_cnn", width=8)},
        "training": {
            "rounds": 40,
            "local_epochs": 2,
            "batch_size": 8,
            "evaluate_every": 5,
            **training,
        },
        "evaluation": {
            "label_sets": [list(RARE_PAIR)],
            "rare_labels": ["Hernia"],
            "tail": 0.025,
            "min_positives": 5,
        },
    }
    return World(
        name,
        "phantom",
        title,
        study,
        PIXEL_RATES,
        severity,
        tuned_in,
        own_exams=True,
        regimes=PIXEL_REGIMES,
    )


def _rare_ones(hospitals: int, concentration: float = 1.0) -> dict[str, Any]:
    """Hernia, and Mass with Pneumothorax, at the last hospital."""
    of = _named("dirichlet", alpha=1.0)
    return _specialists([["Hernia"], list(RARE_PAIR)], hospitals, 1, concentration, of)


PHANTOM = [
    _phantom("phantom-5", "phantoms, 5 hospitals, a specialist", _rare_ones(5)),
    _phantom("phantom-5-quick", "phantoms, 5 hospitals, 10 rounds", _rare_ones(5), rounds=10),
    _phantom(
        "phantom-20",
        "phantoms, 20 hospitals, a specialist",
        _rare_ones(20),
        hospitals=20,
        severity=("specialist λ", 1.0),
    ),
    *(
        _phantom(
            f"phantom-20-lambda-{value:g}",
            f"the same, the specialist holds {100 * value:g} % of its findings",
            _rare_ones(20, value),
            hospitals=20,
            severity=("specialist λ", value),
            tuned_in="phantom-20",
        )
        for value in (0.0, 0.25, 0.5, 0.75)
    ),
    *(
        _phantom(
            f"phantom-20-epochs-{value}",
            f"phantoms, 20 hospitals, a specialist, {value} local epochs",
            _rare_ones(20),
            hospitals=20,
            local_epochs=value,
            severity=("local epochs", value),
            tuned_in="phantom-20",
        )
        for value in (1, 5)
    ),
    _phantom(
        "phantom-20-rounds-160",
        "phantoms, 20 hospitals, a specialist, 160 rounds",
        _rare_ones(20),
        hospitals=20,
        rounds=160,
        severity=("rounds", 160),
        tuned_in="phantom-20",
    ),
    _phantom(
        "phantom-20-some",
        "phantoms, 20 hospitals, a specialist, 40 % take part",
        _rare_ones(20),
        hospitals=20,
        participation=0.4,
        rounds=100,
        severity=("participation", 0.4),
        tuned_in="phantom-20",
    ),
    _phantom(
        "phantom-coupling",
        "phantoms, 6 hospitals, three pairs coupled at one hospital each",
        _coupled(1.0),
        hospitals=6,
        severity=("coupling strength", 1.0),
        tuned_in="phantom-5",
    ),
    _phantom(
        "phantom-partial",
        "phantoms, 8 hospitals annotate 5 of 14 labels each",
        _partial(5),
        hospitals=8,
        severity=("labels annotated", 5),
    ),
    _phantom(
        "phantom-partial-14",
        "the same, all labels annotated",
        _partial(14),
        hospitals=8,
        severity=("labels annotated", 14),
        tuned_in="phantom-partial",
    ),
    _phantom(
        "phantom-acquisition",
        "phantoms, 5 hospitals with machines of their own, a specialist",
        _named("acquisition_shift", strength=0.5, of=_rare_ones(5)),
        severity=("acquisition shift", 0.5),
        tuned_in="phantom-5",
    ),
    _phantom(
        "phantom-held-out",
        "phantoms, 5 hospitals, Mass with Pneumothorax seen by nobody in training",
        _named("dirichlet", alpha=1.0),
        split={"held_out": [list(RARE_PAIR)]},
        tuned_in="phantom-5",
    ),
]

RADIOGRAPHS = [
    World(
        "radiographs",
        "radiographs",
        "1,617 NIH radiographs at 64 px, 5 hospitals",
        {
            "title": "1,617 NIH radiographs at 64 px, 5 hospitals",
            "data": {
                "source": _named(
                    "array_bundle",
                    files=[
                        f"{DATA}/nih/nih_starter621_64.npz",
                        f"{DATA}/nih/nih_kcr1000_64.npz",
                    ],
                )
            },
            "split": {
                "hospitals": 5,
                "fractions": [0.6, 0.15, 0.25],
                "partitioner": _named("dirichlet", alpha=1.0),
            },
            "network": {"architecture": "small_cnn"},
            "training": {
                "rounds": 20,
                "batch_size": 8,
                "weight_decay": 0.001,
                "evaluate_every": 5,
                "augmentation": {
                    "rotation_degrees": 7,
                    "translation": 0.05,
                    "scale": 0.1,
                    "contrast": 0.1,
                    "brightness": 0.1,
                },
                "keep": "last",
            },
            "evaluation": {
                "label_sets": [["Effusion", "Atelectasis"], ["Effusion", "Infiltration"]],
                "rare_labels": ["Hernia", "Pneumonia"],
            },
        },
        RADIOGRAPH_RATES,
    )
]


# Not radiographs --------------------------------------------------------------------------------


def _table(name: str, rare: str) -> World:
    study = {
        "title": f"the table {name}, 8 holders, one of them alone with {rare}",
        "data": {"source": _named("feature_table", file=f"${{CONCILIUM_TABLES}}/{name}.npz")},
        "split": {
            "hospitals": 8,
            "fractions": [0.6, 0.15, 0.25],
            "partitioner": _specialists([[rare]], 8, 1, 1.0, _named("dirichlet", alpha=0.3)),
        },
        "network": {"architecture": _named("mlp", hidden=[64])},
        "training": {"rounds": 40, "local_epochs": 2, "batch_size": 32, "evaluate_every": 4},
        "evaluation": {"rare_labels": [rare]},
    }
    title = str(study["title"])
    return World(name, "tables", title, study, FEATURE_RATES, tuning_seeds=TUNING_SEEDS)


TABLES = [_table("yeast", "Class14"), _table("scene", "FallFoliage")]

# Learning curves --------------------------------------------------------------------------------

CURVES = [
    *(
        _features(
            f"features-labelled-{100 * share:g}",
            f"frozen features, 8 hospitals, {100 * share:g} % of the exams labelled",
            _named("dirichlet", alpha=1.0),
            hospitals=8,
            participation=1.0,
            rounds=20,
            split={"labelled": share},
            severity=("labelled share", share),
            tuned_in="" if share == 1 else "features-labelled-100",
        )
        for share in (1.0, 0.5, 0.25, 0.1, 0.05)
    ),
    *(
        _phantom(
            f"phantom-labelled-{100 * share:g}",
            f"phantoms, 5 hospitals, {100 * share:g} % of the exams labelled",
            _named("dirichlet", alpha=1.0),
            split={"labelled": share},
            severity=("labelled share", share),
            tuned_in="phantom-5",
        )
        for share in (1.0, 0.5, 0.25, 0.1, 0.05)
    ),
]

WORLDS: Mapping[str, World] = {
    world.name: world for world in (*FEATURES, *PHANTOM, *RADIOGRAPHS, *TABLES, *CURVES)
}
