"""A model's layers, compiled by torch: what stands between the matrix products becomes few kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from spacy_padellm.engine.attention import FOREST, forest_attention
from spacy_padellm.errors import Errors


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers a decoder repeats: its longest list of modules of one class. A list within another one, as that of a
    layer's experts, is none of layers."""
    alike = [layers for layers in _lists(model) if len({type(layer) for layer in layers}) == 1]
    return max(alike, key=len, default=[])


def _lists(module: nn.Module) -> Iterator[list[nn.Module]]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield list(child)
        else:
            yield from _lists(child)


class CompiledLayers:
    """The layers of one model, compiled for as long as a forward pass takes: training is left as it is.

    All layers are compiled once, for any number of pieces. Attention is left out of it: which keys and values it reads
    is decided outside of tensors.

    backend (str | Callable): What `torch.compile` compiles with.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self._backend = backend
        self._model: nn.Module | None = None
        self._compiled: list[tuple[nn.Module, Callable[..., Any]]] = []

    def __reduce__(self) -> tuple[type[CompiledLayers], tuple[str | Callable[..., Any]]]:
        """A copy begins without anything compiled."""
        return CompiledLayers, (self._backend,)

    @contextmanager
    def within(self, model: nn.Module) -> Iterator[None]:
        """Forward passes of the model inside run its layers compiled.

        RAISES (ValueError): P029 if torch cannot compile them.
        """
        if model is not self._model:
            # Not before somebody asks for it: what torch compiles with takes a second to import.
            AttentionInterface.register(FOREST, torch.compiler.disable(forest_attention))
            self._compiled = [
                (layer, torch.compile(layer._call_impl, dynamic=True, backend=self._backend))
                for layer in layers_of(model)
            ]
            self._model = model
        try:
            for layer, call in self._compiled:
                layer._compiled_call_impl = call
            yield
        except torch._dynamo.exc.TorchDynamoException as error:
            # Behind the first blank line torch says how to debug it.
            reason = " ".join(str(error).strip().split("\n\n")[0].split())
            raise ValueError(Errors.P029.format(reason=reason)) from error
        finally:
            for layer, _ in self._compiled:
                layer._compiled_call_impl = None
