"""Errors carry every problem, each with where, what and remedy, and form one tree."""

from __future__ import annotations

import pytest

from concilium.foundation import errors
from concilium.foundation.errors import ConciliumError, InputError, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("", "no images"), "no images"),
        (Problem("a.csv", "no images"), "a.csv: no images"),
        (Problem("a.csv", "no images", "add some"), "a.csv: no images; add some"),
        (Problem("", "no images", "add some"), "no images; add some"),
    ],
)
def test_a_problem_reads_as_where_what_remedy(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_one_problem_is_one_line() -> None:
    assert str(InputError("no images")) == "no images"
    assert str(InputError(Problem("a.csv", "no images"))) == "a.csv: no images"


def test_several_problems_are_counted_and_all_listed_in_order() -> None:
    error = InputError([Problem("a.csv, row 2", "blank"), Problem("a.csv, row 7", "blank")])
    assert str(error) == "2 problems:\n  - a.csv, row 2: blank\n  - a.csv, row 7: blank"
    assert [problem.where for problem in error.problems] == ["a.csv, row 2", "a.csv, row 7"]


def test_a_long_list_is_cut_in_the_message_and_whole_in_the_error() -> None:
    error = InputError([Problem(f"a.csv, row {row}", "blank") for row in range(2, 1236)])
    lines = str(error).split("\n")
    assert lines[0] == "1,234 problems:"
    assert lines[-1] == "  and 1,214 more"
    assert len(lines) == 22, "a heading, 20 problems, and how many more"
    assert len(error.problems) == 1234


def test_every_error_belongs_to_the_tree_that_the_module_draws() -> None:
    assert errors.__doc__ is not None
    classes = {
        name: item
        for name, item in vars(errors).items()
        if isinstance(item, type) and issubclass(item, Exception)
    }
    assert all(issubclass(item, ConciliumError) for item in classes.values())
    assert all(name in errors.__doc__ for name in classes)


def test_a_broken_checkpoint_is_not_the_users_mistake() -> None:
    # Input errors end the command line with exit code 2: the user can mend them in a file.
    assert not issubclass(errors.CheckpointError, InputError)
