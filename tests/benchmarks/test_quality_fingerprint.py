"""Every row says which code it was made with."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from assessment import described
from bodies import Training
from fingerprint import BESIDE, CODE, HERE, PACKAGE, deciding_files, digest_of_files

from tests.benchmarks import tiny

DECIDE = (
    "package/__init__.py",
    "package/losses/bce.py",
    "package/sources/_phantom/sets.csv",
    *(f"beside/{name}.py" for name in ("assessment", "bodies", "measures", "work")),
)
ONLY_SHOW = ("package/cli/main.py", "package/reports/page.py", "package/notes.md", "beside/page.py")


def folders(root: Path) -> Path:
    for number, name in enumerate((*DECIDE, *ONLY_SHOW)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"number = {number}\n")
    return root


def digest(root: Path) -> str:
    return digest_of_files(deciding_files(root / "package", root / "beside"))


@pytest.mark.parametrize("name", DECIDE)
def test_a_changed_file_that_decides_results_is_other_code(name: str, tmp_path: Path) -> None:
    before = digest(folders(tmp_path))
    (tmp_path / name).write_text("number = -1\n")
    assert digest(tmp_path) != before


@pytest.mark.parametrize("name", ONLY_SHOW)
def test_what_only_shows_results_is_no_other_code(name: str, tmp_path: Path) -> None:
    before = digest(folders(tmp_path))
    (tmp_path / name).write_text("number = -1\n")
    assert digest(tmp_path) == before


def test_a_renamed_or_an_added_file_is_other_code(tmp_path: Path) -> None:
    before = digest(folders(tmp_path))
    loss = tmp_path / "package/losses/bce.py"
    loss.rename(loss.with_name("cross_entropy.py"))
    renamed = digest(tmp_path)
    loss.write_text("")
    assert len({before, renamed, digest(tmp_path)}) == 3


def test_the_same_files_elsewhere_are_the_same_code(tmp_path: Path) -> None:
    first = folders(tmp_path / "first")
    shutil.copytree(first, tmp_path / "second")
    assert digest(first) == digest(tmp_path / "second")
    assert len(digest(first)) == 16


def test_the_digest_is_of_the_package_that_is_imported_and_of_this_benchmark() -> None:
    files = deciding_files(PACKAGE, HERE)
    assert {"concilium/losses/bce.py", "concilium/studies/bench.py", *BESIDE} <= set(files)
    assert not [name for name in files if name.startswith(("concilium/cli/", "concilium/reports/"))]
    assert all(path.is_file() for path in files.values())
    assert re.fullmatch("[0-9a-f]{16}", CODE)


def test_a_row_says_its_code(tmp_path: Path) -> None:
    data = tiny.write_data(tmp_path / "tiny.npz")
    training = Training(tiny.world(data).study, {"loss": "bce"}, 0.1, 0)
    assert described(training, "none")["environment"]["code"] == CODE
