"""The rounds: broadcast, train, add up, update, look, commit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from concilium.algorithms.contract import Algorithm
from concilium.federation.messages import total
from concilium.federation.running_total import Arithmetic
from concilium.federation.states import ServerState
from concilium.foundation.checks import at_least, fraction, one_of
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.checkpoints import Best, Checkpoints, Progress
from concilium.orchestration.observers import Observer, Record, RoundFinished
from concilium.runtimes.contract import Runtime
from concilium.samplings.contract import NumTrainingImages, Sampling
from concilium.samplings.uniform import Uniform

# Looks at a model after a round and says what it sees; "validation_score" decides which is the
# best.
Inspection = Callable[[NamedTensors], Record]

Decay = Literal["none", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """How many rounds, who takes part, and how often one looks.

    ``participation`` is the fraction of clients in a round; ``sampling`` says which they are, and
    ``seed`` draws them; ``evaluate_every`` looks after every so many rounds and after the last;
    ``arithmetic`` adds the updates up. ``decay`` says how the learning rate falls from round to
    round: not at all, or along half a cosine (Loshchilov, Hutter: SGDR. ICLR 2017, arXiv
    1608.03983, eq. 5 with one period and least rate 0).
    """

    rounds: int
    participation: float = 1.0
    evaluate_every: int = 1
    checkpoint_every: int = 1
    seed: int = 0
    sampling: Sampling = field(default_factory=Uniform)
    arithmetic: Arithmetic = "float"
    decay: Decay = "none"

    def __post_init__(self) -> None:
        at_least(0, rounds=self.rounds)
        at_least(1, evaluate_every=self.evaluate_every, checkpoint_every=self.checkpoint_every)
        fraction(participation=self.participation)
        one_of(get_args(Decay), decay=self.decay)

    def pace(self, round_: int) -> float:
        """How many times the learning rate a step of this round is, in (0, 1]; rounds from 0."""
        if self.decay == "none":
            return 1.0
        return (1 + math.cos(math.pi * round_ / self.rounds)) / 2

    def cohort(self, runtime: Runtime, sizes: Mapping[str, int], round_: int) -> tuple[str, ...]:
        """The clients that take part in a round."""
        return self.sampling.cohort(runtime.clients, self.participation, sizes, self.seed, round_)


def run_rounds(
    progress: Progress,
    schedule: Schedule,
    algorithm: Algorithm,
    runtime: Runtime,
    inspect: Inspection,
    checkpoints: Checkpoints | None,
    observer: Observer,
) -> Progress:
    """Go on from ``progress`` until the schedule's last round; every round is committed.

    Sizes of clients, where the sampling needs them, are asked anew after a crash: what they decide
    is the same, as long as the same clients answer.
    """
    runtime.recall(progress.history)
    sizes = _sizes(schedule, runtime)
    while progress.server.round < schedule.rounds:
        progress, record = _one_round(progress, schedule, sizes, algorithm, runtime, inspect)
        done = progress.server.round
        due = done % schedule.checkpoint_every == 0 or done == schedule.rounds
        if checkpoints is not None and due:
            checkpoints.save(progress)
        observer(RoundFinished(record, schedule.rounds))
    return progress


def _sizes(schedule: Schedule, runtime: Runtime) -> Mapping[str, int]:
    """Training images of each client; nothing is asked where nothing depends on them.

    One that does not answer counts as one without an image.
    """
    if not schedule.sampling.needs_sizes or schedule.participation == 1:
        return {}
    unsaid = dict.fromkeys(runtime.clients, 0)
    return {**unsaid, **dict(runtime.ask(NumTrainingImages(), runtime.clients))}


def _one_round(
    progress: Progress,
    schedule: Schedule,
    sizes: Mapping[str, int],
    algorithm: Algorithm,
    runtime: Runtime,
    inspect: Inspection,
) -> tuple[Progress, Record]:
    server = progress.server
    broadcast = replace(algorithm.broadcast(server), pace=schedule.pace(server.round))
    asked = schedule.cohort(runtime, sizes, server.round)
    summed = total(runtime.train(broadcast, asked), asked, schedule.arithmetic)
    left_out = runtime.left_out
    server = algorithm.server_update(server, summed)
    if not all(bool(tensor.isfinite().all()) for tensor in server.model.values()):
        raise DivergenceError(f"the model is not finite after round {server.round}")
    record: dict[str, object] = {
        "round": server.round,
        "cohort": list(asked),
        "loss": summed.mean_loss(),
        "bytes_down": runtime.bytes_down(broadcast, asked),
        "bytes_up": summed.num_bytes,
    }
    if left_out:
        record["left_out"] = dict(left_out)
    last = server.round == schedule.rounds
    if server.round % schedule.evaluate_every == 0 or last:
        record.update(inspect(server.model))
    record["model"] = server.model.digest()
    best = _better(progress.best, server, record)
    after = replace(
        progress,
        server=server,
        best=best,
        client_states=runtime.client_states,
        history=(*progress.history, record),
    )
    return after, record


def _better(best: Best | None, server: ServerState, record: Record) -> Best | None:
    score = record.get("validation_score")
    if not isinstance(score, float) or math.isnan(score):
        return best
    if best is None or score > best.score:
        return Best(server.round, score, server.model)
    return best
