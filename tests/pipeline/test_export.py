"""Exported models and pipelines say what the pipeline said, with and without this package."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from peft import PeftModel
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam
from transformers import AutoModelForCausalLM

from spacy_padellm.data.converters.snips import read_snips
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline import model_card
from spacy_padellm.pipeline.export import export_adapter, export_merged, export_pipeline
from tests.checkpoints import write_checkpoint, write_instruct
from tests.pipeline.makers import DATA, TEXTS, answers, blank, block, entities, examples, ours, spans, train

ASSETS = Path(__file__).parents[2] / "project" / "assets"
SNIPS = ASSETS / "snips" / "SearchScreeningEvent"

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 8, "alpha": 16.0}

TEXT = "Show me Jaws in Paris"
"""A text whose entities the models of these tests know."""

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


def causal_lm(folder: Path, **settings: Any) -> dict[str, Any]:
    lora = {"lora": LORA, **settings}
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", **lora}


@pytest.fixture
def adapted(trained: Callable[..., Language], tmp_path: Path) -> Language:
    """Knows `DATA`: its base does, and its adapter was trained a little further."""
    trained().to_disk(tmp_path / "trained")
    nlp = blank(causal_lm(tmp_path / "trained" / "padellm_ner" / "model"))
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.001)
    for _ in range(5):
        nlp.update(examples(nlp), sgd=optimizer)
    assert [entities(doc) for doc in nlp.pipe(TEXTS)] == [ents for _, ents in DATA]
    return nlp


def run_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the code in a folder's README prints, run there."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf8"), flags=re.DOTALL)
    assert "spacy" not in code
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue().strip()


# Merged models


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_the_readme_asks_as_the_pipeline_does(
    adapted: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    """Segments are read as if a blank stood in front of them."""
    monkeypatch.setattr(model_card, "TEXT", TEXT)
    if form == "merged":
        export_merged(adapted, tmp_path / "out")
    else:
        export_adapter(adapted, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    assert (
        "as if a blank stood in front" in card
        and r"* `movie`: `'entity type:\nmovie\n\n<num>'`" in card
        and "'\\n<mention 2>'" in card
    )
    assert run_card(tmp_path / "out", monkeypatch) == "city 1 ['Paris']"


def test_the_readme_of_a_sentencepiece_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its sequences begin with a piece of their own, and no blank is added."""
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="llama", initializer_range=0.08)
    nlp = train(blank(causal_lm(base, lora=None)), rate=0.01)
    monkeypatch.setattr(model_card, "TEXT", "Paris Paris and Jaws")
    export_merged(nlp, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    assert "as if a blank" not in card and "behind the piece `<s>` (number 1)" in card
    assert run_card(tmp_path / "out", monkeypatch) == "city 2 ['Paris', 'Paris']"


def test_an_instruct_model_is_asked_in_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the README's code, and by the exported pipeline."""
    chat = {"@misc": "spacy-padellm.ChatTemplate.v1", "system": "You find names."}
    nlp = train(blank(causal_lm(write_instruct(tmp_path / "base"), lora=None, chat=chat)), rate=0.01)
    monkeypatch.setattr(model_card, "TEXT", "Paris Paris and Jaws")
    export_merged(nlp, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    assert "In the model's chat template" in card and "<|im_end|>" in card
    assert run_card(tmp_path / "out", monkeypatch) == "city 2 ['Paris', 'Paris']"
    export_pipeline(nlp, tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert shim_of(ours(loaded).model).lm.pieces.turns == shim_of(ours(nlp).model).lm.pieces.turns
    assert answers(loaded) == answers(nlp)


@pytest.mark.parametrize(("scheme", "said"), [("OneStep", '[" Paris"]'), ("AutoRegStruct", "((city): ( Paris)")])
def test_the_readme_of_another_scheme(
    learnt: Callable[..., Language], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, said: str
):
    monkeypatch.setattr(model_card, "TEXT", TEXT)
    export_merged(learnt(scheme), tmp_path / "out")
    assert run_card(tmp_path / "out", monkeypatch).startswith(said)


def test_dtype(adapted: Language, tmp_path: Path):
    export_merged(adapted, tmp_path / "out", dtype="bfloat16")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", torch_dtype="auto")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'dtype'.*\"bfloat16\".*int4"):
        export_merged(adapted, tmp_path / "other", dtype="int4")


# Adapters


def test_an_adapter_is_peft_s(adapted: Language, tmp_path: Path):
    export_adapter(adapted, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    base = str(tmp_path / "trained" / "padellm_ner" / "model")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (base, None)
    lm = shim_of(ours(adapted).model).lm
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "out")
    kept = {name: weight for name, weight in lm.model.state_dict().items() if ".lora_" in name}
    assert kept and all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in kept.items())


def test_an_adapter_of_a_self_contained_pipeline_names_the_base_it_was_trained_on(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen")
    nlp = blank(causal_lm(base, self_contained=True))
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "saved")
    export_adapter(spacy.load(tmp_path / "saved"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)


# Which pipe


def test_which_pipe_p034(adapted: Language, tmp_path: Path, trained: Callable[..., Language]):
    with pytest.raises(ValueError, match=r"\[P034\] The pipe 'ner' cannot be exported: there is none.*padellm_ner\."):
        export_merged(adapted, tmp_path / "out", pipe="ner")
    with pytest.raises(ValueError, match=r"\[P034\].*there is none.* none\."):
        export_pipeline(spacy.blank("en"), tmp_path / "out")
    with pytest.raises(ValueError, match=r"\[P034\].*no adapter"):
        export_adapter(trained(), tmp_path / "out")
    two = blank(name="one")
    two.add_pipe("padellm_ner", name="two", source=None)
    with pytest.raises(ValueError, match=r"\[P034\].*there are several.*one, two"):
        export_merged(two, tmp_path / "out")
    with pytest.raises(ValueError, match=r"\[P010\]"):
        export_merged(two, tmp_path / "out", pipe="two")


# Pipelines


def queries(nlp: Language, path: Path, size: int) -> list[Example]:
    found = []
    for record, _ in zip(read_snips(path), range(size), strict=False):
        ents = [(gold.start, gold.end, gold.label) for gold in record.spans]
        found.append(Example.from_dict(nlp.make_doc(record.text), {"entities": ents}))
    return found


@pytest.mark.filterwarnings("ignore:.*W030")
def test_real_queries_have_the_same_entities(tmp_path: Path):
    """SNIPS queries, the project's own base model, an adapter that was trained for some updates."""
    nlp = blank(causal_lm(ASSETS / "base", self_contained=True), save_io=True)
    learn = queries(nlp, SNIPS / "train_SearchScreeningEvent_full.json", 96)
    nlp.initialize(lambda: learn)
    optimizer = Adam(0.003)
    for _ in range(3):
        for place in range(0, len(learn), 16):
            nlp.update(learn[place : place + 16], sgd=optimizer)
    export_pipeline(nlp, tmp_path / "out")
    (saved,) = (tmp_path / "out").rglob("*.safetensors")
    assert saved.relative_to(tmp_path / "out").as_posix() == "padellm_ner/model/base/model.safetensors"
    merged = spacy.load(tmp_path / "out")
    assert not any(".lora_" in name for name, _ in shim_of(ours(merged).model).lm.model.named_modules())
    texts = [one.text for one in queries(nlp, SNIPS / "validate_SearchScreeningEvent.json", 100)]
    found = 0
    for doc, other in zip(nlp.pipe(texts), merged.pipe(texts), strict=True):
        assert spans(doc) == spans(other) and entities(doc) == entities(other)
        for name in ("scores", "count_scores"):
            np.testing.assert_allclose(doc.spans["sc"].attrs[name], other.spans["sc"].attrs[name], atol=1e-4)
        assert doc.spans["sc"].attrs["counts"] == other.spans["sc"].attrs["counts"]
        for line, its in zip(
            doc.user_data["llm_io"]["padellm_ner"], other.user_data["llm_io"]["padellm_ner"], strict=True
        ):
            assert line.pop("probability") == pytest.approx(its.pop("probability"), abs=1e-4)
            assert line == its
        found += len(spans(doc))
    assert found > 50


def test_an_exported_pipeline_is_on_its_own(adapted: Language, tmp_path: Path):
    adapted.add_pipe("sentencizer", first=True)
    export_pipeline(adapted, tmp_path / "out")
    shutil.rmtree(tmp_path / "trained")
    loaded = spacy.load(tmp_path / "out")
    assert loaded.pipe_names == ["sentencizer", "padellm_ner"]
    assert [entities(doc) for doc in loaded.pipe(TEXTS)] == [ents for _, ents in DATA]
    assert answers(loaded) == answers(adapted)
    block_of = loaded.config["components"]["padellm_ner"]["model"]
    assert (block_of["frozen"], block_of["self_contained"], block_of.get("lora")) == (True, True, None)
    # It can be saved and exported as any other.
    loaded.to_disk(tmp_path / "again")
    export_merged(loaded, tmp_path / "merged")
    assert answers(spacy.load(tmp_path / "again")) == answers(adapted)
    with pytest.raises(ValueError, match=r"\[P031\]"):
        loaded.update(examples(loaded), sgd=Adam(0.01))
    assert [entities(doc) for doc in loaded.pipe(TEXTS, n_process=2)] == [ents for _, ents in DATA]


def test_an_exported_pipeline_in_half_precision(adapted: Language, tmp_path: Path):
    export_pipeline(adapted, tmp_path / "out", dtype="bfloat16")
    loaded = spacy.load(tmp_path / "out")
    assert {weight.dtype for weight in shim_of(ours(loaded).model).lm.model.parameters()} == {torch.bfloat16}
    assert [entities(doc) for doc in loaded.pipe(TEXTS)] == [ents for _, ents in DATA]


def test_a_fresh_pipe_keeps_how_its_texts_are_cut(trained: Callable[..., Language], tmp_path: Path):
    export_pipeline(trained(), tmp_path / "out")
    loaded = spacy.load(tmp_path / "out")
    assert shim_of(ours(loaded).model).lm.pieces.leading_blank
    assert answers(loaded) == answers(trained())


def test_one_pipe_of_two(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", initializer_range=0.08)
    nlp = blank(causal_lm(base), name="one", spans_key="one")
    nlp.add_pipe(
        "padellm_ner", name="two", config={"model": causal_lm(base), "spans_key": "two", "scheme": block("OneStep")}
    )
    nlp.initialize(lambda: examples(nlp))
    export_pipeline(nlp, tmp_path / "out", pipe="two")
    loaded = spacy.load(tmp_path / "out")
    models = {name: shim_of(ours(loaded, name).model).lm.model for name in ("one", "two")}
    assert {name: isinstance(model, PeftModel) for name, model in models.items()} == {"one": True, "two": False}
    export_pipeline(nlp, tmp_path / "both")
    loaded = spacy.load(tmp_path / "both")
    assert not any(isinstance(shim_of(ours(loaded, name).model).lm.model, PeftModel) for name in ("one", "two"))
