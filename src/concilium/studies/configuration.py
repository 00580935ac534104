"""A study file: one TOML ↔ frozen settings; unknown keys refused, all mistakes listed at once."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import Problem, StudyError


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
    """

    hospitals: Count = 5
    partitioner: Named = Choice(name="iid")
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.1, 0.2)
    folds: int = Field(0, ge=0)
    column: str = ""


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
    validation score. ``keep`` = "best" takes the round with the best validation score, "last" the
    last one.
    """

    rounds: int = Field(20, ge=0)
    participation: Fraction = 1.0
    local_epochs: Count = 1
    batch_size: Count = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rates: tuple[Positive, ...] = Field((0.1,), min_length=1)
    momentum: Fraction = 0.0
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    augmentation: dict[str, Any] = Field(default_factory=dict)
    keep: Literal["best", "last"] = "best"
    evaluate_every: Count = 1
    checkpoint_every: Count = 1
    device: Literal["cpu", "cuda", "auto"] = "cpu"


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
    """``[methods.NAME]``: who trains, on what loss, added up how, and with which exact head."""

    trains: Literal["federation", "hospitals", "pooled"] = "federation"
    loss: Named = Choice(name="bce")
    algorithm: Named = Choice(name="fedavg")
    weighting: Named = Choice(name="by_images")
    head: Named | None = None


PRESETS: dict[str, dict[str, Any]] = {
    "local_only": {"trains": "hospitals", "loss": "bce"},
    "classic_softmax": {"loss": "softmax"},
    "fedavg": {"loss": "bce"},
    "concilium": {"loss": "balanced_bce", "weighting": "by_known_entries", "head": "newton"},
    "pooled": {"trains": "pooled", "loss": "bce"},
    "pooled_exact": {"trains": "pooled", "loss": "balanced_bce", "head": "newton"},
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
        """SHA-256 of all that changes a result (so not of title and workers)."""
        return digest_of(self.model_dump(mode="json", exclude={"title", "workers"}))


def changes(before: Study, after: Study) -> list[str]:
    """Dotted names of what finished jobs of a study would no longer agree with.

    Title and workers change no result; seeds and methods may come and go; a method that both have
    must be the same.
    """
    free = {"title", "workers", "seeds", "methods"}
    old, new = (study.model_dump(mode="json", exclude=free) for study in (before, after))
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


def read_study(path: Path) -> Study:
    """A study from its TOML file. Raises StudyError with every mistake in it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(Problem(str(path), "there is no such file", _near(path))) from None
    except OSError as error:
        raise StudyError(Problem(str(path), f"cannot be read ({error.strerror})")) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(Problem(str(path), f"is not TOML: {error}")) from None
    return parse_study(content, path.name)


def parse_study(content: dict[str, Any], file: str) -> Study:
    """A study from plain values. Raises StudyError with every mistake in them."""
    content = _with_presets(content)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError([_problem(file, item) for item in _own_errors(error)]) from None


def readable_part(path: Path) -> Study | None:
    """The study in a file without its wrong entries, so that what they hide is checked, too.

    None where the rest is no study.
    """
    try:
        content = _with_presets(tomllib.loads(path.read_text(encoding="utf-8")))
        Study.model_validate(content)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    except ValidationError as error:
        for item in error.errors():
            _remove(content, item["loc"])
    try:
        return Study.model_validate(content)
    except ValidationError:
        return None


def _remove(content: Any, place: tuple[str | int, ...]) -> None:
    """Remove the entry at a place; a wrong item takes its whole list along."""
    table = content
    for depth, key in enumerate(place):
        inner = table.get(key)
        if depth == len(place) - 1 or not isinstance(inner, dict):
            table.pop(key, None)
            return
        table = inner


def _own_errors(error: ValidationError) -> list[Any]:
    """The errors without those that only follow from one further inside."""
    items = error.errors()
    places = [item["loc"] for item in items]
    return [
        item
        for item in items
        if not any(
            len(p) > len(item["loc"]) and p[: len(item["loc"])] == item["loc"] for p in places
        )
    ]


def _with_presets(content: dict[str, Any]) -> dict[str, Any]:
    """The content with the preset of every method's name under what stands there."""
    methods = content.get("methods")
    if isinstance(methods, dict):
        merged = {
            name: {**PRESETS.get(name, {}), **own} if isinstance(own, dict) else own
            for name, own in methods.items()
        }
        content = {**content, "methods": merged}
    return content


def _problem(file: str, item: Any) -> Problem:
    """One of pydantic's errors in a user's words."""
    where = f"{file}, {'.'.join(map(str, item['loc']))}"
    if item["type"] == "extra_forbidden":
        return Problem(where, "unknown key", suggestion(str(item["loc"][-1]), _keys(item["loc"])))
    if item["type"] == "missing":
        return Problem(where, "is missing", "add it")
    return Problem(where, f"{item['msg']} (given: {item['input']!r})")


def _keys(place: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that are known where an unknown one stands."""
    tables: dict[str, type[Settings]] = {
        "data": DataSettings,
        "split": SplitSettings,
        "network": NetworkSettings,
        "training": TrainingSettings,
        "evaluation": EvaluationSettings,
        "methods": MethodSettings,
    }
    table = tables.get(str(place[0]), Study) if len(place) > 1 else Study
    return tuple(table.model_fields)


def _near(path: Path) -> str:
    found = sorted(file.name for file in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    return suggestion(path.name, found) if found else "give the path of a study file"
