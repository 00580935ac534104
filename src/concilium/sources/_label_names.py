"""Which labels a study wants, and which other names may stand in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import suggestion
from concilium.labels.schema import LabelSchema, fold
from concilium.labels.states import State
from concilium.labels.vocabularies import vocabulary


@dataclass(frozen=True)
class LabelNames:
    """``schema`` holds the labels that are wanted; ``vocabulary`` also those that are not."""

    schema: LabelSchema
    vocabulary: LabelSchema

    def is_known(self, name: str) -> bool:
        """Whether the name is a label, wanted or not."""
        return self.schema.find(name) is not None or self.vocabulary.find(name) is not None

    def suggestion(self, name: str) -> str:
        """What a name that is no label may have meant."""
        schemas = (self.schema, self.vocabulary)
        known = {other for schema in schemas for other in (*schema.names, *schema.aliases)}
        return suggestion(name, sorted(known))


def label_names(
    vocabulary_name: str, labels: Sequence[str], aliases: Mapping[str, str]
) -> LabelNames | None:
    """The labels given (in that order), else all of the vocabulary; None where neither is given.

    With a vocabulary its aliases hold, and labels outside it are refused. Raises LabelError.
    """
    if not labels and not vocabulary_name:
        return None
    if not vocabulary_name:
        schema = LabelSchema(tuple(labels), dict(aliases))
        return LabelNames(schema, schema)
    whole = vocabulary(vocabulary_name)
    names = tuple(labels) or whole.names
    taken = {fold(name) for name in (*names, *aliases)}
    inherited: dict[str, str] = {}
    for name in names:
        canonical = whole.names[whole.index(name)]
        others = [alias for alias, meant in whole.aliases.items() if meant == canonical]
        inherited |= {other: name for other in (canonical, *others) if fold(other) not in taken}
    return LabelNames(LabelSchema(names, {**inherited, **aliases}), whole)


def label_notes(schema: LabelSchema, states: npt.NDArray[np.int8]) -> dict[str, str]:
    """What a report says of the label states (N, L) of a source."""
    notes = {}
    for word, state in (("uncertain", State.UNCERTAIN), ("unknown", State.UNKNOWN)):
        count = int(np.count_nonzero(states == state))
        if count:
            notes[f"{word} label entries"] = f"{count:,} of {states.size:,}"
    present = (states == State.PRESENT).any(axis=0)
    without = [
        name for name, any_present in zip(schema.names, present, strict=True) if not any_present
    ]
    if without:
        notes["labels without a positive"] = ", ".join(without)
    return notes
