"""The carrier over hospitals of this process, and the ways in which it interferes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from concilium.deployment.loopback import Fault, Loopback
from concilium.orchestration.carriers import Delivery


class Echo:
    """Answers with the letter and its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, letter: bytes) -> bytes:
        if letter == b"raise":
            raise ValueError
        return letter + self.name.encode()


def until(carrier: Loopback, number: int) -> Sequence[Delivery]:
    found: list[Delivery] = []
    while len(found) < number:
        more = carrier.collect(10)
        assert more
        found += more
    assert not carrier.collect(0)
    return sorted(found, key=lambda own: (own.hospital, own.data or b""))


def test_every_letter_brings_one_delivery() -> None:
    with Loopback({"b": Echo("b"), "a": Echo("a")}) as carrier:
        assert carrier.hospitals == ("a", "b")
        carrier.send({"a": b"1", "b": b"2"})
        assert until(carrier, 2) == [Delivery("a", b"1a"), Delivery("b", b"2b")]
        carrier.send({"b": b"raise"})
        assert until(carrier, 1) == [Delivery("b", None, "failed")]


@pytest.mark.parametrize(
    ("fault", "first", "second"),
    [
        ("", [Delivery("a", b"1a")], [Delivery("a", b"2a")]),
        ("failed", [Delivery("a", None, "failed")], [Delivery("a", b"2a")]),
        ("unreachable", [Delivery("a", None, "unreachable")], [Delivery("a", b"2a")]),
        ("silent", [], [Delivery("a", b"2a")]),
        ("garbage", [Delivery("a", b"1")], [Delivery("a", b"2a")]),
        ("twice", [Delivery("a", b"1a")] * 2, [Delivery("a", b"2a")]),
    ],
)
def test_one_letter_is_interfered_with(
    fault: Fault, first: list[Delivery], second: list[Delivery]
) -> None:
    with Loopback({"a": Echo("a")}, lambda name, number: fault if number == 0 else "") as carrier:
        carrier.send({"a": b"1"})
        assert until(carrier, len(first)) == first
        carrier.send({"a": b"2"})
        assert until(carrier, len(second)) == second


def test_a_late_answer_comes_with_the_next_letter() -> None:
    carrier = Loopback({"a": Echo("a")}, lambda name, number: "late" if number == 0 else "")
    carrier.send({"a": b"1"})
    carrier.__exit__(None, None, None)  # the answer is made
    assert not carrier.collect(0)
    with Loopback({"a": Echo("a")}, lambda name, number: "late" if number == 0 else "") as carrier:
        carrier.send({"a": b"1"})
        while not carrier._held["a"]:
            assert not carrier.collect(0.01)
        carrier.send({"a": b"2"})
        assert until(carrier, 2) == [Delivery("a", b"1a"), Delivery("a", b"2a")]
