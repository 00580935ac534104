"""What a source is: something that loads a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from concilium.data.dataset import Dataset


class Source(ABC):
    """Loads exams. A frozen dataclass; its fields are its settings in a study's ``[data]``."""

    @abstractmethod
    def load(self, cache: Path) -> Dataset:
        """The whole data set; decoded images are kept below ``cache``.

        Raises DataError with every problem found: file, row, label, remedy.
        """


CONTRACT = Source
