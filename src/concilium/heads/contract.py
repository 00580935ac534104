"""What a head is: a linear layer solved exactly from sums over hospitals, the body frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from concilium.federation.requests import Request
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors

A = TypeVar("A")
Report = Mapping[str, float | list[float] | list[str]]


class Ask(Protocol):
    """Asks every client and gives the total of the answers."""

    def __call__(self, request: Request[A]) -> A:
        """The total of every client's answer."""
        ...


@dataclass(frozen=True)
class Solution:
    """What a head found, for the encoder's outputs as they are; all tensors float64.

    ``weight`` (L, d), ``bias`` (L,), finite where ``solved`` (L,) bool; the other rows are not
    used. ``report`` are numbers about the solution; ``coupling`` as in ``Solved``.
    """

    weight: Tensor
    bias: Tensor
    solved: Tensor
    report: Report = field(default_factory=dict)
    coupling: Tensor | None = None


@dataclass(frozen=True)
class Solved:
    """The model with its new head, and numbers about the solution for the report.

    ``solved`` (L,) bool are the labels with a new row; the others keep theirs, with its meaning.
    ``coupling`` K (L, L), float64, symmetric with a zero diagonal, is an energy Σ_{l<m} K_lm y_l
    y_m that the head adds to that of the label prior; None where the head has none, as every head
    that does not give evidence.
    """

    model: NamedTensors
    solved: Tensor
    report: Report = field(default_factory=dict)
    coupling: Tensor | None = None


class Head(ABC):
    """An exact head. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: the answer does not depend on the order of hospitals,
    nor on what stands at unknown entries; permuting labels permutes it; it is finite; hospitals
    without an exam, or without a known entry, change nothing; a label that cannot be solved keeps
    its row; a feature that never varies has no weight.

    ``gives_evidence``: its scores are evidence of each label from the image alone, without what
    its prevalence and the other labels say of it; a label prior turns them into log-odds.
    """

    gives_evidence: ClassVar[bool] = False

    @abstractmethod
    def solution(self, ask: Ask, model: NamedTensors) -> Solution:
        """The head in float64: that of one hospital that holds all exams, to rounding.

        Where a head tells hospitals apart (by a mean or an intercept of each), that of one place
        which holds all exams and knows whose each is.

        ``model`` says which encoder the exams go through; its own head is not looked at.
        """

    def solve(self, ask: Ask, model: NamedTensors) -> Solved:
        """The model with its head solved: ``head.weight`` (L, d) and ``head.bias`` (L,).

        Rows that are not solved stay. An exact head answers without the label graph: where any row
        is solved, ``graph.coupling`` is set to 0. The report gains ``exchanges``, ``bytes_up`` (of
        one hospital, in all) and ``kept_rows``. Raises DivergenceError where the sums cannot be
        solved: honest ones can.
        """
        counted = _Counted(ask)
        try:
            found = self.solution(counted, model)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            what = "a summed matrix is singular"
            raise DivergenceError(f"the exact head cannot be solved: {what}") from None
        report = {
            **found.report,
            "exchanges": float(len(counted.sizes)),
            "bytes_up": float(sum(counted.sizes)),
            "kept_rows": float((~found.solved).sum()),
        }
        return Solved(_put(found, model), found.solved, report, found.coupling)


def _put(found: Solution, model: NamedTensors) -> NamedTensors:
    """The model with the rows that were solved."""
    if not bool(found.solved.any()):
        return model
    old_weight, old_bias = model["head.weight"], model["head.bias"]
    solved = found.solved.to(old_bias.device)
    tensors = {
        **model,
        "head.weight": torch.where(solved[:, None], found.weight.to(old_weight), old_weight),
        "head.bias": torch.where(solved, found.bias.to(old_bias), old_bias),
    }
    if "graph.coupling" in model:
        tensors["graph.coupling"] = torch.zeros_like(model["graph.coupling"])
    return NamedTensors(tensors)


@dataclass(frozen=True)
class _Counted:
    """An ``Ask`` that notes the bytes of each answer: those of the total are those of a client."""

    ask: Ask
    sizes: list[int] = field(default_factory=list)

    def __call__(self, request: Request[A]) -> A:
        answer = self.ask(request)
        self.sizes.append(_num_bytes(answer))
        return answer


def _num_bytes(answer: Any) -> int:
    """Bytes of all numbers in an answer: tensors as they are, 8 for a plain number."""
    if isinstance(answer, Tensor):
        return answer.numel() * answer.element_size()
    if is_dataclass(answer):
        return sum(_num_bytes(getattr(answer, own.name)) for own in fields(answer))
    return 8


CONTRACT = Head
