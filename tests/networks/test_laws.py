"""The laws of networks, run on every file of ``concilium/networks`` as it is found.

A new network is one new file there. It must build with its default settings, from images of 64 px
or from features; name it among SLOW where a forward and backward pass takes too long for the fast
suite.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.federation.sharing import load, travelling
from concilium.foundation import components
from concilium.foundation.errors import ComponentError, InputError
from concilium.labels.statistics import LabelStatistics
from concilium.networks.contract import Architecture, Network

SLOW = {"densenet121", "efficientnet_lite0", "resnet18"}
NUM_LABELS = 5


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        names = components.names("networks")
        marks = {name: [pytest.mark.slow] if name in SLOW else [] for name in names}
        found = [pytest.param(name, marks=marks[name], id=name) for name in names]
        metafunc.parametrize("name", found, scope="module")


@pytest.fixture(scope="module")
def architecture(name: str) -> Architecture:
    found: Architecture = components.build("networks", name)
    return found


@pytest.fixture(scope="module")
def input_shape(architecture: Architecture) -> tuple[int, ...]:
    """What it takes: images of 64 px, else 20 features."""
    try:
        architecture.build((1, 64, 64), NUM_LABELS, 0)
    except ComponentError as error:
        pytest.skip(str(error))
    except InputError:
        return (20,)
    return (1, 64, 64)


@pytest.fixture
def network(architecture: Architecture, input_shape: tuple[int, ...]) -> Network:
    return architecture.build(input_shape, NUM_LABELS, 0)


def coupled_statistics() -> LabelStatistics:
    """Statistics of 8 images whose labels go together, each pair of them to another extent."""
    present = np.tril(np.ones((8, NUM_LABELS), np.float32))
    return LabelStatistics.of(present, present >= 0, np.arange(8))


def images(input_shape: tuple[int, ...]) -> Tensor:
    return torch.rand(4, *input_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_initial_tensors_depend_on_the_seed_alone(
    architecture: Architecture, input_shape: tuple[int, ...]
) -> None:
    def build(seed: int, state: int) -> dict[str, Tensor]:
        torch.manual_seed(state)
        before = torch.random.get_rng_state()
        built = architecture.build(input_shape, NUM_LABELS, seed).state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)  # torch's own state is untouched
        return built

    with torch.random.fork_rng(devices=[]):
        first, again, other = build(0, 1), build(0, 2), build(1, 1)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_one_score_a_label_from_a_linear_head(
    network: Network, input_shape: tuple[int, ...]
) -> None:
    batch = images(input_shape)
    features, scores = network.encoder(batch), network(batch)
    assert scores.shape == (4, NUM_LABELS)
    assert scores.isfinite().all()
    tensors = dict(network.named_parameters())
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    assert weight.shape == (NUM_LABELS, features.shape[1])
    torch.testing.assert_close(scores, features @ weight.T + bias)


def test_no_image_reaches_another(network: Network, input_shape: tuple[int, ...]) -> None:
    """In training mode: a batch of two of the images gives their two scores, in any order.

    Batch statistics would break it, and with it the exact equality of a federation and a pool.
    """
    batch = images(input_shape)
    network.train()
    scores = network(batch)
    torch.testing.assert_close(network(batch[[2, 0]]), scores[[2, 0]], rtol=1e-4, atol=1e-5)
    changed = batch.clone()
    changed[1] = 1.0
    torch.testing.assert_close(network(changed)[0], scores[0], rtol=1e-4, atol=1e-5)


def test_training_and_evaluation_mode_agree(network: Network, input_shape: tuple[int, ...]) -> None:
    """No network draws at random (dropout would need a generator of its own)."""
    batch = images(input_shape)
    torch.testing.assert_close(network.train()(batch), network.eval()(batch))


def test_batch_statistics_are_absent_or_frozen(
    network: Network, input_shape: tuple[int, ...]
) -> None:
    network.train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(images(input_shape))
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert not layer.training
            assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())


def test_gradient_reaches_every_parameter_that_trains(
    network: Network, input_shape: tuple[int, ...]
) -> None:
    """As it is trained: with what it takes from the federation's statistics."""
    load(network, network.started(travelling(network), coupled_statistics()))
    trainable = [p for p in network.parameters() if p.requires_grad]
    target = torch.eye(4, NUM_LABELS)
    loss = binary_cross_entropy_with_logits(network(images(input_shape)), target)
    for gradient in torch.autograd.grad(loss, trainable):
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


def test_memory_order_of_images_does_not_matter(
    network: Network, input_shape: tuple[int, ...]
) -> None:
    if len(input_shape) == 1:
        return  # features have one order
    batch = images(input_shape)
    channels_last = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(network(channels_last), network(batch), rtol=1e-4, atol=1e-5)


def test_a_few_steps_learn_four_images(network: Network, input_shape: tuple[int, ...]) -> None:
    batch, target = images(input_shape), torch.eye(4, NUM_LABELS)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    losses = []
    for _ in range(5):
        loss = binary_cross_entropy_with_logits(network(batch), target)
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for parameter, slope in zip(
                trainable, torch.autograd.grad(loss, trainable), strict=True
            ):
                parameter.sub_(0.01 * slope)
    assert losses[-1] < losses[0]


def test_activations_are_not_overwritten(network: Network) -> None:
    """In-place activations break per-sample gradients."""
    assert not any(getattr(layer, "inplace", False) for layer in network.modules())


def test_other_inputs_are_refused(architecture: Architecture, input_shape: tuple[int, ...]) -> None:
    for shape in ((3, 64, 64), (64, 64)) + (((20,),) if len(input_shape) == 3 else ()):
        with pytest.raises(InputError, match="this network takes"):
            architecture.build(shape, NUM_LABELS, 0)
