"""What a sampling is: which clients take part in a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from concilium.federation.client import Client
from concilium.federation.requests import Request


class Sampling(ABC):
    """A sampling. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: a cohort depends on clients, sizes, seed and round alone
    (so a resumed run asks the same clients); it keeps the order of the clients and asks nobody
    twice; its size is ``cohort_size``; participation 1 asks every client.

    ``needs_sizes``: it must know each client's number of training images, which the server then
    asks of every client once (``NumTrainingImages``): the one number that the server learns of a
    hospital by itself.
    """

    needs_sizes: ClassVar[bool] = False

    @abstractmethod
    def cohort(
        self,
        clients: Sequence[str],
        participation: float,
        sizes: Mapping[str, int],
        seed: int,
        round_: int,
    ) -> tuple[str, ...]:
        """The clients of a round, in their order.

        ``participation`` in [0, 1] is their fraction; ``sizes`` the training images of each client,
        empty unless the sampling needs them.
        """


@dataclass(frozen=True)
class NumTrainingImages(Request[int]):
    """How many training images do you have?"""

    def answer(self, client: Client) -> int:
        """Images of the training part, annotated or not."""
        return client.statistics("train").num_images


def cohort_size(num_clients: int, participation: float) -> int:
    """round(participation · K) clients, at least one.

    >>> cohort_size(20, 0.4), cohort_size(20, 0.0)
    (8, 1)
    """
    return max(1, round(participation * num_clients))


CONTRACT = Sampling
