"""One batch ahead: the same items, never two ahead, and no thread that outlives its training."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from concilium.data.prefetch import one_ahead


def threads() -> int:
    return sum(thread.name.startswith("next batch") for thread in threading.enumerate())


def counted(made: list[int], last: int = 5) -> Iterator[int]:
    for number in range(last):
        made.append(number)
        yield number


@pytest.mark.parametrize("last", [0, 1, 5])
def test_the_items_are_the_same_in_the_same_order(last: int) -> None:
    with one_ahead(counted([], last)) as ready:
        assert list(ready) == list(range(last))
    assert threads() == 0


def test_none_and_false_are_items_as_others() -> None:
    with one_ahead(iter([None, False, 0, None])) as ready:
        assert list(ready) == [None, False, 0, None]


def test_an_item_is_made_while_the_last_one_is_in_use_by_another_thread() -> None:
    started = threading.Event()
    makers: list[str] = []

    def items() -> Iterator[int]:
        makers.append(threading.current_thread().name)
        yield 0
        started.set()
        yield 1

    with one_ahead(items()) as ready:
        assert next(ready) == 0
        assert started.wait(5), "the second is made before it is asked for"
        assert next(ready) == 1
    assert makers != [threading.current_thread().name]


def test_at_most_one_item_lies_ready() -> None:
    made: list[int] = []
    with one_ahead(counted(made)) as ready:
        for number in ready:
            assert len(made) <= number + 2, "the one in use and the next"
    assert made == [0, 1, 2, 3, 4]


def test_an_error_of_making_an_item_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    with one_ahead(broken()) as ready:
        assert next(ready) == 0
        with pytest.raises(OSError, match="the disk is gone"):
            next(ready)
    assert threads() == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_thread_ends_where_the_use_of_an_item_fails(error: type[BaseException]) -> None:
    made: list[int] = []
    with pytest.raises(error), one_ahead(counted(made)) as ready:
        next(ready)
        raise error
    assert threads() == 0
    assert len(made) <= 2, "nothing more is made"


def test_the_thread_ends_where_the_items_are_not_used_up() -> None:
    with one_ahead(counted([])) as ready:
        for number in ready:
            if number == 2:
                break
    assert threads() == 0
