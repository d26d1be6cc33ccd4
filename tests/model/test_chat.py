"""A pipeline over an instruct model: trained, saved and asked in its chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from thinc.api import Adam

from spacy_padellm.model.architectures import shim_of
from tests.checkpoints import write_instruct
from tests.pipeline.makers import DATA, TEXTS, answers, blank, entities, examples, ours

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 8, "alpha": 16.0}

CHAT = {"@misc": "spacy-padellm.ChatTemplate.v1"}


def causal_lm(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", **settings}


def learnt(nlp: Language, steps: int) -> Language:
    optimizer = Adam(0.01)
    nlp.initialize(lambda: examples(nlp))
    for _ in range(steps):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


def turns(nlp: Language) -> Any:
    return shim_of(ours(nlp).model).lm.pieces.turns


@pytest.mark.parametrize("settings", [{"lora": LORA}, {"lora": LORA, "self_contained": True}, {}])
def test_trains_saves_and_loads(settings: dict[str, Any], tmp_path: Path):
    base = write_instruct(tmp_path / "base")
    nlp = learnt(blank(causal_lm(base, chat={**CHAT, "system": "You find names."}, **settings)), 5)
    assert turns(nlp).opening.startswith("<|im_start|>system\nYou find names.<|im_end|>")
    nlp.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert turns(loaded) == turns(nlp)
    assert answers(loaded, TEXTS) == answers(nlp, TEXTS)
    again = blank(causal_lm(base, chat=CHAT, **settings)).from_bytes(nlp.to_bytes())
    assert turns(again) == turns(nlp)


@pytest.mark.slow
def test_learns_its_texts(tmp_path: Path):
    nlp = learnt(blank(causal_lm(write_instruct(tmp_path), chat=CHAT)), 60)
    assert [entities(doc) for doc in nlp.pipe(TEXTS)] == [ents for _, ents in DATA]


def test_the_template_changes_what_is_asked(tmp_path: Path):
    base = write_instruct(tmp_path)
    plain, chat = (blank(causal_lm(base, chat=block)) for block in (None, CHAT))
    for nlp in (plain, chat):
        nlp.initialize(lambda nlp=nlp: examples(nlp))
    assert turns(plain) is None and turns(chat).closing == "<|im_end|>\n<|im_start|>assistant\n"
    # The same weights, other answers: the template's pieces stand in front of them.
    assert answers(plain, TEXTS) != answers(chat, TEXTS)


def test_a_pipeline_is_asked_as_it_was_trained(tmp_path: Path):
    base = write_instruct(tmp_path / "base")
    for chat, other, message in ((CHAT, None, "trained with a chat template"), (None, CHAT, "trained in plain text")):
        nlp = blank(causal_lm(base, lora=LORA, chat=chat))
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        nlp.to_disk(tmp_path / "pipeline")
        with pytest.raises(ValueError, match=rf"\[P037\].*{message}"):
            spacy.load(tmp_path / "pipeline", config={"components": {"padellm_ner": {"model": {"chat": other}}}})


def test_a_base_that_was_trained_with_turns(tmp_path: Path):
    nlp = blank(causal_lm(write_instruct(tmp_path / "base"), chat=CHAT))
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "pipeline")
    with pytest.raises(ValueError, match=r"\[P037\]"):
        further = blank(causal_lm(tmp_path / "pipeline" / "padellm_ner" / "model" / "base"))
        further.initialize(lambda: examples(further))


def test_settings_that_are_none(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'chat.settings'.*tokenize"):
        blank(causal_lm(tmp_path, chat={**CHAT, "settings": {"tokenize": True}}))
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'chat'"):
        blank(causal_lm(tmp_path, chat=LORA))


@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
@pytest.mark.parametrize("window", [None, 40])
def test_long_texts_leave_room_for_the_turns(window: int | None, tmp_path: Path):
    """What a text may have of the model's positions is what the question with its turns leaves."""
    config = causal_lm(write_instruct(tmp_path), chat={**CHAT, "system": "You find names. " * 8})
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": config, "window": window})
    nlp.initialize(lambda: examples(nlp))
    with pytest.warns(UserWarning, match="W010"):
        doc = nlp(" ".join(text for text in TEXTS for _ in range(60)))
    assert len(doc.spans["sc"].attrs["windows"]) > 1
