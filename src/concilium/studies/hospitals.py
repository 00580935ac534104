"""The hospitals of a study: the exams that each of them holds, and the clients over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset, Exams
from concilium.data.rows import Rows, join
from concilium.federation.client import Client
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import derive_seed
from concilium.labels.uncertainty import UncertaintyPolicy, resolve
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.studies.assembly import Method, make, network_of, training_of
from concilium.studies.configuration import Study
from concilium.studies.division import Division
from concilium.training.local import LocalTraining


def parts_of(
    dataset: Dataset, division: Division, policy: UncertaintyPolicy
) -> dict[str, dict[str, Exams]]:
    """The exams of every hospital and part; images as its own machines would have made them.

    What a hospital never annotates is unknown in its training and validation parts (or, where the
    policy says so of all that is unknown, absent), and known in its test part.
    """
    target, known = resolve(dataset.table.states, policy)
    found: dict[str, dict[str, Exams]] = {}
    for k, (name, own) in enumerate(
        zip(division.partition.clients, division.rows_of_all(), strict=True)
    ):
        found[name] = {}
        for part in division.parts:
            rows = own[part]
            said, heard = target[rows], known[rows]
            if part != "test":
                said, heard = _as_heard(said, heard, division.partition.annotated[k], policy)
            view = Rows(dataset.images, rows)
            images: Rows | npt.NDArray[Any] = view
            acquisition = division.partition.acquisition.get(name)
            if acquisition is not None:
                images = acquisition.apply(view, derive_seed(division.seed, name, part))
            found[name][part] = Exams(images, said, heard, dataset.table.patient[rows])
    return found


def _as_heard(
    target: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    annotated: npt.NDArray[np.bool_],
    policy: UncertaintyPolicy,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Target and known (N, L) of a hospital that annotates some labels (L,)."""
    if policy.unknown_as_negative:
        return np.where(annotated, target, np.float32(0)), known | ~annotated
    return target, known & annotated


def check_runtime(study: Study, dataset: Dataset) -> None:
    """Raise InputError where the study's runtime cannot run hospitals with such data at all."""
    labels = np.zeros((0, len(dataset.table.schema)), np.float32)
    nothing = Exams(dataset.images[:0], labels, labels > 0, np.zeros(0, np.int64))
    network = network_of(study, dataset.form, study.seeds[0])
    training = training_of(study, study.training.learning_rates[0])
    loss, device = BinaryCrossEntropy(), next(network.parameters()).device
    nobody = Client("", {"train": nothing}, network, loss, training, 0, device)
    make("runtimes", study.training.runtime).crew([nobody, nobody], 2)


def pooled(parts: Mapping[str, Mapping[str, Exams]]) -> dict[str, Exams]:
    """The same exams as if one hospital held them all."""
    hospitals = list(parts.values())
    return {
        part: Exams(
            join([hospital[part].images for hospital in hospitals]),
            np.concatenate([hospital[part].target for hospital in hospitals]),
            np.concatenate([hospital[part].known for hospital in hospitals]),
            np.concatenate([hospital[part].patient for hospital in hospitals]),
        )
        for part in hospitals[0]
    }


def clients_of(
    parts: Mapping[str, Mapping[str, Exams]],
    network: Network,
    method: Method,
    training: LocalTraining,
    seed: int,
    private: Callable[[str], NamedTensors],
) -> tuple[Client, ...]:
    """The clients of one process; they share the network as their workbench.

    ``private`` gives the tensors of a client's own, which do not travel.
    """
    device = next(network.parameters()).device
    sharing = method.settings.shares
    return tuple(
        Client(name, own, network, method.loss, training, seed, device, sharing, private(name))
        for name, own in parts.items()
    )
