"""Questions as bytes for several hospitals, and what is read in an envelope that comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from concilium.federation.questions import (
    CODES,
    Answer,
    Question,
    Refusal,
    is_number,
    meaning,
)
from concilium.federation.wire import LIMIT, decode, encode
from concilium.foundation.errors import DoorError, WireError


class Letters(Mapping[str, bytes]):
    """A question to each of several hospitals. A letter is written when it is taken, not before.

    So a thousand hospitals do not need a thousand copies of a model at once. ``sizes`` are the
    bytes of the letters that were taken.
    """

    def __init__(
        self, names: Sequence[str], question: Callable[[str], Question], also: Sequence[str] = ()
    ) -> None:
        self.sizes: dict[str, int] = {}
        self._names, self._question, self._also = dict.fromkeys(names), question, also

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        letter = encode(self._question(name), self._also)
        self.sizes[name] = len(letter)
        return letter

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def only(self, names: Sequence[str]) -> Letters:
        """The letters to some of them, whose sizes are noted here, too."""
        some = Letters(names, self._question, self._also)
        some.sizes = self.sizes
        return some


class StaleError(Exception):
    """A letter that answers another question than the one that was asked."""


def answer_in(
    data: bytes, hospital: str, number: int, limit: int = LIMIT, also: Sequence[str] = ()
) -> Any:
    """The value that a hospital answers question ``number`` with.

    ``hospital`` is who the carrier says the letter is from. Raises DoorError where it cannot be
    read, refuses, or is written in another's name, and StaleError for another question's answer.
    """
    try:
        reply = decode(data, limit, also)
    except WireError as error:
        raise DoorError("unreadable", str(error)) from None
    if not isinstance(reply, Answer | Refusal):
        raise DoorError("wrong_type", "the letter holds neither an answer nor a refusal")
    # Whoever could not read a question does not know its number.
    unread = isinstance(reply, Refusal) and type(reply.number) is int and reply.number == -1
    if not (unread or is_number(reply.number)) or type(reply.hospital) is not str:
        raise DoorError("wrong_type", "the envelope is not one of ours")
    if reply.number != number and not unread:
        raise StaleError
    if reply.hospital != hospital:
        raise DoorError("wrong_name", "it answers in the name of another hospital")
    if isinstance(reply, Refusal):  # only a code of ours is repeated
        known = isinstance(reply.code, str) and reply.code in CODES
        raise DoorError(reply.code if known else "refused", meaning(reply.code if known else ""))
    return reply.value
