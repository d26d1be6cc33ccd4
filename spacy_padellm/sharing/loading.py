"""How what was pushed is loaded, as code for a card."""

from __future__ import annotations

from pprint import pformat
from typing import Any

from spacy_padellm.pipeline.model_card import TEXT
from spacy_padellm.sharing.facts import Facts, PipeFacts
from spacy_padellm.sharing.forms import ADAPTER, MERGED

_PIPELINE = """import spacy
from huggingface_hub import snapshot_download

nlp = spacy.load(snapshot_download({where}))
doc = nlp({text!r})
print({found})"""

_MODEL = """import warnings

import spacy

model = {model}
settings = {settings}
labels = {labels}

nlp = spacy.blank({lang!r})
pipe = nlp.add_pipe("padellm_ner", name={name!r}, config={{**settings, "model": model}})
pipe.set_labels(labels)
warnings.filterwarnings("ignore", message=r"\\[W002\\]")  # nothing is trained here
nlp.initialize()
doc = nlp({text!r})
print({found})"""

_FOUND = "[(ent.text, ent.label_) for ent in doc.ents]"

_TAKEN = ("name", "revision", "frozen", "self_contained", "lora", "device", "trust_remote_code")
"""Settings of a model that are others for what was pushed, or the reader's own."""


def loading_code(facts: Facts, form: str, repo: str, *, branch: str | None, dtype: str | None = None) -> str:
    """Python that loads what was pushed, asks it about a text, and prints the entities.

    form (str): One of `forms.FORMS`.
    dtype (str | None): Of the weights, for a merged model.
    """
    if form not in (ADAPTER, MERGED):
        where = repr(repo) + (f", revision={branch!r}" if branch else "")
        return _PIPELINE.format(where=where, text=TEXT, found=_FOUND)
    (pipe,) = facts.pipes
    return _MODEL.format(
        model=_python(_model(pipe, form, repo, branch, dtype), len("model = ")),
        settings=_python(pipe.settings, len("settings = ")),
        labels=_python(pipe.label_data, len("labels = ")),
        lang=facts.lang,
        name=pipe.name,
        text=TEXT,
        found=_FOUND,
    )


def _model(pipe: PipeFacts, form: str, repo: str, branch: str | None, dtype: str | None) -> dict[str, Any]:
    there = {} if branch is None else {"revision": branch}
    kind = {"@architectures": "spacy-padellm.CausalLM.v1"}
    own = {name: value for name, value in pipe.model.items() if name not in _TAKEN and value not in (None, False)}
    if form == MERGED:
        own = {name: own[name] for name in ("chat",) if name in own}
        return {**kind, "name": repo, **there, **own, "dtype": dtype or "float32", "frozen": True}
    lora = {"@misc": "spacy-padellm.LoRA.v1", "adapter": repo, **there}
    base = {"name": pipe.base} if pipe.revision is None else {"name": pipe.base, "revision": pipe.revision}
    return {**own, **kind, **base, "lora": lora}


def _python(value: Any, column: int) -> str:
    text = pformat(value, width=100, sort_dicts=False)
    return text.replace("\n", "\n" + " " * column)
