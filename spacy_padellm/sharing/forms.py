"""The forms in which a pipeline is pushed, as folders that hold nothing of the machine they were written on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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

ONE_PIPE = (ADAPTER, MERGED)
"""Forms of the model of one pipe, without the pipeline."""

_VOCABULARIES = ("tokenizer.json", "vocab.json", "strings.json")

_PLACES = ("base_model_name_or_path", "name_or_path", "_name_or_path")
"""Where peft and transformers write what they loaded a model from."""


def pipes_of(nlp: Language, form: str, name: str | None) -> list[PaDeLLMNER]:
    """The padellm_ner pipes that a form holds.

    name (str | None): Of the pipe, where the form is of one pipe; None for the only one.
    RAISES (ValueError): P034 if there is none, or not the one that is meant.
    """
    ours = [pipe for _, pipe in nlp.components if isinstance(pipe, PaDeLLMNER)]
    meant = [pipe for pipe in ours if name in (None, pipe.name)]
    problem = "there is none" if not meant else "there are several" if form in ONE_PIPE and len(meant) > 1 else ""
    if problem:
        names = ", ".join(pipe.name for pipe in ours) or "none"
        raise ValueError(Errors.P034.format(name=name or "padellm_ner", problem=problem, pipes=names))
    return meant if form in ONE_PIPE else ours


def write_form(
    nlp: Language,
    folder: Path,
    form: str,
    *,
    pipe: str | None = None,
    dtype: str | None = None,
    dequantize: bool = False,
    base: str | None = None,
) -> list[str]:
    """Write a pipeline in a form.

    nlp (Language): It stays as it is.
    form (str): One of `FORMS`.
    pipe, dtype, dequantize: As in `pipeline.export`.
    base (str | None): Hub id of base models that are folders here.
    RETURNS (list[str]): The files in which folders of this machine were named, and are not any more.
    RAISES (ValueError): P068 if it needs a base model that only this machine has; those of `pipeline.export`.
    """
    ours = pipes_of(nlp, form, pipe)
    if form == MERGED:
        export_merged(nlp, folder, pipe=pipe, dtype=dtype, dequantize=dequantize)
    elif form == ADAPTER:
        export_adapter(nlp, folder, pipe=pipe)
        name = _shared_base(ours[0], base)
        _rewrite_json(folder / "adapter_config.json", lambda found: {**found, "base_model_name_or_path": name})
        (folder / CARD).write_text(model_card(ours[0], base=name), encoding="utf8")
    elif form == PIPELINE:
        export_pipeline(nlp, folder, pipe=pipe, dtype=dtype, dequantize=dequantize)
    else:
        nlp.to_disk(folder)
    if form not in ONE_PIPE:
        _name_bases(folder, ours, base)
    return _without_places(folder)


def _name_bases(folder: Path, pipes: list[PaDeLLMNER], base: str | None) -> None:
    """Have a pipeline's config name base models as others can find them."""
    config = Config().from_disk(folder / "config.cfg", interpolate=False)
    for pipe in pipes:
        model = folder / pipe.name / "model"
        if isinstance(shim_of(pipe.model).source, PretrainedSource):
            needed = not (model / "base").exists()
            name = _shared_base(pipe, base) if needed else _known_base(pipe, base)
            config["components"][pipe.name]["model"]["name"] = name
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
    is_place = isinstance(value, str) and os.path.isabs(value) and (key in _PLACES or os.path.exists(value))
    return Path(value).name if is_place else value


def _rewrite_json(path: Path, change: Callable[[Any], Any]) -> bool:
    """Change what a JSON file holds. RETURNS (bool): Whether it did."""
    found = json.loads(path.read_text(encoding="utf8"))
    changed = change(found)
    if changed != found:
        path.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    return bool(changed != found)
