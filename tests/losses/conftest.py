"""Losses in a folder named by CONCILIUM_EXTRA_LOSSES undergo the laws like those of the package."""

from __future__ import annotations

import os
from pathlib import Path

import concilium.losses

_folder = os.environ.get("CONCILIUM_EXTRA_LOSSES")
if _folder and not Path(_folder).is_dir():
    raise NotADirectoryError(f"CONCILIUM_EXTRA_LOSSES={_folder} is no folder")
if _folder and _folder not in concilium.losses.__path__:
    concilium.losses.__path__.append(_folder)
