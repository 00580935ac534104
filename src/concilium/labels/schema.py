"""Which labels there are, in which order, and under which other names they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import LabelError, Problem


def fold(name: str) -> str:
    """A name without case, spaces, underscores and hyphens: how names are compared.

    >>> fold("Pleural_Thickening") == fold("pleural thickening")
    True
    """
    return "".join(name.casefold().split()).replace("_", "").replace("-", "")


@dataclass(frozen=True)
class LabelSchema:
    """The ordered label names of a study, and aliases: other name → name.

    Raises LabelError for duplicate names and for an alias of a label that is not there.

    >>> LabelSchema(("Effusion",), {"Pleural Effusion": "Effusion"}).index("pleural effusion")
    0
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        folded = [fold(name) for name in self.names]
        for i, name in enumerate(self.names):
            if folded[i] in folded[:i]:
                problems.append(Problem("labels", f"{name!r} stands twice", "remove one"))
        for alias, name in self.aliases.items():
            if name not in self.names:
                what = f"alias {alias!r} stands for {name!r}, which is not a label"
                problems.append(Problem("labels", what, suggestion(name, self.names)))
        if not self.names:
            problems.append(Problem("labels", "there are none", "name at least one label"))
        if problems:
            raise LabelError(problems)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """Index of a label by its name or an alias, or None."""
        wanted = fold(name)
        for i, own in enumerate(self.names):
            if fold(own) == wanted:
                return i
        for alias, own in self.aliases.items():
            if fold(alias) == wanted:
                return self.names.index(own)
        return None

    def index(self, name: str) -> int:
        """Index of a label by its name or an alias. Raises LabelError with a suggestion."""
        found = self.find(name)
        if found is None:
            known = (*self.names, *self.aliases)
            raise LabelError(Problem("", f"unknown label {name!r}", suggestion(name, known)))
        return found

    def indices(self, names: Iterable[str]) -> tuple[int, ...]:
        """Indices of several labels."""
        return tuple(self.index(name) for name in names)
