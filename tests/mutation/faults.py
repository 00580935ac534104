"""Planted faults: one small wrong edit of the package each, read from the TOML files beside this.

A fault names a file of the package, a piece of text that stands there exactly once, what is put in
its place, and what is then wrong.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "concilium"


@dataclass(frozen=True)
class Fault:
    """``old`` becomes ``new`` in ``file`` (below the package): then ``what`` is wrong."""

    file: str
    what: str
    old: str
    new: str

    @property
    def area(self) -> str:
        """The folder of tests that should see it first."""
        return self.file.split("/")[0]

    def planted(self) -> str:
        """The file's text with the fault in it. Raises ValueError unless it fits exactly once."""
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {text.count(self.old)} times")
        return text.replace(self.old, self.new)


def read_faults() -> list[Fault]:
    """All planted faults, in the order of their files."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        found += [Fault(**fault) for fault in content["faults"]]
    return found


def plant(fault: Fault | None, folder: Path) -> Path:
    """A copy of the package in a folder, with a fault in it; what PYTHONPATH must begin with."""
    source = folder / "src"
    shutil.copytree(PACKAGE, source / "concilium", ignore=shutil.ignore_patterns("__pycache__"))
    if fault is not None:
        (source / "concilium" / fault.file).write_text(fault.planted(), encoding="utf-8")
    return source
