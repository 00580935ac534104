"""The fourteen findings: how each shows on a radiograph.

A finding changes the shape of the chest (``SHAPES``), adds signs to the image (``SIGNS``), or both.
Signs are drawn for the exams that have the finding only. As on real radiographs some look alike:
infiltration, pneumonia and consolidation; mass and nodule; effusion and pleural thickening;
atelectasis and consolidation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from concilium.sources._phantom.anatomy import Anatomy, Geometry, lower_border, place_in_lung
from concilium.sources._phantom.fields import Field, Grid, cloud, disc, gaussian, ramp
from concilium.sources._phantom.textures import Textures, part


@dataclass(frozen=True)
class Case:
    """B exams that have one finding.

    ``traits`` (T, B, 1, 1) uniform in [0, 1): trait 0 is the severity, trait 1 the side, the others
    are each finding's own; ``strength`` (B, 1, 1) in [0, 1], how plainly it shows.
    """

    grid: Grid
    textures: Textures
    shape: Anatomy
    geometry: Geometry
    traits: Field
    strength: Field

    def between(self, trait: int, low: float, high: float) -> Field:
        """A trait (B, 1, 1) as a number between two bounds."""
        return np.asarray(low + (high - low) * self.traits[trait])

    def side(self) -> Field:
        """−1 for the right lung, +1 for the left one (B, 1, 1)."""
        return _either(self.traits[1] < 0.5)

    def sides(self, both: float) -> Field:
        """1 over affected lungs (B, 1, S): one, or with this probability both."""
        right = self.traits[1] < 0.5 * (1 + both)
        left = self.traits[1] >= 0.5 * (1 - both)
        return np.asarray(np.where(self.geometry.u < 0, right, left), np.float32)

    def texture(self, tiles: Field, traits: tuple[int, int, int]) -> Field:
        """Part (B, S, S) of a texture, chosen by three traits."""
        kind, right, down = (self.traits[trait][:, 0, 0] for trait in traits)
        return part(tiles, kind, right, down)


def _either(first: npt.NDArray[np.bool_]) -> Field:
    """−1 where true, else +1."""
    return np.where(first, np.float32(-1), np.float32(1))


@dataclass(frozen=True)
class Signs:
    """What a finding adds, each (B, S, S) or None.

    ``dense`` in [0, 1]: air that gave way to water or tissue; ``lucent`` in [0, 1]: air without
    lung; ``bright``: brightness of what lies on top of all else.
    """

    dense: Field | None = None
    lucent: Field | None = None
    bright: Field | None = None


Reshape = Callable[[Anatomy, Field, Field], Anatomy]
Draw = Callable[[Case], Signs]


def _cardiomegaly_shape(shape: Anatomy, traits: Field, strength: Field) -> Anatomy:
    """The heart is wider: a cardiothoracic ratio up to 0.62, where above 0.5 is enlarged."""
    return replace(shape, heart=shape.heart + 0.17 * strength)


def _emphysema_shape(shape: Anatomy, traits: Field, strength: Field) -> Anatomy:
    """Too much air: dark lungs with few vessels, low flat diaphragms, a narrow heart."""
    return replace(
        shape,
        base_right=shape.base_right + 0.05 * strength,
        base_left=shape.base_left + 0.05 * strength,
        dome=shape.dome * (1 - 0.75 * strength),
        air=shape.air * (1 + 0.28 * strength),
        markings=shape.markings * (1 - 0.6 * strength),
        heart=shape.heart - 0.07 * strength,
    )


def _atelectasis_shape(shape: Anatomy, traits: Field, strength: Field) -> Anatomy:
    """Volume is lost: the diaphragm of that side stands higher."""
    rise = 0.07 * strength
    right = traits[1] < 0.5
    return replace(
        shape,
        base_right=shape.base_right - rise * right,
        base_left=shape.base_left - rise * ~right,
    )


def _fibrosis_shape(shape: Anatomy, traits: Field, strength: Field) -> Anatomy:
    """Stiff, small lungs."""
    rise = 0.025 * strength
    return replace(shape, base_right=shape.base_right - rise, base_left=shape.base_left - rise)


def _atelectasis(case: Case) -> Signs:
    """One or two slanting plates in the lower zone, in four of ten with a collapsed wedge."""
    grid, side = case.grid, case.side()
    x, y = place_in_lung(case.shape, side, case.between(2, 0.25, 0.6), case.between(3, 0.6, 0.85))
    across = grid.x - x
    slant = y + case.between(4, -0.25, 0.25) * across
    reach = gaussian(across, case.between(5, 0.06, 0.11))
    plate = gaussian(grid.y - slant, case.between(6, 0.013, 0.022))
    second = gaussian(grid.y - slant + case.between(7, 0.05, 0.09), np.float32(0.011))
    plate = np.maximum(plate, second * (case.traits[8] < 0.4)) * reach
    wedge = cloud(grid, x - 0.03 * side, y + 0.04, np.float32(0.06), np.float32(0.05))
    dense = np.maximum(0.9 * plate, 0.7 * wedge * (case.traits[9] < 0.4))
    return Signs(dense=dense * case.strength)


def _effusion(case: Case) -> Signs:
    """Fluid at the base: a level that climbs the chest wall (the meniscus)."""
    geometry = case.geometry
    depth = 0.01 + case.between(2, 0.02, 0.19) * case.strength
    lateral = np.maximum(geometry.lateral, 0)
    climb = 0.9 * depth * np.exp(-lateral / np.float32(0.05))
    base = lower_border(case.shape, geometry.u)
    fluid = ramp(case.grid.y - (base - 0.55 * case.shape.dome - depth - climb), 0.03)
    inside = ramp(geometry.lateral + 0.03, case.grid.softness(0.018))
    return Signs(dense=fluid * inside * case.sides(both=0.3) * case.strength)


def _patches(case: Case, side: Field, width: float, down: tuple[float, float]) -> Field:
    """An ill-defined zone (B, S, S) of one lung, broken up by blotches."""
    x, y = place_in_lung(case.shape, side, case.between(2, 0.3, 0.7), case.between(3, *down))
    size = width * case.between(4, 0.8, 1.3)
    zone = cloud(case.grid, x, y, size, 1.2 * size)
    blotches = case.texture(case.textures.blotches, (5, 6, 7))
    return np.clip(zone * (0.75 + 0.45 * blotches), 0, 1)


def _infiltration(case: Case) -> Signs:
    """Faint patches without a border, in one zone, or in four of ten in a second one."""
    first = _patches(case, case.side(), 0.085, (0.3, 0.85))
    other = replace(case, traits=case.traits[[0, 1, 8, 9, 4, 6, 7, 5, 2, 3, 10, 11]])
    side = case.side() * _either(case.traits[10] < 0.6)
    second = _patches(other, side, 0.07, (0.3, 0.85))
    both = first + second * (case.traits[11] < 0.4)
    return Signs(dense=np.clip(0.65 * both * case.strength, 0, 1))


def _pneumonia(case: Case) -> Signs:
    """A dense core in a patchy zone: consolidation and infiltration in one place."""
    zone = _patches(case, case.side(), 0.085, (0.45, 0.85))
    core = np.clip(2.2 * zone - 0.9, 0, 1)
    return Signs(dense=np.clip((0.55 * zone + 0.4 * core) * case.strength, 0, 1))


def _consolidation(case: Case) -> Signs:
    """A lobe full of water: dense, with an uneven edge that is blurred but there."""
    side = case.side()
    x, y = place_in_lung(case.shape, side, case.between(2, 0.4, 0.6), case.between(3, 0.2, 0.8))
    size = case.between(4, 0.075, 0.12)
    distance = np.hypot(case.grid.x - x, 0.85 * (case.grid.y - y)) / size
    blotches = case.texture(case.textures.blotches, (5, 6, 7))
    lobe = ramp(1 - distance + 0.16 * blotches, 0.5)
    return Signs(dense=0.85 * lobe * case.strength)


def _round(case: Case, radius: Field, places: tuple[int, int], side: Field) -> Field:
    x, y = place_in_lung(
        case.shape, side, case.between(places[0], 0.2, 0.85), case.between(places[1], 0.15, 0.85)
    )
    return disc(case.grid, x, y, radius, softness=0.014)


def _nodule(case: Case) -> Signs:
    """One to three round opacities, a radius of 0.018 to 0.042 (a few centimetres across)."""
    dense = _round(case, case.between(2, 0.026, 0.042), (3, 4), case.side())
    more = _round(case, case.between(2, 0.018, 0.034), (5, 6), case.side())
    far = _round(case, case.between(2, 0.018, 0.030), (7, 8), -case.side())
    dense = np.maximum(dense, more * (case.traits[9] < 0.4))
    dense = np.maximum(dense, far * (case.traits[9] < 0.2))
    plain = dense * (0.3 + 0.7 * case.strength)
    return Signs(dense=plain, bright=np.float32(0.09) * plain * case.geometry.lung)


def _mass(case: Case) -> Signs:
    """One round opacity larger than a nodule, with a lobed edge."""
    x, y = place_in_lung(
        case.shape, case.side(), case.between(3, 0.2, 0.8), case.between(4, 0.2, 0.8)
    )
    across, along = case.grid.x - x, case.grid.y - y
    lobes = 1 + 0.07 * np.cos(3 * np.arctan2(along, across) + 6.28 * case.traits[5])
    radius = case.between(2, 0.048, 0.09) * lobes
    dense = ramp(radius - np.hypot(across, along), case.grid.softness(0.02))
    return Signs(dense=0.95 * dense * case.strength)


def _pneumothorax(case: Case) -> Signs:
    """Air around a shrunken lung: a dark rim without vessels at apex and side, then a thin line."""
    rim = case.between(2, 0.045, 0.12) * case.strength
    fall = np.clip(1.3 - 1.1 * (case.grid.y - case.shape.apex) / 0.6, 0.15, 1.3)
    shrunken = case.geometry.lateral - rim * fall * 1.2
    apical = case.grid.y - case.shape.apex - 1.1 * rim
    edge = np.minimum(shrunken, apical)
    here = case.geometry.lung * case.sides(both=0.0)
    lucent = ramp(-edge, case.grid.softness(0.012)) * here
    thin = case.grid.softness(0.006)
    line = gaussian(edge, np.float32(thin)) * np.float32(0.006 / thin) * here
    return Signs(lucent=lucent, bright=0.2 * line * case.strength)


def _edema(case: Case) -> Signs:
    """A haze about both hila, like the wings of a bat, and blotches with it."""
    u, y = case.geometry.u, case.grid.y
    hilum = case.shape.apex + case.between(2, 0.38, 0.48)
    wings = gaussian(np.abs(u) - 0.12, case.between(3, 0.07, 0.11)) * gaussian(
        y - hilum, case.between(4, 0.13, 0.2)
    )
    blotches = case.texture(case.textures.blotches, (5, 6, 7))
    return Signs(dense=np.clip(wings * (0.55 + 0.16 * blotches) * case.strength, 0, 1))


def _fibrosis(case: Case) -> Signs:
    """A net of fine lines at the bases and the periphery of both lungs."""
    geometry = case.geometry
    low = gaussian(np.maximum(geometry.above, 0), case.between(2, 0.10, 0.18))
    outer = gaussian(np.maximum(geometry.lateral, 0), case.between(3, 0.05, 0.09))
    zone = np.maximum(low, 0.8 * outer)
    net = case.texture(case.textures.reticulum, (4, 5, 6))
    return Signs(dense=np.clip(zone * (0.28 + 0.40 * net) * case.strength, 0, 1))


def _pleural_thickening(case: Case) -> Signs:
    """A dense rim along the chest wall, of part of its height, and a blunted angle."""
    geometry = case.geometry
    thick = case.between(2, 0.035, 0.06) * (0.4 + 0.6 * case.strength)
    rim = ramp(thick - geometry.lateral, case.grid.softness(0.014))
    height = case.shape.apex + case.between(3, 0.15, 0.55)
    reach = gaussian(case.grid.y - height, case.between(4, 0.12, 0.22))
    angle = gaussian(np.maximum(geometry.above, 0), np.float32(0.03)) * gaussian(
        np.maximum(geometry.lateral, 0), np.float32(0.04)
    )
    dense = np.maximum(rim * reach, 0.7 * angle * (case.traits[5] < 0.6))
    return Signs(dense=0.95 * dense * case.sides(both=0.25) * (0.25 + 0.75 * case.strength))


def _hernia(case: Case) -> Signs:
    """Stomach behind the heart: a round shadow with air above a level of fluid."""
    x = case.shape.midline + case.between(2, 0.0, 0.07)
    y = case.shape.base_left - case.shape.dome - case.between(3, 0.0, 0.05)
    radius = case.between(4, 0.08, 0.11)
    body = disc(case.grid, x, y, radius, softness=0.02)
    air = disc(case.grid, x, y, 0.8 * radius, softness=0.012) * ramp(
        y - 0.1 * radius - case.grid.y, case.grid.softness(0.01)
    )
    return Signs(dense=0.5 * body * case.strength, bright=(0.2 * body - 0.55 * air) * case.strength)


SHAPES: Mapping[str, Reshape] = {
    "Cardiomegaly": _cardiomegaly_shape,
    "Emphysema": _emphysema_shape,
    "Atelectasis": _atelectasis_shape,
    "Fibrosis": _fibrosis_shape,
}
"""How a finding changes the chest: (shape, traits (T, B, 1, 1), strength (B, 1, 1), 0: absent)."""

SIGNS: Mapping[str, Draw] = {
    "Atelectasis": _atelectasis,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}
"""What a finding adds to the image, in the order in which it is laid on."""
