"""What each partitioner promises beyond the laws, and how it refuses what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from concilium.data.acquisition import Acquisition
from concilium.data.patients import Patients
from concilium.data.shifts import HospitalShifts, describe_shifts
from concilium.data.table import ExamTable
from concilium.foundation import components
from concilium.foundation.errors import ComponentError, DataError, InputError, LabelError
from concilium.labels.schema import LabelSchema
from concilium.partitioners.contract import Partition
from concilium.partitioners.dirichlet import rarest_label

from .conftest import some_table


def deal(
    table: ExamTable, name: str, num_clients: int = 4, seed: int = 0, **settings: Any
) -> Partition:
    partition: Partition = components.build("partitioners", name, settings)(
        table, num_clients, seed
    )
    return partition


def shifts(table: ExamTable, name: str, *, seed: int = 0, **settings: Any) -> HospitalShifts:
    return describe_shifts(table, deal(table, name, seed=seed, **settings))


def with_labels(table: ExamTable, *labels: str) -> npt.NDArray[np.int64]:
    """Patients with all of the labels on one image."""
    columns = list(table.schema.indices(labels))
    return np.unique(table.patient[(table.states[:, columns] == 1).all(1)])


# iid and quantity


def test_iid_hospitals_are_equally_large_and_alike(table: ExamTable) -> None:
    found = shifts(table, "iid")
    # No patient has more than four images, so no cut is off by more than two on either side.
    assert abs(found.images - len(table) / 4).max() <= 4
    # 250 images a hospital: the prevalence of a third has a standard error of 0.03.
    assert np.ptp(found.prevalence[:, 0]) < 0.15


def test_quantity_by_power_law_is_as_its_exponent_says(table: ExamTable) -> None:
    found = shifts(table, "quantity", sizes="power_law", exponent=1.0)
    expected = np.array([12, 6, 4, 3]) / 25  # 1, 1/2, 1/3 and 1/4 of their sum
    assert found.share == pytest.approx(expected, abs=0.01)
    equal = shifts(table, "quantity", sizes="power_law", exponent=0.0)
    assert equal.share == pytest.approx([0.25] * 4, abs=0.01)


def test_quantity_by_dirichlet_is_more_unequal_for_a_smaller_alpha(table: ExamTable) -> None:
    def spread(alpha: float) -> float:
        settings = {"alpha": alpha, "min_images": 1}
        return float(
            np.mean([shifts(table, "quantity", seed=s, **settings).share.std() for s in range(10)])
        )

    assert spread(0.3) > 2 * spread(10)
    assert spread(1000) < 0.01


# dirichlet


def test_the_rarest_label_of_a_patient_is_among_those_they_have(table: ExamTable) -> None:
    patients = Patients.of(table)
    rarest = rarest_label(patients, table.schema.names)
    frequency = (patients.positives > 0).sum(0)
    for own, label in zip(patients.positives, rarest, strict=True):
        having = np.flatnonzero(own)
        expected = having[frequency[having].argmin()] if len(having) else -1
        assert label == expected


def test_dirichlet_separates_labels_by_its_alpha(table: ExamTable) -> None:
    def spread(alpha: float) -> float:
        found = [shifts(table, "dirichlet", seed=seed, alpha=alpha) for seed in range(10)]
        return float(np.mean([each.prevalence.std(0).mean() for each in found]))

    iid = np.mean([shifts(table, "iid", seed=s).prevalence.std(0).mean() for s in range(10)])
    assert spread(0.1) > 2 * spread(1.0) > 2 * spread(1000)
    assert spread(1000) < 1.2 * iid


def test_no_dirichlet_hospital_has_fewer_images_than_asked(table: ExamTable) -> None:
    for seed in range(20):
        found = shifts(table, "dirichlet", seed=seed, alpha=0.01, min_images=30)
        assert found.images.min() >= 30


def test_an_empty_hospital_is_refused_by_name_where_it_is_allowed_to_happen() -> None:
    with pytest.raises(DataError, match=r"hospital-\d+: no patient was dealt to it; ask for"):
        deal(some_table(0, 12), "dirichlet", num_clients=10, alpha=0.01, min_images=0)


def test_more_images_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(DataError, match=r"do not give 4 hospitals 1000 each; lower min_images"):
        deal(some_table(0, 12), "dirichlet", min_images=1000)


def test_permuting_the_labels_changes_no_dirichlet_partition(table: ExamTable) -> None:
    order = np.array([3, 1, 4, 0, 2])
    names = tuple(table.schema.names[i] for i in order)
    permuted = ExamTable(LabelSchema(names), table.states[:, order], table.patient)
    np.testing.assert_array_equal(
        deal(table, "dirichlet").client, deal(permuted, "dirichlet").client
    )


# coupling_skew


PAIRS = [["A", "B"], ["C", "D"]]


def test_coupling_goes_home_and_single_labels_keep_their_shares() -> None:
    table = some_table(0, 2000)
    found = shifts(table, "coupling_skew", pairs=PAIRS)
    ab, cd = found.phi[:, 0, 1], found.phi[:, 2, 3]
    assert ab[0] > 0.3 + ab[1:].max()
    assert cd[1] > 0.3 + np.delete(cd, 1).max()
    # Shares of every single label and of images: within a tenth of a quarter (E has 100 images).
    for counts in (*found.positives.T, found.images):
        assert counts / counts.sum() == pytest.approx([0.25] * 4, abs=0.025)


def test_without_strength_no_hospital_differs() -> None:
    table = some_table(0, 2000)
    found = shifts(table, "coupling_skew", pairs=PAIRS, strength=0.0)
    assert abs(found.phi[:, 0, 1] - found.phi_of_all[0, 1]).max() < 0.02
    assert abs(found.positives - found.positives.mean(0)).max() <= 4


def test_coupling_at_home_grows_with_strength() -> None:
    table = some_table(0, 2000)
    at_home = [
        shifts(table, "coupling_skew", pairs=PAIRS, strength=strength).phi[0, 0, 1]
        for strength in (0.0, 0.5, 1.0)
    ]
    assert at_home[0] + 0.05 < at_home[1] < at_home[2] - 0.05


def test_more_pairs_than_hospitals_go_round(table: ExamTable) -> None:
    partition = deal(table, "coupling_skew", num_clients=1, pairs=PAIRS)
    assert partition.clients == ("hospital-1",)


def test_a_pair_that_never_occurs_is_refused(table: ExamTable) -> None:
    states = table.states.copy()
    states[states[:, 0] == 1, 4] = 0
    alone = ExamTable(table.schema, states, table.patient)
    with pytest.raises(DataError) as caught:
        deal(alone, "coupling_skew", pairs=[["A", "E"], ["B", "B"]])
    assert "no image has both labels; choose another pair than 'A' and 'E'" in str(caught.value)
    assert "the same label twice" in str(caught.value)
    with pytest.raises(LabelError, match="unknown label 'Alfa'; did you mean 'Alpha'"):
        deal(table, "coupling_skew", pairs=[["Alfa", "B"]])
    with pytest.raises(InputError, match="name at least one pair"):
        deal(table, "coupling_skew", pairs=[])


# specialist


def specialist(labels: list[str], hospital: int | str = 2, **settings: Any) -> dict[str, Any]:
    return {"labels": labels, "hospital": hospital} | settings


def test_a_specialist_holds_every_patient_with_the_rare_label(table: ExamTable) -> None:
    found = shifts(table, "specialist", specialists=[specialist(["E"])])
    total = (table.states[:, 4] == 1).sum()
    assert found.positives[:, 4].tolist() == [0, total, 0, 0]
    # And realistic negatives: about as many other patients as iid gives.
    assert found.prevalence[1, 4] < 0.1
    assert found.prevalence[1, 0] == pytest.approx(found.prevalence[:, 0].mean(), abs=0.1)


def test_a_specialist_of_a_combination_holds_whoever_has_all_of_it(table: ExamTable) -> None:
    specialists = [specialist(["C", "Alpha"], "hospital-3")]
    partition = deal(table, "specialist", specialists=specialists)
    both = with_labels(table, "A", "C")
    assert set(partition.client[np.isin(table.patient, both)].tolist()) == {2}
    # A patient with one of the two, or with both on different images, is nobody's special case.
    others = np.setdiff1d(with_labels(table, "A"), both)
    assert len(set(partition.client[np.isin(table.patient, others)].tolist())) == 4


@pytest.mark.parametrize("concentration", [0.0, 0.25, 0.5, 0.75])
def test_a_fraction_is_concentrated_and_the_rest_stays(
    concentration: float, table: ExamTable
) -> None:
    carriers = np.isin(table.patient, with_labels(table, "D"))
    specialists = [specialist(["D"], concentration=concentration)]
    dealt = deal(table, "specialist", specialists=specialists).client
    base = deal(table, "iid").client
    assert (dealt[~carriers] == base[~carriers]).all()
    assert (dealt[dealt != base] == 1).all()  # whoever moved went to the specialist
    _, first = np.unique(table.patient[carriers], return_index=True)
    at_home = (dealt[carriers][first] == 1).mean()
    # λ of them are brought; of the others about a quarter was there before.
    assert at_home == pytest.approx(concentration + (1 - concentration) / 4, abs=0.1)


def test_a_specialist_can_be_made_small(table: ExamTable) -> None:
    specialists = [specialist(["E"], share=0.05)]
    found = shifts(table, "specialist", specialists=specialists)
    total = (table.states[:, 4] == 1).sum()
    assert found.positives[:, 4].tolist() == [0, total, 0, 0]
    # 5 % of about 1,000 images, and the images of the patients with the label (about 20 × 2.5).
    assert 0.05 <= found.share[1] < 0.15
    assert found.share[[0, 2, 3]] == pytest.approx([0.29] * 3, abs=0.04)


def test_the_first_of_two_specialists_has_the_patient_whom_both_claim(table: ExamTable) -> None:
    specialists = [specialist(["D"], 1), specialist(["C"], 2)]
    dealt = deal(table, "specialist", specialists=specialists).client
    first, second = with_labels(table, "D"), with_labels(table, "C")
    assert set(dealt[np.isin(table.patient, first)].tolist()) == {0}
    only_second = np.setdiff1d(second, first)
    assert set(dealt[np.isin(table.patient, only_second)].tolist()) == {1}


def test_mistakes_with_specialists_are_listed_at_once(table: ExamTable) -> None:
    states = table.states.copy()
    states[:, 4] = 0
    without = ExamTable(table.schema, states, table.patient)
    specialists = [specialist(["E"]), specialist(["A"], "hospital-22"), specialist(["A"], 0)]
    with pytest.raises(DataError) as caught:
        deal(without, "specialist", specialists=specialists)
    assert [problem.what for problem in caught.value.problems] == [
        "no image has 'E'",
        "there is no hospital 'hospital-22'",
        "there is no hospital 0",
    ]
    with pytest.raises(LabelError, match="unknown label 'F'"):
        deal(table, "specialist", specialists=[specialist(["F"])])
    with pytest.raises(InputError, match=r"concentration=1\.5 must lie between 0 and 1"):
        deal(table, "specialist", specialists=[specialist(["E"], concentration=1.5)])
    with pytest.raises(ComponentError, match="concentraton"):
        deal(table, "specialist", specialists=[specialist(["E"], concentraton=1.0)])
    with pytest.raises(InputError, match="there are none"):
        deal(table, "specialist", specialists=[])


def test_a_hospital_that_loses_its_last_patient_is_named() -> None:
    states = np.ones((3, 1), np.int8)  # all three patients have the label
    table = ExamTable(LabelSchema(("A",)), states, np.arange(3))
    with pytest.raises(DataError) as caught:
        deal(table, "specialist", num_clients=2, specialists=[specialist(["A"], 1)])
    assert "hospital-2: no patient is left there" in str(caught.value)


# partial_annotation, acquisition_shift


@pytest.mark.parametrize("number", [2, 3, 5])
def test_each_hospital_annotates_so_many_labels_and_all_are_covered(
    number: int, table: ExamTable
) -> None:
    for seed in range(10):
        settings = {"labels_per_hospital": number}
        annotated = deal(table, "partial_annotation", seed=seed, **settings).annotated
        assert (annotated.sum(1) == number).all()
        assert annotated.sum(0).min() >= 1
        assert np.ptp(annotated.sum(0)) <= 1


def test_labels_that_nobody_could_annotate_are_refused(table: ExamTable) -> None:
    with pytest.raises(InputError, match="set it to at least 2"):
        deal(table, "partial_annotation", labels_per_hospital=1)
    with pytest.raises(InputError, match="6 is more than the 5 labels"):
        deal(table, "partial_annotation", labels_per_hospital=6)
    # The default is half of the labels, or more where few hospitals must cover them.
    assert deal(table, "partial_annotation").annotated.sum(1).tolist() == [3] * 4
    assert deal(table, "partial_annotation", num_clients=1).annotated.all()


def test_every_hospital_has_a_habit_of_its_own(table: ExamTable) -> None:
    habits = deal(table, "acquisition_shift", strength=1.0).acquisition
    assert set(habits) == {f"hospital-{k}" for k in (1, 2, 3, 4)}
    assert len(set(habits.values())) == 4
    none = deal(table, "acquisition_shift", strength=0.0).acquisition
    assert set(none.values()) == {Acquisition()}


def test_wrappers_wrap_each_other(table: ExamTable) -> None:
    of = {"name": "acquisition_shift", "of": {"name": "quantity", "sizes": "power_law"}}
    partition = deal(table, "partial_annotation", of=of)
    assert len(partition.acquisition) == 4
    assert not partition.annotated.all()
    sizes = np.bincount(partition.client)
    assert (np.diff(sizes) < 0).all()


def test_a_base_that_does_not_exist_is_refused_with_a_suggestion(table: ExamTable) -> None:
    with pytest.raises(ComponentError, match="did you mean 'dirichlet'"):
        deal(table, "partial_annotation", of="dirichlt")
    with pytest.raises(ComponentError, match="unknown setting 'alfa'"):
        deal(table, "partial_annotation", of={"name": "dirichlet", "alfa": 1})
    with pytest.raises(ComponentError, match="does not say which partitioner"):
        deal(table, "partial_annotation", of={"alpha": 1})


# by_hospital


def test_hospitals_come_from_the_column(table: ExamTable) -> None:
    partition = deal(table, "by_hospital", num_clients=99)
    assert partition.clients == ("east", "north", "south", "west")
    names = np.array(partition.clients)[partition.client]
    np.testing.assert_array_equal(names, table.covariates["hospital"])


def test_rows_without_and_patients_with_two_hospitals_are_refused() -> None:
    column = np.array(["north", "", "south", "north"])
    table = ExamTable(
        LabelSchema(("A",)), np.zeros((4, 1), np.int8), np.array([0, 1, 2, 2]), {"site": column}
    )
    with pytest.raises(DataError) as caught:
        deal(table, "by_hospital", column="site")
    assert [problem.what for problem in caught.value.problems] == [
        "1 rows name no hospital",
        "1 patients have images at two hospitals or more",
    ]
    with pytest.raises(DataError, match=r"no column 'sit' among .* \(site\); did you mean 'site'"):
        deal(table, "by_hospital", column="sit")
