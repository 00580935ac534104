"""What a method tries in a world, which exams a seed has, and what a row says of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from catalogue_worlds import WORLDS
from definitions import Catalogue, Setting, method_of, settings_of, study_of, tuned
from grid import CATALOGUE
from methods import Method
from plan import Unit
from world_tables import _beside
from worlds import FIRST_EXAMS, World

from tests.benchmarks import tiny
from tests.benchmarks.made_rows import row as made

REGIMES = ({"weight_decay": 0.1}, {"weight_decay": 0.2, "decay": "cosine"})
PLAIN = Method("plain", "plain", {"loss": "bce"})
PROX = Method("prox", "prox", {"algorithm": "fedprox"}, "algorithm.strength", (0.01, 0.1))


def world() -> World:
    return tiny.world(Path("unused.npz"))


def of_phantoms() -> World:
    source = {"name": "phantom", "num_exams": 32}
    return replace(world(), study={**world().study, "data": {"source": source}}, own_exams=True)


@pytest.mark.parametrize("method", [PLAIN, PROX])
def test_every_method_tries_every_regime_with_every_rate(method: Method) -> None:
    own = replace(world(), regimes=REGIMES)
    tried = [(s.rate, s.value) for s in settings_of(own, method)]
    assert tried == [(rate, regime) for rate in own.rates for regime in REGIMES]
    assert tuned(own, method) == "training"


def test_a_regime_changes_training_and_leaves_the_parameter_of_the_method_alone() -> None:
    own, setting = replace(world(), regimes=REGIMES), Setting(0.1, REGIMES[1])
    training = Unit(own, PROX, setting, 0).training
    assert training.settings == {"algorithm": "fedprox"}
    assert training.study["training"] == {**own.study["training"], **REGIMES[1]}
    study = training.as_study()
    assert (study.training.weight_decay, study.training.decay) == (0.2, "cosine")


def test_without_regimes_the_parameter_of_the_method_is_tuned() -> None:
    setting = Setting(0.1, 0.01)
    assert tuned(world(), PROX) == "algorithm.strength"
    assert method_of(world(), PROX, setting)["algorithm"] == {"name": "fedprox", "strength": 0.01}
    assert study_of(world(), setting, 0) == world().study


def test_each_seed_of_a_synthetic_world_has_exams_of_its_own() -> None:
    seeds = [study_of(of_phantoms(), Setting(0.1), k)["data"]["source"]["seed"] for k in range(3)]
    assert seeds == [FIRST_EXAMS, FIRST_EXAMS + 1, FIRST_EXAMS + 2]
    assert study_of(replace(of_phantoms(), own_exams=False), Setting(0.1), 1) == of_phantoms().study


@pytest.mark.parametrize("change", [{"own_exams": False}, {"regimes": REGIMES}])
def test_rows_of_other_exams_or_regimes_no_longer_count(change: dict[str, object]) -> None:
    before, after = of_phantoms(), replace(of_phantoms(), **change)  # type: ignore[arg-type]
    old, new = (Catalogue({"tiny": own}, {"plain": PLAIN}) for own in (before, after))
    assert old.row_definition(before, PLAIN) != new.row_definition(after, PLAIN)


def test_worlds_that_take_their_settings_from_another_have_the_same_regimes() -> None:
    for own in WORLDS.values():
        assert own.regimes == CATALOGUE.tuned_in(own).regimes, own.name
        assert own.own_exams == (own.family == "phantom")


def test_a_line_tells_the_regime_that_was_chosen() -> None:
    row = made("m", 0, {}, parameter="training", value=REGIMES[1])
    assert _beside(row) == ", weight_decay = 0.2, decay = cosine"
    assert _beside(replace(row, parameter="", value=None)) == ""
    assert _beside(replace(row, parameter="a.b", value=2.0)) == ", a.b = 2.0"
