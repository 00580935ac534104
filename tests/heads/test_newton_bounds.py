"""The exact head at its bounds: how many exchanges, and which labels cannot be solved for."""

from __future__ import annotations

import pytest
import torch

from concilium.data.dataset import Exams
from concilium.federation.sharing import travelling
from concilium.heads.contract import Solved
from concilium.heads.newton import Newton
from concilium.orchestration.phases import asking
from tests.worlds import hospital_parts, linear_network, runtime

Parts = dict[str, dict[str, Exams]]


def solve(parts: Parts, head: Newton) -> Solved:
    return head.solve(asking(runtime(parts)), travelling(linear_network(parts)))


def is_kept(parts: Parts, found: Solved, label: int) -> bool:
    """Whether a label's row is that of the network before."""
    before = travelling(linear_network(parts))
    names = ("head.weight", "head.bias")
    return all(torch.equal(found.model[name][label], before[name][label]) for name in names)


@pytest.mark.parametrize("max_rounds", [1, 2, 3])
def test_there_are_at_most_so_many_exchanges_for_each_penalty(max_rounds: int) -> None:
    """Exact to 1e−7 it takes five or more, so the bound is what ends it."""
    parts = hospital_parts((50, 40))
    found = solve(parts, Newton(penalties=(0.1, 3.0), max_rounds=max_rounds))
    assert found.report["exchanges"] == 2 * max_rounds
    exchanges = solve(parts, Newton(penalties=(0.1, 3.0))).report["exchanges"]
    assert isinstance(exchanges, float) and exchanges > 2 * 3


def test_positives_on_entries_that_nobody_knows_are_none() -> None:
    parts = hospital_parts((50, 40))
    for own in parts.values():
        train = own["train"]
        train.known[:, 1] &= train.target[:, 1] == 0
        assert train.target[:, 1].any() and train.known[:, 1].any()
    found = solve(parts, Newton(penalties=(3.0,)))
    assert [is_kept(parts, found, label) for label in range(3)] == [False, True, False]
    assert found.report["kept_rows"] == 1


def test_a_label_without_negatives_keeps_its_row() -> None:
    parts = hospital_parts((50, 40))
    for own in parts.values():
        own["train"].known[:, 2] &= own["train"].target[:, 2] == 1
    found = solve(parts, Newton(penalties=(3.0,)))
    assert [is_kept(parts, found, label) for label in range(3)] == [False, False, True]
    assert found.report["kept_rows"] == 1
