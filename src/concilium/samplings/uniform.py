"""Draw the clients of a round alike, without replacement.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, Algorithm 1 (arXiv 1602.05629): max(C·K, 1) clients at
random; C·K is rounded here. A small hospital is asked as often as a large one; a weighting by
images or known entries then gives each its say.

Sends: nothing.
Costs: nothing.
Secure sum: yes, who is asked depends on seed and round alone.
Differential privacy: yes, nothing that a hospital holds decides who is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concilium.foundation.seeds import numpy_generator
from concilium.samplings.contract import Sampling, cohort_size


@dataclass(frozen=True)
class Uniform(Sampling):
    """Every client with the same probability, participation."""

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
        chosen = numpy_generator(seed, "cohort", round_).choice(len(clients), size, replace=False)
        return tuple(clients[i] for i in sorted(chosen))
