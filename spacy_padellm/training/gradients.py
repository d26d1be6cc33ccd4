"""Gradients of peers, added up in front of an update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from thinc.api import Model, PyTorchShim, xp2torch
from torch import Tensor, nn

from spacy_padellm.training.peers import Divided, Peers

_TOGETHER = 32 * 2**20
"""Bytes that are added up at once: a message for each small weight would take longer than what is in it, and a copy of
all gradients would take as much memory again."""


def add_up_gradients(weights: Sequence[nn.Parameter], peers: Peers) -> None:
    """Put the sum over all peers into the gradients of some weights. One whose share was empty has none: it has zeros
    then. What has a gradient nowhere keeps none, since an update would move it by its moments and decay.

    weights (Sequence[nn.Parameter]): The same for each peer, in the same order.
    """
    if peers.alone:
        return
    holders = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int64)
    peers.add_up(holders)
    held = [weight for weight, count in zip(weights, holders.tolist(), strict=True) if count]
    for weight in held:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    add_up([weight.grad for weight in held if weight.grad is not None], peers)


def average_gradients(model: Model, peers: Peers) -> None:
    """Even out the gradients of a component that every peer computed on the whole batch. They are all but equal
    already; this keeps them so where a GPU adds in another order or a layer draws for itself.

    model (Model): Its model. What divides its work by itself is left alone.
    """
    if peers.alone:
        return
    gradients = list(_gradients(model))
    add_up(gradients, peers)
    for gradient in gradients:
        gradient /= peers.count


def add_up(tensors: Sequence[Tensor], peers: Peers) -> None:
    """Put the sum over all peers into each of some tensors."""
    for group in _together(tensors):
        peers.added += sum(_size(tensor) for tensor in group)
        if len(group) == 1 and group[0].is_contiguous():
            peers.add_up(group[0])
            continue
        flat = torch.cat([tensor.flatten() for tensor in group])
        peers.add_up(flat)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _together(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one kind in groups of so many bytes; a larger tensor is a group of its own."""
    groups: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        like = bool(groups) and (groups[-1][0].dtype, groups[-1][0].device) == (tensor.dtype, tensor.device)
        if not like or _size(tensor) > room:
            groups.append([])
            room = _TOGETHER
        groups[-1].append(tensor)
        room -= _size(tensor)
    return groups


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _gradients(model: Model) -> Iterator[Tensor]:
    for node in model.walk():
        for shim in node.shims:
            if isinstance(shim, PyTorchShim) and not isinstance(shim, Divided):
                module: nn.Module = shim._model
                yield from (weight.grad for weight in module.parameters() if weight.grad is not None)
        for name in node.param_names:
            if node.has_grad(name):
                yield xp2torch(node.get_grad(name))
