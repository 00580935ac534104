"""Hospitals behind a carrier that tests make up, in a time that only waiting makes pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from concilium.algorithms.contract import Algorithm
from concilium.data.dataset import Exams
from concilium.federation.messages import Broadcast
from concilium.federation.questions import Answer, Introduce, Introduction, Question, Refusal, Work
from concilium.federation.states import ClientState
from concilium.federation.wire import decode, encode
from concilium.orchestration.accounts import Account
from concilium.orchestration.carriers import Delivery, Terms
from concilium.orchestration.exchange import Exchange
from concilium.runtimes._turns import Training
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess

WORK = Work("digest", "fedavg", 0, 0, 0.1, "run")

Later = Sequence[tuple[float, Delivery]]
"""What comes of a letter: each delivery so many seconds after the letter was sent."""

Habit = Callable[[Question, Answer], Later]
"""What a hospital does with its honest answer to a question."""


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def honest(question: Question, answer: Answer) -> Later:
    """The answer as it is, a second later."""
    return after(1.0, answer)


def after(seconds: float, answer: object, hospital: str = "") -> Later:
    """A value as a letter, so many seconds later."""
    sender = hospital or getattr(answer, "hospital", "")
    return [(seconds, Delivery(sender, encode(answer)))]


def silent_hospital(question: Question, answer: Answer) -> Later:
    """Nothing ever comes."""
    return []


def says(change: Callable[[Any], Any]) -> Habit:
    """Its answer to a broadcast is changed; all else is honest."""

    def habit(question: Question, answer: Answer) -> Later:
        if not isinstance(question.what, Broadcast):
            return honest(question, answer)
        return after(1.0, replace(answer, value=change(answer.value)))

    return habit


def fails(*failures: str) -> Habit:
    """Each letter fails like this, in turn; those after are answered."""
    left = list(failures)

    def habit(question: Question, answer: Answer) -> Later:
        if not left:
            return honest(question, answer)
        return [(1.0, Delivery(answer.hospital, None, left.pop(0)))]

    return habit


def refuses(code: str) -> Habit:
    """It says no to everything."""
    return lambda question, answer: after(
        1.0, Refusal(question.number, answer.hospital, code), answer.hospital
    )


@dataclass
class Site:
    """One hospital: a client, and its memory of the rounds that it was told were counted."""

    own: Simulation
    memory: dict[int, ClientState] = field(default_factory=dict)

    def answer(self, question: Question) -> Any:
        if isinstance(question.what, Introduce):
            return Introduction((5,), {"train": True}, question.what.version)
        state = self.memory.get(question.counted, ClientState())
        (client,) = self.own.members
        if question.counted:
            client = replace(client, private=state.private)
        if not isinstance(question.what, Broadcast):
            return question.what.answer(client)
        own = self.own
        turn = Training(question.what, own.algorithm, own.weighting, own.compression)
        sent, self.memory[question.what.round + 1] = turn.sent(client, state)
        return sent


class Hospitals:
    """A carrier of sites in this process; what each does with its answers is its habit."""

    def __init__(self, own: Simulation, habits: Mapping[str, Habit] = {}) -> None:
        self.clock = Clock()
        self.sites = {c.name: Site(replace(own, members=(c,), _states={})) for c in own.members}
        self.habits = dict(habits)
        self.asked: list[Question] = []
        self._coming: list[tuple[float, int, Delivery]] = []
        self._number = itertools.count()

    @property
    def hospitals(self) -> tuple[str, ...]:
        return tuple(sorted(self.sites))

    def send(self, letters: Mapping[str, bytes]) -> None:
        for name, letter in letters.items():
            question = decode(letter)
            self.asked.append(question)
            answer = Answer(question.number, name, self.sites[name].answer(question))
            for seconds, delivery in self.habits.get(name, honest)(question, answer):
                when = self.clock.now + seconds
                self._coming.append((when, next(self._number), delivery))

    def collect(self, seconds: float) -> Sequence[Delivery]:
        self._coming.sort(key=lambda each: each[:2])
        end = self.clock.now + seconds
        if not self._coming or self._coming[0][0] > end:
            self.clock.now = end
            return []
        self.clock.now = max(self.clock.now, self._coming[0][0])
        come = [each for each in self._coming if each[0] <= self.clock.now]
        self._coming = [each for each in self._coming if each[0] > self.clock.now]
        return [delivery for _, _, delivery in come]


def without_exams(own: Exams) -> Exams:
    """No exams, of the same form."""
    return Exams(np.asarray(own.images)[:0], own.target[:0], own.known[:0], own.patient[:0])


def nobody(own: Simulation) -> Simulation:
    """The runtime of one hospital without an exam, of the same study."""
    first = own.members[0]
    parts = {part: without_exams(exams) for part, exams in first.parts.items()}
    empty = replace(first, name="nobody", parts=parts, _localised=[], _features={})
    return InProcess().over([empty], own.algorithm, own.weighting, own.compression)


@dataclass
class Deployed:
    """An exchange over hospitals, with all that a test wants to look at."""

    exchange: Exchange
    hospitals: Hospitals
    accounts: list[Account]

    @property
    def now(self) -> float:
        return self.hospitals.clock.now


def deployed(
    own: Simulation,
    habits: Mapping[str, Habit] = {},
    terms: Terms | None = None,
    hospitals: Hospitals | None = None,
    fixed_point: bool = False,
) -> Deployed:
    """The same hospitals behind a carrier; a new coordinator's where they are given."""
    hospitals = hospitals or Hospitals(own, habits)
    accounts: list[Account] = []
    exchange = Exchange(
        hospitals,
        WORK,
        terms or Terms(deadline=100.0, quorum=2),
        nobody(own),
        note=accounts.append,
        clock=hospitals.clock,
        arithmetic="fixed_point" if fixed_point else "float",
    )
    return Deployed(exchange, hospitals, accounts)


def of_algorithm(own: Simulation, algorithm: Algorithm) -> Simulation:
    """The same clients under another algorithm."""
    return InProcess().over(own.members, algorithm, own.weighting, own.compression)
