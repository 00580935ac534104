"""The four states of a label of an image.

``UNCERTAIN`` ("may be", CheXpert's −1) is something a reader said; ``UNKNOWN`` means that nobody
said anything (a blank, or a hospital that never annotates the label). They are never the same,
and neither is ever a negative unless the user says so by name.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """State of one label of one image, as stored in tables (int8)."""

    UNKNOWN = -2
    UNCERTAIN = -1
    ABSENT = 0
    PRESENT = 1
