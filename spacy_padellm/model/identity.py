"""Whether a base model is the one that an adapter was trained over."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spacy_padellm.errors import Errors

RECORD = "base.json"
"""In the folder of a model whose base is only named: what the base was."""

_LOOKED_AT = 16
"""Numbers of each weight that are compared: models of one family differ in nearly all of them."""


def identity_of(base: nn.Module) -> dict[str, str]:
    """What tells a base model from another one: the kinds of its weights, and a checksum over their names, shapes and
    some of their numbers. An adapter around it is left aside."""
    kinds: set[str] = set()
    digest = hashlib.blake2b(digest_size=16)
    weights = {name.replace(".base_layer.", "."): weight for name, weight in base.named_parameters()}
    for name, weight in sorted((name, weight) for name, weight in weights.items() if ".lora_" not in name):
        kinds.add(str(weight.dtype))
        flat = weight.detach().reshape(-1)
        places = torch.linspace(0, flat.numel() - 1, min(_LOOKED_AT, flat.numel())).long()
        seen = flat[places.to(flat.device)].cpu()
        seen = seen.float() if seen.is_floating_point() else seen
        digest.update(f"{name} {tuple(weight.shape)} {seen.tolist()}\n".encode())
    return {"dtypes": ", ".join(sorted(kinds)), "digest": digest.hexdigest()}


def keep_identity(base: nn.Module, folder: Path) -> None:
    """Write down what the base model is."""
    (folder / RECORD).write_text(json.dumps(identity_of(base), indent=2) + "\n", encoding="utf8")


def check_identity(base: nn.Module, folder: Path, name: str) -> None:
    """Compare a base model with what was written down, if anything was. One in another dtype has other numbers, and is
    not compared.

    RAISES (ValueError): P038 if it is another one.
    """
    path = folder / RECORD
    if not path.is_file():
        return
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    found = identity_of(base)
    if found["dtypes"] == kept.get("dtypes") and found["digest"] != kept.get("digest"):
        raise ValueError(Errors.P038.format(name=name))
