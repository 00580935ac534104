"""How a split is read: the patients of 25,596 NIH exams dealt out in known ways.

    python benchmarks/recommendation.py

Prints the table of docs/recipes.md that the limits of ``concilium recommend`` were set by: for 5
and 20 hospitals the largest spread of phi, and of log-odds, between hospitals that is
beyond chance ("–" where none is), and the least effective holders of a label beside the effective
hospitals. The exams are found in CONCILIUM_DATA (or ../shared/data).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from concilium.data.dataset import Dataset
from concilium.studies.configuration import Study
from concilium.studies.reading import parse_study
from concilium.studies.rules import beyond_chance
from concilium.studies.situation import Situation, data_of, situation_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CONCILIUM_DATA", ROOT.parent / "shared" / "data"))
SPECIALISTS = [
    {"labels": ["Hernia"], "hospital": "hospital-1"},
    {"labels": ["Fibrosis"], "hospital": "hospital-2"},
]
PAIRS = [["Atelectasis", "Effusion"], ["Effusion", "Infiltration"]]
SPLITS: dict[str, dict[str, Any]] = {
    "at random": {"name": "iid"},
    "Dirichlet 1.0": {"name": "dirichlet", "alpha": 1.0},
    "Dirichlet 0.3": {"name": "dirichlet", "alpha": 0.3},
    "Dirichlet 0.1": {"name": "dirichlet", "alpha": 0.1},
    "specialists of Hernia, Fibrosis": {"name": "specialist", "specialists": SPECIALISTS},
    "two coupled pairs, strength 0.5": {"name": "coupling_skew", "pairs": PAIRS, "strength": 0.5},
    "two coupled pairs, strength 1.0": {"name": "coupling_skew", "pairs": PAIRS},
    "5 of 14 labels annotated": {"name": "partial_annotation", "labels_per_hospital": 5},
    "unequal sizes": {"name": "quantity"},
}


def study(partitioner: dict[str, Any], hospitals: int) -> Study:
    file = str(DATA / "casp_nih28_test_logits.npz")
    split = {"hospitals": hospitals, "partitioner": partitioner, "fractions": [0.6, 0.1, 0.3]}
    content = {
        "title": "profile",
        "data": {"source": {"name": "feature_table", "file": file}},
        "split": split,
        "network": {"architecture": "linear"},
        "methods": {"fedavg": {}},
    }
    return parse_study(content, "profile.toml")


def cells(own: Situation) -> list[str]:
    """What is beyond chance, and who holds the label that fewest hold."""
    profile, every = own.profile, np.ones(len(own.labels), bool)
    pairs = np.triu(np.ones((len(own.labels),) * 2, bool), k=1)
    phi, odds = profile.coupling.between, profile.prevalence_spread
    phi = phi[pairs & beyond_chance(profile.coupling, phi, 0.0, pairs)]
    odds = odds[beyond_chance(profile.prevalence, odds, 0.0, every)]
    least = np.nanmin(profile.effective_holders)
    return [
        f"{phi.max():.2f}".lstrip("0") if len(phi) else "–",
        f"{odds.max():.1f}" if len(odds) else "–",
        f"{least:.1f} of {profile.effective_hospitals:.1f}",
    ]


def main() -> None:
    titles = ["phi", "log-odds", "effective holders, least"]
    numbers = (5, 20)
    print(
        "| split | " + " | ".join(f"{n} hospitals: {title}" for n in numbers for title in titles),
        end=" |\n" + "|---" * (1 + len(numbers) * len(titles)) + "|\n",
    )
    with tempfile.TemporaryDirectory() as cache:
        dataset: Dataset = data_of(study({"name": "iid"}, 5), Path(cache))
    for title, partitioner in SPLITS.items():
        found = [situation_of(study(partitioner, n), dataset, seed=0) for n in numbers]
        print(f"| {title} | " + " | ".join(cell for own in found for cell in cells(own)) + " |")


if __name__ == "__main__":
    main()
