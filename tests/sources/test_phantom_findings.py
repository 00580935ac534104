"""Each finding changes the image where its signature is.

Every test draws the same 48 exams twice, without a finding and with one, with the same noise: the
difference is the finding. Places are given in parts of the image's side, x to the right (the
patient's left), y downwards.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from concilium.foundation.seeds import numpy_generator
from concilium.sources._phantom.anatomy import Anatomy, geometry, healthy
from concilium.sources._phantom.cohort import Cohort, draw_block
from concilium.sources._phantom.fields import Grid
from concilium.sources._phantom.findings import SHAPES, SIGNS, Case
from concilium.sources._phantom.label_sets import nih_label_sets, set_probabilities
from concilium.sources._phantom.render import Look, draw_exams
from concilium.sources._phantom.textures import Textures

SETS = nih_label_sets()
NAMES = SETS.schema.names
GRID = Grid(64)
X = ((np.arange(64) + 0.5) / 64)[None, :]
Y = X.T
LUNGS = (np.abs(np.abs(X - 0.5) - 0.2) < 0.1) & (np.abs(Y - 0.4) < 0.2)

Floats = npt.NDArray[np.float64]


@cache
def textures() -> Textures:
    return Textures.draw(GRID, 0)


@cache
def exams() -> Cohort:
    drawn = draw_block(SETS, set_probabilities(SETS), 0, 0).take(slice(48))
    return replace(drawn, states=np.zeros_like(drawn.states))


@cache
def drawn(name: str = "", right: bool | None = None, difficulty: float = 0.0) -> Floats:
    """Images with one finding, or none; on one side, where the finding has sides."""
    cohort = exams()
    if name:
        states, traits = cohort.states.copy(), cohort.traits.copy()
        states[:, NAMES.index(name)] = 1
        if right is not None:
            traits[:, NAMES.index(name), 1] = 0.01 if right else 0.99
        cohort = replace(cohort, states=states, traits=traits)
    rng = numpy_generator(0, "noise")
    images = draw_exams(cohort, NAMES, textures(), GRID, Look.of(difficulty), rng)
    return images.astype(np.float64)


def change(name: str, right: bool | None = None) -> Floats:
    """Mean brightness (64, 64) that a finding adds, in gray values."""
    return np.asarray((drawn(name, right) - drawn()).mean(axis=0))


def test_every_finding_has_a_signature() -> None:
    assert set(SHAPES) | set(SIGNS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_changes_every_image_and_less_when_it_is_harder_to_see(name: str) -> None:
    def visible(difficulty: float) -> Floats:
        difference = drawn(name, None, difficulty) - drawn("", None, difficulty)
        return np.asarray(np.abs(difference).sum(axis=(1, 2)))

    assert np.all(visible(0.0) > 0)
    assert visible(1.0).mean() < 0.75 * visible(0.0).mean()  # visibility 0.45 against 1


def test_the_heart_lies_on_the_patients_left() -> None:
    level = np.abs(Y - 0.62) < 0.05
    left, right = level & (np.abs(X - 0.65) < 0.03), level & (np.abs(X - 0.35) < 0.03)
    mean = drawn().mean(axis=0)
    assert mean[left].mean() > mean[right].mean() + 20


def test_lungs_are_dark_and_the_belly_is_bright() -> None:
    mean = drawn().mean(axis=0)
    belly = (np.abs(X - 0.5) < 0.3) & (Y > 0.93)
    assert mean[belly].mean() - mean[LUNGS].mean() > 70


def test_cardiomegaly_widens_the_heart() -> None:
    shadow = change("Cardiomegaly")
    border = (np.abs(Y - 0.6) < 0.06) & (np.abs(X - 0.74) < 0.04)
    assert shadow[border].mean() > 20
    assert abs(shadow[Y[:, 0] < 0.3].mean()) < 1  # nothing at the apices


@pytest.mark.parametrize(("right", "x"), [(True, 0.19), (False, 0.81)])
def test_effusion_fills_the_costophrenic_angle_of_its_side(right: bool, x: float) -> None:
    fluid = change("Effusion", right)
    angle = (np.abs(Y - 0.68) < 0.04) & (np.abs(X - x) < 0.03)
    other = angle[:, ::-1]
    assert fluid[angle].mean() > 30
    assert abs(fluid[other].mean()) < 1


@pytest.mark.parametrize(("right", "x"), [(True, 0.2), (False, 0.8)])
def test_pneumothorax_darkens_the_rim_of_its_side(right: bool, x: float) -> None:
    air = change("Pneumothorax", right)
    rim = (np.abs(Y - 0.3) < 0.08) & (np.abs(X - x) < 0.03)
    assert air[rim].mean() < -10
    assert abs(air[rim[:, ::-1]].mean()) < 1


@pytest.mark.parametrize(("right", "x"), [(True, 0.17), (False, 0.83)])
def test_pleural_thickening_brightens_the_rim_of_its_side(right: bool, x: float) -> None:
    rind = change("Pleural_Thickening", right)
    rim = (np.abs(Y - 0.45) < 0.12) & (np.abs(X - x) < 0.02)
    inner = (np.abs(Y - 0.45) < 0.12) & (np.abs(np.abs(X - 0.5) - 0.18) < 0.05)
    assert rind[rim].mean() > 10
    assert abs(rind[inner].mean()) < 2
    assert abs(rind[rim[:, ::-1]].mean()) < 1


def test_edema_is_a_haze_on_both_sides_and_strongest_at_the_hila() -> None:
    haze = change("Edema")
    near = (np.abs(Y - 0.45) < 0.08) & (np.abs(np.abs(X - 0.5) - 0.13) < 0.03)
    far = (np.abs(Y - 0.45) < 0.08) & (np.abs(np.abs(X - 0.5) - 0.3) < 0.03)
    assert haze[near].mean() > 3 * haze[far].mean() > 0
    assert min(haze[near & (X < 0.5)].mean(), haze[near & (X > 0.5)].mean()) > 10


def test_emphysema_darkens_the_lungs_and_lowers_the_diaphragm() -> None:
    air = change("Emphysema")
    dome = (np.abs(Y - 0.68) < 0.03) & (np.abs(X - 0.33) < 0.05)
    assert air[LUNGS].mean() < -10
    assert air[dome].mean() < -40


@pytest.mark.parametrize(("name", "darkest"), [("Mass", 25.0), ("Consolidation", 25.0)])
def test_opacities_are_brighter_than_the_lung_on_their_side_only(name: str, darkest: float) -> None:
    opacity = change(name, True)
    difference = drawn(name, True) - drawn()
    assert opacity[LUNGS & (X < 0.5)].mean() > 2
    assert np.all(opacity[LUNGS & (X > 0.5)] == 0)
    assert np.median(difference.max(axis=(1, 2))) > darkest


def test_a_mass_is_larger_than_a_nodule() -> None:
    def area(name: str) -> float:
        return float(np.median(((drawn(name) - drawn()) > 20).sum(axis=(1, 2))))

    # A radius of 0.07 against one of 0.034, both in 64 pixels: 63 and 15 pixels, or two nodules.
    assert area("Mass") > 1.5 * area("Nodule") > 0


@pytest.mark.parametrize("name", ["Infiltration", "Pneumonia"])
def test_patches_brighten_the_lungs_less_sharply_than_a_consolidation(name: str) -> None:
    def sharpness(finding: str) -> float:
        opacity = (drawn(finding, True) - drawn())[:, :, :32]
        steps = np.abs(np.diff(opacity, axis=1)).max(axis=(1, 2))
        return float(np.median(steps / opacity.max(axis=(1, 2))))

    assert change(name, True)[LUNGS & (X < 0.5)].mean() > 2
    assert sharpness(name) < sharpness("Mass")


def test_pneumonia_looks_more_like_consolidation_than_a_pneumothorax_does() -> None:
    def likeness(a: str, b: str) -> float:
        return float(np.corrcoef(change(a)[LUNGS], change(b)[LUNGS])[0, 1])

    assert likeness("Pneumonia", "Infiltration") > likeness("Pneumonia", "Pneumothorax")


def test_fibrosis_is_a_net_in_the_bases_and_not_at_the_hila() -> None:
    net = np.asarray(np.abs(drawn("Fibrosis") - drawn()).mean(axis=0))
    at_base = (np.abs(Y - 0.6) < 0.04) & (np.abs(X - 0.33) < 0.08)
    at_hilum = (np.abs(Y - 0.42) < 0.04) & (np.abs(X - 0.38) < 0.04)
    at_wall = (np.abs(Y - 0.42) < 0.04) & (np.abs(X - 0.2) < 0.04)
    assert net[at_base].mean() > 1.5 * net[at_hilum].mean()
    assert net[at_wall].mean() > 1.5 * net[at_hilum].mean()


@pytest.mark.parametrize("right", [True, False])
def test_atelectasis_raises_the_diaphragm_of_its_side(right: bool) -> None:
    def shape(strength: float) -> Anatomy:
        count = len(exams())
        traits = np.full((12, count, 1, 1), 0.01 if right else 0.99, np.float32)
        strengths = np.full((count, 1, 1), strength, np.float32)
        return SHAPES["Atelectasis"](healthy(exams(), 1.0), traits, strengths)

    before, after = shape(0.0), shape(1.0)
    np.testing.assert_allclose(
        before.base_right - after.base_right, 0.07 if right else 0, atol=1e-6
    )
    np.testing.assert_allclose(before.base_left - after.base_left, 0 if right else 0.07, atol=1e-6)


def test_a_hernia_is_bright_with_dark_air_behind_the_heart() -> None:
    difference = drawn("Hernia") - drawn()
    behind = difference[:, 30:52, 26:44]
    assert np.median(behind.max(axis=(1, 2))) > 20
    assert np.median(behind.min(axis=(1, 2))) < -20
    assert np.all(difference[:, :20] == 0)


def test_fields_are_single_precision() -> None:
    shape = healthy(exams(), 1.0)
    space = geometry(GRID, shape)
    count = len(exams())
    traits = np.full((12, count, 1, 1), 0.3, np.float32)
    case = Case(GRID, textures(), shape, space, traits, np.ones((count, 1, 1), np.float32))
    for name, draw in SIGNS.items():
        signs = draw(case)
        for field in (signs.dense, signs.lucent, signs.bright):
            assert field is None or field.dtype == np.float32, name
