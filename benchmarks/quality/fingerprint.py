"""Which code a row was made with: one digest over the files that decide what is computed.

Equal digests say: the same code. Different ones say no more than that some file is another one, be
it by a comment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import concilium

HERE = Path(__file__).resolve().parent
PACKAGE = Path(concilium.__file__).resolve().parent
SUFFIXES = (".py", ".csv")  # phantoms are drawn from a table
ONLY_SHOW = ("cli", "reports")
"""Folders of the package that decide no result."""
BESIDE = ("assessment.py", "bodies.py", "measures.py", "work.py")
"""Files of the benchmark that decide what a row says."""
LENGTH = 16


def deciding_files(package: Path, beside: Path) -> dict[str, Path]:
    """The files that decide results, by their relative paths."""
    own = (path for path in package.rglob("*") if path.suffix in SUFFIXES)
    inside = {path.relative_to(package): path for path in own}
    found = {
        f"concilium/{name.as_posix()}": path
        for name, path in inside.items()
        if name.parts[0] not in ONLY_SHOW
    }
    return found | {name: beside / name for name in BESIDE}


def digest_of_files(files: Mapping[str, Path]) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over sorted paths and contents."""
    lines = [
        f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(files)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:LENGTH]


CODE = digest_of_files(deciding_files(PACKAGE, HERE))
"""Read once, as the process starts: what is edited while it computes is not what it computes with.
"""
