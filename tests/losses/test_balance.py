"""Balanced BCE between its two ends."""

from __future__ import annotations

import math

import pytest
import torch

from concilium.losses.balanced_bce import BalancedBinaryCrossEntropy


@pytest.mark.parametrize("balance", [0.0, 0.25, 0.5, 1.0])
def test_divisors_are_interpolated_geometrically(balance: float) -> None:
    """One positive and 7 negatives at p = ½, each with loss ln 2.

    A side of n entries is divided by (2 n)^balance · 8^(1 − balance): at ½ by √(2·1·8) = 4 and
    √(2·7·8) = 10.58, where the arithmetic means would be 5 and 11.
    """
    logits, target = torch.zeros(8, 1, dtype=torch.float64), torch.zeros(8, 1)
    target[0] = 1.0
    known = torch.ones(8, 1, dtype=torch.bool)
    sides = [n / ((2 * n) ** balance * 8 ** (1 - balance)) for n in (1, 7)]
    value = float(BalancedBinaryCrossEntropy(balance)(logits, target, known))
    assert value == pytest.approx(math.log(2) * sum(sides))
