"""Preconditions: what they let pass, and that one message names every value that fails."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from concilium.foundation.checks import (
    at_least,
    fraction,
    not_negative,
    one_of,
    positive,
    suggestion,
)
from concilium.foundation.errors import InputError


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (positive, [1e-300, 1, 2.5], [0, -0.0, -1, math.inf, math.nan]),
        (not_negative, [0, -0.0, 3], [-1e-300, math.inf, math.nan]),
        (fraction, [0, 0.5, 1], [-1e-9, 1 + 1e-9, math.inf, math.nan]),
    ],
)
def test_bounds(check: Callable[..., None], good: list[float], bad: list[float]) -> None:
    for value in good:
        check(value=value)
    for value in bad:
        with pytest.raises(InputError, match=r"^value="):
            check(value=value)


def test_at_least_includes_its_bound_and_refuses_nan() -> None:
    at_least(2, clients=2)
    for value in (1, math.nan):
        with pytest.raises(InputError, match="must be at least 2"):
            at_least(2, clients=value)


def test_all_values_that_fail_are_named_and_no_other() -> None:
    with pytest.raises(InputError) as caught:
        positive(learning_rate=-1.0, momentum=0.9, rounds=0)
    assert [problem.what for problem in caught.value.problems] == [
        "learning_rate=-1.0 must be > 0",
        "rounds=0 must be > 0",
    ]


def test_one_of_suggests_the_nearest_name() -> None:
    one_of(["sgd", "adam"], optimizer="adam")
    with pytest.raises(InputError, match=r"optimizer='adm' is not known; did you mean 'adam'\?"):
        one_of(["sgd", "adam"], optimizer="adm")


def test_a_suggestion_ignores_case_and_keeps_the_known_spelling() -> None:
    assert suggestion("EDEMA", ["Edema", "Mass"]) == "did you mean 'Edema'?"


def test_without_a_near_name_all_are_listed() -> None:
    assert suggestion("xyz", ["Edema", "Mass"]) == "known are: Edema, Mass"
