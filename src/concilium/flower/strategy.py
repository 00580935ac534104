"""A Flower ``Strategy``: concilium's weightings, server optimisers and metrics in an app of yours.

    strategy = ConciliumStrategy(head="fc", weighting=ByLabelEvidence())

stands where ``FedAvg(...)`` stood. The client adds ``**label_counts(target, known)`` to the metrics
of its training reply and ``evaluation_record(scores, target, known)`` to its evaluation's
(``flower.records``). The model is a torch state dict; ``head`` is its layer with one row a label.

What differs from Flower's own strategies: rows of labels may weigh by what hospitals know of them;
nodes are drawn by the seed; replies are added by ascending node id, so their order does not change
a bit; one that is malformed is left out by name, and the round ends as without it; integers stay
integers; what one hospital does not report is averaged over the others; AUROC and average precision
come from histograms of all hospitals' scores. Waiting for nodes ends, and so does a run that nobody
answers.

Algorithms that need a memory or a term of their own at the client (SCAFFOLD, FedDyn, MOON …) are
not to be had this way, nor are secure sum and exact heads: ``concilium federation`` runs those.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import TypeVar

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import Strategy

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedopt import FedOpt
from concilium.evaluation.averages import macro
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.messages import Update, total
from concilium.federation.states import ServerState
from concilium.flower import replies as door
from concilium.flower.records import EXAMPLES, counts_of
from concilium.flower.state_dict import Arrays, StateDict, arrays_of
from concilium.foundation.checks import at_least, fraction, not_negative, positive
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import derive_seed
from concilium.labels.statistics import LabelStatistics
from concilium.metrics.auroc import Auroc
from concilium.metrics.average_precision import AveragePrecision
from concilium.metrics.contract import Metric
from concilium.samplings.uniform import Uniform
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.contract import Weighting

POLL_SECONDS = 0.5
NUM_CLIENTS, NUM_LEFT_OUT = "num-clients", "num-left-out"

T = TypeVar("T")

logger = logging.getLogger("flwr")  # where an app's other lines stand, too


@dataclass(frozen=True)
class _Trained:
    """A training reply that counts."""

    arrays: Arrays
    statistics: LabelStatistics
    metrics: MetricRecord


@dataclass(frozen=True)
class _Evaluated:
    """An evaluation that counts."""

    sums: EvaluationSums
    metrics: MetricRecord


@dataclass(kw_only=True, eq=False)
class ConciliumStrategy(Strategy):
    """Sums of weighted deltas, a server algorithm, and metrics of summed histograms.

    ``head``: name of the layer with one row a label ("fc" for "fc.weight" and "fc.bias").
    ``algorithm``: ``FedAvg`` or ``FedOpt``, with their settings. ``metrics``: name → metric that
    needs no thresholds. ``fraction_train``, ``fraction_evaluate``: part of the nodes that are there
    (evaluation 0: none), drawn by ``seed`` and round. ``min_nodes``: a round waits for so many, at
    most ``wait`` seconds. ``quorum``: least training replies that count. ``most_images``: more
    exams than any hospital has. ``buffers``: names of tensors, beside integers and torch's running
    statistics, that no server optimiser may move.

    A model in float32 moves exactly as in concilium's own rounds, bit for bit. ``left_out`` says
    why a node did not count (``flower.replies.CODES``): "train 3" → node id → code; ``sums`` holds
    the summed evaluation of each round. AggregationError ends the run: below the quorum, with the
    names of all who were left out, and where nodes that a round waits for never come.
    """

    head: str
    weighting: Weighting = field(default_factory=ByKnownEntries)
    algorithm: Algorithm = field(default_factory=FedAvg)
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {"auroc": Auroc(), "average-precision": AveragePrecision()}
    )
    fraction_train: float = 1.0
    fraction_evaluate: float = 1.0
    min_nodes: int = 2
    quorum: int = 1
    wait: float = 300.0
    seed: int = 0
    most_images: int = 10_000_000
    buffers: Collection[str] = ()
    left_out: dict[str, dict[int, str]] = field(default_factory=dict, init=False)
    sums: dict[int, EvaluationSums] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        fraction(fraction_train=self.fraction_train, fraction_evaluate=self.fraction_evaluate)
        positive(fraction_train=self.fraction_train)
        at_least(1, min_nodes=self.min_nodes, quorum=self.quorum, most_images=self.most_images)
        not_negative(wait=self.wait)
        if not isinstance(self.algorithm, FedAvg | FedOpt):
            raise InputError(
                f"{type(self.algorithm).__name__} needs more of a client than a trained model: "
                "here FedAvg and FedOpt will do; run others with `concilium federation`"
            )
        needing = [name for name, metric in self.metrics.items() if metric.needs_thresholds]
        if needing:
            raise InputError(
                f"no thresholds are known here, and these metrics need them: {needing}"
            )
        self._asked: tuple[int, ...] = ()
        self._sent: StateDict | None = None
        self._num_labels = 0
        self._known: dict[int, LabelStatistics] = {}
        self._memory = NamedTensors({})

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The model, and the federation's label counts where they are known, to the cohort."""
        if server_round == 1:  # another run of the same strategy begins anew
            self._known, self._memory = {}, NamedTensors({})
            self.left_out, self.sums = {}, {}
        self._sent = StateDict(arrays_of(arrays), self.head, self.buffers)
        self._num_labels = self._sent.num_labels
        self._asked = self._cohort(grid, self.fraction_train, server_round, "train")
        counts = counts_of(self._federation()) if self._known else {}
        return self._messages(server_round, arrays, {**config, **counts}, MessageType.TRAIN)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The model to the cohort of the evaluation."""
        if self.fraction_evaluate == 0:
            self._asked = ()
            return []
        self._num_labels = StateDict(arrays_of(arrays), self.head, self.buffers).num_labels
        self._asked = self._cohort(grid, self.fraction_evaluate, server_round, "evaluate")
        return self._messages(server_round, arrays, config, MessageType.EVALUATE)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next model, and the mean of the clients' own metrics by their known entries."""
        assert self._sent is not None, "configure_train comes first"
        trained = self._admitted("train", server_round, replies, self._read_training)
        if len(trained) < self.quorum:
            reasons = self.left_out[f"train {server_round}"]
            raise AggregationError(
                f"round {server_round}: {len(trained)} of {len(self._asked)} nodes count, the "
                f"quorum is {self.quorum}; left out: {reasons} (see concilium.flower.replies.CODES)"
            )
        self._known |= {node: reply.statistics for node, reply in trained.items()}
        summed = self._summed(self._sent, trained)
        before = self._sent.parameters()
        server = ServerState(server_round - 1, before, len(self._known), self._memory)
        server = self.algorithm.server_update(server, summed)
        self._memory = server.extras
        told = {
            node: (reply.metrics, float(reply.statistics.known.sum()))
            for node, reply in trained.items()
        }
        images = sum(reply.statistics.num_images for reply in trained.values())
        report = self._report("train", server_round, told, images)
        return self._sent.moved(server.model, summed), report

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Metrics of the summed evaluation: a list (L,) and a mean over labels of each.

        NaN for labels without cases; the mean is over those with ten positives and a negative.
        """
        if not self._asked:
            return None
        evaluated = self._admitted("evaluate", server_round, replies, self._read_evaluation)
        if not evaluated:
            return None
        sums = reduce(add, (reply.sums for reply in evaluated.values()))
        self.sums[server_round] = sums
        told = {
            node: (reply.metrics, float(reply.sums.statistics.known.sum()))
            for node, reply in evaluated.items()
        }
        report = self._report("evaluate", server_round, told, sums.statistics.num_images)
        for name, metric in self.metrics.items():
            values = metric(sums)
            report[name] = values.tolist()
            report[f"{name}-mean"] = macro(values, sums.statistics).mean
        return report

    def summary(self) -> None:
        """Log the settings."""
        for name in ("head", "weighting", "algorithm", "fraction_train", "fraction_evaluate"):
            logger.info("\t├── %s: %s", name, getattr(self, name))

    def _cohort(self, grid: Grid, part: float, server_round: int, what: str) -> tuple[int, ...]:
        """The nodes of a round, ascending. Raises AggregationError where too few come in time."""
        ends = time.monotonic() + self.wait
        while len(nodes := sorted(grid.get_node_ids())) < self.min_nodes:
            if time.monotonic() >= ends:
                raise AggregationError(
                    f"round {server_round}: {len(nodes)} nodes are there after {self.wait:g} s, "
                    f"min_nodes is {self.min_nodes}: start the others, or lower it"
                )
            time.sleep(min(POLL_SECONDS, self.wait))
        seed = derive_seed(self.seed, what)
        drawn = Uniform().cohort([str(node) for node in nodes], part, {}, seed, server_round)
        return tuple(int(node) for node in drawn)

    def _messages(
        self, server_round: int, arrays: ArrayRecord, config: Mapping[str, object], kind: str
    ) -> list[Message]:
        own = ConfigRecord({**config, "server-round": server_round})  # type: ignore[dict-item]
        content = RecordDict({"arrays": arrays, "config": own})
        return [
            Message(content=content, message_type=kind, dst_node_id=node) for node in self._asked
        ]

    def _admitted(
        self,
        what: str,
        server_round: int,
        replies: Iterable[Message],
        read: Callable[[RecordDict], T],
    ) -> dict[int, T]:
        """The replies that count, by ascending node id; the others are noted and logged."""
        counted, left_out = door.admit(replies, self._asked, read)
        self.left_out[f"{what} {server_round}"] = left_out
        logger.info("%s: %d of %d nodes count", what, len(counted), len(self._asked))
        for node, code in left_out.items():
            logger.warning("\t> node %d is left out: %s", node, code)
        return counted

    def _read_training(self, content: RecordDict) -> _Trained:
        assert self._sent is not None
        arrays = door.bounded(door.checked_arrays(door.only_arrays(content), self._sent.arrays))
        metrics = door.only_metrics(content)
        counts = door.checked_counts(metrics, self._num_labels, self.most_images)
        return _Trained(arrays, counts, metrics)

    def _read_evaluation(self, content: RecordDict) -> _Evaluated:
        record = door.only_arrays(content)
        sums = door.checked_sums(record, self._num_labels, self.most_images)
        metrics = door.only_metrics(content) if content.metric_records else MetricRecord()
        return _Evaluated(sums, metrics)

    def _summed(self, sent: StateDict, trained: Mapping[int, _Trained]) -> Update:
        """The total of the updates, added one at a time by ascending node id."""
        together = self._federation()

        def updates() -> Iterator[tuple[str, Update]]:
            for node, reply in trained.items():
                weigh = partial(self.weighting, own=reply.statistics, federation=together)
                yield str(node), sent.update(reply.arrays, weigh)

        return total(updates(), [str(node) for node in trained])

    def _federation(self) -> LabelStatistics:
        """The counts of all nodes that were ever heard of, each one's newest."""
        return reduce(add, self._known.values())

    def _report(
        self,
        what: str,
        server_round: int,
        told: Mapping[int, tuple[MetricRecord, float]],
        num_images: int,
    ) -> MetricRecord:
        """What the clients say of themselves on average, and how many they are."""
        left_out = len(self.left_out[f"{what} {server_round}"])
        numbers = {EXAMPLES: num_images, NUM_CLIENTS: len(told), NUM_LEFT_OUT: left_out}
        return MetricRecord({**door.mean_metrics(told), **numbers})
