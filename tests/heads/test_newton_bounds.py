"""The exact head at its bounds: how many exchanges, and which labels cannot be solved for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from concilium.data.dataset import Exams
from concilium.federation.requests import Request
from concilium.federation.sharing import travelling
from concilium.foundation.errors import DivergenceError
from concilium.heads._descent import Descent, Secant, _Walk, corrected
from concilium.heads._logistic import HessianRequest, LossRequest, Place
from concilium.heads._standardisation import MomentsRequest, Scale
from concilium.heads.contract import Solved
from concilium.heads.newton import Newton
from concilium.orchestration.phases import asking
from tests.worlds import hospital_parts, linear_network, runtime

Parts = dict[str, dict[str, Exams]]


def solve(parts: Parts, head: Newton) -> Solved:
    return head.solve(asking(runtime(parts)), travelling(linear_network(parts)))


def exchanges(parts: Parts, head: Newton) -> tuple[list[str], list[Any]]:
    """What was asked, by the name of the request, and the totals that came back."""
    asked: list[str] = []
    answers: list[Any] = []
    inner = asking(runtime(parts))

    def ask(request: Request[Any]) -> Any:
        asked.append(type(request).__name__)
        answers.append(inner(request))
        return answers[-1]

    head.solve(ask, travelling(linear_network(parts)))
    return asked, answers


def is_kept(parts: Parts, found: Solved, label: int) -> bool:
    """Whether a label's row is that of the network before."""
    before = travelling(linear_network(parts))
    names = ("head.weight", "head.bias")
    return all(torch.equal(found.model[name][label], before[name][label]) for name in names)


@pytest.mark.parametrize("max_rounds", [1, 2, 3])
def test_there_are_at_most_so_many_exchanges_of_losses_for_each_penalty(max_rounds: int) -> None:
    """Exact to 1e−7 it takes four or more, so the bound is what ends it; one more begins."""
    asked, _ = exchanges(hospital_parts((50, 40)), Newton((0.1, 3.0), max_rounds=max_rounds))
    assert asked.count("LossRequest") == 1 + 2 * max_rounds
    free, _ = exchanges(hospital_parts((50, 40)), Newton((0.1, 3.0)))
    assert free.count("LossRequest") > 1 + 2 * 3


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


def test_hessians_are_rare_and_triangles() -> None:
    """Newton would ask for one beside every gradient: here fewer than one in two, and 21 numbers
    a label for five features and an intercept, not 36."""
    asked, answers = exchanges(hospital_parts((200, 150)), Newton())
    assert asked.count("HessianRequest") < asked.count("LossRequest") / 2
    sizes = {a.shape[1] for n, a in zip(asked, answers, strict=True) if n == "HessianRequest"}
    assert sizes == {6 * 7 // 2}
    report = solve(hospital_parts((200, 150)), Newton()).report
    assert report["exchanges"] == len(asked)
    assert report["bytes_up"] == 8 * sum(map(count_numbers, answers))


def test_no_step_that_is_taken_raises_the_objective() -> None:
    """At an intercept of 8 all probabilities are near 1, the curvature is near 0, and Newton's
    step is hundreds long: taken whole it would raise the loss a hundredfold."""
    start = torch.zeros(3, 6, dtype=torch.float64)
    start[:, -1] = 8.0
    penalty = torch.tensor([1e-3] * 5 + [0.0], dtype=torch.float64)
    walk = walk_from(start, penalty)
    objectives = [objective(walk, penalty)]
    while walk.aim() and len(objectives) < 100:
        walk.move()
        objectives.append(objective(walk, penalty))
    rises = torch.stack(objectives).diff(dim=0)
    assert float(rises.max()) <= 1e-10
    assert bool((rises == 0).all(1).any())  # a step was refused on the way
    gradient = walk.gradient + penalty * walk.solution
    assert float(gradient.abs().max()) < 1e-6


def walk_from(start: torch.Tensor, penalty: torch.Tensor) -> _Walk:
    """The descent of three labels at one hospital, which has not yet taken a step."""
    parts = hospital_parts((60,))
    ask, model = asking(runtime(parts)), travelling(linear_network(parts))
    scale = Scale.of(ask(MomentsRequest(model)))

    def place(solution: torch.Tensor, rows: torch.Tensor) -> Place:
        return Place(model, scale, solution, tuple(rows.tolist()))

    descent = Descent(
        ask,
        lambda s, r: LossRequest(place(s, r)),
        lambda s, r: HessianRequest(place(s, r)),
        1e-9,
        1,
    )
    return _Walk(descent, descent.begin(start), penalty)


def test_a_secant_is_the_change_of_the_whole_gradient_over_a_step() -> None:
    """The penalty's part included: of a penalty of 50, much the larger."""
    penalty = torch.tensor([50.0] * 5 + [0.0], dtype=torch.float64)
    walk = walk_from(torch.full((3, 6), 0.1, dtype=torch.float64), penalty)
    assert walk.aim()
    walk.move()
    before = walk.solution.clone(), walk.gradient + penalty * walk.solution
    assert walk.aim()
    walk.move()
    after = walk.solution, walk.gradient + penalty * walk.solution
    for row in range(3):
        newest = walk.secants[row][-1]
        torch.testing.assert_close(newest.moved, (after[0] - before[0])[row])
        torch.testing.assert_close(newest.change, (after[1] - before[1])[row])


def objective(walk: _Walk, penalty: torch.Tensor) -> torch.Tensor:
    return walk.loss + (penalty * walk.solution.square()).sum(1) / 2


def count_numbers(answer: Any) -> int:
    if isinstance(answer, torch.Tensor):
        return answer.numel()
    return sum(
        count_numbers(v) if isinstance(v, torch.Tensor) else 1 for v in vars(answer).values()
    )


def test_a_step_is_that_of_the_hessian_which_bfgs_updates_densely() -> None:
    """H⁻¹ ← (I − s yᵀ/yᵀs) H⁻¹ (I − y sᵀ/yᵀs) + s sᵀ/yᵀs for each secant, in their order."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    hessian, truth = root @ root.T + torch.eye(4), 2 * root @ root.T + torch.eye(4)
    moves = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    gradient = torch.randn(4, generator=generator, dtype=torch.float64)
    inverse, secants = torch.linalg.inv(hessian), []
    for moved in moves:
        change = truth @ moved
        secants.append(Secant(moved, change))
        left = torch.eye(4) - torch.outer(moved, change) / (moved @ change)
        inverse = left @ inverse @ left.T + torch.outer(moved, moved) / (moved @ change)
        step = corrected(torch.linalg.lu_factor(hessian), secants, gradient)
        torch.testing.assert_close(step, inverse @ gradient)
        # What was learnt last is reproduced exactly: the step for that change is that move.
        again = corrected(torch.linalg.lu_factor(hessian), secants, change)
        torch.testing.assert_close(again, moved)
    chord = corrected(torch.linalg.lu_factor(hessian), [], gradient)
    torch.testing.assert_close(chord, torch.linalg.solve(hessian, gradient))


def test_secants_halve_the_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the chord alone, whose steps only shrink by a factor, there are many more."""
    parts = hospital_parts((200, 150))
    with_them = exchanges(parts, Newton())[0].count("LossRequest")
    monkeypatch.setattr("concilium.heads._descent._Walk._learn", lambda *_: None)
    without = exchanges(parts, Newton())[0].count("LossRequest")
    assert with_them < 0.8 * without


@pytest.mark.parametrize("entry", [0.0, float("nan")])
def test_sums_that_cannot_be_solved_are_an_error_in_words(entry: float) -> None:
    """No honest hospitals' are: a constant feature has its penalty, and the intercept a hair."""
    parts = hospital_parts((40, 20))
    honest = asking(runtime(parts))

    def astray(request: Request[Any]) -> Any:
        sums = honest(request)
        if not isinstance(request, HessianRequest):
            return sums
        # Every entry alike and large: penalties and hairs are lost beside them.
        return torch.full_like(sums, 1e30) + entry

    with pytest.raises(DivergenceError, match="no finite step"):
        Newton(penalties=(1.0,)).solve(astray, travelling(linear_network(parts)))


def test_where_steps_hardly_shrink_a_fresh_hessian_is_asked_for() -> None:
    """From a penalty of 1000 to one of 0.001 the first Hessian misleads: 23 exchanges with it."""
    asked, _ = exchanges(hospital_parts((200, 150)), Newton((1000.0, 0.001)))
    assert asked.count("HessianRequest") > 1
    assert asked.count("LossRequest") < 18
