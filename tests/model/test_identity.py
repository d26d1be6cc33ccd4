"""An adapter over another base model than it was trained over is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.language import Language

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.identity import RECORD, identity_of
from tests.checkpoints import build_model, write_checkpoint
from tests.pipeline.makers import answers, blank, examples, ours

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4}


def over(base: Path, **settings: Any) -> Language:
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu", **settings}
    nlp = blank(model)
    nlp.initialize(lambda: examples(nlp))
    return nlp


@pytest.mark.parametrize("settings", [{"lora": LORA}, {"frozen": True}, {"lora": LORA, "dtype": "bfloat16"}])
def test_another_base_p038(settings: dict[str, Any], tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", seed=1)
    nlp = over(base, **settings)
    nlp.to_disk(tmp_path / "pipeline")
    assert answers(spacy.load(tmp_path / "pipeline")) == answers(nlp)
    shutil.rmtree(base)
    write_checkpoint(base, seed=2)
    with pytest.raises(ValueError, match=r"\[P038\].*base"):
        spacy.load(tmp_path / "pipeline")
    # In another dtype no number is what it was, so nothing can be told.
    dtype = "float32" if settings.get("dtype") == "bfloat16" else "bfloat16"
    spacy.load(tmp_path / "pipeline", config={"components": {"padellm_ner": {"model": {"dtype": dtype}}}})


def test_a_base_that_comes_along_has_no_record(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base")
    nlp = over(base, lora=LORA)
    nlp.to_disk(tmp_path / "pipeline")
    folder = tmp_path / "pipeline" / "padellm_ner" / "model"
    assert set(srsly.read_json(folder / RECORD)) == {"dtypes", "digest"}
    whole = over(base, lora=LORA, self_contained=True)
    ours(whole).to_disk(folder.parent)
    assert not (folder / RECORD).exists()


def test_a_pipeline_without_a_record_loads(tmp_path: Path):
    """Those that were saved before there were records."""
    nlp = over(write_checkpoint(tmp_path / "base"), lora=LORA)
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "pipeline" / "padellm_ner" / "model" / RECORD).unlink()
    assert answers(spacy.load(tmp_path / "pipeline")) == answers(nlp)


def test_an_adapter_does_not_change_what_a_base_is(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", seed=1)
    model = shim_of(ours(over(base, lora=LORA)).model).lm.model
    bare = shim_of(ours(over(base, frozen=True)).model).lm.model
    assert identity_of(model.get_base_model()) == identity_of(bare)
    assert identity_of(build_model("llama", seed=1)) != identity_of(build_model("llama", seed=2))


def test_a_folder_that_is_not_there_p027(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P027\].*there is no such folder"):
        over(tmp_path / "nowhere", lora=LORA)
