"""Draw the clients of a round in proportion to their training images, without replacement.

Li, Huang, Yang, Wang, Zhang: "On the Convergence of FedAvg on Non-IID Data", ICLR 2020 (arXiv
1907.02189), Assumption 5, Scheme I: clients drawn with probabilities n_k/N are averaged unweighted,
so that the mean is unbiased for Σ n_k w_k / N. Pair it with ``weighting = "equal"``; a weighting by
images would count sizes twice.

Where ours differs: they draw with replacement, so a large client can come twice. Here m clients are
drawn without, client k with probability exactly π_k = min(1, c n_k), Σ π_k = m, by systematic
sampling in random order (Madow: "On the Theory of Systematic Sampling, II", Annals of Mathematical
Statistics 20, 1949; random order: Hartley, Rao: "Sampling with Unequal Probabilities and without
Replacement", ibid. 33, 1962). As long as no π_k is capped at 1, the unweighted mean over the cohort
is unbiased for Σ n_k w_k / N; a client with m n_k > N is asked in every round and has less say than
its size. Below full participation a client without images is never drawn, and where fewer than m
have any, all of those are; at full participation everybody is asked, whatever the sizes.

Sends: the number of training images of each hospital, once, before the first round, to the server
by itself.
Costs: one number a hospital and run; no round costs more.
Secure sum: no, the server must see every hospital's size; the updates of a round may be summed
securely.
Differential privacy: no, sizes are sent exactly and decide who is asked; what is trained may still
be protected where sizes are no secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import InputError
from concilium.foundation.seeds import numpy_generator
from concilium.samplings.contract import Sampling, cohort_size

Sizes = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Weighted(Sampling):
    """Every client with a probability proportional to its images, at most 1.

    Raises InputError where no client has a training image.
    """

    needs_sizes: ClassVar[bool] = True

    def cohort(
        self,
        clients: Sequence[str],
        participation: float,
        sizes: Mapping[str, int],
        seed: int,
        round_: int,
    ) -> tuple[str, ...]:
        size = cohort_size(len(clients), participation)
        if size >= len(clients):
            return tuple(clients)
        images = np.array([sizes[client] for client in clients], np.int64)
        if not images.any():
            raise InputError("no client has a training image: there is nobody to draw")
        chosen = certain(images, size)
        left, others = size - int(chosen.sum()), np.where(chosen, 0, images)
        if left > 0 and others.any():
            generator = numpy_generator(seed, "cohort", round_)
            chosen[systematic(others, left, generator)] = True
        return tuple(client for client, asked in zip(clients, chosen, strict=True) if asked)


def certain(images: Sizes, size: int) -> Chosen:
    """Which of the clients (K,) are drawn for certain in a cohort of this size: capped at π = 1.

    >>> certain(np.array([1, 2, 3, 90, 40]), 3)  # 90 ≥ 136/3; then, of the others, 40 ≥ 46/2
    array([False, False, False,  True,  True])
    """
    capped = np.zeros(len(images), np.bool_)
    while True:
        left, open_ = size - int(capped.sum()), np.where(capped, 0, images)
        over = (left * open_ >= open_.sum()) & (open_ > 0)
        if not over.any():
            return capped
        capped |= over


def systematic(images: Sizes, size: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Places (size,) of clients, each drawn with probability size·n_k / N, of which none reaches 1.

    All clients are laid end to end in random order, each as long as its images; marks stand at
    equal distances, the first at random. In units of 1/size of an image all of this is whole
    numbers, so the probabilities are exact.
    """
    order = generator.permutation(len(images))
    ends, distance = size * np.cumsum(images[order]), int(images.sum())
    marks = generator.integers(distance) + distance * np.arange(size)
    found: npt.NDArray[np.intp] = order[np.searchsorted(ends, marks, side="right")]
    return found
