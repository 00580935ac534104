"""Values as bytes: they come back to the last bit, and broken bytes do nothing but raise."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load as read_safetensors

from concilium.evaluation.decoupling import LabelSetCounts
from concilium.federation import wire
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import Answer, Refusal
from concilium.federation.wire import decode, encode
from concilium.foundation.errors import WireError
from concilium.foundation.named_tensors import NamedTensors
from tests.federation.messages_of_all_kinds import (
    identical,
    kinds_of_requests,
    messages,
    requests,
)

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
PLAIN = st.none() | st.booleans() | st.integers(-(2**100), 2**100) | FLOATS | st.text()
ARRAYS = arrays(
    st.sampled_from(["float64", "float32", "int64", "int32", "int8", "uint8", "bool"]),
    array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
TENSORS = ARRAYS.map(lambda array: torch.from_numpy(np.array(array)))
LEAVES = PLAIN | ARRAYS | TENSORS | ARRAYS.map(lambda a: a.flatten()[0] if a.size else None)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(st.text(), TENSORS, max_size=4).map(NamedTensors)
        | inner.map(lambda value: Answer(1, "a", value))
    ),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=40)
def test_a_value_comes_back_to_the_last_bit_and_gives_the_same_bytes(value: Any) -> None:
    data = encode(value)
    assert identical(decode(data), value)
    assert encode(decode(data)) == data == encode(value)


@given(st.integers(0, 2**32))
@settings(max_examples=5)
def test_all_that_the_package_sends_comes_back_to_the_last_bit(seed: int) -> None:
    for message in messages(seed):
        data = encode(message)
        assert identical(decode(data), message), message
        assert encode(decode(data)) == data


def test_every_question_of_the_package_is_among_those_that_are_tested() -> None:
    assert {type(request) for request in requests(0)} == kinds_of_requests()


@pytest.mark.parametrize("dtype", sorted(wire.KINDS))
def test_tensors_of_every_type_keep_type_bits_and_order_of_strides(dtype: str) -> None:
    images = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(wire.KINDS[dtype])
    for tensor in (
        images,
        images.to(memory_format=torch.channels_last),
        images[0].permute(2, 0, 1),
        images[1:],
    ):
        found = decode(encode(tensor))
        assert torch.equal(found, tensor) and found.dtype == tensor.dtype
        assert found.stride() == tensor.clone().stride()


def test_not_a_number_in_a_tensor_keeps_its_bits() -> None:
    odd = torch.tensor([0x7FC00001, -0x400000], dtype=torch.int32).view(torch.float32)
    assert odd.isnan().all()
    assert torch.equal(decode(encode(odd)).view(torch.int32), odd.view(torch.int32))


def test_tensors_that_share_memory_travel_each_by_itself() -> None:
    whole = torch.arange(6.0)
    one, same, part = decode(encode((whole, whole, whole[2:4])))
    one += 1
    assert same.tolist() == [0, 1, 2, 3, 4, 5] and part.tolist() == [2, 3]


def test_the_order_of_names_is_kept() -> None:
    named = NamedTensors({name: torch.zeros(1) for name in "zebra"})
    assert list(decode(encode(named))) == list("zebra")
    assert list(decode(encode(dict.fromkeys("zebra", 1)))) == list("zebra")


def test_the_bytes_are_safetensors_that_anybody_can_read() -> None:
    data = encode(Broadcast(0, NamedTensors({"head.weight": torch.ones(2, 3)})))
    (tensor,) = read_safetensors(data).values()
    assert torch.equal(tensor, torch.ones(2, 3))


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Foreign:
    x: int


@dataclass
class NotFrozen:
    x: int


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        {3},
        b"bytes",
        1j,
        Colour.RED,
        Foreign(1),
        len,
        lambda: 0,
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        np.array(["text"]),
        np.array([None]),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_form_cannot_travel(value: object) -> None:
    with pytest.raises(WireError):
        encode((1, value))


def test_what_stands_too_deep_cannot_travel() -> None:
    value: Any = 1
    for _ in range(wire.DEEPEST + 1):
        value = (value,)
    with pytest.raises(WireError, match="deep"):
        encode(value)


def test_a_study_may_add_a_package_whose_frozen_dataclasses_travel() -> None:
    data = encode(Foreign(3), also=[__name__])
    assert decode(data, also=[__name__]) == Foreign(3)
    with pytest.raises(WireError, match="class"):
        decode(data)
    with pytest.raises(WireError, match="frozen"):
        encode(NotFrozen(3), also=[__name__])


def crafted(tree: object, tensors: bytes = b"", **header: object) -> bytes:
    """A message whose shape a stranger wrote."""
    text = tree if isinstance(tree, str) else json.dumps(tree)
    head = json.dumps({"__metadata__": {"value": text}, **header}).encode()
    return struct.pack("<Q", len(head)) + head + tensors


def of(name: str, names: list[str], values: list[object]) -> dict[str, object]:
    return {"of": [name, names, values]}


ONE = {"000000": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
REFUSAL = "concilium.federation.questions:Refusal"
BROKEN = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "a header that is longer than all": struct.pack("<Q", 10**6) + b"{}",
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header without an end": struct.pack("<Q", 1) + b"{",
    "a header that is no JSON": struct.pack("<Q", 4) + b"\xff\xfe{}",
    "a header that is a list": struct.pack("<Q", 2) + b"[]",
    "no metadata": struct.pack("<Q", 2) + b"{}",
    "a shape that is no JSON": crafted("{"),
    "a shape of very many brackets": crafted("[" * 100_000 + "]" * 100_000),
    "a shape that is deep": crafted("[" * 60 + "]" * 60),
    "an object with two names": crafted({"map": [], "named": []}),
    "an object without a name": crafted({}),
    "a kind that does not exist": crafted({"pickle": "gASVAAAA"}),
    "a float that does not exist": crafted({"float": "-nan"}),
    "a map with a number for a name": crafted({"map": [[1, 2]]}),
    "a map with a name twice": crafted({"map": [["a", 1], ["a", 2]]}),
    "a map of single things": crafted({"map": [1]}),
    "a tensor that is not there": crafted({"tensor": [0]}),
    "a tensor with a lying offset": crafted(
        {"tensor": [0]}, b"1234", **{"000000": {**ONE["000000"], "data_offsets": [0, 400]}}
    ),
    "a tensor with a lying shape": crafted(
        {"tensor": [0]}, b"1234", **{"000000": {**ONE["000000"], "shape": [2**40]}}
    ),
    "a tensor with a negative shape": crafted(
        {"tensor": [0]}, b"1234", **{"000000": {**ONE["000000"], "shape": [-1]}}
    ),
    "a tensor whose size overflows": crafted(
        {"tensor": [0]}, b"1234", **{"000000": {**ONE["000000"], "shape": [2**62, 2**62]}}
    ),
    "a tensor of an unknown type": crafted(
        {"tensor": [0]}, b"1234", **{"000000": {**ONE["000000"], "dtype": "F128"}}
    ),
    "a tensor that belongs to nothing": crafted(None, b"1234", **ONE),
    "a tensor in two places": crafted([{"tensor": [0]}, {"tensor": [0]}], b"1234", **ONE),
    "a tensor with a boolean number": crafted({"tensor": [False]}, b"1234", **ONE),
    "a tensor with too many axes": crafted({"tensor": [0, [0, 1]]}, b"1234", **ONE),
    "bytes behind the last tensor": crafted({"tensor": [0]}, b"12345678", **ONE),
    "a class of the system": crafted(of("os:system", [], [])),
    "a class of subprocess": crafted(of("subprocess:Popen", ["args"], ["true"])),
    "a class that a module of ours imported": crafted(
        of("concilium.federation.questions:Any", [], [])
    ),
    "a function of ours": crafted(of("concilium.federation.wire:decode", ["data"], [""])),
    "a class of ours that is no value": crafted(
        of("concilium.federation.running_total:FloatTotal", [], [])
    ),
    "a class whose name has a dot": crafted(
        of("concilium.federation.questions:Refusal.__class__", [], [])
    ),
    "a module that only begins like ours": crafted(of("concilium.federationx:A", [], [])),
    "a class without a field": crafted(of(REFUSAL, ["number"], [1])),
    "a class with a field too many": crafted(
        of(REFUSAL, ["number", "hospital", "code", "more"], [1, "a", "b", "c"])
    ),
    "a class with its fields in another order": crafted(
        of(REFUSAL, ["hospital", "number", "code"], ["a", 1, "b"])
    ),
    "a class with a value too few": crafted(of(REFUSAL, ["number", "hospital", "code"], [1, "a"])),
    "a class that refuses its values": crafted(
        of("concilium.evaluation.calibration:Calibration", ["slope", "offset"], [0.0, 0.0])
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bytes_raise_a_wire_error_and_nothing_else(what: str) -> None:
    with pytest.raises(WireError) as found:
        decode(BROKEN[what])
    assert found.value.__cause__ is None and len(str(found.value)) < 120


def test_the_crafted_messages_are_broken_only_by_what_they_say() -> None:
    assert decode(crafted(of(REFUSAL, ["number", "hospital", "code"], [1, "a", "b"]))) == Refusal(
        1, "a", "b"
    )
    assert decode(crafted({"tensor": [0]}, struct.pack("<f", 2.5), **ONE)).tolist() == [2.5]


def test_reading_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap_of_the_wire.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    for name in ("trap_of_the_wire", "concilium.federation.trap_of_the_wire", "wsgiref.handlers"):
        with pytest.raises(WireError):
            decode(crafted(of(f"{name}:A", [], [])), also=["trap_of_the_wire", "wsgiref"])
    assert set(sys.modules) == before


def test_more_bytes_than_the_limit_are_not_read() -> None:
    data = encode(torch.zeros(1000))
    assert decode(data, limit=len(data)).shape == (1000,)
    with pytest.raises(WireError, match="more than"):
        decode(data, limit=len(data) - 1)


def test_a_header_is_bounded_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON it takes many times its bytes of memory, tensors do not."""
    data = encode(("a" * 200, torch.zeros(1000)))
    monkeypatch.setattr(wire, "MOST_HEADER", 400)
    assert len(decode(data)[0]) == 200
    monkeypatch.setattr(wire, "MOST_HEADER", 200)
    with pytest.raises(WireError, match="header"):
        decode(data)
    with pytest.raises(WireError, match="too many parts"):
        encode(("a" * 200, torch.zeros(1000)))


def test_the_largest_model_and_a_thousand_label_sets_fit_into_the_header() -> None:
    """DenseNet-121 has 364 tensors with names of up to 60 letters; an update three times that."""
    names = [f"encoder.features.denseblock4.denselayer16.layers.{k:012d}" for k in range(400)]
    model = NamedTensors({name: torch.zeros(1) for name in names})
    sets = np.arange(1000)[:, None] >> np.arange(26) & 1 == 1
    counts = LabelSetCounts(sets, np.ones(1000, np.int64), 0)
    for value in (Answer(3, "a", Update(model, model, model)), counts):
        assert len(encode(decode(encode(value)))) > 30_000


def test_a_truth_value_that_is_neither_is_refused() -> None:
    """As 255 it would count 255 times in a sum."""
    data = encode(np.array([True, False]))
    assert decode(data).tolist() == [True, False]
    with pytest.raises(WireError, match="neither"):
        decode(data[:-2] + b"\xff\x00")


@given(st.data())
@settings(max_examples=30)
def test_a_message_cut_short_or_with_flipped_bits_is_read_or_refused(data: st.DataObject) -> None:
    """Flipped bits in a tensor are another tensor; nothing else than a WireError ever comes."""
    whole = encode(Answer(3, "a", NamedTensors({"a": torch.arange(4.0), "b": torch.ones(2, 2)})))
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WireError):
        decode(whole[:kept])
    flipped = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        flipped[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(WireError):
        decode(bytes(flipped))


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)
