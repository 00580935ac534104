"""Labels with too few cases: named, counted, and told what it means for what is recommended."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from concilium.evaluation.calibration import fit_calibration
from concilium.evaluation.sums import EvaluationSums
from concilium.labels.statistics import LabelStatistics
from concilium.studies.few_cases import OF_EVERY_LABEL, cautions, remark, too_few
from concilium.studies.glossary import WORDS, explained
from concilium.studies.recipes import RECIPES
from concilium.studies.recommendation import recommend
from concilium.studies.rules import RULES
from concilium.studies.situation import Situation
from tests.studies.test_recommendation import SITUATION

LABELS = SITUATION.labels


def counted(positives: list[int], known: int = 100) -> LabelStatistics:
    """Statistics in which labels have so many positives of so many known exams."""
    target = (np.arange(known)[:, None] < np.array(positives)).astype(np.float32)
    return LabelStatistics.of(target, np.ones(target.shape, bool), np.arange(known))


def of(train: list[int], validation: list[int], known: int = 100) -> Situation:
    profile = replace(SITUATION.profile, statistics=counted(train, known))
    return replace(SITUATION, profile=profile, validation=counted(validation, known))


def test_fewer_than_ten_with_or_without_are_too_few() -> None:
    """As calibration has it, which leaves such a label as it is."""
    own = counted([9, 10, 90, 91])
    assert too_few(own).tolist() == [True, False, False, True]
    target = (np.arange(100)[:, None] < np.array([9, 10, 90, 91])).astype(np.float32)
    scores = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    sums = EvaluationSums.of(scores, target, np.ones((100, 4), bool), np.arange(100))
    fitted = fit_calibration(sums)
    left = (fitted.slope == 1) & (fitted.offset == 0)
    assert left.tolist() == too_few(own).tolist()


def test_each_part_names_its_labels_with_the_fewer_of_both_counts() -> None:
    training, validation = cautions(of([50, 50, 50, 4], [50, 1, 91, 50]))
    assert training.startswith("Too few cases in training")
    assert f"{LABELS[3]} (4 positives). Who holds them" in training
    assert validation.startswith("Too few cases in validation")
    assert f"{LABELS[1]} (1 positive), {LABELS[2]} (9 negatives). Their scores" in validation
    assert OF_EVERY_LABEL not in training + validation


def test_cases_enough_call_for_no_caution() -> None:
    own = of([10, 10, 10, 90], [10, 50, 50, 90])
    assert cautions(own) == []
    assert remark(own) == ""


def test_where_every_label_has_too_few_nothing_is_advised_as_if_it_were_known() -> None:
    own = of([50, 50, 50, 50], [9, 8, 7, 6])
    (said,) = cautions(own)
    assert said.endswith(OF_EVERY_LABEL)
    assert remark(own) == "too few cases of 4 of 4 labels: for them this is a guess"


def test_the_table_itself_begins_with_it() -> None:
    found = recommend(of([50, 50, 50, 4], [50, 1, 50, 50]))
    text = found.to_toml().splitlines()
    assert text[0] == "# too few cases of 2 of 4 labels: for them this is a guess"
    assert text[1] == "[methods.recommended]"
    assert [own.startswith("Too few cases") for own in found.cautions] == [True, True, False]
    enough = recommend(of([50, 50, 50, 50], [50, 50, 50, 50]))
    assert enough.to_toml().startswith("[methods.recommended]")


def test_validation_exams_are_counted_and_not_those_of_training() -> None:
    """1,200 patients of one exam: 960 in training, 120 in validation, 120 in test."""
    assert SITUATION.profile.statistics.num_images == 960
    assert SITUATION.validation.num_images == 120
    shown = SITUATION.to_json()
    assert shown["positives_in_validation"].tolist() == SITUATION.validation.positives.tolist()


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_one_that_may_be_shown(word: str) -> None:
    recipes = " ".join(
        " ".join([own.title, own.why, own.measured, own.loses, own.instead, name])
        for name, own in RECIPES.items()
    )
    rules = " ".join(rule.name for rule in RULES)
    method = recommend(SITUATION).to_toml()
    seen = "labels features effective holders phi odds update positives local epochs"
    assert word in explained(" ".join([recipes, rules, method, seen]))


def test_a_word_within_another_is_not_that_word() -> None:
    assert list(explained("priority, embody, ahead, mAPs")) == []
    assert list(explained("a body")) == ["body"]
    assert "head" in explained("heads") and "exact head" not in explained("heads")
    assert all(re.compile(pattern) for pattern, _ in WORDS.values())
