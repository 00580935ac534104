"""How a hospital's machines and protocols change an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Acquisition:
    """One hospital's habit: contrast, blur, noise, rotation, collimation."""

    contrast: float = 1.0
