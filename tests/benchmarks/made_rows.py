"""Rows of the quality benchmark made by hand, to make tables and pages from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rows import Row, row_id

NAN = float("nan")
POOLED, ALONE = {"trains": "pooled"}, {"trains": "hospitals"}


def row(
    method: str, seed: int, measures: Mapping[str, float], head: str = "none", **given: Any
) -> Row:
    """A row of a federated method in the world "w", unless said otherwise."""
    world = given.pop("world", "w")
    values: dict[str, Any] = {
        **{"world_title": f"world {world}", "family": "features", "severity": None},
        **{"method_title": method, "settings": {"trains": "federation"}, "rate": 0.1},
        **{"parameter": "", "value": None, "tuned_in": "", "num_trials": 6, "trials": ()},
        **{"kept_round": 3.0, "model": "abcdef0123456789", "validation": 0.5, "by_label": {}},
        **{"by_hospital": {}, "curve": (), "bytes_up": 2_000_000, "bytes_down": 1_000_000},
        **{"seconds": 2.0, "environment": {"torch": "2.13.0"}, "definition": "d", "study": "s"},
        **given,
    }
    own = row_id(world, method, head, seed)
    command = f"python benchmarks/quality --repeat {own}"
    return Row(
        id=own,
        world=world,
        method=method,
        head=head,
        seed=seed,
        measures=dict(measures),
        command=command,
        **values,
    )


def series(
    method: str, key: str, values: Sequence[float], head: str = "none", **given: Any
) -> list[Row]:
    """A row for each value, at seeds 0, 1, 2 and so on."""
    return [row(method, seed, {key: value}, head, **given) for seed, value in enumerate(values)]


def small_grid() -> list[Row]:
    """Two worlds of a sweep, five models, three seeds; the default is better in mAP, worse in FC.

    fedavg_bce lacks seed 2 in the second world.
    """
    models = (
        ("local_only", "none", ALONE, 0.10),
        ("softmax", "none", {}, 0.15),
        ("fedavg_bce", "none", {}, 0.20),
        ("fedavg_bce", "newton", {}, 0.24),
        ("concilium", "newton", {}, 0.26),
        ("pooled_bce", "none", POOLED, 0.30),
    )
    found = []
    for world, value in (("a", 0.0), ("b", 1.0)):
        for method, head, settings, quality in models:
            for seed in range(3):
                if (world, method, head, seed) == ("b", "fedavg_bce", "none", 2):
                    continue
                noise = 0.002 * ((seed * 7 + len(method)) % 3)
                found.append(
                    row(
                        method,
                        seed,
                        _measures(quality + noise, value),
                        head,
                        world=world,
                        severity=("specialist", value),
                        tuned_in="b" if world == "a" else "",
                        settings={"trains": "federation", **settings},
                        by_label={"Mass": {"average_precision": quality + noise}},
                        by_hospital={
                            f"hospital-{k}": {"auroc": quality + noise + 0.01 * k, "map": 0.1}
                            for k in range(2)
                        },
                        curve=tuple(
                            {"round": r, "validation_score": 0.1 * r, "set_recall": quality * r}
                            for r in (1.0, 2.0)
                        ),
                    )
                )
    return found


def _measures(quality: float, severity: float) -> dict[str, float]:
    return {
        **{"auroc": 0.5 + quality, "map": quality, "rare_ap": quality / (2 + severity)},
        **{"set_recall": quality, "tail_ap": quality / 2, "false_coupling": 0.1 + quality},
        **{"missed": 100 - 100 * quality, "missed_second": 0.5 - quality, "phi_gap": NAN},
    }
