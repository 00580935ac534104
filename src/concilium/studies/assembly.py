"""The only place where names in a study become objects."""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from concilium.algorithms.contract import Algorithm
from concilium.compressions.contract import Compression
from concilium.data.augmentation import Augmentation
from concilium.data.dataset import Dataset, Form
from concilium.foundation import components
from concilium.foundation.checks import suggestion
from concilium.foundation.errors import InputError, Problem, StudyError
from concilium.foundation.paths import expand
from concilium.foundation.seeds import derive_seed
from concilium.heads.contract import Head
from concilium.joint.inference import ScoreMeaning
from concilium.labels.schema import LabelSchema
from concilium.labels.uncertainty import UncertaintyPolicy
from concilium.losses.contract import Loss
from concilium.networks._weights import load_weights
from concilium.networks.contract import Network
from concilium.orchestration.phases import Recipe
from concilium.orchestration.rounds import Schedule
from concilium.studies.configuration import PRESETS, Choice, MethodSettings, Study
from concilium.studies.extraction import with_features
from concilium.studies.label_checks import columns_of
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting

T = TypeVar("T")

LABELS_OF_DATA = (
    "; `labels` in [data] keeps some of the labels that the source gives, in this order: which "
    "labels the files hold is said by `labels` or `vocabulary` of the source"
)


@dataclass(frozen=True)
class Method:
    """One method of a study, as objects."""

    name: str
    settings: MethodSettings
    loss: Loss
    algorithm: Algorithm
    weighting: Weighting
    head: Head | None
    compression: Compression | None

    @property
    def scores_are_saved(self) -> bool:
        """Whether only the run knows what the final scores mean: the head's answer decides it."""
        if self.head is None or self.settings.prior == "none":
            return False
        return self.head.gives_evidence or self.loss.gives_evidence

    @property
    def trained_scores(self) -> ScoreMeaning:
        """What the scores of the model of the rounds are."""
        return ScoreMeaning(self.loss.gives_evidence)


def make(kind: str, choice: Choice) -> Any:
    """The object of a choice."""
    return components.build(kind, choice.name, choice.settings)


def with_absolute_paths(study: Study, base: Path) -> Study:
    """The study with every path in it expanded and absolute: relative ones start at ``base``."""
    source = with_source_paths(study.data.source, base)
    data = study.data.model_copy(update={"source": source})
    weights = study.network.weights
    network = study.network.model_copy(
        update={"weights": str(expand(weights, base)) if weights else ""}
    )
    return study.model_copy(update={"data": data, "network": network})


def with_source_paths(source: Choice, base: Path) -> Choice:
    """The same for a source alone. Raises ComponentError for one that does not exist."""
    settings = source.settings
    choice = components.find("sources", source.name)
    hints = typing.get_type_hints(choice)
    for name in (field.name for field in fields(choice) if field.name in settings):
        if "Path" in str(hints[name]):
            settings[name] = _absolute(settings[name], base)
    return Choice(name=source.name, **settings)


def _absolute(value: Any, base: Path) -> Any:
    if isinstance(value, list | tuple):
        return [_absolute(item, base) for item in value]
    return str(expand(str(value), base)) if value else value


def method_of(name: str, settings: MethodSettings) -> Method:
    """The objects of a method. Raises ComponentError with every mistake in its settings."""
    problems = _without_settings(name, settings)

    def build(kind: str, choice: Choice) -> Any:
        try:
            return make(kind, choice)
        except InputError as error:
            problems.extend(error.problems)

    head, compression = settings.head, settings.compression
    method = Method(
        name,
        settings,
        build("losses", settings.loss),
        build("algorithms", settings.algorithm),
        build("weightings", settings.weighting),
        None if head is None or head.name == "none" else build("heads", head),
        None if compression is None else build("compressions", compression),
    )
    if not problems and method.head is not None and not scores_are_logits(method.loss):
        what = f"an exact head gives log-odds of each label, not the scores of {settings.loss.name}"
        problems.append(Problem("head", what, 'leave the head out, or take loss = "bce"'))
    if not problems and method.head is not None:
        problems += _without_prior(method.head, settings)
    if not problems and method.head is None:
        problems += _without_log_odds(method)
    if problems:
        raise StudyError(problems)
    return method


def scores_are_logits(loss: Loss) -> bool:
    """Whether a loss takes the network's outputs for scores, as most do."""
    return type(loss).scores is Loss.scores


def _without_settings(name: str, settings: MethodSettings) -> list[Problem]:
    """What is wrong with an empty table whose name is no preset: it would be FedAvg by a new name.

    The name of a choice alone does not say where it goes.
    """
    if name in PRESETS or settings.model_fields_set:
        return []
    kinds = {"algorithm": "algorithms", "loss": "losses", "weighting": "weightings"}
    keys = [key for key, kind in kinds.items() if name in components.names(kind)]
    remedy = f'add {keys[0]} = "{name}"' if keys else suggestion(name, PRESETS)
    return [Problem("", "an empty table is for a preset, and there is none of this name", remedy)]


def _without_prior(head: Head, settings: MethodSettings) -> list[Problem]:
    """What is wrong with a head that gives evidence where no prior makes log-odds of it.

    A loss that gives evidence may do without: its scores lack a constant of each label and what the
    other labels add, so they rank exams, and calibration finds the constant.
    """
    if not head.gives_evidence or settings.prior != "none":
        return []
    name = "" if settings.head is None else settings.head.name
    what = f"{name} gives evidence, of which only a label prior makes log-odds"
    remedy = 'add prior = "federation" to the method (or "site", "independent")'
    return [Problem("prior", what, remedy)]


def _without_log_odds(method: Method) -> list[Problem]:
    """What is wrong with a prior over scores of a loss that are neither log-odds nor evidence.

    An exact head puts its own scores in their place. A label that it cannot solve, having no
    positive or no negative to learn from, keeps the scores of the loss, and its prior means little.
    """
    own = method.settings
    if own.prior == "none" or method.loss.gives_log_odds or method.loss.gives_evidence:
        return []
    name = own.loss.name
    what = f"a label prior needs log-odds of each label, which the scores of {name} are not"
    remedy = 'leave the prior out, or take loss = "bce"'
    if scores_are_logits(method.loss):
        remedy += ', or add head = "newton", whose scores are log-odds'
    return [Problem("prior", what, remedy)]


def load_data(study: Study, cache: Path) -> Dataset:
    """The data set of a study, with the labels that it asks for; features where it is frozen."""
    return prepared(study, make("sources", study.data.source).load(cache), cache)


def prepared(study: Study, dataset: Dataset, cache: Path) -> Dataset:
    """A data set that was read, with the labels that a study asks for; features where frozen."""
    if study.network.frozen:
        settings = study.network.architecture.model_dump_json()
        dataset = with_features(dataset, encoder_of(study, dataset.form), settings, cache)
    if not study.data.labels:
        return dataset
    table = dataset.table
    columns = columns_of(table.schema, study.data.labels, "data.labels", LABELS_OF_DATA)
    names = tuple(table.schema.names[i] for i in columns)
    aliases = {alias: name for alias, name in table.schema.aliases.items() if name in names}
    kept = replace(table, schema=LabelSchema(names, aliases), states=table.states[:, columns])
    return replace(dataset, table=kept)


def policy_of(study: Study) -> UncertaintyPolicy:
    """What "uncertain" and "unknown" mean in this study."""
    data = study.data
    return UncertaintyPolicy(data.uncertain, data.soft_target, data.unknown_as_negative)


def optimizer_of(study: Study, learning_rate: float | None = None) -> OptimizerSettings:
    """The local optimiser at a learning rate (None: the first of the study)."""
    own = study.training
    rate = own.learning_rates[0] if learning_rate is None else learning_rate
    return OptimizerSettings(own.optimizer, rate, own.momentum, own.weight_decay)


def training_of(study: Study, learning_rate: float) -> LocalTraining:
    """How a client trains in one round, at one learning rate."""
    own = study.training
    optimizer = optimizer_of(study, learning_rate)
    augmentation = components.construct(Augmentation, "augmentation", own.augmentation)
    return LocalTraining(
        own.local_epochs, own.batch_size, optimizer, augmentation, own.clip_norm, own.precision
    )


def encoder_of(study: Study, form: Form) -> Network:
    """The network whose encoder is applied once where the study is frozen (seed 0)."""
    return _built(study.network.architecture, study, form, study.network.weights, 0)


def network_of(study: Study, form: Form, seed: int) -> Network:
    """The network before training: its tensors come from the seed, or from the weights file."""
    if study.network.frozen:
        return _built(Choice(name="linear"), study, form, "", seed)
    return _built(study.network.architecture, study, form, study.network.weights, seed)


def _built(choice: Choice, study: Study, form: Form, weights: str, seed: int) -> Network:
    network: Network = make("networks", choice).build(
        form.input_shape, len(form.schema), derive_seed(seed, "network")
    )
    if weights:
        load_weights(network, Path(weights))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device_of(study))


def device_of(study: Study) -> torch.device:
    """Where clients compute: "auto" is a GPU where there is one.

    Raises StudyError for "cuda" where there is none.
    """
    name, there = study.training.device, torch.cuda.is_available()
    if name == "cuda" and not there:
        what = "this machine, or this build of torch, has no GPU that can be used"
        raise StudyError(Problem("training.device", what, 'set device = "auto" or "cpu"'))
    if name == "auto":
        name = "cuda" if there else "cpu"
    return torch.device(name)


def computing_of(study: Study) -> dict[str, str]:
    """On what, in which precision and by whom a study's hospitals are computed."""
    device = device_of(study)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    own = study.training
    return {"device": name, "precision": own.precision, "runtime": own.runtime.name}


def recipe_of(
    study: Study, method: Method, schema: LabelSchema, network: Network, seed: int
) -> Recipe:
    """Rounds, head and looks of one method."""
    own = study.training
    alone = method.settings.trains != "federation"
    return Recipe(
        Schedule(
            own.rounds,
            1.0 if alone else own.participation,
            own.evaluate_every,
            own.checkpoint_every,
            seed=derive_seed(seed, "cohorts"),
            sampling=make("samplings", own.sampling),
            arithmetic=own.sum,
            decay=own.decay,
        ),
        own.keep if method.settings.shares == "all" else "last",
        method.head,
        study.evaluation.specificity,
        tuple(schema.indices(names) for names in study.evaluation.label_sets),
        network.started,
        method.settings.prior,
        method.trained_scores,
    )
