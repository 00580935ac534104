"""What is in a letter to one question, once it has passed the door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from concilium.compressions.contract import Compression, Encoded
from concilium.federation.door import Most, check, check_form
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import Introduce, Introduction
from concilium.federation.requests import Request
from concilium.foundation.errors import DoorError
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.letters import answer_in

What = Broadcast | Request[Any] | Introduce

MOST_WORDS, LONGEST = 20, 200
"""Of an introduction: a hospital's own words, which people read."""

MOST_AXES, LONGEST_AXIS = 4, 1_000_000
"""Of an input, in an introduction."""


class Look:
    """Reads the letters of one exchange. What an answer looks like is found out once."""

    def __init__(
        self,
        what: What,
        number: int,
        nobody: Callable[[], Iterator[tuple[str, Any]]],
        most: Most,
        limit: int,
        also: Sequence[str],
        compression: Compression | None = None,
    ) -> None:
        self._what, self._number, self._most = what, number, most
        self._limit, self._also = limit, also
        self._nobody, self._compression = nobody, compression
        self._form: tuple[Any] | None = None

    def __call__(self, hospital: str, data: bytes) -> Any:
        """The value of a hospital's letter. Raises DoorError, or StaleError."""
        value = answer_in(data, hospital, self._number, self._limit, self._also)
        if self._form is None:
            ((_, form),) = self._nobody()
            self._form = (form,)
        (form,) = self._form
        if isinstance(self._what, Introduce):
            _check_introduction(value, self._what.input_shape)
            return value
        try:
            if isinstance(value, Encoded) and isinstance(form, Update):
                value = self._unpacked(value, form)
            if isinstance(value, Update):
                value = replace(value, num_bytes=len(data))  # whatever it says itself
            check(value, form, self._most)
        except DoorError:
            raise
        except Exception:  # what a hospital sends must never end the run
            raise DoorError("wrong_type", "the answer cannot be looked at") from None
        return value

    def _unpacked(self, encoded: Encoded, form: Update) -> Update:
        """The update of a compressed one, of which nothing is unpacked that does not fit."""
        if self._compression is None:
            raise DoorError("wrong_type", "the update is compressed, and the study's are not")
        check_form(encoded.weight, form.weight, self._most, "weight")
        packed = encoded.packed
        if not isinstance(packed, NamedTensors):
            raise DoorError("wrong_type", "the compressed delta has no names")
        if not self._compression.fits(packed, form.weighted_delta):
            raise DoorError("wrong_form", "the delta is not compressed as the study says")
        return self._compression.decode(encoded)


def of_another_shape(said: Mapping[str, Introduction]) -> dict[str, tuple[str, str]]:
    """Who has inputs of another shape than more than half have, with code and sentence.

    Nobody, where no shape is that of more than half.
    """
    counted = Counter(own.input_shape for own in said.values())
    for shape, times in counted.most_common(1):
        if 2 * times > len(said):
            return {
                name: _other_shape(own.input_shape, shape)
                for name, own in said.items()
                if own.input_shape != shape
            }
    return {}


def _other_shape(own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[str, str]:
    return "other_data", f"an input there has the shape {own}, the others' have {shape}"


def _check_introduction(value: object, agreed: tuple[int, ...]) -> None:
    """Raise DoorError unless it is one of a few plain words, and of the shape agreed on."""
    fits = isinstance(value, Introduction) and (
        isinstance(value.input_shape, tuple)
        and len(value.input_shape) <= MOST_AXES
        and all(type(long) is int and 0 < long <= LONGEST_AXIS for long in value.input_shape)
        and isinstance(value.enough, Mapping)
        and isinstance(value.details, Mapping)
        and all(type(own) is bool for own in value.enough.values())
        and max(len(value.enough), len(value.details)) <= MOST_WORDS
        and all(map(_is_word, (value.version, *value.enough)))
        and all(map(_is_word, (*value.details, *value.details.values())))
    )
    if not fits:
        raise DoorError("wrong_type", "the answer is no introduction")
    assert isinstance(value, Introduction)
    if agreed and value.input_shape != agreed:
        raise DoorError(*_other_shape(value.input_shape, agreed))


def _is_word(text: object) -> bool:
    """Whether something is text that may stand in a message to a person."""
    return type(text) is str and len(text) <= LONGEST and text.isprintable()
