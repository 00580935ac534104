"""A runtime over hospitals elsewhere: questions out as bytes, answers in through the door.

Nobody is waited for without end. A hospital that is late, silent, dead, that refuses or sends what
does not pass the door is left out of the exchange by name, with the reason; the others' answers are
added up as if it had not been asked. Fewer answers than the quorum end the run with an error that
names everybody. Each answer counts once.

    send ─→ [carrier] ─→ deliveries ─→ envelope (whose, which number) ─→ door ─→ total
                             │                    │                       │
                     failed, unreachable     stale, twice,            refused with
                     asked again, then       stranger: dropped        its reason
                     left out
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from concilium.federation.door import Most
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import Introduce, Introduction, Question, Work
from concilium.federation.requests import Request
from concilium.federation.running_total import Arithmetic
from concilium.federation.states import ClientState
from concilium.federation.wire import LIMIT
from concilium.foundation.errors import AbsentError, DivergenceError, FederationError
from concilium.orchestration.accounts import Account, last_question, too_few, unnoted
from concilium.orchestration.carriers import Carrier, Terms
from concilium.orchestration.gathering import Clock, Gathering
from concilium.orchestration.letters import Letters
from concilium.orchestration.looking import Look, What, of_another_shape
from concilium.runtimes.contract import Runtime, Simulation

A = TypeVar("A")

SLACK = 100
"""How many times the entries of the whole federation a hospital's weight may be.

A weighting counts images or entries, or is a share; an algorithm may multiply it (fedharmony)."""

NOBODY: Mapping[str, str] = MappingProxyType({})
DIVERGED = frozenset({"diverged", "not_finite", "out_of_range"})


def numbers() -> Iterator[int]:
    """Numbers of questions: ascending from a random one, so that no earlier run's come again."""
    return itertools.count(secrets.randbits(62))


class Exchange(Runtime):
    """The hospitals of a carrier, in one training.

    ``nobody`` is a runtime of one client without an exam, of the same study: what it answers is the
    form that every answer must have. ``note`` is told of every exchange; ``counter`` numbers them;
    ``most_images`` is more than any hospital has; ``also`` are packages of the study's own choices;
    ``arithmetic`` is that in which updates are added.
    """

    def __init__(
        self,
        carrier: Carrier,
        work: Work,
        terms: Terms,
        nobody: Runtime,
        *,
        note: Callable[[Account], None] = unnoted,
        clock: Clock = time.monotonic,
        counter: Iterator[int] | None = None,
        most_images: int = 10_000_000,
        limit: int = LIMIT,
        also: Sequence[str] = (),
        arithmetic: Arithmetic = "float",
    ) -> None:
        self._carrier, self._work, self._terms, self._nobody = carrier, work, terms, nobody
        self._note, self._clock = note, clock
        self._counter = numbers() if counter is None else counter
        self._most_images, self._limit, self._also = most_images, limit, also
        self._arithmetic = arithmetic
        self._compression = nobody.compression if isinstance(nobody, Simulation) else None
        self._counted: dict[str, int] = {}
        self._suspects: frozenset[str] = frozenset()
        self._forgiven: frozenset[str] = frozenset()
        self._left_out: dict[str, str] = {}
        self._bytes_down = 0
        self._last = ""  # the last question, in words
        self._away: dict[str, str] | None = None  # in a phase: who has left it, with the reason
        self._present: frozenset[str] | None = None  # in a phase: who began it

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of all hospitals of the federation, there or not."""
        return self._carrier.hospitals

    @property
    def client_states(self) -> Mapping[str, ClientState]:
        """Nothing: what hospitals remember stays with them."""
        return {}

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Nothing to do: hospitals go back by what they are told was counted."""

    def recall(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Learn in which round each hospital's update was last counted."""
        self._counted = {
            name: int(record["round"])
            for record in history
            for name in record["cohort"]
            if name not in record.get("left_out", {})
        }

    @property
    def left_out(self) -> Mapping[str, str]:
        """Who was asked in the last exchange and is not in it: by name, a code and a sentence."""
        return dict(self._left_out)

    def bytes_down(self, broadcast: Broadcast, cohort: Sequence[str]) -> int:
        """Bytes of the letters of the last exchange, those that were sent again among them once."""
        return self._bytes_down

    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        """The updates of those of a cohort who send one in time.

        Raises FederationError at the end where they are fewer than the quorum, and DivergenceError
        where they are so for want of finite numbers.
        """
        self._nobody.restore({})
        counted = yield from self._exchange(
            broadcast, cohort, lambda: self._nobody.train(broadcast, self._nobody.clients)
        )
        self._counted.update(dict.fromkeys(counted, broadcast.round + 1))

    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        """The answers of those of a cohort who give one in time; in a phase, of those in it.

        Raises FederationError where they are fewer than the quorum, and AbsentError where one that
        has answered in this phase does not any more.
        """
        away = self._away or {}
        names = [name for name in cohort if name not in away]
        if self._present is not None:
            names = [name for name in names if name in self._present]
        answered = yield from self._exchange(
            request, names, lambda: self._nobody.ask(request, self._nobody.clients), away
        )
        if self._away is None:
            return
        if self._present is None:  # the phase goes on without the others, who stay accounted for
            self._away.update(self._left_out)
            self._present = frozenset(answered)
        elif len(answered) < len(names):
            gone = {name: self._left_out[name] for name in names if name not in answered}
            self._away.update(gone)
            raise AbsentError(tuple(gone))

    def introduce(self, introduce: Introduce) -> dict[str, Introduction]:
        """What each hospital that answers says of itself; those that do not are ``left_out``.

        So are those whose inputs have another shape than those of more than half.
        """
        form, said = Introduction((), {}, "", {}), dict[str, Introduction]()
        nobody: Callable[[], Any] = lambda: iter([("", form)])  # noqa: E731
        for name, own in self._exchange(
            introduce, self.clients, nobody, odd=lambda: of_another_shape(said)
        ):
            said[name] = own
        return {name: own for name, own in said.items() if name not in self._left_out}

    def together(self, work: Callable[[], A]) -> A:
        """The work as a phase: begun anew without a hospital that leaves in the middle of it.

        Whoever left is asked again in the next phase. A phase inside another is part of that one.
        """
        if self._away is not None:
            return work()
        self._away = {}
        try:
            while True:
                self._present = None
                try:
                    return work()
                except AbsentError:
                    continue
        except DivergenceError as error:
            asked = "" if self._last in str(error) else f"; {self._last}"
            raise DivergenceError(f"{error}{asked}") from None
        finally:
            self._away = self._present = None

    def _exchange(
        self,
        what: What,
        names: Sequence[str],
        nobody: Callable[[], Iterator[tuple[str, Any]]],
        away: Mapping[str, str] = NOBODY,
        odd: Callable[[], Mapping[str, tuple[str, str]]] = dict,
    ) -> Generator[tuple[str, Any], None, list[str]]:
        """One exchange: yields the answers, and gives the names of those who gave them.

        ``odd`` says at the end, with a code and a sentence, whose answers go with nobody else's.
        """
        number, started = next(self._counter), self._clock()
        letters = Letters(names, lambda name: self._question(name, number, what), self._also)
        most = self._most(what, len(names))
        compression = self._compression
        look = Look(what, number, nobody, most, self._limit, self._also, compression)
        gathering = Gathering(
            self._carrier, self._terms, self._clock, letters, look, self._suspects, self._forgiven
        )
        yield from gathering.answers()
        answered = set(gathering.answered)
        self._suspects = (self._suspects | set(names)) - answered - gathering.heard
        self._forgiven = (self._forgiven | gathering.late) - answered
        gathering.withdraw(odd())
        self._left_out = {n: f"{code}: {why}" for n, (code, why) in gathering.left_out.items()}
        self._left_out |= away
        self._bytes_down = sum(letters.sizes.values())
        account = Account(
            number,
            type(what).__name__,
            tuple(sorted(gathering.answered)),
            self.left_out,
            tuple(gathering.dropped),
            self._bytes_down,
            gathering.bytes_up,
            self._clock() - started,
        )
        self._last = last_question(account)
        self._note(account)
        self._check_quorum(account)
        return gathering.answered

    def _question(self, name: str, number: int, what: What) -> Question:
        return Question(self._work, number, name, self._counted.get(name, 0), what)

    def _most(self, what: What, asked: int) -> Most:
        """The most that a hospital can say: by the federation's counts, where they are known."""
        statistics = what.label_statistics if isinstance(what, Broadcast) else None
        counted = self._most_images
        if statistics is not None:
            counted = max(statistics.num_images, int(statistics.known.sum()), 1)
        among = asked if self._arithmetic == "fixed_point" else 0
        return Most(self._most_images, float(SLACK * counted), among)

    def _check_quorum(self, account: Account) -> None:
        """Raise an error that names everybody where too few answered."""
        asked = len(account.answered) + len(account.left_out)
        least = min(self._terms.quorum, max(asked, 1))
        if len(account.answered) >= least:
            return
        diverged = [n for n, why in account.left_out.items() if why.partition(":")[0] in DIVERGED]
        if len(account.answered) + len(diverged) >= least:
            where = ", ".join(sorted(diverged))
            raise DivergenceError(f"the training is not finite at {where}; {self._last}")
        raise FederationError(too_few(account, least))
