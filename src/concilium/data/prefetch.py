"""The next batch made while the step of the last one runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def one_ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The same items in the same order, each made by a thread while the last one is in use.

    One item at most lies ready. An exception of making an item is raised where that item is asked
    for. However the block ends, its thread has ended after it, with the item that it was making.
    """
    with ThreadPoolExecutor(1, "next batch") as thread:
        yield _one_ahead(items, thread)


def _one_ahead(items: Iterator[T], thread: ThreadPoolExecutor) -> Iterator[T]:
    end = object()
    coming = thread.submit(next, items, end)
    while (item := coming.result()) is not end:
        coming = thread.submit(next, items, end)
        yield item  # type: ignore[misc]
