"""The error tree.

    ConciliumError
    ├── InputError              a user's mistake; the command line exits with 2, without a traceback
    │   ├── LabelError          a label name or value that the schema does not have
    │   ├── DataError           a file, a row or an image that cannot be used
    │   ├── StudyError          a study file that cannot be run
    │   └── ComponentError      a choice (loss, source, …) that does not exist or cannot be built
    ├── DivergenceError         a training whose loss is no longer finite
    ├── CheckpointError         no usable checkpoint, or one that belongs to another study
    ├── WireError               bytes from elsewhere that are no message of ours
    ├── DoorError               an answer that a hospital may not give: a code and a reason
    └── FederationError         too few hospitals take part, or one stays away
        └── AbsentError         hospitals that began a phase and do not answer any more

An input error carries ALL problems found, each with where it is, what it is and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SHOWN = 20
"""Problems that a message lists; the error carries all of them."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (file, row, label), what, and the remedy.

    >>> str(Problem("labels.csv, row 3", "unknown label 'Edma'", "did you mean 'Edema'?"))
    "labels.csv, row 3: unknown label 'Edma'; did you mean 'Edema'?"
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.remedy}" if self.remedy else text


class ConciliumError(Exception):
    """Base of every error that concilium raises on purpose."""


class InputError(ConciliumError):
    """Input that cannot be used; carries every problem found."""

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        if isinstance(problems, Problem):
            problems = [problems]
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        shown = [f"  - {problem}" for problem in self.problems[:MOST_SHOWN]]
        if len(self.problems) > MOST_SHOWN:
            shown.append(f"  and {len(self.problems) - MOST_SHOWN:,} more")
        return "\n".join([f"{len(self.problems):,} problems:", *shown])


class LabelError(InputError):
    """A label name or a label value that the schema does not have."""


class DataError(InputError):
    """A file, a row or an image that cannot be used."""


class StudyError(InputError):
    """A study file that cannot be run."""


class ComponentError(InputError):
    """A choice that does not exist or cannot be built with these settings."""


class DivergenceError(ConciliumError):
    """A training whose loss is no longer finite."""


class CheckpointError(ConciliumError):
    """No usable checkpoint, or one that belongs to another study."""


class WireError(ConciliumError):
    """Bytes that are no message of ours: cut short, lying, unknown or too large."""


class DoorError(ConciliumError):
    """An answer that cannot be added up; ``code`` says which rule it breaks, ``reason`` where."""

    def __init__(self, code: str, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(f"{code}: {reason}")


class FederationError(ConciliumError):
    """A federation that cannot go on; the message names the hospitals and says what to do."""


class AbsentError(FederationError):
    """Hospitals that answered earlier in a phase and do not any more; ``names`` are theirs."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"no longer there: {', '.join(self.names)}")
