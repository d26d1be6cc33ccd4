"""The forms in which a pipeline is pushed, as folders that hold nothing of the machine they were written on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from thinc.api import Config

from spacy_padellm.errors import Errors
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.sources import PretrainedSource
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.export import CARD, export_adapter, export_merged, export_pipeline
from spacy_padellm.pipeline.model_card import model_card
from spacy_padellm.sharing.facts import base_of, hub_id

PIPELINE, ADAPTER, MERGED, AS_IS = FORMS = ("--pipeline", "--adapter", "--merged", "--as-is")


@dataclass(frozen=True)
class Shape:
    """What a push holds.

    form (str): One of `FORMS`.
    pipe (str | None): Of several padellm_ner pipes the one that is meant; None for the only one, or for all.
    dtype (str | None), dequantize (bool): As in `pipeline.export`.
    base (str | None): Hub id of base models that are folders here.
    RAISES (ValueError): P001 for a setting that the form does not have.
    """

    form: str
    pipe: str | None = None
    dtype: str | None = None
    dequantize: bool = False
    base: str | None = None

    def __post_init__(self) -> None:
        of_weights = ("dtype", "dequantize") if self.form in (ADAPTER, AS_IS) else ()
        of_pipe = ("pipe",) if self.form == AS_IS else ()
        for name in (*of_weights, *of_pipe):
            if got := getattr(self, name):
                raise ValueError(Errors.P001.format(name=name, expected=f"nothing with {self.form}", got=got))
        if self.base is not None and hub_id(self.base) is None:
            raise ValueError(Errors.P001.format(name="base_model", expected="an id of the hub", got=self.base))

    @property
    def is_pipeline(self) -> bool:
        """Whether it is a pipeline, rather than the model of one pipe."""
        return self.form in (PIPELINE, AS_IS)


_VOCABULARIES = ("tokenizer.json", "vocab.json", "strings.json")

_PLACES = ("base_model_name_or_path", "name_or_path", "_name_or_path")
"""Where peft and transformers write what they loaded a model from."""

_PLACE_ENDS = ("path", "file", "dir", "folder", "adapter")
"""How the names of settings end that name a file or folder, be it there or not."""


def pipes_of(nlp: Language, shape: Shape) -> list[PaDeLLMNER]:
    """The padellm_ner pipes that a push holds.

    RAISES (ValueError): P034 if there is none, or not the one that is meant.
    """
    ours = [pipe for _, pipe in nlp.components if isinstance(pipe, PaDeLLMNER)]
    meant = [pipe for pipe in ours if shape.pipe in (None, pipe.name)]
    several = not shape.is_pipeline and len(meant) > 1
    problem = "there is none" if not meant else "there are several" if several else ""
    if problem:
        names = ", ".join(pipe.name for pipe in ours) or "none"
        raise ValueError(Errors.P034.format(name=shape.pipe or "padellm_ner", problem=problem, pipes=names))
    return ours if shape.is_pipeline else meant


def write_form(nlp: Language, folder: Path, shape: Shape) -> list[str]:
    """Write a pipeline, or the model of one pipe.

    nlp (Language): It stays as it is.
    RETURNS (list[str]): The files in which folders of this machine were named, and are not any more.
    RAISES (ValueError): P068 if it needs a base model that only this machine has; those of `pipeline.export`.
    """
    ours = pipes_of(nlp, shape)
    if shape.form == MERGED:
        export_merged(nlp, folder, pipe=shape.pipe, dtype=shape.dtype, dequantize=shape.dequantize)
    elif shape.form == ADAPTER:
        export_adapter(nlp, folder, pipe=shape.pipe)
        name = _shared_base(ours[0], shape.base)
        _rewrite_json(folder / "adapter_config.json", lambda found: {**found, "base_model_name_or_path": name})
        (folder / CARD).write_text(model_card(ours[0], base=name), encoding="utf8")
    elif shape.form == PIPELINE:
        export_pipeline(nlp, folder, pipe=shape.pipe, dtype=shape.dtype, dequantize=shape.dequantize)
    else:
        nlp.to_disk(folder)
    if shape.is_pipeline:
        for card in folder.rglob(CARD):
            # peft's, which says nothing but where its base model was.
            card.unlink()
        _mend_config(folder, ours, shape.base)
    return _without_places(folder)


def _mend_config(folder: Path, pipes: list[PaDeLLMNER], base: str | None) -> None:
    """Have a pipeline's config name base models as others can find them, and no device that others may lack."""
    config = Config().from_disk(folder / "config.cfg", interpolate=False)
    for pipe in pipes:
        block = config["components"][pipe.name]["model"]
        block["device"] = "auto"
        if isinstance(shim_of(pipe.model).source, PretrainedSource):
            is_whole = (folder / pipe.name / "model" / "base").exists()
            block["name"] = _known_base(pipe, base) if is_whole else _shared_base(pipe, base)
    config.to_disk(folder / "config.cfg", interpolate=False)


def _shared_base(pipe: PaDeLLMNER, base: str | None) -> str:
    name = base_of(pipe)
    found = base if name is None else hub_id(name) or base
    if found is None:
        raise ValueError(Errors.P068.format(name=pipe.name, base=name))
    return found


def _known_base(pipe: PaDeLLMNER, base: str | None) -> str:
    name = base_of(pipe) or pipe.name
    return hub_id(name) or base or Path(name).name


def _without_places(folder: Path) -> list[str]:
    """Take what names folders and files of this machine out of the files of a folder: the last part of each name stays.

    RETURNS (list[str]): The files that named some.
    """
    changed = []
    for path in sorted(folder.rglob("*.json")):
        # Vocabularies hold strings that look like anything.
        if path.name not in _VOCABULARIES and _rewrite_json(path, _bared):
            changed.append(path.relative_to(folder).as_posix())
    path = folder / "config.cfg"
    if path.exists():
        config = Config().from_disk(path, interpolate=False)
        bared = Config(_bared(config))
        bared["paths"] = dict.fromkeys(config["paths"]) if "paths" in config else {}
        if bared != config:
            bared.to_disk(path, interpolate=False)
            changed.append(path.name)
    return changed


def _bared(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _bared(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_bared(one) for one in value]
    # A label may well look like a path: "/person/artist".
    if not isinstance(value, str) or not os.path.isabs(value):
        return value
    is_place = key in _PLACES or key.endswith(_PLACE_ENDS) or os.path.exists(value)
    return Path(value).name if is_place else value


def _rewrite_json(path: Path, change: Callable[[Any], Any]) -> bool:
    """Change what a JSON file holds. RETURNS (bool): Whether it did."""
    found = json.loads(path.read_text(encoding="utf8"))
    changed = change(found)
    if changed != found:
        path.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    return bool(changed != found)
