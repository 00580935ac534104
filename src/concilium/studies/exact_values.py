"""AUROC and AP from exact ranks of all test exams, beside what the summed histograms say of them.

For a simulation alone, whose hospitals all stand on this machine: ranks need the scores of single
exams in one place, which no federation has. The patients' bootstrap weights are those of the
hospitals, so an exact interval and that of the histograms differ by what the bins cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from concilium.evaluation.averages import macro
from concilium.evaluation.bootstrap import Weights, blocks_of, patient_weights
from concilium.evaluation.exact_ranks import ExactRanks
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.requests import BootstrapRequest
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.phases import Operation
from concilium.studies.results import CURVES, Plain, intervals_of


def exact_values(
    model: NamedTensors,
    operation: Operation,
    clients: Sequence[Client],
    replicates: int,
    *,
    seed: int,
    min_positives: int,
) -> Plain:
    """``exact``: AUROC and AP of a model by label, their macro, their intervals over patients.

    ``seed`` and ``replicates`` are those of the hospitals' own bootstrap; 0 replicates: no
    intervals. ``min_positives``: of the labels that enter the macro.
    """
    names, curves = zip(*CURVES.items(), strict=True)
    request = BootstrapRequest(
        model, "test", replicates, seed, operation.calibration, operation.posterior
    )
    ranks = _ranks(request, clients)
    by_client = {client.name: client.statistics("test") for client in clients}
    statistics = total(by_client.items(), tuple(by_client))
    values = dict(zip(names, ranks.point(curves), strict=True))
    found: Plain = {
        "metrics": values,
        "macro": {
            name: macro(own, statistics, min_positives)._asdict() for name, own in values.items()
        },
        "intervals": {},
    }
    if replicates:
        num_patients = [own.num_patients for own in by_client.values()]
        seeds = [request.seed_of(client) for client in clients]
        drawn = [
            ranks.values(_weights(num_patients, block, seeds), curves)
            for block in blocks_of(replicates)
        ]
        replicated = dict(zip(names, np.concatenate(drawn, axis=1), strict=True))
        found["intervals"] = intervals_of(replicated, statistics, min_positives)
    return {"exact": found}


def _ranks(request: BootstrapRequest, clients: Sequence[Client]) -> ExactRanks:
    """The exams of all clients, whose patients keep the order in which each client weighs them."""
    exams = [client.parts["test"] for client in clients]
    numbers, first = [], 0
    for own in exams:
        known, index = np.unique(own.patient, return_inverse=True)
        numbers.append(first + index)
        first += len(known)
    return ExactRanks.of(
        np.concatenate([request.scores(client) for client in clients]),
        np.concatenate([own.target for own in exams]),
        np.concatenate([own.known for own in exams]),
        np.concatenate(numbers),
    )


def _weights(num_patients: Sequence[int], replicates: range, seeds: Sequence[int]) -> Weights:
    """Weights (P, R) of all clients' patients, client after client, as each draws its own."""
    drawn = [
        patient_weights(number, replicates, seed)
        for number, seed in zip(num_patients, seeds, strict=True)
    ]
    return np.concatenate(drawn)
