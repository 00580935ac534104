"""The exact head from sums: scikit-learn's on pooled data, however the exams are dealt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from concilium.data.dataset import Exams
from concilium.federation.sharing import travelling
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads.contract import Solved
from concilium.heads.newton import Newton
from concilium.orchestration.phases import asking
from tests.worlds import (
    exams,
    hospital_parts,
    joined,
    linear_network,
    runtime,
    with_labels_permuted,
)

Parts = dict[str, dict[str, Exams]]


def solve(parts: Parts, head: Newton) -> Solved:
    return head.solve(asking(runtime(parts)), travelling(linear_network(parts)))


def in_one_place(parts: Parts) -> Parts:
    names = ("train", "validation", "test")
    return {"all": {part: joined([own[part] for own in parts.values()]) for part in names}}


def scikit_learn(pooled: Exams, label: int, penalty: float) -> tuple[np.ndarray, float]:
    """Weight and intercept for unscaled features, of pooled exams with this label known."""
    images = np.asarray(pooled.images, np.float64)
    mean, deviation = images.mean(0), images.std(0)
    known = pooled.known[:, label]
    model = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    model.fit(((images - mean) / deviation)[known], pooled.target[known, label])
    weight = model.coef_[0] / deviation
    return weight, float(model.intercept_[0] - weight @ mean)


@pytest.mark.parametrize("penalty", [0.3, 3.0, 300.0])
def test_equals_scikit_learn_on_pooled_data(penalty: float) -> None:
    parts = hospital_parts((60, 25, 90))
    parts["hospital-1"]["train"].known[:, 2] = False  # one hospital does not annotate a label
    found = solve(parts, Newton(penalties=(penalty,))).model
    pooled = joined([own["train"] for own in parts.values()])
    for label in range(3):
        weight, bias = scikit_learn(pooled, label, penalty)
        assert np.abs(found["head.weight"][label].numpy() - weight).max() < 1e-5
        assert abs(found["head.bias"][label].item() - bias) < 1e-5


@pytest.mark.slow
@given(st.lists(st.integers(0, 4), min_size=80, max_size=80))
def test_any_deal_gives_the_pooled_head(owner: list[int]) -> None:
    """Whoever holds the exams, even one hospital all of a rare label, the head is the same."""
    pooled = exams(80, 5)
    holders = np.array(owner)
    parts = {}
    for k in range(5):
        rows = np.flatnonzero(holders == k)
        own = Exams(
            np.asarray(pooled.images)[rows],
            pooled.target[rows],
            pooled.known[rows],
            pooled.patient[rows],
        )
        parts[f"hospital-{k}"] = {"train": own, "validation": own}
    head = Newton(penalties=(2.0,))
    whole = solve({"all": {"train": pooled, "validation": pooled}}, head).model
    dealt = solve(parts, head).model
    assert float((whole["head.weight"] - dealt["head.weight"]).abs().max()) < 1e-6


def test_penalty_is_chosen_by_the_summed_validation_loss() -> None:
    parts = hospital_parts((40, 30))
    penalties = (0.01, 1.0, 10.0, 1000.0)
    found = solve(parts, Newton(penalties=penalties))
    losses = {}
    validation = joined([own["validation"] for own in parts.values()])
    for penalty in penalties:
        model = solve(parts, Newton(penalties=(penalty,))).model
        images = torch.from_numpy(np.asarray(validation.images))
        score = images @ model["head.weight"].T + model["head.bias"]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            score, torch.from_numpy(validation.target), reduction="none"
        )
        losses[penalty] = float(loss[torch.from_numpy(validation.known)].sum())
    assert found.report["penalty"] == min(losses, key=lambda penalty: losses[penalty])
    assert len(set(losses.values())) == 4  # the choice is a real one
    assert np.allclose(sorted(losses.values()), sorted(found.report["held_out_loss"]), rtol=1e-4)  # type: ignore[arg-type]


def test_permuting_labels_permutes_the_head() -> None:
    parts, order = hospital_parts((50, 40)), [2, 0, 1]
    plain = solve(parts, Newton(penalties=(3.0,))).model
    permuted = solve(with_labels_permuted(parts, order), Newton(penalties=(3.0,))).model
    assert torch.allclose(permuted["head.weight"], plain["head.weight"][order], atol=1e-7)


def test_a_label_without_positives_keeps_its_row() -> None:
    parts = hospital_parts((50, 40))
    for own in parts.values():
        own["train"].target[:, 1] = 0
    before = travelling(linear_network(parts))
    found = solve(parts, Newton(penalties=(3.0,)))
    assert torch.equal(found.model["head.weight"][1], before["head.weight"][1])
    assert not torch.equal(found.model["head.weight"][0], before["head.weight"][0])
    assert found.report["kept_rows"] == 1


def test_where_no_label_can_be_solved_the_model_stays() -> None:
    parts = hospital_parts((50, 40))
    for own in parts.values():
        own["train"].target[:] = 1
    before = travelling(linear_network(parts))
    found = solve(parts, Newton())
    assert found.model.digest() == before.digest()
    assert found.report["kept_rows"] == 3


def test_without_a_validation_exam_the_middle_penalty_is_taken_and_no_choice_reported() -> None:
    parts = hospital_parts((50, 40))
    for own in parts.values():
        own["validation"].known[:] = False
    found = solve(parts, Newton(penalties=(1.0, 10.0, 100.0)))
    assert (found.report["penalty"], found.report["held_out_loss"]) == (10.0, [])


def test_iterations_that_run_out_are_reported() -> None:
    parts = hospital_parts((50, 40))
    assert solve(parts, Newton(penalties=(3.0,))).report["not_converged"] == 0
    hurried = solve(parts, Newton(penalties=(3.0,), max_rounds=1)).report
    assert hurried["not_converged"] == 3


def test_a_separable_label_and_a_constant_feature_stay_finite() -> None:
    parts = hospital_parts((50,))
    own = parts["hospital-0"]["train"]
    images = np.asarray(own.images).copy()
    images[:, 3] = 7.0
    own.target[:, 0] = images[:, 0] > 0
    parts["hospital-0"]["train"] = Exams(images, own.target, own.known, own.patient)
    model = solve(parts, Newton(penalties=(0.001,))).model
    assert bool(model["head.weight"].isfinite().all())
    # Nothing can be learnt from a constant; its weight is what the penalty leaves, nothing.
    assert float(model["head.weight"][:, 3].abs().max()) < 1e-6


def test_starts_from_nothing_of_the_old_head() -> None:
    parts = hospital_parts((50, 40))
    ask, head = asking(runtime(parts)), Newton(penalties=(3.0,))
    model = travelling(linear_network(parts))
    moved = NamedTensors({**model, "head.weight": model["head.weight"] + 5})
    first, second = head.solve(ask, model).model, head.solve(ask, moved).model
    assert first.digest() == second.digest()


def test_bad_settings() -> None:
    with pytest.raises(InputError, match=r"penalty=-1\.0 must be > 0"):
        Newton(penalties=(-1.0,))
