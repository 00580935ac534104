"""Which recipe a split calls for, from what the rules of ``studies/rules.py`` see in it.

A rule that sees something in a ``Situation`` names a recipe of ``studies/recipes.py``. Recipes are
whole or not at all: one that would change what an earlier rule has set is told, but not taken. One
that no measurement shows to help is offered beside what is recommended, to be tried. One that sets
nothing otherwise than the default says what the default has it for, and then it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from concilium.foundation.files import plain
from concilium.studies.few_cases import cautions, remark
from concilium.studies.recipes import RECIPES, differs
from concilium.studies.recognition import toml_value
from concilium.studies.rules import RULES, Rule
from concilium.studies.situation import Situation

FOR_ALL = "in [training], which holds for ALL methods of the study"
OF_ITS_OWN = "to be tried in a study of its own, in [network]"
NO_ROUNDS = (
    " With rounds = 0 a method without an exact head is not trained at all: compare such methods "
    "in a study of their own."
)
Standing = Literal["taken", "to try", "in the default", "not taken"]


@dataclass(frozen=True)
class Finding:
    """A rule that has ``seen`` something, and the recipe it calls for.

    ``against`` are earlier rules that have set one of its keys otherwise: then it is not taken.
    """

    rule: str
    seen: str
    recipe: str
    against: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """What becomes of its recipe."""
        own = RECIPES[self.recipe]
        if self.against:
            return "not taken"
        if self.recipe != "default" and not differs(own):
            return "in the default"
        return "taken" if own.shown else "to try"

    def to_json(self) -> dict[str, Any]:
        """Plain values, those of the recipe too."""
        return {**vars(self), "standing": self.standing, **vars(RECIPES[self.recipe])}


@dataclass(frozen=True)
class Recommendation:
    """All findings of a situation, and the settings that follow from those that are taken."""

    situation: Situation
    findings: tuple[Finding, ...]
    method: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def cautions(self) -> list[str]:
        """What to know before it is used: too few cases, and what else in a study it changes."""
        found = cautions(self.situation)
        if self.training or any(RECIPES[name].training for name in self.to_try):
            found.append(
                "Lines of [training] hold for all methods of a study: those that you compare with "
                "are trained so, too." + (NO_ROUNDS if self.training.get("rounds") == 0 else "")
            )
        return found

    @property
    def to_try(self) -> list[str]:
        """Recipes that nothing measured shows to help, and no earlier rule stands against."""
        return [own.recipe for own in self.findings if own.standing == "to try"]

    @property
    def trials(self) -> dict[str, dict[str, Any]]:
        """Methods to run beside the recommended one: it with one recipe that is to be tried."""
        changes = {name: RECIPES[name].method for name in self.to_try}
        return {name: {**self.method, **change} for name, change in changes.items() if change}

    def to_toml(self) -> str:
        """The methods as tables of a study file; what ``[training]`` should say as remarks."""
        few = remark(self.situation)
        lines = [f"# {few}"] if few else []
        lines += ["[methods.recommended]", *as_lines(self.method)]
        # a study has [training] already, and TOML wants it once
        lines += _remarks(f"and {FOR_ALL}:", self.training)
        for name in self.to_try:
            lines += _remarks(f"{name}, not shown to help, {FOR_ALL}:", RECIPES[name].training)
            lines += _remarks(f"{name}, {OF_ITS_OWN}:", RECIPES[name].network)
        for name, method in self.trials.items():
            lines += ["", f"# not shown to help, to be tried beside it: {name}"]
            lines += [f"[methods.try_{name}]", *as_lines(method)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was seen, what follows and why; undefined numbers are null."""
        values = {
            "situation": self.situation.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "method": self.method,
            "training": self.training,
            "trials": self.trials,
            "cautions": self.cautions,
            "toml": self.to_toml(),
        }
        found: dict[str, Any] = plain(values)
        return found


def as_lines(settings: Mapping[str, Any]) -> list[str]:
    """Settings as lines of TOML.

    >>> as_lines({"rounds": 24, "loss": {"name": "focal", "gamma": 2}})
    ['rounds = 24', 'loss = {name = "focal", gamma = 2}']
    """
    return [f"{key} = {toml_value(value)}" for key, value in settings.items()]


def _remarks(title: str, settings: Mapping[str, Any]) -> list[str]:
    """Settings as lines that TOML does not read, under a title; nothing of none."""
    return [f"# {line}" for line in (title, *as_lines(settings))] if settings else []


def recommend(situation: Situation) -> Recommendation:
    """What follows from a situation."""
    seen = [(rule, rule.sees(situation)) for rule in RULES]
    return combine(situation, [(rule, text) for rule, text in seen if text])


def combine(situation: Situation, seen: Iterable[tuple[Rule, str]]) -> Recommendation:
    """The settings of rules that have seen something, earlier ones first; the default below all."""
    findings: list[Finding] = []
    chosen: dict[tuple[str, str], tuple[Any, str]] = {}  # table and key → value, and whose it is
    for rule, text in seen:
        wanted = RECIPES[rule.recipe].settings if rule.recipe != "default" else {}
        others = [
            chosen[key][1] for key in wanted if key in chosen and chosen[key][0] != wanted[key]
        ]
        finding = Finding(rule.name, text, rule.recipe, tuple(dict.fromkeys(others)))
        findings.append(finding)
        if finding.standing in ("taken", "in the default"):
            chosen |= {key: (value, rule.name) for key, value in wanted.items()}
    settings = RECIPES["default"].settings | {key: value for key, (value, _) in chosen.items()}
    method, training = (
        {key: value for (table, key), value in settings.items() if table == own}
        for own in ("method", "training")
    )
    return Recommendation(situation, tuple(findings), method, training)
