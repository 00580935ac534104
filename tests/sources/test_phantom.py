"""The phantom as a source: the same settings give the same bytes, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from concilium.data.dataset import Dataset
from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.sources.phantom import Phantom

HERE = Path("nothing is written here")
SMALL = Phantom(num_exams=40, image_size=32)


def load(phantom: Phantom) -> Dataset:
    return phantom.load(HERE)


def test_it_is_found_by_name_and_says_that_it_is_synthetic() -> None:
    data = components.build("sources", "phantom", {"num_exams": 3, "image_size": 32}).load(HERE)
    assert data.synthetic
    assert "synthetic" in data.title
    assert "synthetic" in data.notes["images"]
    assert data.images.shape == (3, 32, 32)
    assert data.images.dtype == np.uint8
    assert data.table.schema.names[0] == "Atelectasis"
    assert not HERE.exists()


def test_the_same_settings_give_the_same_bytes_and_another_seed_does_not() -> None:
    first, second, other = load(SMALL), load(SMALL), load(replace(SMALL, seed=1))
    assert first.images.tobytes() == second.images.tobytes()
    assert np.array_equal(first.table.states, second.table.states)
    assert first.images.tobytes() != other.images.tobytes()
    assert not np.array_equal(first.table.states, other.table.states)


@pytest.mark.parametrize("hospitals", [0, 3])
def test_an_exam_stays_the_same_when_more_are_asked_for(hospitals: int) -> None:
    few = load(replace(SMALL, num_hospitals=hospitals))
    more = load(replace(SMALL, num_hospitals=hospitals, num_exams=70))
    np.testing.assert_array_equal(few.images, more.images[:40])
    np.testing.assert_array_equal(few.table.states, more.table.states[:40])
    np.testing.assert_array_equal(few.table.patient, more.table.patient[:40])


def test_patients_keep_consecutive_codes_and_one_sex_over_blocks() -> None:
    table = load(Phantom(num_exams=600, image_size=32)).table  # a block has 512 exams
    assert np.array_equal(np.unique(table.patient), np.arange(table.patient.max() + 1))
    assert np.all(np.diff(table.patient) >= 0)
    for name in ("age", "sex"):
        pairs = {(p, v) for p, v in zip(table.patient, table.covariates[name], strict=True)}
        assert len(pairs) == table.patient.max() + 1


def test_an_exam_shows_the_same_chest_at_any_size() -> None:
    settings = Phantom(num_exams=32, image_size=32, difficulty=0.0)
    small = load(settings).images.astype(float)
    large = load(replace(settings, image_size=64)).images.astype(float)
    shrunk = large.reshape(32, 32, 2, 32, 2).mean(axis=(2, 4))
    for a, b in zip(small, shrunk, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


def test_images_of_a_patient_are_more_alike_than_those_of_two() -> None:
    data = load(Phantom(num_exams=200, image_size=32, difficulty=0.0))
    pixels = data.images.reshape(200, -1).astype(float)
    pixels -= pixels.mean(axis=1, keepdims=True)  # exposure differs from exam to exam
    distance = np.square(pixels[1:] - pixels[:-1]).mean(axis=1)
    same = np.diff(data.table.patient) == 0
    assert np.median(distance[same]) < 0.7 * np.median(distance[~same])


def test_hospitals_take_their_images_differently() -> None:
    plain = Phantom(num_exams=96, image_size=32)
    data = load(replace(plain, num_hospitals=3, hospital_shift=1.0))
    same = load(replace(plain, num_hospitals=3, hospital_shift=0.0))
    alone = load(plain)
    assert "hospital" not in alone.table.covariates
    np.testing.assert_array_equal(same.images, alone.images)
    hospital = data.table.covariates["hospital"]
    assert sorted(set(hospital.tolist())) == ["hospital 1", "hospital 2", "hospital 3"]
    pairs = set(zip(data.table.patient.tolist(), hospital.tolist(), strict=True))
    assert len(pairs) == data.table.patient.max() + 1  # one hospital for each patient
    change = data.images.astype(float) - same.images
    by_hospital = [change[hospital == name].mean() for name in np.unique(hospital)]
    # Brightness is shifted by up to 0.15 · 255 = 38 gray values; equal habits would shift equally.
    assert np.ptp(by_hospital) > 8


def test_difficulty_adds_noise_to_what_was_quiet() -> None:
    def roughness(difficulty: float) -> float:
        images = load(replace(SMALL, num_exams=32, difficulty=difficulty)).images.astype(float)
        return float(np.abs(np.diff(images[:, 28:], axis=2)).mean())  # the belly, evenly bright

    assert roughness(0.0) < roughness(0.5) < roughness(1.0)


def test_a_rare_pair_gets_its_share() -> None:
    few = replace(SMALL, num_exams=192)
    more = replace(few, rare_combination=("Mass", "Pneumothorax"), rare_share=0.2)
    count = [load(each).table.states[:, [4, 7]].all(axis=1).sum() for each in (few, more)]
    # A fifth of 192 is 38; findings repeat within patients, so half of it is a safe least.
    assert count[0] < 12
    assert count[1] > 19


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Phantom(
            num_exams=0,
            image_size=16,
            difficulty=1.5,
            enrichment=-1,
            num_hospitals=-1,
            hospital_shift=2,
            rare_combination=("Hernya",),
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 8
    for part in ("num_exams=0", "image_size=16", "difficulty=1.5", "did you mean 'Hernia'"):
        assert part in text


@pytest.mark.parametrize(
    "settings",
    [
        {"rare_share": 0.1},
        {"rare_combination": ("Mass",)},
        {"rare_share": 1.0, "rare_combination": ("Mass",)},
        {"image_size": 1024},
        {"difficulty": float("nan")},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        components.build("sources", "phantom", settings)


@pytest.mark.slow
def test_a_linear_probe_on_coarse_pixels_sees_the_large_findings() -> None:
    data = load(Phantom(num_exams=3000, difficulty=0.25))
    coarse = data.images.reshape(3000, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(3000, 256) / 255
    test = data.table.patient > data.table.patient[2200]
    names = data.table.schema.names

    def area(name: str) -> float:
        present = data.table.states[:, names.index(name)] == 1
        probe = LogisticRegression(C=1.0, max_iter=500).fit(coarse[~test], present[~test])
        return float(roc_auc_score(present[test], probe.decision_function(coarse[test])))

    # Findings that change large regions are seen by any model, small ones need a network.
    assert all(area(name) > 0.8 for name in ("Cardiomegaly", "Effusion", "Edema", "Emphysema"))
    assert all(area(name) > 0.6 for name in ("Infiltration", "Consolidation", "Pneumothorax"))
