"""Named tensors: the laws of a vector space, division without NaN, and a digest that sees all."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from concilium.foundation.named_tensors import NamedTensors

SHAPES = {"encoder.weight": (2, 3), "head.bias": (2,), "scale": ()}
NUMBER = st.floats(-1e3, 1e3, width=32)


@st.composite
def models(draw: st.DrawFn) -> NamedTensors:
    def tensor(shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape)
        values = draw(st.lists(NUMBER, min_size=size, max_size=size))
        return torch.tensor(values).reshape(shape)

    return NamedTensors({name: tensor(shape) for name, shape in SHAPES.items()})


def assert_equal(one: NamedTensors, two: NamedTensors, **tolerance: float) -> None:
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], **(tolerance or {"rtol": 0.0, "atol": 0.0}))


def zero() -> NamedTensors:
    return NamedTensors({name: torch.zeros(shape) for name, shape in SHAPES.items()})


@given(models(), models())
def test_addition_commutes_exactly(a: NamedTensors, b: NamedTensors) -> None:
    assert_equal(a + b, b + a)


@given(models(), models(), models())
def test_addition_is_associative_to_rounding(
    a: NamedTensors, b: NamedTensors, c: NamedTensors
) -> None:
    # Sums of up to 3,000 in float32, whose spacing there is 2.4e-4: one rounding on either side.
    assert_equal((a + b) + c, a + (b + c), rtol=0.0, atol=5e-4)


@given(models(), models())
def test_subtraction_undoes_addition_to_rounding(a: NamedTensors, b: NamedTensors) -> None:
    assert_equal((a + b) - b, a, rtol=0.0, atol=5e-4)


@given(models())
def test_zero_and_one_are_neutral(a: NamedTensors) -> None:
    assert_equal(a + zero(), a)
    assert_equal(a - a, zero())
    assert_equal(a * 1.0, a)


@given(models(), NUMBER)
def test_a_number_multiplies_from_either_side(a: NamedTensors, number: float) -> None:
    assert_equal(number * a, a * number)
    assert_equal(a * number, NamedTensors({name: t * number for name, t in a.items()}))


@given(models(), models())
def test_multiplication_goes_name_by_name(a: NamedTensors, b: NamedTensors) -> None:
    assert_equal(a * b, NamedTensors({name: a[name] * b[name] for name in a}))


def test_a_weight_is_broadcast_to_its_tensor() -> None:
    # One say for each row of a head: how a weighting by label weighs (L, d) with (L, 1).
    rows = NamedTensors({"head": torch.ones(2, 3)}) * NamedTensors(
        {"head": torch.tensor([[2.0], [5.0]])}
    )
    assert rows["head"].tolist() == [[2.0] * 3, [5.0] * 3]


@given(models(), models())
def test_dividing_a_product_gives_back_the_factor_or_zero(
    a: NamedTensors, weight: NamedTensors
) -> None:
    weight = weight.map(torch.round)
    mean = (a * weight).safe_divide(weight)
    expected = a.combine(weight, lambda t, w: torch.where(w == 0, 0.0, t))
    assert_equal(mean, expected, rtol=1e-5, atol=1e-30)


def test_where_nobody_had_a_say_the_quotient_is_zero_and_not_nan() -> None:
    sums = NamedTensors({"head": torch.tensor([[1.0, 2.0], [0.0, 4.0]])})
    says = NamedTensors({"head": torch.tensor([[0.0], [2.0]])})
    assert sums.safe_divide(says)["head"].tolist() == [[0.0, 0.0], [0.0, 2.0]]


@given(models())
def test_the_norm_is_the_norm_of_all_numbers_in_one_vector(a: NamedTensors) -> None:
    flat = torch.cat([tensor.double().flatten() for tensor in a.values()])
    assert a.norm() == pytest.approx(float(torch.linalg.vector_norm(flat)), rel=1e-12)


def test_the_norm_does_not_overflow_where_float32_would() -> None:
    # (3e30)² exceeds float32's 3.4e38.
    big = NamedTensors({"a": torch.tensor([3e30]), "b": torch.tensor([4e30])})
    assert big.norm() == pytest.approx(5e30)


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__mul__", "safe_divide"])
def test_different_names_are_refused_and_named(operation: str) -> None:
    one = NamedTensors({"a": torch.ones(1), "b": torch.ones(1)})
    two = NamedTensors({"a": torch.ones(1), "c": torch.ones(1)})
    with pytest.raises(KeyError, match=r"\['b', 'c'\]"):
        getattr(one, operation)(two)


@given(models(), models())
def test_nothing_is_changed_in_place(a: NamedTensors, b: NamedTensors) -> None:
    before = a.digest(), b.digest()
    a + b, a - b, a * b, a * 2.0, a.safe_divide(b), a.norm()
    assert (a.digest(), b.digest()) == before
    assert not hasattr(a, "__setitem__")


def test_gradients_are_left_behind() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not NamedTensors({"a": parameter})["a"].requires_grad


def test_the_bytes_that_travel() -> None:
    # 3 float32 are 12 bytes, 2 float64 are 16.
    model = NamedTensors({"a": torch.zeros(3), "b": torch.zeros(2, dtype=torch.float64)})
    assert model.num_bytes() == 28


@given(models())
def test_the_digest_does_not_depend_on_the_order_of_insertion(a: NamedTensors) -> None:
    assert NamedTensors(dict(reversed(list(a.items())))).digest() == a.digest()


def test_the_digest_does_not_depend_on_the_layout_in_memory() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    turned_twice = matrix.T.contiguous().T
    assert not turned_twice.is_contiguous()
    assert NamedTensors({"a": turned_twice}).digest() == NamedTensors({"a": matrix}).digest()


@given(models(), st.sampled_from(sorted(SHAPES)), st.integers(0, 31), st.data())
def test_the_digest_sees_every_bit(
    a: NamedTensors, name: str, bit: int, data: st.DataObject
) -> None:
    words = a[name].clone().reshape(-1).view(torch.int32)
    place = data.draw(st.integers(0, len(words) - 1))
    words[place] ^= 1 << bit if bit < 31 else -(2**31)
    flipped = words.view(torch.float32).reshape(a[name].shape)
    assert NamedTensors({**a, name: flipped}).digest() != a.digest()


def test_the_digest_sees_names_shapes_and_types() -> None:
    # All of these are the same eight zero bytes.
    zeros = [
        NamedTensors({"a": torch.zeros(2)}),
        NamedTensors({"b": torch.zeros(2)}),
        NamedTensors({"a": torch.zeros(2, 1)}),
        NamedTensors({"a": torch.zeros(1, 2)}),
        NamedTensors({"a": torch.zeros(2, dtype=torch.int32)}),
        NamedTensors({"a": torch.zeros(1, dtype=torch.float64)}),
        NamedTensors({"a": torch.zeros(1), "b": torch.zeros(1)}),
    ]
    assert len({one.digest() for one in zeros}) == len(zeros)
