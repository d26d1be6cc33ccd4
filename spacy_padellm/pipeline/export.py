"""Pipes as what other engines read, and pipelines without adapters."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from spacy.language import Language
from spacy.util import registry

from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.checkpoint import save_pieces
from spacy_padellm.errors import Errors
from spacy_padellm.model.adapters import save_adapter
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.completions_server import save_record
from spacy_padellm.model.gguf import FILE, GGUF_DTYPES, load_gguf, write_gguf
from spacy_padellm.model.merging import save_merged
from spacy_padellm.model.sources import PretrainedSource
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.model_card import model_card

CARD = "README.md"

DTYPES = ("float32", "bfloat16", "float16")
"""What weights may be written in."""


def export_merged(
    nlp: Language, folder: Path, *, pipe: str | None = None, dtype: str | None = None, dequantize: bool = False
) -> None:
    """Write the model of a pipe as a plain folder of transformers, its adapter merged into it.

    nlp (Language): The pipeline. It stays as it is.
    folder (Path): Where to.
    pipe (str | None): Name of the padellm_ner pipe; None for the only one.
    dtype (str | None): Of the weights; None for that of the base model.
    dequantize (bool): Write quantised weights as the numbers they stand for.
    RAISES (ValueError): P001 for what is no dtype; P010 without weights; P030 for a quantised base; P034 if there is no
        such pipe, or several.
    """
    (ours,) = _pipes(nlp, pipe, only=True)
    _write_merged(ours, folder, dtype, dequantize)
    (folder / CARD).write_text(model_card(ours), encoding="utf8")


def export_adapter(nlp: Language, folder: Path, *, pipe: str | None = None) -> None:
    """Write the adapter of a pipe as a folder of peft, which names its base model.

    RAISES (ValueError): P010 without weights; P034 if there is no such pipe, or several, or if it has no adapter.
    """
    (ours,) = _pipes(nlp, pipe, only=True)
    shim = shim_of(ours.model)
    source, model = shim.source, shim.lm.model
    if not isinstance(model, PeftModel) or not isinstance(source, PretrainedSource):
        raise ValueError(Errors.P034.format(name=ours.name, problem="it has no adapter", pipes=_names(nlp)))
    save_adapter(model, folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    # A pipeline that is self-contained was loaded from a folder of its own.
    config |= {"base_model_name_or_path": source.reference.name, "revision": source.reference.revision}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf8")
    # peft writes one, too, which says nothing.
    (folder / CARD).write_text(model_card(ours, base=source.reference.name), encoding="utf8")


def export_pipeline(
    nlp: Language, folder: Path, *, pipe: str | None = None, dtype: str | None = None, dequantize: bool = False
) -> None:
    """Write a pipeline that holds its models whole, adapters merged, and loads without a network.

    nlp (Language): The pipeline. It stays as it is.
    pipe (str | None): The only padellm_ner pipe to do this to; None for all of them.
    RAISES (ValueError): As `export_merged`.
    """
    pipes = _pipes(nlp, pipe)
    nlp.to_disk(folder, exclude=[ours.name for ours in pipes])
    config = nlp.config.copy()
    for ours in pipes:
        ours.to_disk(folder / ours.name, exclude=["vocab", "model"])
        kept = _write_merged(ours, folder / ours.name / "model" / "base", dtype, dequantize)
        chat = config["components"][ours.name]["model"].get("chat")
        config["components"][ours.name]["model"] = {**_frozen(ours, kept), "chat": chat}
    config.to_disk(folder / "config.cfg")


def export_gguf(
    nlp: Language, folder: Path, *, pipe: str | None = None, dtype: str | None = None, dequantize: bool = False
) -> None:
    """Write the model of a pipe, its adapter merged into it, as one file of llama.cpp's, `model.gguf`.

    dtype (str | None): Of its matrices, one of `gguf.GGUF_DTYPES`; None for that of the base model.
    RAISES (ValueError): As `export_merged`; P070 without the package that writes the file; P071 for a model that it
        cannot be written for.
    """
    if dtype is not None and dtype not in GGUF_DTYPES:
        expected = " or ".join(f'"{one}"' for one in GGUF_DTYPES)
        raise ValueError(Errors.P001.format(name="dtype", expected=expected, got=dtype))
    load_gguf()
    (ours,) = _pipes(nlp, pipe, only=True)
    with tempfile.TemporaryDirectory() as temporary:
        # "q8_0" is made of all that the weights hold.
        plain = "float32" if dtype == "q8_0" else dtype
        kept = _write_merged(ours, Path(temporary), plain, dequantize)
        written = dtype or str(kept).removeprefix("torch.")
        write_gguf(Path(temporary), shim_of(ours.model).lm.pieces, folder / FILE, name=ours.name, dtype=written)
    (folder / CARD).write_text(model_card(ours, file=FILE), encoding="utf8")


def export_served(
    nlp: Language, folder: Path, *, url: str, served_name: str | None = None, pipe: str | None = None
) -> None:
    """Write a pipeline whose model is on a server: all of the pipe but its weights.

    url (str): The server, up to "/completions".
    served_name (str | None): What the server calls the model; None for the only one it has.
    RAISES (ValueError): P001 for what is no address; P010 without a model; P034 if there is no such pipe, or several.
    """
    (ours,) = _pipes(nlp, pipe, only=True)
    backend = shim_of(ours.model).backend
    config = nlp.config.copy()
    block = {
        "@architectures": "spacy-padellm.CompletionsServer.v1",
        "name": backend.name,
        "base_url": url,
        "served_name": served_name,
        "chat": config["components"][ours.name]["model"].get("chat"),
    }
    # Made once, so that what it cannot be is told before anything is written.
    registry.resolve({"model": block})
    nlp.to_disk(folder, exclude=[ours.name])
    ours.to_disk(folder / ours.name, exclude=["vocab", "model"])
    place = folder / ours.name / "model"
    save_pieces(backend.pieces, place / "tokenizer")
    positions = backend.known_positions if isinstance(backend, ServedModel) else backend.max_positions
    save_record(place, positions)
    config["components"][ours.name]["model"] = block
    config.to_disk(folder / "config.cfg")


def _frozen(pipe: PaDeLLMNER, dtype: torch.dtype) -> dict[str, Any]:
    """The block of a model that is as it was exported."""
    source: Any = shim_of(pipe.model).source
    reference = getattr(source, "reference", None)
    return {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": reference.name if reference else shim_of(pipe.model).lm.name,
        "trust_remote_code": bool(reference and reference.trust_remote_code),
        "dtype": str(dtype).removeprefix("torch."),
        "device": source.device,
        "self_contained": True,
        "frozen": True,
        "max_row": pipe.model.attrs["max_row"],
    }


def _write_merged(pipe: PaDeLLMNER, folder: Path, dtype: str | None, dequantize: bool) -> torch.dtype:
    if dtype is not None and dtype not in DTYPES:
        expected = " or ".join(f'"{one}"' for one in DTYPES)
        raise ValueError(Errors.P001.format(name="dtype", expected=expected, got=dtype))
    wanted = None if dtype is None else getattr(torch, dtype)
    return save_merged(shim_of(pipe.model).lm, folder, name=pipe.name, dtype=wanted, dequantize=dequantize)


def _pipes(nlp: Language, name: str | None, *, only: bool = False) -> list[PaDeLLMNER]:
    """The pipes that are meant, at least one."""
    ours: Sequence[tuple[str, Any]] = [(known, pipe) for known, pipe in nlp.components if isinstance(pipe, PaDeLLMNER)]
    found = [pipe for known, pipe in ours if name in (None, known)]
    problem = "there is none" if not found else "there are several" if only and len(found) > 1 else ""
    if problem:
        raise ValueError(Errors.P034.format(name=name or "padellm_ner", problem=problem, pipes=_names(nlp)))
    return found


def _names(nlp: Language) -> str:
    return ", ".join(name for name, pipe in nlp.components if isinstance(pipe, PaDeLLMNER)) or "none"
