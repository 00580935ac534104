"""Who holds what: each exam in one part of one hospital, with its labels, as its machines took it.

Divisions, and the exams, networks and recipes that are made of them and of a study.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from concilium.data.acquisition import Acquisition
from concilium.data.dataset import Dataset, Exams
from concilium.data.splits import PARTS, Disjointness, Split
from concilium.data.table import ExamTable
from concilium.federation.sharing import travelling
from concilium.foundation.errors import DataError, InputError
from concilium.labels.schema import LabelSchema
from concilium.labels.uncertainty import UncertaintyPolicy
from concilium.orchestration.phases import Recipe
from concilium.partitioners.contract import Partition
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import Division, divide
from concilium.studies.reading import parse_study

NUM_EXAMS = 12
Hospitals = dict[str, dict[str, Exams]]


def world() -> tuple[Dataset, Division]:
    """12 patients, one image each: row i at hospital i mod 2, part i ÷ 2 mod 3.

    Hospital A does not annotate label b; the machines of hospital B make brighter images.
    """
    rows = np.arange(NUM_EXAMS)
    images = np.random.default_rng(0).integers(0, 200, (NUM_EXAMS, 8, 8), dtype=np.uint8)
    states = np.ones((NUM_EXAMS, 2), np.int8)
    table = ExamTable(LabelSchema(("a", "b"), {}), states, rows, {})
    partition = Partition(
        ("A", "B"),
        rows % 2,
        np.array([[True, False], [True, True]]),
        {"B": Acquisition(brightness=0.2)},
    )
    split = Split((rows // 2 % 3).astype(np.int8))
    proof = Disjointness({}, {}, {}, {})
    return Dataset(table, images, "twelve"), Division(0, split, partition, proof)


def dealt() -> Hospitals:
    return hospitals.parts_of(*world(), UncertaintyPolicy())


def study(**tables: Any) -> Study:
    content = {
        "title": "small",
        "data": {"source": "phantom"},
        "network": {"architecture": "mlp"},
        "methods": {"fedavg": {}, "pooled": {}, "local_only": {}},
    }
    return parse_study({**content, **tables}, "small.toml")


def test_each_row_is_in_one_part_of_one_hospital() -> None:
    parts = dealt()
    patients = [own[part].patient for own in parts.values() for part in PARTS]
    assert sorted(np.concatenate(patients).tolist()) == list(range(NUM_EXAMS))
    for hospital, own in enumerate(parts.values()):
        for number, part in enumerate(PARTS):
            rows = own[part].patient
            assert len(rows) == 2
            assert (rows % 2 == hospital).all() and (rows // 2 % 3 == number).all()


def test_pooled_parts_hold_the_exams_of_all_hospitals() -> None:
    parts = dealt()
    pooled = hospitals.pooled(parts)
    for part in PARTS:
        images = np.concatenate([np.asarray(own[part].images[:]) for own in parts.values()])
        np.testing.assert_array_equal(np.asarray(pooled[part].images[:]), images)
        known = np.concatenate([own[part].known for own in parts.values()])
        np.testing.assert_array_equal(pooled[part].known, known)


def test_what_a_hospital_does_not_annotate_is_unknown_to_it_but_not_to_the_test() -> None:
    parts = dealt()
    for part in ("train", "validation"):
        assert parts["A"][part].known.tolist() == [[True, False]] * 2
    assert parts["A"]["test"].known.all()
    assert all(own.known.all() for own in parts["B"].values())


def test_a_hospitals_machines_took_all_its_images_and_no_others() -> None:
    (dataset, _), parts = world(), dealt()
    for part in PARTS:
        for name, brighter in (("A", 0), ("B", 51)):  # 0.2 × 255
            own = parts[name][part]
            expected = dataset.images[own.patient].astype(int) + brighter
            np.testing.assert_array_equal(np.asarray(own.images[:]), expected.clip(0, 255))


def table(num_patients: int = 60) -> Dataset:
    """Features of 60 patients, two exams each, labels at random."""
    generator = np.random.default_rng(0)
    states = (generator.random((2 * num_patients, 2)) < 0.4).astype(np.int8)
    patient = np.repeat(np.arange(num_patients), 2)
    made = ExamTable(LabelSchema(("a", "b"), {}), states, patient, {})
    return Dataset(made, generator.normal(size=(2 * num_patients, 4)).astype(np.float32), "sixty")


def test_each_seed_splits_and_partitions_in_its_own_way() -> None:
    dataset, own = table(), study(split={"hospitals": 3})
    first, again, other = (divide(dataset, own, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.split.part, again.split.part)
    np.testing.assert_array_equal(first.partition.client, again.partition.client)
    assert not np.array_equal(first.split.part, other.split.part)
    assert not np.array_equal(first.partition.client, other.partition.client)


def test_each_seed_has_its_own_folds() -> None:
    dataset, own = table(), study(split={"hospitals": 2, "folds": 3})
    divisions = {(s, f): divide(dataset, own, s, f) for s in (1, 2) for f in (0, 1)}
    tests = {key: tuple(found.split.rows("test")) for key, found in divisions.items()}
    assert len(set(tests.values())) == 4


def test_the_rows_of_a_division_are_every_row_once() -> None:
    division = divide(table(), study(split={"hospitals": 3}), 0)
    rows = [division.rows(k, part) for k in range(3) for part in PARTS]
    assert sorted(np.concatenate(rows).tolist()) == list(range(120))
    for part in PARTS:
        own = np.concatenate([division.rows(k, part) for k in range(3)])
        assert sorted(own.tolist()) == division.split.rows(part).tolist()


def test_the_rows_of_all_hospitals_are_those_of_each() -> None:
    division = divide(table(), study(split={"hospitals": 3}), 0)
    for k, own in enumerate(division.rows_of_all()):
        assert tuple(own) == PARTS
        for part, rows in own.items():
            np.testing.assert_array_equal(rows, division.rows(k, part))


def test_a_hospital_without_a_training_image_is_named() -> None:
    dataset = table(3)  # one patient for each of three parts, and for each of three hospitals
    own = study(split={"hospitals": 3, "fractions": [0.4, 0.3, 0.3]})
    with pytest.raises(DataError) as caught:
        divide(dataset, own, 0)
    trained = [k for k in range(1, 4) if f"hospital-{k}: has no" not in str(caught.value)]
    assert len(trained) == 1 and len(caught.value.problems) == 2


def test_the_network_begins_where_its_seed_says() -> None:
    dataset, own = table(), study()
    digests = [travelling(assembly.network_of(own, dataset.form, s)).digest() for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def recipe(own: Study, method: assembly.Method, seed: int) -> Recipe:
    dataset = table()
    network = assembly.network_of(own, dataset.form, seed)
    return assembly.recipe_of(own, method, dataset.table.schema, network, seed)


@pytest.mark.parametrize(
    ("method", "participation"), [("fedavg", 0.3), ("pooled", 1.0), ("local_only", 1.0)]
)
def test_only_a_federation_can_be_asked_in_part(method: str, participation: float) -> None:
    own = study(training={"participation": 0.3, "evaluate_every": 4, "keep": "last"})
    built = assembly.method_of(method, own.methods[method])
    made = recipe(own, built, 0)
    assert made.schedule.participation == participation
    assert (made.schedule.evaluate_every, made.keep) == (4, "last")


def test_each_seed_draws_its_own_cohorts() -> None:
    own = study()
    built = assembly.method_of("fedavg", own.methods["fedavg"])
    seeds = [recipe(own, built, seed).schedule.seed for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_settings_of_the_training_reach_it() -> None:
    settings = {
        "local_epochs": 3,
        "batch_size": 7,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "momentum": 0.4,
        "clip_norm": 2.5,
    }
    made = assembly.training_of(study(training=settings), 0.02)
    assert (made.epochs, made.batch_size, made.clip_norm) == (3, 7, 2.5)
    optimizer = made.optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adamw", 0.02)
    assert (optimizer.weight_decay, optimizer.momentum) == (0.01, 0.4)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("scaffold", 'add algorithm = "scaffold"'), ("focal", 'add loss = "focal"')],
)
def test_an_empty_table_of_no_preset_is_refused_with_what_it_may_mean(
    name: str, remedy: str
) -> None:
    """It would be plain FedAvg under the name of another method."""
    with pytest.raises(InputError, match=f"there is none of this name; {remedy}"):
        assembly.method_of(name, study(methods={name: {}}).methods[name])
    with pytest.raises(InputError, match="did you mean 'fedbn'"):
        assembly.method_of("fedbm", study(methods={"fedbm": {}}).methods["fedbm"])
    assembly.method_of("fedbn", study(methods={"fedbn": {}}).methods["fedbn"])


def test_a_round_needs_somebody_and_a_prior_needs_log_odds() -> None:
    with pytest.raises(InputError, match=r"training\.participation"):
        study(training={"participation": 0})
    softmax = study(methods={"m": {"loss": "softmax", "prior": "federation"}}).methods["m"]
    with pytest.raises(InputError, match="a label prior needs log-odds"):
        assembly.method_of("m", softmax)
