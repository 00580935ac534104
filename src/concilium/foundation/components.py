"""Choices found by file name.

A folder of choices (losses, sources, networks, …) has a ``contract.py`` that defines the kind;
every other module in it is one choice, and its file name is its name in a study file. A choice
is a frozen dataclass that implements the contract; its fields are its settings. A dotted name
("my_package.my_loss") finds a choice in somebody else's package: it names the module.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import ComponentError, InputError, Problem

KINDS = (
    "sources",
    "partitioners",
    "networks",
    "losses",
    "metrics",
    "weightings",
    "heads",
    "samplings",
    "compressions",
    "algorithms",
    "runtimes",
)

FACTS = ("Sends", "Costs", "Secure sum", "Differential privacy")
"""What a method's docstring says of what leaves a hospital, each fact from a line of its own on."""

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True)
class Description:
    """What ``concilium list`` says of one choice.

    ``reference`` is its paper, or empty; ``facts`` are the lines of its docstring that begin with
    one of ``FACTS`` and a colon.
    """

    name: str
    summary: str
    settings: Mapping[str, str]
    reference: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def names(kind: str) -> tuple[str, ...]:
    """Names of all choices of a kind, sorted: its modules without ``contract``."""
    package = importlib.import_module(f"concilium.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in found if name != "contract" and name[0] != "_"))


def find(kind: str, name: str) -> type:
    """The class of one choice.

    Raises ComponentError for a name that does not exist, with the nearest one that does.
    """
    if "." in name:
        module = _import_foreign(kind, name)
    elif name in names(kind):
        module = importlib.import_module(f"concilium.{kind}.{name}")
    else:
        raise ComponentError(Problem(kind, f"there is no {name!r}", suggestion(name, names(kind))))
    return _the_choice(kind, module)


def build(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """One choice with its settings, types checked; all problems are listed at once."""
    return construct(find(kind, name), f"{kind}.{name}", settings or {})


def construct(choice: type, where: str, settings: Mapping[str, Any]) -> Any:
    """A frozen dataclass from plain settings, types checked.

    Raises ComponentError that lists every unknown setting (with a suggestion) and wrong value.
    """
    known = [field.name for field in dataclasses.fields(choice) if field.init]
    problems = [
        Problem(where, f"unknown setting {key!r}", suggestion(key, known))
        for key in settings
        if key not in known
    ]
    fitting = {key: value for key, value in settings.items() if key in known}
    try:
        built: Any = TypeAdapter(choice).validate_python(fitting)
    except ValidationError as error:
        problems += [
            Problem(
                ".".join([where, *map(str, item["loc"])]),
                f"{item['msg']} (given: {item['input']!r})",
            )
            for item in error.errors()
        ]
    except InputError as error:
        problems += [replace(p, where=p.where or where) for p in error.problems]
    if problems:
        raise ComponentError(problems)
    return built


def describe(kind: str, name: str) -> Description:
    """First line of the choice's docstring, its paper, and its settings with their defaults."""
    choice = find(kind, name)
    module = inspect.getmodule(choice)
    text = inspect.getdoc(module) or inspect.getdoc(choice) or ""
    text = text.replace("``", "`")  # for people, not for a documentation tool
    settings = {
        field.name: "required" if _required(field) else repr(_default(field))
        for field in dataclasses.fields(choice)
        if field.init
    }
    summary = text.strip().split("\n")[0]
    return Description(name, summary, settings, _reference(text), _facts(text))


def _reference(text: str) -> str:
    """The first paragraph of a docstring that names a year: there its paper is."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return next((own for own in paragraphs if _YEAR.search(own)), "")


def _facts(text: str) -> dict[str, str]:
    """Fact → text up to the next fact or blank line."""
    starts = "|".join(FACTS)
    pattern = rf"^({starts}): (.+?)(?=\n(?:{starts}): |\n\s*\n|\Z)"
    found = re.findall(pattern, text.strip(), re.MULTILINE | re.DOTALL)
    return {fact: " ".join(line.split()) for fact, line in found}


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _import_foreign(kind: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        remedy = "give a module as Python imports it: my_package.my_module"
        raise ComponentError(Problem(kind, f"{name!r} is no dotted name", remedy))
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        remedy = _instead_of_class(name) or "install the package, or put its folder on PYTHONPATH"
        raise ComponentError(Problem(kind, f"cannot import {name!r}: {error}", remedy)) from None


def _instead_of_class(name: str) -> str:
    """What to name in place of a class, or nothing where the name is not that of one."""
    package, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(package), last, None)  # the attempt has imported the package
    if not inspect.isclass(found):
        return ""
    if "." not in found.__module__:
        return "name a module, not a class: move it into a module of a package"
    return f"name the module, not the class: {found.__module__!r}"


def _the_choice(kind: str, module: ModuleType) -> type:
    """The one class of the module that implements the contract of the kind."""
    contract: type = importlib.import_module(f"concilium.{kind}.contract").CONTRACT
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, contract)
        and item.__module__ == module.__name__
    ]
    rule = f"must define exactly one frozen dataclass derived from {contract.__name__}"
    if len(found) != 1:
        raise ComponentError(Problem(module.__name__, f"{rule}, has {len(found)}"))
    parameters = vars(found[0]).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        what = "not frozen" if parameters else "no dataclass"
        remedy = "write @dataclass(frozen=True) above it"
        raise ComponentError(
            Problem(module.__name__, f"{rule}: {found[0].__name__} is {what}", remedy)
        )
    missing = sorted(getattr(found[0], "__abstractmethods__", ()))
    if missing:
        what = f"{found[0].__name__} does not define {', '.join(missing)}"
        raise ComponentError(Problem(module.__name__, what, f"see concilium/{kind}/contract.py"))
    return found[0]
