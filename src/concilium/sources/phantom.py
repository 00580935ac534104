"""Synthetic chest radiographs with the fourteen findings of NIH ChestX-ray14; needs no download.

The label sets are drawn from the real ones (Wang et al., ChestX-ray8, CVPR 2017, arXiv 1705.02315);
the images are drawn by formulas and show nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from concilium.data.acquisition import draw_acquisition
from concilium.data.dataset import Dataset
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError, InputError, Problem
from concilium.foundation.seeds import derive_seed, numpy_generator
from concilium.sources._phantom.cohort import BLOCK, Cohort, draw_cohort
from concilium.sources._phantom.fields import Grid
from concilium.sources._phantom.label_sets import nih_label_sets, set_probabilities
from concilium.sources._phantom.render import Look, draw_exams
from concilium.sources._phantom.textures import Textures
from concilium.sources.contract import Source

_BATCH = 32  # exams drawn at once; it divides BLOCK, and the noise of an exam depends on it
assert BLOCK % _BATCH == 0


@dataclass(frozen=True)
class Phantom(Source):
    """Settings of the phantom.

    ``num_exams`` images of ``image_size`` pixels a side (32 to 512); the first exams stay the same
    when more are asked for, and show the same chests at any size. ``difficulty`` in [0, 1]: from
    plain findings on quiet images to faint ones among noise, clutter and varied anatomy.

    ``enrichment`` in [0, 1]: how far label sets with rare findings are raised above their real
    frequency, so that small data sets have some (0: as on real images; 1: the rarest findings are
    about as frequent as the others; see ``set_probabilities``). ``rare_combination`` names findings
    that stand together on at least a share ``rare_share`` of the exams.

    ``num_hospitals`` > 0 adds the covariate "hospital", one for each patient, and gives every
    hospital its own contrast, brightness, blur, noise, rotation and collimation, which deviate by
    ``hospital_shift`` in [0, 1].

    >>> from pathlib import Path
    >>> data = Phantom(num_exams=8).load(Path("unused"))
    >>> data.images.shape, data.synthetic
    ((8, 64, 64), True)
    """

    num_exams: int = 4000
    image_size: int = 64
    difficulty: float = 0.5
    seed: int = 0
    enrichment: float = 0.5
    rare_combination: tuple[str, ...] = ()
    rare_share: float = 0.0
    num_hospitals: int = 0
    hospital_shift: float = 0.5

    def __post_init__(self) -> None:
        problems = [Problem("phantom", broken) for broken in self._broken_rules()]
        try:
            set_probabilities(nih_label_sets(), 0.0, self.rare_combination, 0.0)
        except InputError as error:
            problems.extend(error.problems)
        if problems:
            raise DataError(problems)

    def _broken_rules(self) -> list[str]:
        rules = [
            (self.num_exams >= 1, f"num_exams={self.num_exams} must be at least 1"),
            (32 <= self.image_size <= 512, f"image_size={self.image_size} must be 32 to 512"),
            (0 <= self.difficulty <= 1, f"difficulty={self.difficulty} must be 0 to 1"),
            (0 <= self.enrichment <= 1, f"enrichment={self.enrichment} must be 0 to 1"),
            (0 <= self.rare_share < 1, f"rare_share={self.rare_share} must be 0 to below 1"),
            (self.num_hospitals >= 0, f"num_hospitals={self.num_hospitals} must be at least 0"),
            (0 <= self.hospital_shift <= 1, f"hospital_shift={self.hospital_shift} must be 0 to 1"),
            (
                bool(self.rare_combination) == (self.rare_share > 0),
                "rare_combination needs a rare_share above 0, and rare_share a rare_combination",
            ),
        ]
        return [broken for holds, broken in rules if not holds]

    def load(self, cache: Path) -> Dataset:
        """Draw the data set; nothing is kept in ``cache``, drawing is as fast as reading."""
        cohort = draw_cohort(nih_label_sets(), self._probability(), self.seed, self.num_exams)
        hospital = np.floor(cohort.hospital * max(self.num_hospitals, 1)).astype(np.int64)
        images = self._draw(cohort)
        if self.num_hospitals:
            self._acquire(images, hospital[: self.num_exams])
        table = self._table(cohort.take(slice(self.num_exams)), hospital)
        return Dataset(table, images[: self.num_exams], self._title(), True, self._notes())

    def _probability(self) -> npt.NDArray[np.float64]:
        return set_probabilities(
            nih_label_sets(), self.enrichment, self.rare_combination, self.rare_share
        )

    def _draw(self, cohort: Cohort) -> npt.NDArray[np.uint8]:
        grid = Grid(self.image_size)
        textures = Textures.draw(grid, self.seed)
        names, look = nih_label_sets().schema.names, Look.of(self.difficulty)
        count = -(-self.num_exams // _BATCH) * _BATCH
        images = np.empty((count, self.image_size, self.image_size), np.uint8)
        for start in range(0, count, _BATCH):
            rows = slice(start, start + _BATCH)
            rng = numpy_generator(self.seed, "phantom", "noise", start)
            images[rows] = draw_exams(cohort.take(rows), names, textures, grid, look, rng)
        return images

    def _acquire(self, images: npt.NDArray[np.uint8], hospital: npt.NDArray[np.int64]) -> None:
        """Let every hospital take its images, in place."""
        for index in range(self.num_hospitals):
            rows = np.flatnonzero(hospital == index)
            place = derive_seed(self.seed, "phantom", "hospital", index)
            habit = draw_acquisition(self.hospital_shift, place)
            images[rows] = habit.apply(images[rows], place)

    def _table(self, cohort: Cohort, hospital: npt.NDArray[np.int64]) -> ExamTable:
        covariates: dict[str, npt.NDArray[np.generic]] = {
            "age": np.floor(cohort.age).astype(np.float64),
            "sex": np.where(cohort.female, "F", "M"),
            "view": np.where(cohort.ap, "AP", "PA"),
        }
        if self.num_hospitals:
            names = [f"hospital {index + 1}" for index in range(self.num_hospitals)]
            covariates["hospital"] = np.array(names)[hospital[: self.num_exams]]
        return ExamTable(nih_label_sets().schema, cohort.states, cohort.patient, covariates)

    def _title(self) -> str:
        return f"phantom (synthetic chest radiographs, difficulty {self.difficulty:g})"

    def _notes(self) -> dict[str, str]:
        return {
            "images": "synthetic: drawn by formulas, they show nobody",
            "label sets": "drawn from the 801 sets of NIH ChestX-ray14 (Wang et al., CVPR 2017)",
            "enrichment of rare findings": f"{self.enrichment:g} (0: as on real images)",
        }
