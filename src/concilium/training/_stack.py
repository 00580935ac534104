"""The tensors of many clients' networks as one stack, and the scores that it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from concilium.networks.contract import Network

Stack = dict[str, Tensor]
"""By name, the tensors of K clients as one (K, …)."""


@torch.no_grad()
def stack_of(networks: Sequence[Network]) -> Stack:
    """A copy of the parameters that train, of all networks.

    Matrices (out, in) are stored as (in, out), as batched products like them: a step of 20 clients
    with 512 features and 128 hidden units took 3.8 ms instead of 6.5.
    """
    parameters = [dict(network.named_parameters()) for network in networks]
    stack = {}
    for name, first in parameters[0].items():
        if first.requires_grad:
            tensors: list[Tensor] = [own[name] for own in parameters]
            matrices = first.dim() == 2
            stack[name] = (
                torch.stack([t.T for t in tensors]).mT if matrices else torch.stack(tensors)
            )
    return stack


@torch.no_grad()
def unstack(stack: Stack, networks: Sequence[Network]) -> None:
    """Copy the stack's tensors back into the networks."""
    for k, network in enumerate(networks):
        own = dict(network.named_parameters())
        for name, tensor in stack.items():
            own[name].copy_(tensor[k])


def first_of(stack: Stack, count: int) -> Stack:
    """The first so many clients, as leaves that share the stack's memory."""
    return {name: own[:count].detach().requires_grad_() for name, own in stack.items()}


def scores(network: Network, stack: Stack, image: Tensor) -> Tensor:
    """Scores (K, B, L) of images (K, B, …), each client's by its own tensors."""
    features = _through(network.encoder, "encoder", stack, image)
    found = _through(network.head, "head", stack, features)
    return found if network.graph is None else _through(network.graph, "graph", stack, found)


def _through(module: nn.Module, place: str, stack: Stack, value: Tensor) -> Tensor:
    """What a module makes of each client's value. vmap takes all; the usual ones go faster so."""
    weight, bias = stack.get(f"{place}.weight"), stack.get(f"{place}.bias")
    if type(module) is nn.Sequential:
        for name, layer in module.named_children():
            value = _through(layer, f"{place}.{name}", stack, value)
        return value
    if type(module) is nn.Identity:
        return value
    if type(module) is nn.ReLU:
        return value.relu()
    if type(module) is nn.Linear and weight is not None and bias is not None:
        return torch.baddbmm(bias[:, None], value, weight.mT)
    if type(module) is nn.LayerNorm and weight is not None and bias is not None:
        normal = functional.layer_norm(value, module.normalized_shape, eps=module.eps)
        return normal * weight[:, None] + bias[:, None]
    own = {n: stack[f"{place}.{n}"] for n, p in module.named_parameters() if p.requires_grad}
    found: Tensor = torch.vmap(lambda own, x: functional_call(module, own, (x,)))(own, value)
    return found


@torch.no_grad()
def can_be_stacked(network: Network) -> bool:
    """Whether a stack of the network gives the scores of the network itself, padded rows or not.

    It does not where rows of a batch are mixed (batch normalisation), where the scores are random,
    or where ``torch.vmap`` cannot take a layer. Seen with tensors of its own, not the network's.
    """
    network.train()
    like = network.head.weight
    own = {n: _wave(*p.shape).to(like) for n, p in network.named_parameters() if p.requires_grad}
    image = _wave(3, _width(network)).to(like)
    padded = functional.pad(image, (0, 0, 0, 1))
    try:
        found = scores(network, {name: tensor[None] for name, tensor in own.items()}, padded[None])
        return torch.allclose(
            found[0, :3], functional_call(network, own, (image,)), rtol=1e-3, atol=1e-4
        )
    except RuntimeError:
        return False


def _wave(*shape: int) -> Tensor:
    return torch.arange(math.prod(shape), dtype=torch.float32).mul(1.7).sin().view(shape)


def _width(network: Network) -> int:
    """Number of features that a network takes."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
    raise TypeError("every network has a head")
