"""A row: one world, method, head and seed, as it stands in one line of ``results/WORLD.jsonl``.

Tables, figures and the page are made from rows alone. NaN (undefined) is written as null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from concilium.foundation.files import plain
from concilium.studies.columns import NAN
from concilium.studies.configuration import digest_of

NUMBERS = (
    "validation",
    "kept_round",
    "seconds",
    "measures",
    "by_label",
    "by_hospital",
    "curve",
    "trials",
    "head_report",
)
"""Fields whose numbers may be undefined: null is NaN in them, and None elsewhere."""
MAY_BE_NONE = ("value",)
"""Keys of a trial in which null is None: a method without a parameter has no value."""


@dataclass(frozen=True)
class Row:
    """``head`` is "none" where the trained body is used as it is.

    ``settings`` are the full MethodSettings as used, ``value`` is that of the method's
    ``parameter`` (None and "" without one). ``trials`` are the settings that were tried, each
    {"rate", "value", "validation"} for this head, in the world ``tuned_in``.

    ``kept_round`` is a mean where several bodies are trained (by hospital, by label); ``model`` is
    the digest of the model that was assessed, "" where the training diverged.

    ``measures`` is flat: keys of ``studies.columns`` and of ``measures.py``. ``by_label`` gives
    {"average_precision", "auroc", "false_coupling", "positives"} of each label on the test exams
    (positives are counts), ``by_hospital`` {"auroc", "map"} of each hospital's own test part.
    ``curve`` has {"round", "validation_score", "set_recall"} of the body for each round that was
    looked at; "set_recall" only where the world watches label sets; [] with several bodies.

    ``bytes_up``, ``bytes_down``: what travelled in the rounds, 0 where nothing is federated;
    ``head_report`` has the numbers that the exact head reports, its "bytes_up" among them.
    ``seconds``: the training of the chosen setting, and its head. ``definition`` is the digest of
    the definitions of world and method, ``study`` that of the study that was run.
    """

    id: str
    world: str
    world_title: str
    family: str
    severity: tuple[str, float] | None
    method: str
    method_title: str
    head: str
    seed: int
    settings: dict[str, Any]
    rate: float
    parameter: str
    value: Any
    tuned_in: str
    num_trials: int
    trials: tuple[dict[str, Any], ...]
    kept_round: float
    model: str
    validation: float
    measures: dict[str, float]
    by_label: dict[str, dict[str, float]]
    by_hospital: dict[str, dict[str, float]]
    curve: tuple[dict[str, float], ...]
    bytes_up: int
    bytes_down: int
    seconds: float
    environment: dict[str, Any]
    definition: str
    study: str
    command: str
    head_report: dict[str, float] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Whether the training did not stay finite: everything measured is NaN then."""
        return not self.model

    def measure(self, key: str) -> float:
        """One measure; NaN where it is undefined or was not taken."""
        return self.measures.get(key, NAN)

    def to_json(self) -> str:
        """The row as one line, without its end."""
        return json.dumps(plain(asdict(self)), ensure_ascii=False)

    @staticmethod
    def of_json(line: str) -> Row:
        """The row of a line. Raises ValueError for a line that holds none."""
        read = json.loads(line)
        names = {own.name for own in fields(Row)}
        if not isinstance(read, dict) or set(read) != names:
            raise ValueError("not a row of the benchmark")
        read |= {name: _with_nan(read[name]) for name in NUMBERS}
        for name in ("trials", "curve"):
            read[name] = tuple(read[name])
        read["severity"] = None if read["severity"] is None else tuple(read["severity"])
        return Row(**read)


def row_id(world: str, method: str, head: str, seed: int) -> str:
    """The short name of a row, the same for ever."""
    return digest_of([world, method, head, seed])[:12]


def _with_nan(value: Any) -> Any:
    """Plain values in which null is NaN."""
    if value is None:
        return NAN
    if isinstance(value, Mapping):
        return {
            key: item if item is None and key in MAY_BE_NONE else _with_nan(item)
            for key, item in value.items()
        }
    return [_with_nan(item) for item in value] if isinstance(value, list) else value
