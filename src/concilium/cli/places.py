"""Where the command line keeps things unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Decoded images and features: ``$CONCILIUM_CACHE``, or ``~/.cache/concilium``."""
    named = os.environ.get("CONCILIUM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "concilium"


def run_folder(study_file: Path) -> Path:
    """The run folder of a study file: ``runs/NAME`` below the current folder."""
    return Path("runs") / study_file.stem
