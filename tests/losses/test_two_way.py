"""Two-way loss: its equation by loops, softmax as a special case, and what easy entries say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from concilium.foundation.errors import InputError
from concilium.losses.two_way import TwoWay


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """6 images, 4 labels; image 5 shows nothing, label 3 is never present, a quarter unknown."""
    generator = torch.Generator().manual_seed(2)
    uniform = torch.rand(3, 6, 4, generator=generator, dtype=torch.float64)
    target = (uniform[0] < 0.5).double()
    target[5], target[:, 3] = 0.0, 0.0
    return 4 * uniform[1] - 2, target, uniform[2] < 0.75


def hardest(entries: list[tuple[float, float]], mean: bool) -> float | None:
    """softplus(log Σ⁻ e^z + 4 log Σ⁺ e^{−z/4}), or with means; None without a positive."""
    positive = [math.exp(-z / 4) for z, y in entries if y == 1]
    negative = [math.exp(z) for z, y in entries if y == 0]
    if not positive:
        return None
    if not negative:
        return 0.0
    divisors = (len(negative), len(positive)) if mean else (1, 1)
    above = math.log(sum(negative) / divisors[0])
    below = 4 * math.log(sum(positive) / divisors[1])
    return math.log1p(math.exp(above + below))


@pytest.mark.parametrize("class_mean", [False, True])
def test_two_way_by_loops(class_mean: bool) -> None:
    logits, target, known = batch()
    entries = [
        [(z, y) if k else None for z, y, k in zip(*row, strict=True)]
        for row in zip(logits.tolist(), target.tolist(), known.tolist(), strict=True)
    ]
    images = [hardest([e for e in row if e], mean=False) for row in entries]
    columns = zip(*entries, strict=True)
    labels = [hardest([e for e in column if e], mean=class_mean) for column in columns]
    ways = [[value for value in way if value is not None] for way in (images, labels)]
    expected = sum(sum(way) / len(way) for way in ways)
    assert None in images
    assert None in labels
    assert float(TwoWay(class_mean=class_mean)(logits, target, known)) == pytest.approx(expected)


def test_one_present_label_and_temperature_1_is_softmax_cross_entropy() -> None:
    """One image: no label has an image without it beside one with it, so no label compares."""
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5]], dtype=torch.float64)
    target = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    known = torch.ones(1, 4, dtype=torch.bool)
    got = TwoWay(1.0, 1.0)(logits, target, known)
    torch.testing.assert_close(got, cross_entropy(logits, torch.tensor([1])))


def test_the_authors_form_grows_with_the_batch_and_ours_does_not() -> None:
    """Twice the images: T_n log 2 + T_p log 2 = 5 log 2 more inside each label's softplus."""
    logits = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    target, known = torch.tensor([[1.0], [0.0]]), torch.ones(2, 1, dtype=torch.bool)
    twice = [torch.cat([t, t]) for t in (logits, target, known)]
    # Images have one label each: nothing to compare. The label: absent −1, present 1.
    assert float(TwoWay()(*twice)) == pytest.approx(math.log1p(math.exp(-2)))
    author = TwoWay(class_mean=False)
    assert float(author(logits, target, known)) == pytest.approx(math.log1p(math.exp(-2)))
    assert float(author(*twice)) == pytest.approx(math.log1p(math.exp(-2 + 5 * math.log(2))))


def test_easy_negatives_do_not_dilute_the_hard_one() -> None:
    """The paper's case against BCE: in a mean over entries the positive is one among many.

    One present label at score 0, one absent at 0, and 2 or 200 easy ones at −12.
    """

    def pull(easy: int) -> tuple[float, float]:
        logits = torch.cat([torch.zeros(1, 2), torch.full((1, easy), -12.0)], 1).double()
        target = torch.zeros(1, 2 + easy, dtype=torch.float64)
        target[0, 0] = 1.0
        known = torch.ones(1, 2 + easy, dtype=torch.bool)
        logits.requires_grad_()
        (ours,) = torch.autograd.grad(TwoWay()(logits, target, known), logits)
        (bce,) = torch.autograd.grad(binary_cross_entropy_with_logits(logits, target), logits)
        return float(-ours[0, 0]), float(-bce[0, 0])

    (few, few_bce), (many, many_bce) = pull(2), pull(200)
    assert many == pytest.approx(few, rel=0.01)
    assert many_bce < few_bce / 40


def test_an_image_weighs_as_the_labels_that_it_shows() -> None:
    """Images 0 and 1 show labels of weight 3 and 1: so weigh they, and the labels."""
    logits = torch.tensor([[0.5, -0.2], [0.1, 0.4]], dtype=torch.float64)
    target, known = torch.eye(2), torch.ones(2, 2, dtype=torch.bool)
    loss = TwoWay(1.0, 1.0)
    got = float(loss(logits, target, known, torch.tensor([3.0, 1.0], dtype=torch.float64)))
    images = [math.log1p(math.exp(-0.7)), math.log1p(math.exp(-0.3))]
    labels = [math.log1p(math.exp(-0.4)), math.log1p(math.exp(-0.6))]
    expected = (3 * images[0] + images[1]) / 4 + (3 * labels[0] + labels[1]) / 4
    assert got == pytest.approx(expected)


def test_a_batch_without_a_finding_teaches_nothing() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    value = TwoWay()(logits, torch.zeros(3, 4), torch.ones(3, 4, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0
    assert (gradient == 0).all()


def test_unknown_entries_are_in_no_sum_at_a_low_temperature() -> None:
    """At T_n = 1e-3 the absent −12 is −12,000 before the sum, and the unknown must lie below it.

    One image: present 0, absent −12, unknown. T → 0 leaves the hardest: log(1 + e^−12).
    """
    logits = torch.tensor([[0.0, -12.0, 5.0]], dtype=torch.float64)
    target, known = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[True, True, False]])
    for temperature in (1e-3, 1e-6):
        loss = TwoWay(temperature_negative=temperature)
        value = float(loss(logits, target, known))
        assert value == pytest.approx(math.log1p(math.exp(-12.0)), rel=1e-9)
        single = logits.float().requires_grad_()
        (found,) = torch.autograd.grad(loss(single, target, known), single)
        assert found.isfinite().all()
        assert found[0, 2] == 0
        assert found[0, 1] > 0


def test_temperatures_must_be_positive() -> None:
    with pytest.raises(InputError, match=r"temperature_negative=0\.0 must be > 0"):
        TwoWay(temperature_negative=0.0)
