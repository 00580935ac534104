"""Balanced BCE between its two ends; and what losses are to a federation."""

from __future__ import annotations

import math

import pytest
import torch

from concilium.federation.messages import Broadcast, total
from concilium.federation.sharing import travelling
from concilium.foundation import components
from concilium.losses.balanced_bce import BalancedBinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.losses.two_way import TwoWay
from tests.losses.test_laws import all_known, parts_of_images
from tests.worlds import hospital_parts, linear_network, runtime


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


@pytest.mark.parametrize("loss", [BalancedBinaryCrossEntropy(), TwoWay()])
def test_losses_that_look_at_the_whole_batch_have_none_of_each_image(loss: Loss) -> None:
    """They say that they allow no differential privacy, and the law of those that do fails."""
    _, _, left = parts_of_images(loss, all_known())
    assert left.abs().max() > 1e-3


@pytest.mark.parametrize("name", components.names("losses"))
def test_a_round_of_a_federation_trains_with_it(name: str) -> None:
    """Bound to the federation's counts and localised at each hospital, as a study does it."""
    parts = hospital_parts((30, 40))
    run = runtime(parts, loss=components.build("losses", name))
    counts = [client.statistics() for client in run.members]
    model = travelling(linear_network(parts))
    broadcast = Broadcast(0, model, label_statistics=counts[0] + counts[1])
    update = total(run.train(broadcast, run.clients), run.clients)
    assert update.loss > 0
    assert all(tensor.isfinite().all() for tensor in update.weighted_delta.values())
    assert (update.weighted_delta["head.weight"] != 0).all()


def test_evidence_alone_is_given_by_what_takes_the_other_labels_out() -> None:
    built = {name: components.build("losses", name) for name in components.names("losses")}
    giving = {name for name, loss in built.items() if loss.gives_evidence}
    assert giving == {"cooccurrence_adjusted"}
    for name in giving:  # nothing to set takes it back: a prior would count twice
        special = built[name].like_bce()
        assert special == built[name]


@pytest.mark.parametrize("name", components.names("losses"))
def test_labels_are_compared_by_the_losses_that_say_so(name: str) -> None:
    """Label 3 of the only image turns from absent to present: does the mean over label 0 change?

    Label 3 is the most prevalent, so that softmax takes the image for one of it.
    """
    data = all_known()
    loss: Loss = components.build("losses", name)
    loss = loss.bind(data.statistics).localise(data.target, data.known)
    scores, known = torch.full((1, 5), 0.3), torch.ones(1, 5, dtype=torch.bool)
    absent, there = (
        loss(scores, torch.tensor([[1.0, 0.0, 0.0, other, 0.0]]), known, torch.eye(5)[0])
        for other in (0.0, 1.0)
    )
    assert (abs(float(absent - there)) > 1e-6) == loss.compares_labels
