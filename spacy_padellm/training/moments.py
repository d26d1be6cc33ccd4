"""What an optimizer remembers of each weight: by name, so that another process can take it over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.language import Language
from thinc.api import Model, Optimizer, PyTorchShim, to_numpy, torch2xp
from thinc.shims import Shim

from spacy_padellm.errors import Errors

Key = tuple[int, str]
"""How an optimizer names a weight: the number of its layer or shim, and a name in there."""

_RATES = ("learn_rate", "b1", "b2", "eps", "L2", "grad_clip")


class Moments(NamedTuple):
    """The state of an optimizer.

    arrays (dict[str, np.ndarray]): "mom1:", "mom2:" and "averages:" with the name of a weight, to float32 arrays.
    updates (dict[str, int]): Name of a weight to how often it was updated.
    rates (dict[str, float]): The learning rate and other numbers that schedules may change.
    """

    arrays: dict[str, np.ndarray]
    updates: dict[str, int]
    rates: dict[str, float]


class Weights:
    """The weights of a pipeline by names that are the same in each process: the numbers in an optimizer's keys are
    given out as layers are made. A name is the pipe's, the place of the layer in it, and the weight's in there.

    nlp (Language): The pipeline.
    """

    def __init__(self, nlp: Language) -> None:
        self._nodes: dict[Key, tuple[str, Model]] = {}
        self._shims: dict[int, tuple[str, PyTorchShim]] = {}
        for pipe, place, node in _layers(nlp):
            for name in node.param_names:
                self._nodes.setdefault((node.id, name), (f"{pipe}/{place}/{name}", node))
            for number, shim in enumerate(node.shims):
                if isinstance(shim, PyTorchShim):
                    self._shims.setdefault(shim.id, (f"{pipe}/{place}.{number}", shim))

    def name(self, key: Key) -> str:
        """RAISES (ValueError): P197 if the weight is of no layer of the pipeline."""
        if key in self._nodes:
            return self._nodes[key][0]
        if key[0] in self._shims:
            return f"{self._shims[key[0]][0]}/{key[1]}"
        raise ValueError(Errors.P197.format(name=key[1]))

    def keys(self) -> dict[str, Key]:
        """All names with their keys."""
        found = {name: key for key, (name, _) in self._nodes.items()}
        for number, (prefix, shim) in self._shims.items():
            found.update({f"{prefix}/{name}": (number, name) for name, _ in _parameters(shim)})
        return found

    def like(self, key: Key, array: Any) -> Any:
        """An array where the weight is: on its device."""
        if key in self._nodes:
            return self._nodes[key][1].ops.asarray(array)
        weight = dict(_parameters(self._shims[key[0]][1]))[key[1]]
        return torch2xp(torch.from_numpy(array).to(weight.device))

    def give_gradient(self, key: Key) -> None:
        """Give a weight the gradient of zeros that is left behind by its last update: a weight without one is not
        updated, while with one its moments go on to move it."""
        if key in self._nodes:
            node = self._nodes[key][1]
            node.set_grad(key[1], node.ops.xp.zeros_like(node.get_param(key[1])))
        else:
            weight = dict(_parameters(self._shims[key[0]][1]))[key[1]]
            weight.grad = torch.zeros_like(weight)


def moments_of(optimizer: Optimizer, nlp: Language) -> Moments:
    """RETURNS (Moments): A copy of the state of an optimizer.
    RAISES (ValueError): P197 if it knows weights that are not the pipeline's.
    """
    weights = Weights(nlp)
    kept = {"mom1": optimizer.mom1, "mom2": optimizer.mom2, "averages": optimizer.averages or {}}
    arrays = {
        f"{kind}:{weights.name(key)}": np.ascontiguousarray(to_numpy(array))
        for kind, of_kind in kept.items()
        for key, array in of_kind.items()
    }
    updates = {weights.name(key): count for key, count in optimizer.nr_update.items()}
    return Moments(arrays, updates, {name: float(getattr(optimizer, name)) for name in _RATES})


def set_moments(optimizer: Optimizer, nlp: Language, moments: Moments, *, steps: int) -> None:
    """Put a new optimizer into a state. Its schedules, which may be others than then, are taken forward.

    steps (int): Updates that were made.
    RAISES (ValueError): P197 if the pipeline has no weight of a name.
    """
    weights = Weights(nlp)
    keys = weights.keys()
    unknown = next((name for name in moments.updates if name not in keys), None)
    if unknown is not None:
        raise ValueError(Errors.P197.format(name=unknown))
    for name, count in moments.updates.items():
        optimizer.nr_update[keys[name]] = count
        weights.give_gradient(keys[name])
    for of, array in moments.arrays.items():
        kind, _, name = of.partition(":")
        getattr(optimizer, kind)[keys[name]] = weights.like(keys[name], array)
    for _ in range(steps):
        optimizer.step_schedules()
    _set_rates(optimizer, moments.rates)


def _set_rates(optimizer: Optimizer, rates: Mapping[str, float]) -> None:
    for name in _RATES:
        if name not in optimizer.schedules:
            setattr(optimizer, name, rates[name])


def _layers(nlp: Language) -> Iterator[tuple[str, int, Model]]:
    for name, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        if isinstance(model, Model):
            for place, node in enumerate(model.walk()):
                yield name, place, node


def _parameters(shim: Shim) -> Iterator[tuple[str, torch.nn.Parameter]]:
    model: Any = shim._model
    yield from model.named_parameters()
