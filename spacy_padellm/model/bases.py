"""Base models under adapters: loaded once, and used by every pipe that names the same one."""

from __future__ import annotations

import copy
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from spacy_padellm.engine.checkpoint import Reference, commit_of, load_model
from spacy_padellm.errors import Warnings

_OF_A_PLACE = ("_name_or_path", "_commit_hash", "transformers_version")
"""Settings in a model's config that say where it came from and nothing about what it computes."""


class Kind(NamedTuple):
    """How a base model was loaded.

    dtype (torch.dtype): Of its weights.
    device (str): Where it is.
    quantization (str): The settings of its quantisation, as JSON.
    """

    dtype: torch.dtype
    device: str
    quantization: str


class Origin(NamedTuple):
    """What a base model was loaded from.

    name (str): Hub id, or the resolved path of a folder.
    version (tuple): Of a folder each file's name, size and times, so that a folder that was written anew is another
        origin; of a hub model the revision and the commit it stands for.
    trust_remote_code (bool): Whether code beside the model runs.
    """

    name: str
    version: tuple[Any, ...]
    trust_remote_code: bool


class Borrowed(NamedTuple):
    """A base model for one pipe.

    model (PreTrainedModel): Modules and configs of the pipe's own over weights that others use, too: adapters, dropout,
        hooks, and the kind of attention are set on those, so no pipe notices another.
    base (PreTrainedModel | None): What the weights belong to. They are found again as long as somebody holds it. None
        where modules cannot be copied.
    """

    model: PreTrainedModel
    base: PreTrainedModel | None


class Bases:
    """The base models that are in use. A base goes when the last pipe that uses it goes.

    proved (WeakSet[nn.Module]): Those that passed the load-time proof, under whatever adapter: it is about who sees
        whom, and adapters change linear layers only.
    """

    def __init__(self) -> None:
        self.proved: WeakSet[nn.Module] = WeakSet()
        self._bases: WeakValueDictionary[tuple[Kind, Origin], PreTrainedModel] = WeakValueDictionary()
        # While it loads a model, transformers changes settings of the whole process, such as torch's default dtype.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len({id(base) for base in self._bases.values()})

    def borrow(
        self, reference: Reference, *, dtype: torch.dtype, device: torch.device, quantization: Mapping[str, Any] | None
    ) -> Borrowed:
        """A base model whose weights will not be trained.

        It is loaded if nobody uses it yet. One that was loaded and turns out to be the same as another that came from
        elsewhere, weight by weight, gives way to that one.

        reference (Reference): The model.
        dtype, device, quantization: As in `load_model`.
        RETURNS (Borrowed): The model, frozen, in evaluation mode.
        RAISES (ValueError): P027 or P001 as `load_model` does.
        """
        with self._lock:
            kind = Kind(dtype, _place(device), json.dumps(quantization and dict(quantization), sort_keys=True))
            key = (kind, origin_of(reference))
            base = self._bases.get(key)
            if base is None:
                loaded = load_model(reference, dtype=dtype, device=device, quantization=quantization)
                loaded.requires_grad_(False)
                others = [other for (known, _), other in self._bases.items() if known == kind]
                base = next((other for other in others if are_alike(other, loaded)), loaded)
            try:
                model = with_modules_of_its_own(base)
            except Exception as error:  # what modules hold may be anything
                warnings.warn(Warnings.W012.format(name=reference.name, reason=error), stacklevel=2)
                return Borrowed(base, None)
            self._bases[key] = base
        model.name_or_path = model.config._name_or_path = reference.name
        return Borrowed(model, base)


BASES = Bases()
"""Those of this process."""


def origin_of(reference: Reference) -> Origin:
    """What a model would be loaded from now. RAISES (ValueError): P027 if a hub model cannot be found."""
    folder = Path(reference.name)
    if not folder.is_dir():
        return Origin(reference.name, (reference.revision, commit_of(reference)), reference.trust_remote_code)
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    files = tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)
    return Origin(str(folder.resolve()), files, reference.trust_remote_code)


def are_alike(model: PreTrainedModel, other: PreTrainedModel) -> bool:
    """Whether two models have the same settings and, bit by bit, the same weights."""
    if type(model) is not type(other) or _settings(model) != _settings(other):
        return False
    weights, others = model.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(
        weight.dtype == others[name].dtype and torch.equal(weight, others[name]) for name, weight in weights.items()
    )


def with_modules_of_its_own(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model's modules, configs and hooks over the very same weights."""
    return copy.deepcopy(model, {id(kept): kept for kept in _kept(model)})


def _kept(model: nn.Module) -> Iterator[object]:
    """What a copy shares: all weights and buffers, and what quantised layers have beside them."""
    module: Any
    weight: Any
    for module in model.modules():
        if hasattr(module, "init_8bit_state") and module.weight.CB is not None:
            # The first forward pass would take these away from the weight, and so from all other layers that have it.
            module.init_8bit_state()
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))
        yield from (value for value in vars(getattr(module, "state", object)).values() if isinstance(value, Tensor))
    for weight in (*model.parameters(), *model.buffers()):
        yield weight
        if getattr(weight, "quant_state", None) is not None:
            yield weight.quant_state


def _settings(model: PreTrainedModel) -> dict[str, Any]:
    return {name: value for name, value in model.config.to_dict().items() if name not in _OF_A_PLACE}


def _place(device: torch.device) -> str:
    """The device with its number: "cuda" is the current one."""
    return f"cuda:{torch.cuda.current_device()}" if device.type == "cuda" and device.index is None else str(device)
