"""Recommendations: every rule is reached by a split made for it, every recipe can be run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import Dataset
from concilium.data.table import ExamTable
from concilium.labels.schema import LabelSchema
from concilium.labels.spread import Spread
from concilium.studies.assembly import method_of
from concilium.studies.configuration import PRESETS, MethodSettings, TrainingSettings
from concilium.studies.reading import parse_study
from concilium.studies.recipes import RECIPES
from concilium.studies.recommendation import Recommendation, combine, recommend
from concilium.studies.rules import RULES, beyond_chance
from concilium.studies.situation import Situation, situation_of

LABELS = ("Effusion", "Mass", "Nodule", "Hernia")
BY_NAME = {rule.name: rule for rule in RULES}


def dataset(images: bool = False) -> Dataset:
    """1,200 patients of one exam; Mass goes with Effusion at half of them; Hernia is rare."""
    generator = np.random.default_rng(0)
    present = generator.random((1200, 4)) < [0.4, 0.4, 0.3, 0.05]
    copied = generator.random(1200) < 0.5
    present[copied, 1] = present[copied, 0]
    names = LabelSchema(LABELS, {})
    table = ExamTable(names, present.astype(np.int8), np.arange(1200), {})
    shape = (1200, 16, 16) if images else (1200, 3)
    return Dataset(table, np.zeros(shape, np.uint8 if images else np.float32), "made up")


FEATURES, IMAGES = dataset(), dataset(images=True)


def situation(
    partitioner: Any = "iid",
    data: Dataset = FEATURES,
    hospitals: int = 5,
    network: Mapping[str, Any] | None = None,
    **training: Any,
) -> Situation:
    """The situation of a study of these data; with its defaults nothing but the default applies."""
    content = {
        "title": "small",
        "data": {"source": "phantom"},  # not read: the data set is given
        "split": {
            "hospitals": hospitals,
            "partitioner": partitioner,
            "fractions": [0.8, 0.1, 0.1],
        },
        "network": network or {"architecture": {"name": "mlp", "hidden": [4]}},
        "training": {"rounds": 30, "batch_size": 8, **training},
        "methods": {"fedavg": {}},
    }
    return situation_of(parse_study(content, "small.toml"), data, seed=0)


def rules_of(own: Situation) -> list[str]:
    """Which rules see something, beside those that say what kind of split it is."""
    found = [finding.rule for finding in recommend(own).findings]
    assert found[0] == "every_split"
    assert ("features" in found) == (own.body_trains and not own.images)
    return [rule for rule in found[1:] if rule != "features"]


PLAIN_SGD = {"optimizer": "sgd", "momentum": 0.0}  # shared momentum takes no other
HERNIA = [{"labels": ["Hernia"], "hospital": "hospital-1"}]
LINEAR: Mapping[str, Any] = {"architecture": "linear"}
CNN: Mapping[str, Any] = {"architecture": {"name": "small_cnn", "width": 8}}
SPLITS: dict[str, dict[str, Any]] = {
    "nothing_trains": {"network": LINEAR},
    "few_holders": {"hospitals": 2},
    "specialist": {"partitioner": {"name": "specialist", "specialists": HERNIA}},
    "partial_annotation": {"partitioner": {"name": "partial_annotation", "labels_per_hospital": 3}},
    "coupling": {"partitioner": {"name": "coupling_skew", "pairs": [["Effusion", "Mass"]]}},
    "images": {"data": IMAGES, "network": CNN},
    "few_rounds": {"data": IMAGES, "network": CNN, "rounds": 23},
    "few_steps": {"batch_size": 64},
    "prevalence": {"partitioner": {"name": "dirichlet", "alpha": 0.3}},
}
BESIDE = {  # what else such a split has
    "few_holders": {"few_holders"},
    "specialist": {"few_holders"},
    "partial_annotation": {"few_holders"},
    "few_rounds": {"images"},
    "prevalence": {"few_holders", "specialist", "coupling"},  # who lacks a label lacks its pairs
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_that_is_made_for_a_rule_is_seen_by_it(name: str) -> None:
    """Splits by the partitioners that have the property, and by no rule that says another."""
    found = rules_of(situation(**SPLITS[name]))
    assert name in found
    assert set(found) - {name} <= BESIDE.get(name, set())


def test_patients_dealt_out_at_random_call_for_the_default_alone() -> None:
    own = recommend(situation())
    assert [finding.rule for finding in own.findings] == ["every_split", "features"]
    assert own.method == PRESETS["concilium"]
    assert own.training == PLAIN_SGD
    assert not own.trials


def test_a_large_update_is_seen_and_its_bytes_are_told() -> None:
    """30 rounds of all hospitals with an update of 10 MB: 300 MB from each."""
    own = replace(situation(), update_bytes=10_000_000)
    assert rules_of(own) == ["large_update"]
    *_, finding = recommend(own).findings
    assert "300 MB" in finding.seen
    assert rules_of(replace(own, update_bytes=9_999_999)) == []


def test_every_rule_is_reached_by_some_split_here() -> None:
    assert {"every_split", "features", "large_update", *SPLITS} == set(BY_NAME)


def test_a_body_on_features_is_told_of_a_linear_network_in_a_study_of_its_own() -> None:
    """The network is that of all methods: no table of a method can set it."""
    found = recommend(situation())
    assert found.to_try == ["linear_features"]
    assert not found.trials
    lines = found.to_toml().splitlines()
    place = lines.index("# linear_features, to be tried in a study of its own, in [network]:")
    assert lines[place + 1] == '# architecture = "linear"'
    for other in (situation(network=LINEAR), situation(data=IMAGES, network=CNN)):
        assert "linear" not in recommend(other).to_toml()


def test_the_numbers_seen_are_those_of_the_split() -> None:
    own = situation(**SPLITS["specialist"])
    (seen,) = [f.seen for f in recommend(own).findings if f.rule == "specialist"]
    positives = own.profile.statistics.positives[LABELS.index("Hernia")]
    assert f"Hernia ({positives} positives, 1.0 effective holders)" in seen
    (steps,) = [
        f.seen for f in recommend(situation(batch_size=64)).findings if f.rule == "few_steps"
    ]
    assert steps.startswith("3.0 steps of a hospital in a round (192 images")  # 960 / 5 / 64


def test_local_epochs_are_steps_too() -> None:
    """192 images in batches of 64 are 3 steps an epoch: ten are reached with four epochs."""
    assert rules_of(situation(batch_size=64, local_epochs=3)) == ["few_steps"]
    assert rules_of(situation(batch_size=64, local_epochs=4)) == []


def test_small_batches_are_not_offered_to_those_who_have_them() -> None:
    few = replace(situation(), batch_size=9, profile=situation(hospitals=20).profile)
    assert few.steps_per_round < 10  # 48 images
    assert "few_steps" in rules_of(few)
    assert "few_steps" not in rules_of(replace(few, batch_size=8))


def test_more_rounds_never_means_fewer_local_epochs_in_all() -> None:
    base = situation(data=IMAGES, network=CNN)
    for rounds, epochs in product((1, 8, 23), (1, 2, 5, 20)):
        own = replace(base, rounds=rounds, local_epochs=epochs)
        training = recommend(own).training
        assert training["rounds"] > rounds
        total = training["rounds"] * training.get("local_epochs", epochs)
        assert total > rounds * epochs, (rounds, epochs)
    assert "rounds" not in recommend(replace(base, rounds=24)).training


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_advised_differs_from_the_default(name: str) -> None:
    """A recipe whose settings are all the default's is said to be in the default, as no advice."""
    default, own = RECIPES["default"].settings, RECIPES[name].settings
    changes = {key for key, value in own.items() if default.get(key, "not set") != value}
    (rule,) = [rule for rule in RULES if rule.recipe == name]
    found = combine(SITUATION, [(rule, "seen")])
    (finding,) = found.findings
    settings = {("method", k): v for k, v in found.method.items()}
    settings |= {("training", k): v for k, v in found.training.items()}
    expected = {
        "taken": settings != default or name == "default",
        "to try": settings == default and bool(changes),
        "in the default": settings == default and not changes,
    }
    assert expected[finding.standing], finding.standing
    assert finding.standing == finding.to_json()["standing"]


def test_what_is_advised_or_tried_or_the_defaults_already() -> None:
    standing = {rule.name: combined(rule.name).findings[0].standing for rule in RULES}
    assert {name for name, own in standing.items() if own == "to try"} == {
        "features",
        "partial_annotation",
        "coupling",
        "few_steps",
    }
    assert {name for name, own in standing.items() if own == "in the default"} == {
        "few_holders",
        "specialist",
        "images",
        "prevalence",
    }


def test_what_is_not_shown_to_help_is_offered_beside_the_method_and_never_in_it() -> None:
    found = combined("every_split", "coupling", "few_steps", "large_update")
    assert found.method == {**PRESETS["concilium"], "compression": "bfloat16"}
    assert found.training == PLAIN_SGD
    decoupled = {**found.method, **RECIPES["decoupled"].method}
    assert found.trials == found.to_json()["trials"] == {"decoupled": decoupled}
    methods = tomllib.loads(found.to_toml())["methods"]
    assert methods == {"recommended": found.method, "try_decoupled": decoupled}
    holds = "not shown to help, in [training], which holds for ALL methods of the study"
    assert f"# small_batches, {holds}:\n# batch_size = 8" in found.to_toml()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_without_a_measured_gain_says_so_plainly(name: str) -> None:
    """One for the network is tried for another reason: no method can set it."""
    own = RECIPES[name]
    assert own.measured.startswith("Not shown to help") == (not own.shown and not own.network)


def test_a_frozen_network_is_a_head_on_the_features_of_its_encoder() -> None:
    """Four labels × (features + 1) numbers of 4 bytes travel, and nothing of the encoder."""
    frozen = situation(data=IMAGES, network={**CNN, "frozen": True})
    assert not frozen.body_trains
    assert frozen.update_bytes == 4 * len(LABELS) * (64 + 1)  # small_cnn has 64 features
    assert situation(data=IMAGES, network=CNN).update_bytes > frozen.update_bytes
    found = recommend(frozen)
    assert found.training == {**PLAIN_SGD, "rounds": 0}
    assert "images" not in rules_of(frozen)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_run_and_says_all_that_it_must(name: str) -> None:
    own = RECIPES[name]
    settings = MethodSettings.model_validate({**RECIPES["default"].method, **own.method})
    method = method_of("recommended", settings)
    assert method.settings == settings
    TrainingSettings.model_validate(own.training)
    for text in (own.title, own.why, own.measured, own.loses, own.instead):
        assert text.strip()
    assert any(rule.recipe == name for rule in RULES)
    assert re.search(r"\bseeds?\b|\bfolds\b", own.measured), "of how many seeds?"


def combined(*names: str) -> Recommendation:
    return combine(SITUATION, [(BY_NAME[name], "seen") for name in names])


SITUATION = situation()


def test_whatever_rules_meet_the_method_can_be_run() -> None:
    """All subsets of up to three rules, in their order; and the table that is shown reads back."""
    subsets = [names for number in range(4) for names in combinations(BY_NAME, number)]
    shown = {found.to_toml(): found for found in (combined(*own) for own in subsets)}
    assert len(shown) > 10
    tables = {}
    for text, found in shown.items():
        tried = {f"try_{name}": method for name, method in found.trials.items()}
        methods = {"recommended": found.method, **tried}
        assert tomllib.loads(text)["methods"] == methods
        tables |= {repr(method): method for method in methods.values()}
    for table in tables.values():
        method_of("recommended", MethodSettings.model_validate(table))


def test_a_recipe_is_taken_whole_or_not_at_all() -> None:
    """``decoupled`` wants no exact head: after a specialist's it sets neither loss nor prior."""
    found = combined("every_split", "specialist", "coupling")
    (_, specialist, coupling) = found.findings
    assert specialist.standing == "in the default"
    assert (coupling.standing, coupling.against) == ("not taken", ("specialist",))
    assert found.method == PRESETS["concilium"]
    assert not found.trials
    alone = combined("every_split", "coupling").trials["decoupled"]
    assert (alone["loss"], alone["head"]) == ("cooccurrence_adjusted", "none")


def test_rows_of_few_holders_are_not_given_to_them_by_evidence() -> None:
    found = combined("few_holders", "partial_annotation")
    assert found.method["weighting"] == "by_known_entries"
    assert found.findings[1].against == ("few_holders",)
    assert not found.trials
    alone = combined("partial_annotation").trials["evidence_rows"]
    assert alone == {**PRESETS["concilium"], "weighting": "by_label_evidence"}


def test_advice_for_training_is_a_remark_as_a_study_has_that_table_already() -> None:
    text = combined("few_rounds").to_toml()
    remarks = '# optimizer = "sgd"\n# momentum = 0.0\n# rounds = 24'
    holds = "in [training], which holds for ALL methods of the study"
    assert text.endswith(f"\n# and {holds}:\n{remarks}")
    assert set(tomllib.loads(text)) == {"methods"}


def test_difference_that_chance_may_make_is_none() -> None:
    """Ten times the sampling error takes coupling and prevalence below what is beyond chance."""
    for name in ("coupling", "prevalence"):
        own = situation(**SPLITS[name])
        spread = vars(own.profile)[name]
        noisy = replace(spread, noise=100 * spread.noise, noise_squared=100 * spread.noise_squared)
        assert name not in rules_of(replace(own, profile=replace(own.profile, **{name: noisy})))


def test_chance_is_shared_by_all_that_is_compared() -> None:
    """Two hospitals 3.5 standard errors apart: by chance .00047, ten such numbers .0047 > .001."""
    for number, expected in ((1, True), (2, True), (3, False), (10, False)):
        some = np.ones(number)
        both = Spread.of(0 * some, some / 2, some) + Spread.of(3.5 * some, some / 2, some)
        assert both.chance == pytest.approx(0.00047, abs=1e-5)
        every = np.ones(number, bool)
        assert beyond_chance(both, both.between, 1.0, every).all() == expected
        assert not beyond_chance(both, both.between, 3.0, every).any()  # they differ by 2.4
        first = np.arange(number) == 0
        assert beyond_chance(both, both.between, 1.0, first)[0]


def test_a_federation_of_one_has_no_spread_and_no_specialist() -> None:
    assert rules_of(situation(hospitals=1)) == ["few_holders"]


def test_a_label_of_few_positives_says_nothing_of_who_holds_it() -> None:
    """Nine positives at one hospital are chance, ten are a specialist's."""
    own = situation(**SPLITS["specialist"])
    label = LABELS.index("Hernia")
    for positives, expected in ((9, False), (10, True)):
        counts = own.profile.statistics.both_present.copy()
        counts[label, label] = positives
        squared = own.profile.positives_squared.copy()
        squared[label] = positives**2
        statistics = replace(own.profile.statistics, both_present=counts)
        profile = replace(own.profile, statistics=statistics, positives_squared=squared)
        assert ("specialist" in rules_of(replace(own, profile=profile))) == expected


def test_json_has_every_number_and_null_where_it_is_undefined() -> None:
    found = recommend(situation(hospitals=1)).to_json()
    assert found["situation"]["hospitals"] == 1
    assert found["situation"]["prevalence_spread"] == [None] * 4
    assert found["findings"][2]["rule"] == "few_holders"
    assert found["findings"][2]["standing"] == "in the default"
    assert found["findings"][2]["measured"] == RECIPES["plain_rows"].measured
    assert tomllib.loads(found["toml"])["methods"]["recommended"] == found["method"]
