"""What decoding's time goes to: products of matrices, attention, the rest of the model, choosing pieces, the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn

from spacy_padellm.engine import decoder

HOST = "the host"
"""Cutting texts, growing trees, drafting, constraints, packing: what is neither the model nor a look at its logits."""


class Shares:
    """Adds up the seconds that modules and the choice among their logits take while they are watched. Meant for a CPU,
    where a module that returns is done.

    clock (Callable[[], float]): Tells seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = dict.fromkeys(("model", "attention", "linear", "linear in attention", "choosing"), 0.0)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Watch a model's forward passes."""
        attentions = [module for module in model.modules() if type(module).__name__.endswith("Attention")]
        inside: list[nn.Module] = [
            module for attention in attentions for module in attention.modules() if isinstance(module, nn.Linear)
        ]
        linears: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Linear)]
        watched: dict[str, list[nn.Module]] = {
            "model": [model],
            "attention": attentions,
            "linear": linears,
            "linear in attention": inside,
        }
        with ExitStack() as stack:
            for name, modules in watched.items():
                for module in modules:
                    self._watch(name, module, stack)
            stack.enter_context(patch.object(decoder, "_choose", self._choosing(decoder._choose)))
            yield

    def _watch(self, name: str, module: nn.Module, stack: ExitStack) -> None:
        started: list[float] = []

        def start(*_: Any) -> None:
            started.append(self._clock())

        def stop(*_: Any) -> None:
            self._seconds[name] += self._clock() - started.pop()

        for hook in (module.register_forward_pre_hook(start), module.register_forward_hook(stop)):
            stack.callback(hook.remove)

    def _choosing(self, choose: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = self._clock()
            chosen = choose(*arguments)
            self._seconds["choosing"] += self._clock() - start
            return chosen

        return timed

    def of(self, seconds: float) -> dict[str, float]:
        """Parts of so many seconds, which add up to 1.

        seconds (float): All the time, the host's too.
        """
        spent = self._seconds
        attention = spent["attention"] - spent["linear in attention"]
        parts = {
            "matrix products": spent["linear"],
            "attention without its products": attention,
            "the rest of the model": spent["model"] - spent["linear"] - attention,
            "choosing pieces": spent["choosing"],
            HOST: seconds - spent["model"] - spent["choosing"],
        }
        return {name: part / seconds for name, part in parts.items()}
