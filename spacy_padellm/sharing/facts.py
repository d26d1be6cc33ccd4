"""What a card says about a pipeline, as plain values."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft import PeftModel
from spacy.language import Language

from spacy_padellm.about import __version__
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.sources import PretrainedSource
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.label_spec import LabelSpec
from spacy_padellm.pipeline.labels import words_of
from spacy_padellm.types import Wording

PACKAGES = ("spacy", "transformers", "torch", "peft")
"""Whose versions a card names."""


class LabelFacts(NamedTuple):
    """A label. `words` stand for it in the prompt."""

    label: str
    words: str
    description: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class PipeFacts:
    """A padellm_ner pipe.

    labels (tuple[LabelFacts, ...]): In the order asked.
    scheme (str): Registered name of its scheme.
    base (str | None): Hub id of the model that it was trained from, None for none on the hub.
    revision (str | None): Of that model.
    adapter_rank (int | None): None without an adapter.
    parameters (int): Of the model without its adapter.
    adapter_parameters (int): Of the adapter.
    settings (dict[str, Any]): Those of the config that are not the component's own, without the model.
    model (dict[str, Any]): The model's block of the config.
    label_data (Any): As `set_labels` takes them.
    """

    name: str
    labels: tuple[LabelFacts, ...]
    scheme: str
    base: str | None
    revision: str | None
    adapter_rank: int | None
    parameters: int
    adapter_parameters: int
    settings: dict[str, Any]
    model: dict[str, Any]
    label_data: Any


@dataclass(frozen=True)
class Facts:
    """A pipeline.

    description (str), author (str), url (str): From its meta.json, empty where it says nothing.
    others (tuple[str, ...]): Names of its other pipes.
    versions (dict[str, str]): Of Python and of the packages that wrote the files.
    """

    name: str
    version: str
    lang: str
    description: str
    author: str
    url: str
    pipes: tuple[PipeFacts, ...]
    others: tuple[str, ...]
    versions: dict[str, str]


def facts_of(nlp: Language, pipes: list[PaDeLLMNER], *, base: str | None = None) -> Facts:
    """What there is to say about a pipeline.

    pipes (list[PaDeLLMNER]): Those that are pushed.
    base (str | None): Hub id of the base model of pipes whose base model is a folder.
    """
    names = [pipe.name for pipe in pipes]
    meta = nlp.meta
    return Facts(
        name=f"{meta['lang']}_{meta['name']}",
        version=meta["version"],
        lang=nlp.lang or "xx",
        description=meta.get("description") or "",
        author=meta.get("author") or "",
        url=meta.get("url") or "",
        pipes=tuple(_pipe_facts(nlp, pipe, base) for pipe in pipes),
        others=tuple(name for name in nlp.component_names if name not in names),
        versions={
            "Python": platform.python_version(),
            "spacy-padellm": __version__,
            **{name: version(name) for name in PACKAGES},
        },
    )


def hub_id(name: str) -> str | None:
    """A model's name, if it is an id of the hub: a folder of that name goes before the hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() or os.path.isabs(name) else name


def base_of(pipe: PaDeLLMNER) -> str | None:
    """Name or folder of the model that a pipe was trained from, None for a fresh decoder."""
    source = shim_of(pipe.model).source
    return source.reference.name if isinstance(source, PretrainedSource) else None


def _pipe_facts(nlp: Language, pipe: PaDeLLMNER, base: str | None) -> PipeFacts:
    model, source = shim_of(pipe.model).lm.model, shim_of(pipe.model).source
    name = base_of(pipe)
    known = None if name is None else hub_id(name)
    block = nlp.config.interpolate()["components"][pipe.name]
    adapter = sum(weight.numel() for key, weight in model.named_parameters() if ".lora_" in key)
    return PipeFacts(
        name=pipe.name,
        labels=_label_facts(pipe),
        scheme=str(block["scheme"]["@misc"]),
        base=known or (base if name is not None else None),
        revision=source.reference.revision if known and isinstance(source, PretrainedSource) else None,
        adapter_rank=model.peft_config["default"].r if isinstance(model, PeftModel) else None,
        parameters=int(model.num_parameters()) - adapter,
        adapter_parameters=adapter,
        settings=_own_settings(block),
        model=dict(block["model"]),
        label_data=pipe.label_data,
    )


def _own_settings(block: dict[str, Any]) -> dict[str, Any]:
    """The settings of a pipe that are other than the component's, the model left aside."""
    plain = Language()
    plain.add_pipe(block["factory"])
    default = plain.config["components"][block["factory"]]
    return {key: value for key, value in block.items() if key not in ("factory", "model") and default[key] != value}


def _label_facts(pipe: PaDeLLMNER) -> tuple[LabelFacts, ...]:
    words = words_of(pipe.cfg["labels"], pipe.scheme)
    found = []
    for label, given in pipe.cfg["labels"].items():
        spec, said = LabelSpec.of(label, given), words[label]
        told = said.words if isinstance(said, Wording) else said
        found.append(LabelFacts(label, told, spec.description or "", spec.examples))
    return tuple(found)
