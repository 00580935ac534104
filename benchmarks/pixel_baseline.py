"""For scale: PCA of the pixels with a logistic head, on the very splits of a study.

    python benchmarks/pixel_baseline.py [studies/nih_radiographs.toml]

All training exams in one place, as "pooled" has them; 60 components and the penalty λ = 100 are
fixed, not tuned. A network that is not clearly above it has learnt nothing. Skips where the data
are absent.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.data.dataset import Exams
from concilium.foundation.errors import InputError
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import divide
from concilium.studies.reading import read_study

NUM_COMPONENTS, PENALTY = 60, 100.0


def pixels(exams: Exams) -> np.ndarray:
    """Images as rows, in [0, 1]."""
    images = np.asarray(exams.images[np.arange(len(exams))])
    return images.reshape(len(images), -1) / 255.0


def one_seed(study: Study, seed: int, cache: Path) -> tuple[float, float]:
    """Macro AUROC and mAP on the test exams of one seed, over labels with enough positives."""
    dataset = assembly.load_data(study, cache)
    division = divide(dataset, study, seed)
    parts = hospitals.pooled(hospitals.parts_of(dataset, division, assembly.policy_of(study)))
    components = PCA(NUM_COMPONENTS, whiten=True, random_state=0).fit(pixels(parts["train"]))
    train, test = (components.transform(pixels(parts[name])) for name in ("train", "test"))
    scores = []
    for label in range(parts["train"].target.shape[1]):
        y, truth = parts["train"].target[:, label], parts["test"].target[:, label]
        if truth.sum() >= study.evaluation.min_positives:
            model = LogisticRegression(C=1 / PENALTY, max_iter=2000).fit(train, y)
            score = model.decision_function(test)
            scores.append((roc_auc_score(truth, score), average_precision_score(truth, score)))
    auroc, precision = np.mean(scores, axis=0)
    return float(auroc), float(precision)


def main() -> int:
    """Print mean and spread over the study's seeds."""
    default = Path(__file__).parents[1] / "studies" / "nih_radiographs.toml"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    study = assembly.with_absolute_paths(read_study(file), file.resolve().parent)
    try:
        with tempfile.TemporaryDirectory() as cache:
            found = np.array([one_seed(study, seed, Path(cache)) for seed in study.seeds])
    except InputError as error:
        print(f"skipped, the data are not here: {error}")
        return 0
    (auroc, precision), spread = found.mean(0), found.std(0, ddof=1)
    print(f"PCA of the pixels with a logistic head, {len(found)} seeds of {file.name}:")
    print(f"macro AUROC {auroc:.3f} ± {spread[0]:.3f}, mAP {precision:.3f} ± {spread[1]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
