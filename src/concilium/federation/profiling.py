"""The question by which a recipe is chosen: what a split is like, as a value that adds up."""

from __future__ import annotations

from dataclasses import dataclass

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.labels.split_profile import SplitProfile


@dataclass(frozen=True)
class SplitProfileRequest(Request[SplitProfile]):
    """How many hospitals and images, who holds and annotates what, and how far are you apart?"""

    part: str = "train"

    def answer(self, client: Client) -> SplitProfile:
        """The profile of one part, from its labels alone: no model is needed."""
        exams = client.parts[self.part]
        return SplitProfile.of(exams.target, exams.known, exams.patient)
