"""One row again, from its line: the same body, head and test, without any tuning."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bodies import Training, Workplace
from definitions import Catalogue, Setting, study_of
from rows import Row
from store import whole_lines
from work import Work, do, prepare_process

from concilium.foundation.errors import InputError

COMPARED = (
    *("validation", "measures", "by_label", "by_hospital", "head_report"),
    *("kept_round", "curve", "bytes_up", "bytes_down"),
)
"""All that a training gives but its seconds."""


def find(folder: Path, name: str) -> Row:
    """The last line of this id. Raises InputError where no file of the folder holds one."""
    found = [
        row
        for path in sorted(folder.glob("*.jsonl"))
        if not path.name.endswith(".trials.jsonl")
        for row in map(Row.of_json, whole_lines(path))
        if row.id == name
    ]
    if not found:
        raise InputError(f"{folder} holds no row {name!r}")
    return found[-1]


def repeat(row: Row, catalogue: Catalogue, cache: Path) -> tuple[bool, str]:
    """Whether model and all numbers are the line's own, and what to tell.

    A measure that the line lacks, as it was made before there was one, is told and not compared.

    Raises InputError where the world or the method is no longer what the line was made with.
    """
    _check(row, catalogue)
    prepare_process()
    found = _again(row, catalogue, cache)
    lines = [f"{row.id}: {row.world}, {row.method}, head {row.head}, seed {row.seed}"]
    lines += [f"model then  {row.model}", f"model now   {found['model']}"]
    for name, value in found["measures"].items():
        lines.append(f"{name:32} {row.measure(name)!r:>24} {value!r:>24}")
    lacking = [name for name in found["measures"] if name not in row.measures]
    if lacking:
        lines.append(f"not in the line, so not compared: {', '.join(lacking)}")
        kept = {name: own for name, own in found["measures"].items() if name in row.measures}
        found = {**found, "measures": kept}
    then = {"model": row.model} | {name: getattr(row, name) for name in COMPARED}
    different = differences(then, {name: found[name] for name in then})
    if not different:
        return True, "\n".join([*lines, "the same, bit for bit"])
    lines.append(f"DIFFERENT: {', '.join(different)}")
    changed = differences(row.environment, found["environment"])
    if changed:
        what = "another processor or library gives other last bits; the environment differs in"
        lines.append(f"{what} {', '.join(changed)}")
    return False, "\n".join(lines)


def _check(row: Row, catalogue: Catalogue) -> None:
    if row.world not in catalogue.worlds or row.method not in catalogue.methods:
        raise InputError(f"{row.id}: there is no world {row.world!r} or no method {row.method!r}")
    world, method = catalogue.worlds[row.world], catalogue.methods[row.method]
    if row.definition != catalogue.row_definition(world, method):
        raise InputError(f"{row.id}: {row.world} or {row.method} was changed since: run it anew")


def _again(row: Row, catalogue: Catalogue, cache: Path) -> dict[str, Any]:
    settings = {key: own for key, own in row.settings.items() if key != "head"}
    alone = catalogue.methods[row.method].one_label_at_a_time
    study = study_of(catalogue.worlds[row.world], Setting(row.rate, row.value), row.seed)
    training = Training(study, settings, row.rate, row.seed, alone)
    with tempfile.TemporaryDirectory() as nothing:
        work = Work(training, (), (row.head,), Path(nothing))
        done = do(work, Workplace(cache))
    if done.error:
        raise InputError(done.error)
    return done.found[row.head]


def differences(then: Any, now: Any, place: str = "") -> list[str]:
    """Dotted places at which plain values differ; NaN is equal to NaN."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys((*then, *now))
        return [
            found
            for key in keys
            for found in differences(then.get(key), now.get(key), f"{place}.{key}".lstrip("."))
        ]
    both = (then, now)
    if all(isinstance(own, list | tuple) for own in both):
        return differences(dict(enumerate(then)), dict(enumerate(now)), place)
    if all(isinstance(own, float) and math.isnan(own) for own in both) or then == now:
        return []
    return [place]
