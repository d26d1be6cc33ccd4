"""A model of which each peer holds a part: of its weights, their gradients, and what the optimizer knows of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from thinc.api import Optimizer, torch2xp, xp2torch
from torch import Tensor, distributed, nn
from torch.distributed import fsdp, tensor
from torch.distributed.device_mesh import init_device_mesh

from spacy_padellm.engine.compiled import layers_of
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors
from spacy_padellm.training.peers import Peers

Key = tuple[int, str]


class Shards:
    """A causal LM that is trained in parts, by torch's own `fully_shard`: a layer's weights are put together when its
    turn comes, and given up behind it.

    The model that was there stays as it is, for all that is not training. It has weights only within `whole`.

    lm (LanguageModel): The model with its weights, the same for all peers. It is left without them.
    peers (Peers): Who holds the parts.
    number (int): How the optimizer calls the model (`Shim.id`).
    RAISES (ValueError): P057 if the model, or this torch, cannot be trained in parts.
    """

    def __init__(self, lm: LanguageModel, peers: Peers, *, number: int) -> None:
        _check(lm)
        self._plain = lm.model
        self._peers = peers
        self._number = number
        self._mesh = init_device_mesh(lm.device.type, (peers.count,))
        with_gradient = [name for name, weight in lm.model.named_parameters() if weight.grad is not None]
        self.lm = replace(lm, model=_sharded(lm.model, self._mesh))
        self._bytes = sum(weight.numel() * weight.element_size() for weight in lm.model.parameters())
        for name, weight in self._weights():
            if name in with_gradient:
                weight.grad = torch.zeros_like(weight)
        self._give_up()

    def take_moments(self, optimizer: Optimizer) -> None:
        """Keep this peer's part of what a checkpoint gave the optimizer."""
        for kept in _kept(optimizer):
            for name, weight in self._weights():
                key = (self._number, name)
                if key in kept:
                    whole = xp2torch(kept[key], device=self.lm.device).view(weight.shape)
                    own = tensor.distribute_tensor(whole, self._mesh, weight.placements).to_local()
                    kept[key] = torch2xp(own.clone().view(-1) if kept is not optimizer.averages else own.clone())

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss. All peers come here together, each with a loss of its own."""
        loss.backward()
        self._peers.added += self._bytes

    @torch.no_grad()
    def finish_update(self, optimizer: Optimizer, weight: float) -> None:
        """Update this peer's part as the whole would be.

        weight (float): What gradients are divided by, 0 to leave them.
        """
        held = [
            (name, one.detach().to_local(), one.grad.to_local())
            for name, one in self._weights()
            if one.grad is not None
        ]
        for _, own, gradient in held:
            if weight:
                gradient /= weight
            if optimizer.L2 and not optimizer.L2_is_weight_decay:
                gradient += optimizer.L2 * own
        self._clip([gradient for _, _, gradient in held], optimizer.grad_clip)
        with _clipped(optimizer):
            for name, own, gradient in held:
                arrays: list[Any] = [torch2xp(own), torch2xp(gradient)]
                updated, _ = optimizer((self._number, name), *arrays)
                own.copy_(xp2torch(updated, device=own.device).view_as(own))
                gradient.zero_()

    def _clip(self, gradients: list[Tensor], most: float) -> None:
        """thinc clips each weight's gradient by its norm, of which a peer sees a part."""
        if not most or not gradients:
            return
        squares = torch.stack([gradient.double().square().sum() for gradient in gradients])
        self._peers.add_up(squares)
        for gradient, norm in zip(gradients, squares.sqrt().tolist(), strict=True):
            if norm >= most:
                gradient *= most / norm

    def drop_gradients(self) -> None:
        for _, weight in self._weights():
            weight.grad = None

    @contextmanager
    def use_params(self, averaged: dict[str, Any]) -> Iterator[None]:
        """Work with averaged weights for a while: this peer's part of them."""
        own = {name: weight.detach().to_local() for name, weight in self._weights() if name in averaged}
        backup = {name: part.clone() for name, part in own.items()}
        for name, part in own.items():
            part.copy_(xp2torch(averaged[name], device=part.device).view_as(part))
        try:
            yield
        finally:
            for name, part in own.items():
                part.copy_(backup[name])

    @contextmanager
    def whole(self, optimizer: Optimizer | None) -> Iterator[None]:
        """Give the plain model its weights for a while. All peers come here together.

        optimizer (Optimizer | None): What it knows is put together, too, for the first peer.
        """
        plain = dict(self._plain.named_parameters())
        for name, weight in self._weights():
            plain[name].data = weight.detach().full_tensor()
        parts = [(kept, dict(kept)) for kept in _kept(optimizer)] if optimizer else []
        if optimizer is not None:
            self._put_moments_together(optimizer)
        try:
            yield
        finally:
            self._give_up()
            for kept, part in parts:
                kept.update(part)

    def _put_moments_together(self, optimizer: Optimizer) -> None:
        weights = dict(self._weights())
        # thinc counts layers and shims apart, so a layer may have the same number, and other names.
        own_keys = {(self._number, name) for name in weights}
        # A peer without a part of a small weight knows nothing of it; the first one has a part of each.
        names = [[key[1] for key in kept if key in own_keys] for kept in _kept(optimizer)]
        for kept, known in zip(_kept(optimizer), self._peers.of_first(names), strict=True):
            for name in known:
                weight, key = weights[name], (self._number, name)
                own = weight.detach().to_local()
                part = xp2torch(kept[key], device=own.device).view_as(own) if key in kept else torch.zeros_like(own)
                whole = tensor.DTensor.from_local(
                    part, self._mesh, weight.placements, shape=weight.shape, stride=weight.stride()
                ).full_tensor()
                if self._peers.first:
                    flat = whole if kept is optimizer.averages else whole.view(-1)
                    kept[key] = flat.cpu().numpy()

    def _weights(self) -> list[tuple[str, Any]]:
        return list(self.lm.model.named_parameters())

    def _give_up(self) -> None:
        for weight in self._plain.parameters():
            weight.data, weight.grad = weight.data.new_empty(0), None


def _check(lm: LanguageModel) -> None:
    # The latest of what is asked of it.
    if not hasattr(getattr(fsdp, "FSDPModule", None), "set_reduce_scatter_unused_params"):
        raise ValueError(Errors.P057.format(reason=f"torch {torch.__version__} cannot; install a later one"))
    weights = list(lm.model.parameters())
    if not all(weight.requires_grad for weight in weights) or len({weight.dtype for weight in weights}) > 1:
        reason = "not all of its weights are trained. Leave --shard out: an adapter is small, and its base is shared"
        raise ValueError(Errors.P057.format(reason=reason))


def _sharded(model: nn.Module, mesh: distributed.DeviceMesh) -> Any:
    """A copy in parts. Weights are not copied, buffers are shared."""
    same: dict[int, Any] = {id(weight): nn.Parameter(weight.data) for weight in model.parameters()}
    same |= {id(buffer): buffer for buffer in model.buffers()}
    copied = copy.deepcopy(model, same)
    for module in [*layers_of(copied), copied]:
        part: Any = fsdp.fully_shard(module, mesh=mesh)
        # Sums, not means: an update divides by its targets. A mean is more than gloo can do, too.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    # Of a mixture of experts each peer may use others.
    part.set_reduce_scatter_unused_params(True)
    return copied


def _kept(optimizer: Optimizer) -> list[dict[Key, Any]]:
    averages: list[Any] = [] if optimizer.averages is None else [optimizer.averages]
    kept: list[Any] = [optimizer.mom1, optimizer.mom2, *averages]
    return kept


@contextmanager
def _clipped(optimizer: Optimizer) -> Iterator[None]:
    """An optimizer that is given gradients with all done to them that needs the whole of a weight's."""
    clip, decay = optimizer.grad_clip, optimizer.L2
    optimizer.grad_clip = 0.0
    if not optimizer.L2_is_weight_decay:
        optimizer.L2 = 0.0
    try:
        yield
    finally:
        optimizer.grad_clip, optimizer.L2 = clip, decay
