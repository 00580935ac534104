"""Over what means go is said: labels with their positives, hospitals with their labels."""

from __future__ import annotations

from typing import Any

from concilium.studies.coverage import (
    hospital_coverage,
    hospital_note,
    label_coverage,
    label_note,
)

LABELS = ["Mass", "Edema", "Effusion", "Hernia"]


def result(seed: int, positives: list[float], hospitals: dict[str, int] | None = None) -> Any:
    """A result with these positives, and hospitals by how many labels their AUROC goes over."""
    value = [None if count == 0 else 0.7 for count in positives]
    return {
        "method": "m",
        "seed": seed,
        "fold": 0,
        "test": {
            "labels": LABELS,
            "positives": positives,
            "metrics": {"auroc": value, "average_precision": value},
            "by_hospital": {
                name: {"macro": {"auroc": {"mean": 0.7 if n else None, "num_labels": n}}}
                for name, n in (hospitals or {}).items()
            },
        },
    }


def test_a_label_that_is_left_out_is_named_with_its_positives() -> None:
    found = label_coverage([result(0, [30, 20, 10, 5])], 10)
    assert found.text() == "over 3 of 4 labels; left out: Hernia (5 positives)"


def test_one_positive_is_singular_and_all_labels_are_all() -> None:
    assert label_coverage([result(0, [30, 20, 10, 1])], 10).text().endswith("Hernia (1 positive)")
    assert label_coverage([result(0, [30, 20, 10, 12])], 10).text() == "over all 4 labels"


def test_what_changes_between_runs_is_said() -> None:
    results = [result(0, [30, 20, 10, 5]), result(1, [30, 20, 9, 8]), result(2, [30, 20, 11, 9])]
    text = "over 2 to 3 of 4 labels; left out: Effusion (9 positives, in 1 of 3 runs), "
    assert label_coverage(results, 10).text() == text + "Hernia (5 to 9 positives)"


def test_a_label_without_a_value_is_left_out_also_where_no_positives_are_asked_for() -> None:
    assert label_coverage([result(0, [30, 20, 0, 4])], 0).text().endswith("Effusion (0 positives)")


def test_many_labels_are_not_all_named() -> None:
    many = result(0, [1.0] * 12)
    many["test"]["labels"] = [f"label {i}" for i in range(12)]
    assert label_coverage([many], 10).text().endswith("label 7 (1 positive) and 4 more")


def test_hospitals_count_where_every_run_defines_them() -> None:
    results = [result(0, [], {"a": 5, "b": 0, "c": 3}), result(1, [], {"a": 4, "b": 6, "c": 6})]
    found = hospital_coverage(results)
    assert found.names == ("a", "c")
    assert found.text() == "2 of 3 hospitals, 3 to 6 labels each"
    assert hospital_coverage(results[1:]).text() == "3 of 3 hospitals, 4 to 6 labels each"


def test_no_hospital_at_all() -> None:
    assert hospital_coverage([result(0, [], {"a": 0})]).text() == "0 of 1 hospitals"


def test_the_notes_of_a_table() -> None:
    results = [result(0, [30, 20, 10, 5], {"a": 3, "b": 0})]
    note = "means over labels with at least 10 positives: over 3 of 4 labels; left out: Hernia"
    assert label_note(results, 10) == f"{note} (5 positives)"
    assert hospital_note(results).endswith("in every run: 1 of 2 hospitals, 3 labels each")
