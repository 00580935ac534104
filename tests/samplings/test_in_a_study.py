"""A sampling as a study names it: read, checked, built, and listed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import Dataset
from concilium.data.table import ExamTable
from concilium.foundation.components import FACTS, describe, names
from concilium.foundation.errors import StudyError
from concilium.labels.schema import LabelSchema
from concilium.samplings.contract import Sampling
from concilium.samplings.uniform import Uniform
from concilium.samplings.weighted import Weighted
from concilium.studies import assembly, choice_checks
from concilium.studies.configuration import Study
from concilium.studies.reading import parse_study


def study(**training: Any) -> Study:
    content = {
        "title": "small",
        "data": {"source": "phantom"},
        "network": {"architecture": "linear"},
        "methods": {"fedavg": {}, "pooled": {}},
        "training": training,
    }
    return parse_study(content, "small.toml")


def sampling_of(own: Study) -> Sampling:
    table = ExamTable(LabelSchema(("a",), {}), np.ones((4, 1), np.int8), np.arange(4), {})
    dataset = Dataset(table, np.zeros((4, 3), np.float32), "four")
    method = assembly.method_of("fedavg", own.methods["fedavg"])
    network = assembly.network_of(own, dataset.form, 0)
    return assembly.recipe_of(own, method, table.schema, network, 0).schedule.sampling


def test_uniform_unless_the_study_says_otherwise() -> None:
    assert sampling_of(study(participation=0.4)) == Uniform()
    assert sampling_of(study(participation=0.4, sampling="weighted")) == Weighted()
    assert study().digest() != study(sampling="weighted").digest()


def test_a_wrong_name_is_a_mistake_of_the_study() -> None:
    with pytest.raises(StudyError, match=r"training\.sampling: samplings: there is no 'weigthed'"):
        choice_checks.check(study(sampling="weigthed"), "small.toml")
    choice_checks.check(study(sampling={"name": "weighted"}), "small.toml")


@pytest.mark.parametrize("name", names("samplings"))
def test_each_says_what_it_sends_and_costs(name: str) -> None:
    facts = describe("samplings", name).facts
    assert tuple(facts) == FACTS
    assert all(facts[fact].split(",")[0] in {"yes", "no"} for fact in FACTS[2:])
