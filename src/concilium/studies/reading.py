"""A study file read: one TOML → settings; unknown keys refused, all mistakes listed at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import Problem, StudyError
from concilium.studies.configuration import (
    PRESETS,
    DataSettings,
    EvaluationSettings,
    MethodSettings,
    NetworkSettings,
    Settings,
    SplitSettings,
    Study,
    TrainingSettings,
)


def read_study(path: Path) -> Study:
    """A study from its TOML file. Raises StudyError with every mistake in it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(Problem(str(path), "there is no such file", _near(path))) from None
    except OSError as error:
        raise StudyError(Problem(str(path), f"cannot be read ({error.strerror})")) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(Problem(str(path), f"is not TOML: {error}")) from None
    return parse_study(content, path.name)


def parse_study(content: dict[str, Any], file: str) -> Study:
    """A study from plain values. Raises StudyError with every mistake in them."""
    content = _with_presets(content)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError([_problem(file, item) for item in _own_errors(error)]) from None


def readable_part(path: Path) -> Study | None:
    """The study in a file without its wrong entries, so that what they hide is checked, too.

    None where the rest is no study.
    """
    try:
        content = _with_presets(tomllib.loads(path.read_text(encoding="utf-8")))
        Study.model_validate(content)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    except ValidationError as error:
        for item in error.errors():
            _remove(content, item["loc"])
    try:
        return Study.model_validate(content)
    except ValidationError:
        return None


def _remove(content: Any, place: tuple[str | int, ...]) -> None:
    """Remove the entry at a place; a wrong item takes its whole list along."""
    table = content
    for depth, key in enumerate(place):
        inner = table.get(key)
        if depth == len(place) - 1 or not isinstance(inner, dict):
            table.pop(key, None)
            return
        table = inner


def _own_errors(error: ValidationError) -> list[Any]:
    """The errors without those that only follow from one further inside."""
    items = error.errors()
    places = [item["loc"] for item in items]
    return [
        item
        for item in items
        if not any(
            len(p) > len(item["loc"]) and p[: len(item["loc"])] == item["loc"] for p in places
        )
    ]


def _with_presets(content: dict[str, Any]) -> dict[str, Any]:
    """The content with the preset of every method's name under what stands there."""
    methods = content.get("methods")
    if isinstance(methods, dict):
        merged = {
            name: {**PRESETS.get(name, {}), **own} if isinstance(own, dict) else own
            for name, own in methods.items()
        }
        content = {**content, "methods": merged}
    return content


def _problem(file: str, item: Any) -> Problem:
    """One of pydantic's errors in a user's words."""
    where = f"{file}, {'.'.join(map(str, item['loc']))}"
    if item["type"] == "extra_forbidden":
        return Problem(where, "unknown key", suggestion(str(item["loc"][-1]), _keys(item["loc"])))
    if item["type"] == "missing":
        return Problem(where, "is missing", "add it")
    what = item["msg"].removeprefix("Value error, ")
    return Problem(where, f"{what} (given: {item['input']!r})")


def _keys(place: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that are known where an unknown one stands."""
    tables: dict[str, type[Settings]] = {
        "data": DataSettings,
        "split": SplitSettings,
        "network": NetworkSettings,
        "training": TrainingSettings,
        "evaluation": EvaluationSettings,
        "methods": MethodSettings,
    }
    table = tables.get(str(place[0]), Study) if len(place) > 1 else Study
    return tuple(table.model_fields)


def _near(path: Path) -> str:
    found = sorted(file.name for file in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    return suggestion(path.name, found) if found else "give the path of a study file"
