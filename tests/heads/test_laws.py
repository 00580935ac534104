"""Laws of every exact head: whoever holds the exams, and whatever stands at unknown entries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concilium.data.dataset import Exams
from concilium.federation.sharing import travelling
from concilium.foundation import components
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads.contract import Head
from concilium.networks.label_graph import LabelGraphNetwork
from concilium.orchestration.phases import asking
from tests.heads.worlds import Parts, chosen, dealt, largest_gap, solution, solve
from tests.worlds import exams, hospital_parts, linear_network, runtime, with_labels_permuted

NAMES = components.names("heads")
EXACT: dict[str, dict[str, Any]] = {
    "newton": {"penalties": (2.0,), "tolerance": 1e-11},
    # With a mean for each site the answer depends on who holds what: test_label_regression.
    "label_regression": {"site_means": False},
}
ALSO = {"newton, own intercepts": ("newton", {**EXACT["newton"], "site_intercepts": True})}
CASES = [*NAMES, *ALSO]


def head_of(case: str) -> Head:
    name, own = ALSO.get(case, (case, EXACT.get(case, {})))
    built: Head = components.build("heads", name, own)
    return built


def with_whole_rows(own: Exams) -> Exams:
    """Every other exam has all labels known, so that a head that needs those has some."""
    known = own.known.copy()
    known[::2] = True
    return replace(own, known=known)


def world(sizes: tuple[int, ...] = (40, 30, 24)) -> Parts:
    parts = hospital_parts(sizes)
    return {k: {p: with_whole_rows(e) for p, e in own.items()} for k, own in parts.items()}


def gap_to_pooled(name: str, owner: list[int], silent: int, many: int) -> float:
    """One hospital knows nothing of a label; several of 50 hold no exam, or one."""
    holder = np.array(owner) % many
    pooled = with_whole_rows(exams(90, 5))
    own = holder == holder[0]
    if own.sum() < 45:  # else hardly an exam is left that has all labels known
        pooled.known[own, silent] = False
    whole = solution(dealt(pooled, np.zeros(90, np.int64), 1), head_of(name))
    assert bool(whole.solved.all())
    return largest_gap(whole, solution(dealt(pooled, holder, many), head_of(name)))


@pytest.mark.parametrize("many", [1, 5, 50])
@pytest.mark.parametrize("name", NAMES)
def test_exams_of_one_five_or_fifty_hospitals_give_the_pooled_head(name: str, many: int) -> None:
    owner = np.random.default_rng(many).integers(0, 10**6, 90).tolist()
    assert gap_to_pooled(name, owner, many % 3, many) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(
    owner=st.lists(st.integers(0, 10**6), min_size=90, max_size=90),
    silent=st.integers(0, 2),
    many=st.sampled_from([5, 50]),
)
def test_any_deal_gives_the_pooled_head(
    name: str, owner: list[int], silent: int, many: int
) -> None:
    assert gap_to_pooled(name, owner, silent, many) < 1e-8


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_hospitals_does_not_matter(case: str) -> None:
    parts = world()
    backwards = dict(reversed(parts.items()))
    assert largest_gap(solution(parts, head_of(case)), solution(backwards, head_of(case))) < 1e-10


@pytest.mark.parametrize("case", CASES)
def test_permuting_labels_permutes_the_head(case: str) -> None:
    parts, order = world(), [2, 0, 1]
    plain = solution(parts, head_of(case))
    moved = solution(with_labels_permuted(parts, order), head_of(case))
    coupling = None if plain.coupling is None else plain.coupling[order][:, order]
    expected = replace(
        plain,
        weight=plain.weight[order],
        bias=plain.bias[order],
        solved=plain.solved[order],
        coupling=coupling,
    )
    assert float(plain.weight.std(0).min()) > 1e-3  # labels differ, so a permutation shows
    assert largest_gap(expected, moved) < 1e-8


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -7.0])
@pytest.mark.parametrize("case", CASES)
def test_what_stands_at_an_unknown_entry_has_no_influence(case: str, rubbish: float) -> None:
    parts = world()
    clean = solution(parts, head_of(case))
    for own in parts.values():
        assert not own["train"].known.all()
        for part in own.values():
            part.target[~part.known] = rubbish
    assert largest_gap(clean, solution(parts, head_of(case))) == 0.0


@pytest.mark.parametrize("case", CASES)
def test_hospitals_without_exams_or_without_a_known_entry_change_nothing(case: str) -> None:
    """The one that knows nothing has exams at the mean, ±1 deviation, so that the scale stays."""
    parts = world()
    images = np.concatenate([np.asarray(own["train"].images) for own in parts.values()])
    mean, deviation = images.mean(0, dtype=np.float64), images.std(0, dtype=np.float64)
    pair = np.stack([mean - deviation, mean + deviation]).astype(np.float32)
    unknown = Exams(pair, np.ones((2, 3), np.float32), np.zeros((2, 3), np.bool_), np.arange(2))
    empty = chosen(exams(4, 9), np.arange(0))
    more = {
        **parts,
        "empty": {"train": empty, "validation": empty},
        "knows nothing": {"train": unknown, "validation": unknown},
    }
    assert largest_gap(solution(parts, head_of(case)), solution(more, head_of(case))) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_a_hospital_with_one_exam_is_heard_and_harms_nothing(case: str) -> None:
    parts = world()
    lone = with_whole_rows(exams(1, 77))
    more = {**parts, "one": {"train": lone, "validation": lone}}
    found = solution(more, head_of(case))
    assert bool(found.weight.isfinite().all() and found.bias.isfinite().all())
    assert 0 < largest_gap(solution(parts, head_of(case)), found) < 0.5


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_a_label_without_positives_or_without_negatives_keeps_its_row(
    case: str, value: float
) -> None:
    parts = world()
    for own in parts.values():
        own["train"].target[:, 1] = value
    before, found = travelling(linear_network(parts)), solve(parts, head_of(case))
    for name in ("head.weight", "head.bias"):
        assert torch.equal(found.model[name][1], before[name][1])
        assert not bool((found.model[name][[0, 2]] == before[name][[0, 2]]).any())
    assert found.report["kept_rows"] == 1


@pytest.mark.parametrize("case", CASES)
def test_a_solution_is_finite_and_float64(case: str) -> None:
    """Label 0 is separable, feature 3 constant."""
    parts = world((50,))
    own = parts["hospital-0"]["train"]
    images = np.asarray(own.images).copy()
    images[:, 3] = 7.0
    own.target[:, 0] = images[:, 0] > 0
    parts["hospital-0"]["train"] = replace(own, images=images)
    found = solution(parts, head_of(case))
    tensors = [found.weight, found.bias, *([] if found.coupling is None else [found.coupling])]
    for tensor in tensors:
        assert tensor.dtype == torch.float64
        assert bool(tensor.isfinite().all())
    assert float(found.weight[:, 3].abs().max()) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_the_label_graph_is_switched_off_and_other_tensors_stay(case: str) -> None:
    parts = world()
    own = runtime(parts)
    network = LabelGraphNetwork(of="mlp").build((5,), 3, 0)
    members = tuple(replace(client, network=network) for client in own.members)
    model = NamedTensors({**travelling(network), "graph.coupling": torch.ones(3, 3)})
    found = head_of(case).solve(asking(replace(own, members=members)), model).model
    assert found.keys() == model.keys()
    assert not bool(found["graph.coupling"].any())
    for name in model:
        assert torch.equal(found[name], model[name]) == name.startswith("encoder.")


@pytest.mark.parametrize("case", CASES)
def test_exchanges_and_bytes_are_counted(case: str) -> None:
    """A weight and a bias for each of three labels come from at least as many numbers."""
    found = solve(world(), head_of(case)).report
    exchanges, sent = found["exchanges"], found["bytes_up"]
    assert isinstance(exchanges, float) and isinstance(sent, float)
    assert exchanges >= 1
    assert sent >= 8 * 3 * (5 + 1)


@pytest.mark.parametrize("case", CASES)
def test_a_coupling_is_symmetric_and_couples_no_label_with_itself(case: str) -> None:
    coupling = solve(world(), head_of(case)).coupling
    assert (coupling is not None) == (case == "label_regression")
    if coupling is not None:
        assert torch.equal(coupling, coupling.T)
        assert not bool(coupling.diagonal().any())
