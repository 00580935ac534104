"""What partitioners have in common: patients are moved to small hospitals by a plain rule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from concilium.foundation.errors import DataError
from concilium.partitioners._dealing import refill


def refilled_plainly(
    hospital: npt.NDArray[np.intp],
    images: npt.NDArray[np.int64],
    number: int,
    least: int,
    seed: int,
) -> npt.NDArray[np.intp]:
    """The rule, with everything counted anew for each patient who is moved."""
    hospital, moved, generator = hospital.copy(), set[int](), np.random.default_rng(seed)
    while True:
        sizes = [int(images[hospital == k].sum()) for k in range(number)]
        if min(sizes) >= least:
            return hospital
        stay = [[p for p in np.flatnonzero(hospital == k) if p not in moved] for k in range(number)]
        giving = [k for k in range(number) if stay[k] and (hospital == k).sum() > 1]
        largest = max(giving, key=lambda k: sizes[k])
        patient = int(generator.choice(stay[largest]))
        sizes[largest] -= int(images[patient])
        hospital[patient] = int(np.argmin(sizes))
        moved.add(patient)


@pytest.mark.parametrize("seed", range(5))
def test_patients_are_moved_one_by_one_from_the_then_largest_hospital(seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(1, 6, 80)
    hospital = generator.choice(6, 80, p=[0.6, 0.3, 0.1, 0.0, 0.0, 0.0])
    found = refill(hospital, images, 6, 12, np.random.default_rng(seed))
    np.testing.assert_array_equal(found, refilled_plainly(hospital, images, 6, 12, seed))
    assert np.bincount(found, images, 6).min() >= 12


def test_a_hospital_keeps_its_last_patient() -> None:
    # Hospital 1 is the largest by one patient, whom it cannot give away: hospital 2 gives.
    found = refill(np.array([1, 2, 2]), np.array([50, 4, 4]), 3, 4, np.random.default_rng(0))
    assert found[0] == 1 and sorted(found[1:].tolist()) == [0, 2]
    # Hospital 2 gives one of its two, and then no other; hospital 3 gives to hospital 1.
    images = np.array([50, 50, 4, 4])
    found = refill(np.array([2, 2, 3, 3]), images, 4, 4, np.random.default_rng(0))
    assert np.bincount(found, images).tolist() == [50, 4, 50, 4]


def test_images_that_do_not_suffice_are_refused() -> None:
    hospital, images = np.array([0, 1, 1, 1]), np.array([50, 4, 4, 4])
    with pytest.raises(DataError, match="62 images do not give 3 hospitals 9 each"):
        refill(hospital, images, 3, 9, np.random.default_rng(0))
