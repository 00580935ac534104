"""What a study file says, as frozen settings: one table, one class; and the presets of methods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from concilium.federation.running_total import Arithmetic
from concilium.federation.sharing import Sharing
from concilium.foundation import components
from concilium.joint.inference import PriorChoice
from concilium.orchestration.rounds import Decay
from concilium.training.local import Precision


class Settings(BaseModel):
    """A table of the study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(BaseModel):
    """A choice by name, with its settings: ``"focal"`` or ``{name = "focal", gamma = 2}``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings beside the name."""
        return dict(self.model_extra or {})


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[Choice, BeforeValidator(_named)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class DataSettings(Settings):
    """``[data]``: where exams come from, and what "uncertain" and "unknown" mean."""

    source: Named
    labels: tuple[str, ...] = ()
    uncertain: Literal["ignore", "positive", "negative", "soft"] = "ignore"
    soft_target: Fraction = 0.5
    unknown_as_negative: bool = False


class SplitSettings(Settings):
    """``[split]``: who holds what, and what is kept for validation and test.

    ``folds`` > 1 replaces the test fraction by that many test folds; ``column`` takes the parts
    from a covariate of the data.

    ``held_out`` are label sets that training and validation never see: a patient who has all of one
    on an exam is in the test part. ``labelled`` is the share of each hospital's patients of the
    training and of the validation part whose exams have labels, and so a use; the test part stays
    whole. Validation is thinned like training: labels are what is scarce, and validation spends
    them as well, on rounds, learning rates, thresholds and calibration.
    """

    hospitals: Count = 5
    partitioner: Named = Choice(name="iid")
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.1, 0.2)
    folds: int = Field(0, ge=0)
    column: str = ""
    held_out: tuple[tuple[str, ...], ...] = ()
    labelled: float = Field(1.0, gt=0, le=1)

    @field_validator("held_out")
    @classmethod
    def _can_be_held_out(
        cls, sets: tuple[tuple[str, ...], ...], others: ValidationInfo
    ) -> tuple[tuple[str, ...], ...]:
        if any(len(set(names)) < 2 for names in sets):
            raise ValueError("a held-out set has two labels or more, to be met one by one")
        if sets and others.data.get("column"):
            raise ValueError(
                "the parts that `column` names stay as they are: leave one of both out"
            )
        if sets and others.data.get("folds", 0) > 1:
            raise ValueError("they would be in the test part of every fold: leave `folds` out")
        return sets


class NetworkSettings(Settings):
    """``[network]``: the architecture, and a local weights file to start from.

    ``frozen`` applies the encoder once to every image; the study then trains a linear head on its
    features (with ``rounds = 0`` and an exact head: from sums alone).
    """

    architecture: Named
    weights: str = ""
    frozen: bool = False


class TrainingSettings(Settings):
    """``[training]``: the same for every method of the study.

    Several ``learning_rates`` are tried by EVERY method, which keeps the one with the best
    validation score; with ``decay`` = "cosine" they fall to about 0 over the rounds.
    ``participation`` is the fraction of hospitals in a round, ``sampling`` says which they are.
    ``keep`` = "best" takes the round with the best validation score, "last" the last one.
    ``runtime`` says how the hospitals of one job are run on this machine; ``precision`` is that of
    forward and backward passes; ``sum`` how the server adds updates up.
    """

    rounds: int = Field(20, ge=0)
    participation: float = Field(1.0, gt=0, le=1)
    sampling: Named = Choice(name="uniform")
    local_epochs: Count = 1
    batch_size: Count = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rates: tuple[Positive, ...] = Field((0.1,), min_length=1)
    momentum: Fraction = 0.0
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    augmentation: dict[str, Any] = Field(default_factory=dict)
    keep: Literal["best", "last"] = "best"
    decay: Decay = "none"
    evaluate_every: Count = 1
    checkpoint_every: Count = 1
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    precision: Precision = "float32"
    runtime: Named = Choice(name="parallel")
    sum: Arithmetic = "float"


class EvaluationSettings(Settings):
    """``[evaluation]``: thresholds, the label sets to watch, frequency groups, intervals.

    Labels with a prevalence above ``head`` are head, at most ``tail`` are tail, in training.
    """

    specificity: Annotated[float, Field(gt=0, lt=1)] = 0.9
    label_sets: tuple[tuple[str, ...], ...] = ()
    rare_labels: tuple[str, ...] = ()
    head: Fraction = 0.10
    tail: Fraction = 0.01
    min_positives: Count = 10
    bootstrap: int = Field(1000, ge=0)


class MethodSettings(Settings):
    """``[methods.NAME]``: who trains, on what loss, added up how, and with which exact head.

    ``sharing`` = "all_but_normalisation" keeps normalisation layers at home (FedBN); the last round
    is then kept, as what is at home is that of the last round. It says nothing to a training in
    which nobody shares.

    ``prior`` is what is known of labels before an image is seen when the trained model is used
    (``joint.inference``). Learning rates are chosen by scores under it, rounds without it.

    ``compression`` makes updates smaller on their way; where nothing travels, it has no say.
    """

    trains: Literal["federation", "hospitals", "pooled"] = "federation"
    loss: Named = Choice(name="bce")
    algorithm: Named = Choice(name="fedavg")
    weighting: Named = Choice(name="by_images")
    sharing: Sharing = "all"
    head: Named | None = None
    prior: PriorChoice = "none"
    compression: Named | None = None

    @property
    def shares(self) -> Sharing:
        """The sharing rule in force: alone, or all in one place, everything is one's own."""
        return self.sharing if self.trains == "federation" else "all"


PRESETS: dict[str, dict[str, Any]] = {
    "local_only": {"trains": "hospitals", "loss": "bce"},
    "classic_softmax": {"loss": "softmax"},
    "fedavg": {"loss": "bce"},
    "fedbn": {"loss": "bce", "sharing": "all_but_normalisation"},
    "concilium": {
        "loss": "positive_weighted",
        "algorithm": {"name": "fedcm", "alpha": 0.3},
        "weighting": "by_known_entries",
        "head": "newton",
    },
    "pooled": {"trains": "pooled", "loss": "bce"},
    "pooled_exact": {"trains": "pooled", "loss": "positive_weighted", "head": "newton"},
}


class Study(Settings):
    """A whole study: data, split, network, training, methods, evaluation."""

    title: str
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    workers: Count = 1
    data: DataSettings
    split: SplitSettings = SplitSettings()
    network: NetworkSettings
    training: TrainingSettings = TrainingSettings()
    methods: dict[str, MethodSettings] = Field(min_length=1)
    evaluation: EvaluationSettings = EvaluationSettings()

    def digest(self) -> str:
        """SHA-256 of all that changes a result."""
        return digest_of(self.what_changes_results())

    def cores_of_a_job(self, cores: int) -> int:
        """How many of the machine's cores each of the jobs has that run side by side.

        A job is a method, a seed, a fold.
        """
        jobs = len(self.seeds) * max(1, self.split.folds) * len(self.methods)
        return max(1, cores // min(self.workers, jobs))

    def what_changes_results(self, without: Collection[str] = ()) -> dict[str, Any]:
        """All settings but title, workers, and a runtime that rounds as others do.

        A split that holds nothing out or has labels of all, and a learning rate that stays, do not
        say so: digests are then those of studies from before these could be asked.
        """
        values = self.model_dump(mode="json", exclude={"title", "workers", *without})
        for name in ("held_out", "labelled"):
            if getattr(self.split, name) == SplitSettings.model_fields[name].default:
                del values["split"][name]
        if self.training.decay == "none":
            del values["training"]["decay"]
        runtime: Any = components.find("runtimes", self.training.runtime.name)
        if runtime.exact:
            del values["training"]["runtime"]
        return values


def changes(before: Study, after: Study) -> list[str]:
    """Dotted names of what finished jobs of a study would no longer agree with.

    Seeds and methods may come and go; a method that both have must be the same.
    """
    old, new = (study.what_changes_results(("seeds", "methods")) for study in (before, after))
    found = _differences(old, new, "")
    for name in before.methods.keys() & after.methods.keys():
        own, other = (study.methods[name].model_dump(mode="json") for study in (before, after))
        found += _differences(own, other, f"methods.{name}.")
    return sorted(found)


def _differences(old: Any, new: Any, place: str) -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [place.rstrip(".")]
    keys = dict.fromkeys((*old, *new))
    return [d for key in keys for d in _differences(old.get(key), new.get(key), f"{place}{key}.")]


def digest_of(value: Any) -> str:
    """SHA-256 of plain values as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
