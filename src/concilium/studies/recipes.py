"""Recipes: what a method of a study is made of, the measured reason, and where it loses.

Data alone. Which recipe a split calls for is said in ``studies/recommendation.py``; every recipe
has its section in ``docs/recipes.md``. Numbers of tables stand in ``studies/measured.py``;
``measured`` says on what and over how many seeds, or that nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from concilium.studies.configuration import PRESETS
from concilium.studies.measured import (
    CLASSIC,
    COUPLING,
    FEATURES,
    INGREDIENTS,
    LINEAR,
    PARTIAL,
    PHANTOMS,
    PHANTOMS_COMPRESSED,
    PHANTOMS_LONG,
    PHANTOMS_TRIED,
    Source,
)

Plain = Mapping[str, Any]

PIXELS = ("docs/results.md", "Real pixels, 5 hospitals")
BACKBONE = ("docs/results.md", "A frozen backbone and sums alone")
EARLIER = ("docs/recipes.md", "Earlier measurements")

_HELD = "rare-label AP"
_PAIRED = "concilium − fedavg, both Newton"
_BATCHES_OF_32 = "FedAvg, Adam .001, batches of 32, 1 local epoch, 40 rounds"


@dataclass(frozen=True)
class Recipe:
    """Settings that a split calls for, over those of the default recipe.

    ``method`` are keys of ``[methods.NAME]``, ``training`` of ``[training]``, ``network`` of
    ``[network]``, which is there to be tried in a study of its own; where all are the
    default's, it is no advice but says what the default has them for. ``why`` says how it works,
    ``measured`` what was seen and ``sources`` where it stands; ``loses`` where it is worse,
    ``instead`` what to take then. ``shown``: a measurement shows that it helps in a split that
    calls for it; without one it is there to be tried, and never taken.
    """

    title: str
    why: str
    measured: str
    sources: tuple[Source, ...]
    loses: str
    instead: str
    method: Plain = field(default_factory=dict)
    training: Plain = field(default_factory=dict)
    network: Plain = field(default_factory=dict)
    shown: bool = True

    @property
    def settings(self) -> dict[tuple[str, str], Any]:
        """What it sets, by table and key."""
        tables = {"method": self.method, "training": self.training, "network": self.network}
        return {(table, key): value for table, own in tables.items() for key, value in own.items()}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "default": Recipe(
            method=PRESETS["concilium"],
            training={"optimizer": "sgd", "momentum": 0.0},
            title="positives weigh more, momentum is shared, the head is exact, from sums",
            why="Rare findings count more in the rounds, by the federation's counts. Momentum "
            "outlives a round. The head is then solved from sums as if all exams stood in one "
            "place, so nobody's findings are averaged away.",
            measured=f"{PHANTOMS.world}: mAP {PHANTOMS('concilium', 'mAP')}, pooled "
            f"{PHANTOMS('pooled, BCE', 'mAP')}; against FedAvg with the same head "
            f"{PHANTOMS(_PAIRED, 'mAP')}, AP of Hernia {PHANTOMS(_PAIRED, 'rare-label AP')}. "
            f"{FEATURES.world}: mAP {FEATURES('concilium', 'mAP')}, pooled "
            f"{FEATURES('pooled, balanced BCE', 'mAP')}; against FedAvg with the same head "
            f"{FEATURES(_PAIRED, 'mAP')}, macro AUROC {FEATURES(_PAIRED, 'macro AUROC')} (mean and "
            "95 % interval of paired differences).",
            sources=(PHANTOMS.source, FEATURES.source),
            loses="On pixels a gap to pooled training stays (mAP "
            f"{PHANTOMS('pooled with a Newton head', 'mAP')} with the same head), and the head "
            "gains nothing there; before it, weights of positives cost AP of the frequent findings "
            f"({INGREDIENTS('weighting, given momentum', 'head AP')}). Where labels are few, the "
            "head misses more second findings than the bare body. On small tables FedAvg with the "
            f"same head is as good or better (yeast: mAP {CLASSIC(_PAIRED, 'mAP')}), on 1,617 "
            "radiographs hospitals gain more by it. False coupling is a little higher. A model "
            "more travels down in each round; plain SGD only.",
            instead='algorithm = "fedavg", with the head, where bytes or another optimiser matter '
            'more, and on tables of few features; loss = "bce" where frequent findings matter '
            'most; head = "none" where exams are few or second findings matter most.',
        ),
        "from_sums": Recipe(
            method={"loss": "bce", "weighting": "by_known_entries", "head": "newton"},
            training={"rounds": 0},
            title="no rounds: the head from sums alone",
            why="Nothing below the head is trained, and the exact head is that of pooled data: "
            "gradient rounds could only come near it.",
            measured="Frozen EfficientNet-Lite0 on real radiographs, 5 hospitals, 5 folds: macro "
            "AUROC .673 from sums, .673 pooled, the same model hash in 5 of 5 folds; local only "
            ".611.",
            sources=(BACKBONE,),
            loses="Where the features do not tell the findings apart, nothing above them can: a "
            "body that is trained on enough images of one's own is better.",
            instead="A network that trains; an `mlp` above the features gained nothing on real "
            f"ones (mAP {LINEAR('concilium', 'λ = 1')}, from sums "
            f"{LINEAR('concilium', 'linear network')}).",
        ),
        "linear_features": Recipe(
            network={"architecture": "linear"},
            shown=False,
            title="a linear network on features, whose head from sums is the whole model",
            why="An exact head above features that do not change is pooled training to the last "
            "bit, from sums and without a round. A hidden layer is what skew can spoil.",
            measured=f"{LINEAR.world}: mAP {LINEAR('concilium', 'linear network')} with a Newton "
            f"head, as pooled; with an MLP {LINEAR('concilium', 'λ = 1')}. Linear − MLP "
            f"{LINEAR.said['linear − MLP']}, AP of the specialists' labels "
            f"{LINEAR.said['specialists']}. One data set: features are outputs of networks.",
            sources=(LINEAR.source,),
            loses="Features in which findings are not linear: the study's validation says so. All "
            "methods of the study are then linear.",
            instead="The `mlp`, with the default recipe.",
        ),
        "plain_rows": Recipe(
            method={"weighting": "by_known_entries"},
            title="one weight for a hospital's whole update, not one for each label",
            why="A row of the head that one or two hospitals weigh in on is nearly theirs, even in "
            "a secure sum. Under one weight for all, a row is a mean over everybody who takes "
            "part.",
            measured="Real features, 20 hospitals, 2 seeds, mAP: rows by evidence instead took it "
            "from .165 to .166 (BCE) and from .172 to .176 (balanced BCE) before an exact head. "
            "With it both stand at .182: rows by evidence after balanced BCE, one weight after "
            "BCE.",
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
            measured=f"{FEATURES.world}, three of them sole holders of a finding: FedAvg's AP of "
            f"their labels {FEATURES('fedavg, BCE', _HELD)} without it and "
            f"{FEATURES('with a Newton head', _HELD)} with it, at the best setting of each (pooled "
            f"{FEATURES('pooled, balanced BCE', _HELD)}), macro AUROC "
            f"{FEATURES('fedavg, BCE', 'macro AUROC')} and "
            f"{FEATURES('with a Newton head', 'macro AUROC')}. {PHANTOMS.world}: FedAvg's mAP "
            f"{PHANTOMS('fedavg, BCE', 'mAP')} without it and "
            f"{PHANTOMS('with a Newton head', 'mAP')} with it, AP of Hernia "
            f"{PHANTOMS('fedavg, BCE', _HELD)} and {PHANTOMS('with a Newton head', _HELD)}.",
            sources=(FEATURES.source, PHANTOMS.source),
            loses="What the body has not learnt to see, a head cannot bring back: on pixels a gap "
            "to pooled training stays (Hernia "
            f"{PHANTOMS('with a Newton head', 'rare-label AP')} after FedAvg, pooled "
            f"{PHANTOMS('pooled, BCE', 'rare-label AP')}). Where labels are few it misses more "
            "second findings than the bare body, and on 1,617 radiographs it gained nothing.",
            instead="On pixels, shared momentum and weights of positives together with it, as in "
            "the default.",
        ),
        "evidence_rows": Recipe(
            method={"weighting": "by_label_evidence"},
            shown=False,
            title="the row of a label weighs by the evidence that hospitals have of it",
            why="A hospital that does not annotate a label has no say on its row, and one that "
            "has both positives and negatives has the most. Unknown is never a negative, in the "
            "default too.",
            measured=f"Not shown to help. {PARTIAL.world}, against weights by images: macro AUROC "
            f"{PARTIAL('evidence − images, both Newton', 'macro AUROC')} with an exact head, "
            f"{PARTIAL('evidence − images, no head', 'macro AUROC')} without. Real features "
            "annotated in full, 20 hospitals, 2 seeds, before an exact head: mAP .165 to .166 with "
            "BCE, .172 to .176 with balanced BCE. With masks in a toy (seeds not noted), weights "
            "by images ended 48 % off the pooled solution, by known entries, as in the default, "
            "1e-6.",
            sources=(PARTIAL.source, EARLIER),
            loses="Rows of a label that fewer than three hospitals annotate are nearly theirs.",
            instead="The default: weights by known entries, and an exact head, which hears the "
            'annotators alone anyway; or weighting = "surgical" (each annotator one vote).',
        ),
        "decoupled": Recipe(
            method={"loss": "cooccurrence_adjusted", "head": "none", "prior": "independent"},
            shown=False,
            title="each hospital's own co-occurrence is taken out of what is learnt",
            why="What goes with what at a hospital is added to the scores in training only, so the "
            "network need not learn it as appearance. The exact head learns it anew, so there is "
            "none.",
            measured="Not shown to help. Real features with coupling made (6 hospitals, three "
            "coupled pairs, 4 to 5 seeds): false coupling "
            f"{FEATURES.said['Co-occurrence skew']} for every method, "
            f"{FEATURES.said['no false coupling to lower']}: nothing to lower. {COUPLING.world}: "
            f"{COUPLING('co-occurrence-adjusted, no head', 'false coupling')} (pooled "
            f"{COUPLING('pooled, BCE', 'false coupling')}, FedAvg "
            f"{COUPLING('fedavg, BCE', 'false coupling')}), at macro AUROC "
            f"{COUPLING('co-occurrence-adjusted, no head', 'macro AUROC')} (pooled "
            f"{COUPLING('pooled, BCE', 'macro AUROC')}, FedAvg "
            f"{COUPLING('fedavg, BCE', 'macro AUROC')}). Hints from before the benchmark, seeds "
            "not noted: synthetic, false coupling .33 to .25 (ideal .10), AP of a rare label .12 "
            "to .27; real features, false coupling .19 to .135, mAP .183 to .177 on exams that "
            "share the coupling.",
            sources=(FEATURES.source, COUPLING.source, EARLIER),
            loses="Where patients at use are coupled as those in training, mAP falls; so do rare "
            "labels whose holder has few negatives.",
            instead="The default, until a table shows a gain; try it beside the default and look "
            'at false coupling and the decoupled test. prior = "site" where a model is used at the '
            "hospitals that trained it.",
        ),
        "shared_momentum": Recipe(
            method={"algorithm": {"name": "fedcm", "alpha": 0.3}},
            title="momentum that all hospitals share outlives a round",
            why="A round moves the shared body by a few steps, each hospital in its own direction. "
            "In shared momentum every step follows mostly what all found together, so a round "
            "goes further.",
            measured=f"{INGREDIENTS.world}, BCE, both tuned alike, before a head: mAP "
            f"{INGREDIENTS('momentum alone', 'mAP')} (mean and 95 % interval of paired "
            "differences); with an exact head on both +.034 [−.006, +.075].",
            sources=(INGREDIENTS.source,),
            loses="Adam: it needs plain SGD. A model more travels down in each round. On a small "
            "table (yeast) it costs .011 [.004, .017] of mAP.",
            instead='algorithm = "fedavg", with an optimiser of one\'s own choice.',
        ),
        "more_rounds": Recipe(
            training={"rounds": 24},
            title="more rounds for the shared body, each with as many local epochs as now",
            why="What an exact head leaves of the gap to pooled training is the body, which only "
            "rounds train.",
            measured="Pixels of a toy with a specialist, 5 hospitals, balanced BCE: mAP .60 in 8 "
            "rounds of 2 epochs (2 seeds), .67 in 24 rounds of 1 (one seed), half as many epochs "
            "again; with an exact head .71 and .73. "
            f"Phantoms, 20 hospitals: mAP {PHANTOMS('fedavg, BCE', 'mAP')} in 40 rounds of FedAvg "
            f"(5 seeds), {PHANTOMS_LONG('fedavg, BCE', 'mAP')} in 160 (3 seeds); of the default "
            f"{PHANTOMS('concilium', 'mAP')} and {PHANTOMS_LONG('concilium', 'mAP')}, pooled "
            f"{PHANTOMS_LONG('pooled with a Newton head', 'mAP')}.",
            sources=(EARLIER, PHANTOMS.source, PHANTOMS_LONG.source, BACKBONE, PIXELS),
            loses="Bytes, waiting and computing: each round is a model down and up, and as many "
            "steps more. On one small development cohort of phantoms the best of many rounds of "
            "the default came early.",
            instead="A frozen pretrained backbone and a head from sums where images are few (macro "
            "AUROC .642 on 1,617 radiographs at 64 px, .627 by rounds, on other splits).",
        ),
        "small_batches": Recipe(
            training={"batch_size": 8},
            shown=False,
            title="small batches: more steps in a round",
            why="A hospital that takes few steps in a round moves the body little. Of the same "
            "images, smaller batches make more steps, each with more noise.",
            measured=f"Not shown to help. {PHANTOMS_TRIED.world}, FedAvg by Adam with an exact "
            f"head: mAP {PHANTOMS_TRIED(_BATCHES_OF_32, 'mAP')} with batches of 32, "
            f"{PHANTOMS_TRIED('the same with batches of 8', 'mAP')} with batches of 8.",
            sources=(PHANTOMS_TRIED.source,),
            loses="Time: small batches use a processor less well. The learning rate has to be "
            "chosen anew.",
            instead="More local epochs, or more rounds.",
        ),
        "as_it_is": Recipe(
            title="prevalence may differ",
            why="Weights of positives by the federation's counts and an exact head over all exams "
            "do not ask who is how frequent where.",
            measured=f"{FEATURES.world}, are such a split (Dirichlet 0.3): macro AUROC "
            f"{FEATURES('concilium', 'macro AUROC')} (FedAvg with the same head "
            f"{FEATURES('with a Newton head', 'macro AUROC')}), mAP {FEATURES('concilium', 'mAP')} "
            f"({FEATURES(_PAIRED, 'mAP')} against it). Adjusting each hospital's loss to its own "
            "prevalence is not in a table yet.",
            sources=(FEATURES.source,),
            loses="Alerts: thresholds from all hospitals' validation exams give other alert rates "
            "where a finding is more or less common.",
            instead='loss = "logit_adjusted" (published: Menon et al. 2021; not measured here), or '
            "the exact head with site_intercepts = true.",
        ),
        "half_the_bytes": Recipe(
            method={"compression": "bfloat16"},
            title="updates in 16 bits",
            why="Each entry of an update is rounded to bfloat16, half the bytes up.",
            measured=f"{PHANTOMS_COMPRESSED.world}: AUROC "
            f"{PHANTOMS_COMPRESSED('bfloat16', 'AUROC')} and mAP "
            f"{PHANTOMS_COMPRESSED('bfloat16', 'mAP')} against "
            f"{PHANTOMS_COMPRESSED.said['mAP (none']} at "
            f"{PHANTOMS_COMPRESSED('bfloat16', 'bytes up')} of the bytes up.",
            sources=(PHANTOMS_COMPRESSED.source,),
            loses="Under secure sum nothing is saved: a masked value has 64 bits.",
            instead='compression = {name = "top_k"} at '
            f"{PHANTOMS_COMPRESSED('top 10 %', 'bytes up')} of the bytes changes AUROC by "
            f"{PHANTOMS_COMPRESSED('top 10 %', 'AUROC')}.",
        ),
    }
)


def differs(recipe: Recipe) -> bool:
    """Whether it sets anything otherwise than the default recipe."""
    default = RECIPES["default"].settings
    return any(key not in default or default[key] != own for key, own in recipe.settings.items())
