"""Texts and labels that no one would write, and everyone meets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.language import Language

from spacy_padellm.model.architectures import shim_of
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import DATA, TEXTS, Gold, blank, entities, examples, ours, spans, train

STRANGE = {
    "markers": "text:\nentity type:\ncity\n\n<num>2\n<mention 1>Paris\n<mention 2>",
    "specials": "</s><s>Paris<|endoftext|><|im_end|><unk>",
    "control": "Pa\x00ris \x01\x02\x07\x1b[0m Jaws\x7f",
    "right-to-left": "\u202eParis\u202c \u05e9\u05dc\u05d5\u05dd \u200fJaws\u200e",
    "combining": "Pa\u0301ri\u0308s e\u0301\u0302\u0303\u0304 \u0301",
    "emoji": "Jaws \U0001f988 in \U0001f468\u200d\U0001f469\u200d\U0001f467 Paris \U0001f1eb\U0001f1f7",
    "dotted": "\u0130stanbul \uff30\uff41\uff52\uff49\uff53",
    "zero-width": "Pa\u200bris\ufeff",
    "braces": "{text} {{0}} %s \\n \"quotes\" 'and' `more`",
}


@pytest.mark.filterwarnings("ignore:.*W001")
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in STRANGE.items()])
def test_strange_text(trained: Callable[..., Language], text: str):
    """It is annotated by the same rules as any other, and its neighbours are not harmed."""
    nlp = trained()
    docs = list(nlp.pipe([TEXTS[0], text, TEXTS[1]]))
    assert [entities(docs[0]), entities(docs[2])] == [DATA[0][1], DATA[1][1]]
    assert docs[1].text == text
    assert spans(docs[1]) == spans(nlp(text))
    for span in docs[1].spans["sc"]:
        assert span.text == text[span.start_char : span.end_char]
        assert span.text.strip() == span.text != ""


@pytest.mark.parametrize("name", ["markers", "specials"])
def test_markers_and_special_tokens_are_plain_text(trained: Callable[..., Language], name: str):
    pieces = shim_of(ours(trained()).model).lm.pieces
    (cut,) = pieces.encode([STRANGE[name]])
    assert pieces.end not in cut
    assert pieces.decode(cut) == STRANGE[name]


def test_text_with_markers_is_learnt_like_any_other():
    marked: list[Gold] = [("<mention 1> Jaws <num>", [(12, 16, "movie")]), ("</s> Paris </s>", [(5, 10, "city")])]
    train(blank(), marked)


def test_special_tokens_of_a_pretrained_model_are_plain_text(tmp_path: Path):
    base = write_checkpoint(tmp_path / "published", family="qwen2", tokenizer="qwen")
    nlp = blank({"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu"})
    text = "Jaws <|im_end|> in <|endoftext|>Paris"
    nlp.initialize(lambda: examples(nlp))
    pieces = shim_of(ours(nlp).model).lm.pieces
    (tree,) = ours(nlp)._trees(examples(nlp, [(text, [(0, 4, "movie")])]))
    assert pieces.end not in tree.tree.pieces
    assert pieces.decode(pieces.encode([text])[0]) == text


def test_fifty_kilobytes_in_one_line(trained: Callable[..., Language]):
    nlp = trained(strict=True)
    failed: list[str] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append(str(error)))
    docs = list(nlp.pipe([TEXTS[0], "word " * 10_000, TEXTS[1]]))
    assert [entities(doc) for doc in docs] == [DATA[0][1], DATA[1][1]]
    assert len(failed) == 1
    assert failed[0].startswith("[P023]")
    assert len(failed[0]) < 400


LABELS = ["a\nb", 'say "city"', "{label}", "it's {0} %s", "<num>", "<mention 1>", "Größe/大小", " x "]


def test_strange_labels_are_learnt_and_kept(tmp_path: Path):
    text = "one two three four five six seven eight"
    starts = [0, 4, 8, 14, 19, 24, 28, 34]
    ends = [3, 7, 13, 18, 23, 27, 33, 39]
    golds: list[Gold] = [(text, list(zip(starts, ends, LABELS, strict=True)))]
    nlp = train(blank(), golds)
    nlp.to_disk(tmp_path)
    again = blank().from_disk(tmp_path)
    assert ours(again).labels == tuple(sorted(LABELS))
    assert spans(again(text)) == golds[0][1]


@pytest.mark.filterwarnings("ignore:.*W00[12]")
def test_sixty_labels():
    nlp = blank()
    labels = [f"label {number}" for number in range(58)]
    ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=["city", "movie", *labels])
    doc = nlp.make_doc(TEXTS[0])
    (found,) = ours(nlp).predict([doc])
    asked = [branch.label for branch, _ in found.answered if not branch.ordinal]
    assert asked == ["city", "movie", *labels]
    assert nlp.update(examples(nlp), sgd=False)["padellm_ner"] > 0


@pytest.mark.parametrize("text", ["don't", "A", "...", "\u4eac", "a" * 60])
def test_short_and_odd_words(trained: Callable[..., Language], text: str):
    nlp = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert nlp(text).text == text
