"""How many of the images of a folder had more than 8 bits a pixel, and so were windowed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from concilium.data.image_cache import ImageFile
from concilium.foundation.files import write_json

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH, _COLOUR_TYPE = 24, 25  # bytes of a PNG: signature, then the chunk IHDR
_DEEP_GRAY = (16, 0)  # Pillow reads every other kind, and every JPG, as 8 bits


def num_deep(files: Sequence[ImageFile], cache: Path, name: str, key: str) -> int:
    """Count images of 16-bit gray; kept beside the cached images of this name and key.

    Every file is opened for this, which a network drive makes slow: so only once.
    """
    path = cache / f"{name}-depth.json"
    kept = _kept(path, key)
    if kept is None:
        kept = sum(_is_deep(file.path) for file in files)
        write_json(path, {"key": key, "num_deep": kept})
    return kept


def _kept(path: Path, key: str) -> int | None:
    """The number that was kept, or None where it is not there, stale or damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    number = found.get("num_deep")
    return number if isinstance(number, int) else None


def _is_deep(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_COLOUR_TYPE + 1)
    is_png = head.startswith(_SIGNATURE) and len(head) > _COLOUR_TYPE
    return is_png and (head[_BIT_DEPTH], head[_COLOUR_TYPE]) == _DEEP_GRAY
