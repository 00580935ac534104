"""Recipes: what a method of a study is made of, the measured reason, and where it loses.

Data alone. Which recipe a split calls for is said in ``studies/recommendation.py``; every recipe
has its section in ``docs/recipes.md``. Change numbers and settings here when they are measured
anew: ``measured`` quotes what stands under ``sources``, and says so where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from concilium.studies.configuration import PRESETS

Plain = Mapping[str, Any]
Source = tuple[str, str]
"""A file of the repository, and the beginning of a heading in it."""

FEATURES = ("docs/results.md", "Real features, 20 hospitals")
PIXELS = ("docs/results.md", "Real pixels, 5 hospitals")
BACKBONE = ("docs/results.md", "A frozen backbone and sums alone")
DEMO = ("docs/results.md", "The demo, synthetic")
QUALITY = ("docs/results.md", "The benchmark of quality")
COST = ("docs/results.md", "Cost")
COMPRESSION = ("docs/speed.md", "Aggregation and compression")
EARLIER = ("docs/recipes.md", "Earlier measurements")


@dataclass(frozen=True)
class Recipe:
    """Settings that a split calls for, over those of the default recipe.

    ``method`` are keys of ``[methods.NAME]``, ``training`` of ``[training]``. ``why`` says how it
    works, ``measured`` what was seen and ``sources`` where it stands; ``loses`` where it is worse,
    ``instead`` what to take then.
    """

    title: str
    why: str
    measured: str
    sources: tuple[Source, ...]
    loses: str
    instead: str
    method: Plain = field(default_factory=dict)
    training: Plain = field(default_factory=dict)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "default": Recipe(
            method=PRESETS["concilium"],
            title="positives weigh more, momentum is shared, the head is exact, from sums",
            why="Rare findings count more in the rounds, by the federation's counts. Momentum "
            "outlives a round. The head is then solved from sums as if all exams stood in one "
            "place, so nobody's findings are averaged away.",
            measured="Phantoms, 20 hospitals, one alone with Hernia, 3 seeds: mAP .468 (FedAvg "
            ".421, pooled .513), AP of Hernia .415 (FedAvg .062, pooled .388). Real features, 20 "
            "hospitals, 5 seeds: mAP .185 (FedAvg .181, pooled .185), macro AUROC .750 (FedAvg "
            ".730).",
            sources=(QUALITY,),
            loses="AP of frequent findings (phantoms .602, FedAvg .624); a model more travels down "
            "in each round; plain SGD only.",
            instead='algorithm = "fedavg" where bytes or another optimiser matter more; the '
            "recipes below where a split calls for one.",
        ),
        "from_sums": Recipe(
            method={"loss": "bce", "weighting": "by_known_entries", "head": "newton"},
            training={"rounds": 0},
            title="no rounds: the head from sums alone",
            why="Nothing below the head is trained, and the exact head is that of pooled data: "
            "gradient rounds could only come near it.",
            measured="Frozen EfficientNet-Lite0: macro AUROC .673 from sums, .673 pooled, the same "
            "model hash in 5 of 5 folds; local only .611.",
            sources=(BACKBONE,),
            loses="Where the features do not tell the findings apart, nothing above them can: a "
            "body that is trained on enough images of one's own is better.",
            instead="An `mlp` above the features with the default recipe (99.8 % of the pooled mAP "
            "on real features), or a network that trains.",
        ),
        "plain_rows": Recipe(
            method={"weighting": "by_known_entries"},
            title="one weight for a hospital's whole update, not one for each label",
            why="A row of the head that one or two hospitals weigh in on is nearly theirs, even in "
            "a secure sum. Under one weight for all, a row is a mean over everybody who takes "
            "part.",
            measured="Real features: rows by evidence gained .001 (BCE) and .004 (balanced BCE) of "
            "mAP before an exact head. With it both stand at .182: rows by evidence after balanced "
            "BCE, one weight after BCE.",
            sources=(EARLIER,),
            loses="Before the exact head, rare labels: their rows are pulled by hospitals that "
            "have none.",
            instead='weighting = "by_label_evidence" where updates are made differentially '
            "private, or where who holds what is no secret.",
        ),
        "exact_head": Recipe(
            method={"head": "newton"},
            title="an exact head from sums, for labels that few hospitals hold",
            why="In an average of updates, a hospital that alone holds a finding is outvoted. In a "
            "sum of gradients and Hessians its exams count as they would in pooled data.",
            measured="Real features, three specialists, 5 seeds: FedAvg's AP of their labels .032 "
            "before it and .039 with it (pooled .038), macro AUROC .730 and .742. Phantoms, 20 "
            "hospitals: FedAvg's mAP .421 before it and .428 with it.",
            sources=(QUALITY,),
            loses="What the body has not learnt to see, a head cannot bring back: on pixels a gap "
            "to pooled training stays (Hernia .088 after FedAvg, pooled .388).",
            instead="On pixels, shared momentum and weights of positives together with it.",
        ),
        "evidence_rows": Recipe(
            method={"weighting": "by_label_evidence"},
            title="the row of a label weighs by the evidence that hospitals have of it",
            why="A hospital that does not annotate a label has no say on its row, and one that "
            "has both positives and negatives has the most. Unknown is never a negative.",
            measured="Real features, before an exact head: mAP .165 to .166 with BCE, .172 to .176 "
            "with balanced BCE. With masks in a toy, weights by images ended 48 % off the pooled "
            "solution, by known entries 1e-6. Partial annotation by itself is not in a table yet.",
            sources=(EARLIER,),
            loses="Rows of a label that fewer than three hospitals annotate are nearly theirs.",
            instead='weighting = "surgical" (each annotator one vote), or "by_known_entries" with '
            "the exact head, which hears the annotators alone anyway.",
        ),
        "decoupled": Recipe(
            method={"loss": "cooccurrence_adjusted", "head": "none", "prior": "independent"},
            title="each hospital's own co-occurrence is taken out of what is learnt",
            why="What goes with what at a hospital is added to the scores in training only, so the "
            "network need not learn it as appearance. The exact head learns it anew, so there is "
            "none.",
            measured="Synthetic: false coupling .33 to .25 (ideal .10), AP of a rare label .12 to "
            ".27. Real features: false coupling .19 to .135, mAP .183 to .177 on exams that share "
            "the coupling.",
            sources=(EARLIER,),
            loses="Where patients at use are coupled as those in training, mAP falls; so do rare "
            "labels whose holder has few negatives.",
            instead='prior = "site" where a model is used at the hospitals that trained it; the '
            "default recipe where false coupling does not matter.",
        ),
        "shared_momentum": Recipe(
            method={"algorithm": "fedcm"},
            training={"optimizer": "sgd", "momentum": 0.0, "batch_size": 8},
            title="momentum that all hospitals share outlives a round",
            why="A round moves the shared body by a few steps, each hospital in its own direction. "
            "In shared momentum every step follows mostly what all found together, so a round "
            "goes further. Small batches give more steps.",
            measured="Phantoms, 20 hospitals, 40 rounds, BCE, with an exact head: mAP .459 with "
            "it, .428 without (pooled .510); 3 seeds.",
            sources=(QUALITY,),
            loses="Adam: it needs plain SGD. A model more travels down in each round.",
            instead='algorithm = "fedavg", with an optimiser of one\'s own choice.',
        ),
        "more_rounds": Recipe(
            training={"rounds": 24, "local_epochs": 1},
            title="more and shorter rounds for the shared body",
            why="What an exact head leaves of the gap to pooled training is the body, which only "
            "rounds train.",
            measured="Pixels of a toy with a specialist, balanced BCE: mAP .60 in 8 rounds of 2 "
            "epochs, .67 in 24 rounds of 1 (one seed); with an exact head .71 and .73.",
            sources=(EARLIER,),
            loses="Bytes and waiting: each round is a model down and up.",
            instead="A frozen pretrained backbone and a head from sums where images are few (macro "
            "AUROC .642 on 1,617 radiographs at 64 px, .627 by rounds, on other splits).",
        ),
        "as_it_is": Recipe(
            title="the default recipe: prevalence may differ",
            why="Balanced losses and an exact head over all exams do not ask who is how frequent "
            "where.",
            measured="Real features are such a split (Dirichlet 0.3): macro AUROC .749 (FedAvg "
            ".735), mAP .184 (FedAvg .181). Adjusting each hospital's loss to its own prevalence "
            "is not in a table yet.",
            sources=(FEATURES,),
            loses="Alerts: thresholds from all hospitals' validation exams give other alert rates "
            "where a finding is more or less common.",
            instead='loss = "logit_adjusted" (published: Menon et al. 2021; not measured here), or '
            "the exact head with site_intercepts = true.",
        ),
        "half_the_bytes": Recipe(
            method={"compression": "bfloat16"},
            title="updates in 16 bits",
            why="Each entry of an update is rounded to bfloat16, half the bytes up.",
            measured="Phantoms, 3 seeds: AUROC +.0005 ± .0013 and mAP .397 against .398 at 50 % of "
            "the bytes up.",
            sources=(COMPRESSION,),
            loses="Under secure sum nothing is saved: a masked value has 64 bits.",
            instead='compression = {name = "top_k"} at 20 % of the bytes costs .013 AUROC.',
        ),
    }
)
