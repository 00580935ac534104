"""What every figure is drawn from: rows, the two models set beside the others, a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import answers
import numpy as np
from comparisons import BASELINE, DEFAULT
from evidence import Evidence, Model, Values
from roles import Role, roles

from concilium.reports.charts import Series
from concilium.reports.curve_charts import Curve
from concilium.reports.markup import Html
from concilium.studies.columns import NAN


@dataclass(frozen=True)
class Picture:
    """One figure: its name on the page and on the disk, the question it answers, what to see."""

    name: str
    question: str
    world: str
    svg: Html
    caption: str


@dataclass(frozen=True)
class Cast:
    """Evidence, and the two models that figures set beside the others."""

    evidence: Evidence
    default: Model = DEFAULT
    baseline: Model = BASELINE

    @property
    def roles(self) -> tuple[Role, ...]:
        """Lines of a figure."""
        return roles(self.default, self.baseline, answers.CLASSIC)

    @property
    def looks(self) -> Mapping[str, Series]:
        """How each line is drawn."""
        return {role.name: role.look for role in self.roles}


def curve_of(places: Sequence[float], columns: Sequence[Values]) -> Curve:
    """Mean, lowest and highest seed at each place; NaN where no seed is defined."""
    defined = [[v for v in own.values() if not math.isnan(v)] for own in columns]
    return Curve(
        np.array(places, np.float64),
        np.array([math.fsum(own) / len(own) if own else NAN for own in defined]),
        np.array([min(own, default=NAN) for own in defined]),
        np.array([max(own, default=NAN) for own in defined]),
    )


def identifier(text: str) -> str:
    """A text as part of an identifier."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
