"""Prompts as pieces: what they cost, and that no question runs into another one or into an answer."""

from __future__ import annotations

import pytest

from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.segments import prompt_segments
from tests.checkpoints import LABELS, TEXTS, TOKENIZERS, pieces_of

COMPACT = PaDeLLM(build_compact_prompt_v1())
OTHERS = [PaDeLLM(build_english_prompt_v1()), PaDeLLM(build_chinese_prompt_v1())]


def fresh_pieces(scheme: PaDeLLM) -> Pieces:
    """The tokenizer of a fresh decoder that is trained on a scheme's questions."""
    return Pieces(train_tokenizer(TEXTS, prompt_segments(scheme, LABELS), 420), leading_blank=True)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_label_costs_one_piece_beside_its_words(tokenizer):
    pieces = pieces_of(tokenizer)
    (branch,) = COMPACT.ask({"PER": "person"})
    assert len(pieces.question(branch.question)) == len(pieces.question("person")) + 1
    for other in OTHERS:
        (longer,) = other.ask({"PER": "person"})
        assert len(pieces.question(longer.question)) > len(pieces.question(branch.question)) + 3


def test_pieces_with_a_tokenizer_that_knows_the_questions():
    """A label is its word and ":", a mention "#", its ordinal and ":"."""
    label, mention = (
        [len(fresh_pieces(scheme).question(ask(scheme))) for scheme in (COMPACT, *OTHERS)]
        for ask in (
            lambda scheme: scheme.ask({"PER": "person"})[0].question,
            lambda scheme: scheme.prompt.ask_mention(1),
        )
    )
    assert label[0] == 2 and min(label[1:]) >= 7
    assert mention[0] == 3 and min(mention[1:]) >= 4


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("scheme", [COMPACT, *OTHERS], ids=["compact", "english", "chinese"])
def test_nothing_runs_into_anything_else(tokenizer, scheme):
    """No count goes on as the question that ends it begins, once it has a digit; no label's question is the start of
    another label's; no ordinal goes on as a mention that begins with a digit does."""
    pieces = pieces_of(tokenizer)
    closer = pieces.question(scheme.prompt.ask_mention(1))[0]
    counts = [pieces.question(str(count)) for count in range(scheme.max_mentions + 1)]
    assert all(closer not in cut[1:] for cut in counts)
    if scheme is COMPACT and tokenizer != "llama":
        # This SentencePiece tokenizer has never seen "#", so its "▁" is a piece of its own, as in the paper's prompt.
        assert all(closer not in cut for cut in counts)
    labels = [pieces.question(scheme.prompt.ask_label(words)) for words in ("team", "team 1", "team 12", "te", "1")]
    assert not any(one == other[: len(one)] for one in labels for other in labels if one is not other)
    first = pieces.question(scheme.prompt.ask_mention(1))
    behind = [first + pieces.question(mention) for mention in ("2", "2 dogs", "12", "1995")]
    ordinals = [pieces.question(scheme.prompt.ask_mention(ordinal)) for ordinal in range(2, 100)]
    assert not any(cut == path[: len(cut)] for cut in ordinals for path in behind)
