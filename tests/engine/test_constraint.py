"""The copy constraint against brute force: every span of tokens, each tokenised alone, and nothing else."""

import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spacy_padellm.engine.constraint import LONGEST_MENTION, CopyConstraint, CopyState
from spacy_padellm.engine.pieces import Pieces
from tests.checkpoints import TOKENIZERS, pieces_of

# (text, how it is cut into tokens)
WORDS = re.compile(r"n't|\w+?(?=n't)|\w+|[^\w\s]")
CHARACTERS = re.compile(r"\S")
TEXTS = {
    "english": ("Mr. Cuttitta (Japan) isn't the  Asian-Cup winner: $5, U.S.!?", WORDS),
    "didn't": ("But China didn't win 12 - 1", WORDS),
    "chinese": ("上海市政府今天在北京宣布，中国队以2比1获胜", CHARACTERS),
    "emoji": ("I 😀👍 Japan 👩\u200d👧🇯🇵!", CHARACTERS),
    "composed": ("cafe\u0301 Bras\u00edlia n\u0303o fi\u0302m", re.compile(r"\S+")),
    "marks apart": ("cafe\u0301 1a\u0301", CHARACTERS),
    "full-width": ("ＡＢＣ１２　東京ﾄｳｷｮｳ", CHARACTERS),
    "dotted": ("İstanbul Iİi İ", re.compile(r"\w+")),
    "blanks": ("  a \n\n b\t\tc   ", re.compile(r"\S+")),
    "one": ("x", CHARACTERS),
    "digits": ("1234567 8900 3.14 2nd", CHARACTERS),
    "markers": ("<num>2\n<mention 1>Japan</s>", WORDS),
    "surrogates": ("a\ud83d b\udc00 c", re.compile(r"\S+")),
}


def borders_of(text: str, cut: re.Pattern) -> list[tuple[int, int]]:
    return [match.span() for match in cut.finditer(text)]


def spans(text: str, borders: list[tuple[int, int]]) -> list[str]:
    """Every string from a token's start to a token's end: the specification."""
    return [text[start:end] for place, (start, _) in enumerate(borders) for _, end in borders[place:]]


def accepted(constraint: CopyConstraint) -> dict[tuple[int, ...], str]:
    """Every answer the constraint lets through, with its string. Fails at a dead end."""
    found: dict[tuple[int, ...], str] = {}
    waiting: list[tuple[tuple[int, ...], CopyState]] = [((), constraint.start)]
    while waiting:
        answer, state = waiting.pop()
        following, may_end = constraint.allowed(state)
        assert following or may_end, f"dead end behind {answer}"
        assert len(set(following)) == len(following)
        if may_end:
            found[answer] = constraint.string(state)
        waiting += [((*answer, piece), constraint.advance(state, piece)) for piece in following]
    return found


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("name", TEXTS)
def test_exactly_the_spans_each_as_training_spells_it(family, name):
    text, cut = TEXTS[name]
    borders = borders_of(text, cut)
    pieces = pieces_of(family)
    expected = dict(zip(pieces.encode(spans(text, borders)), spans(text, borders), strict=True))
    found = accepted(CopyConstraint(text, borders, pieces))
    assert found.keys() == expected.keys()
    # Strings that a normaliser makes equal are spelled alike: either may be given back, but it is the text's own.
    same = (lambda string: unicodedata.normalize("NFC", string)) if family == "qwen" else (lambda string: string)
    assert {answer: same(string) for answer, string in found.items()} == {
        answer: same(string) for answer, string in expected.items()
    }
    assert set(found.values()) <= set(spans(text, borders))


@pytest.mark.parametrize("family", TOKENIZERS)
@given(text=st.text(alphabet="ab1京上々é\u0301😀'.-(\n İ", min_size=1, max_size=14), data=st.data())
def test_any_text_with_any_tokens(family, text, data):
    marks = sorted(data.draw(st.sets(st.integers(1, len(text)))) | {0, len(text)})
    cuts = itertools.pairwise(marks)
    borders = [(start, end) for start, end in cuts if not text[start:end].isspace()]
    if borders:
        pieces = pieces_of(family)
        found = accepted(CopyConstraint(text, borders, pieces))
        assert found.keys() == set(pieces.encode(spans(text, borders)))
        assert set(found.values()) <= set(spans(text, borders))


@pytest.mark.parametrize("family", TOKENIZERS)
def test_the_string_is_the_texts_own_whatever_was_normalised(family):
    text = "Bras\u0131\u0301lia cafe\u0301"
    pieces = pieces_of(family)
    constraint = CopyConstraint(text, [(0, 9), (10, 15)], pieces)
    state = constraint.start
    for piece in pieces.encode(["cafe\u0301"])[0]:
        state = constraint.advance(state, piece)
    assert constraint.string(state) == "cafe\u0301"
    assert constraint.allowed(state) == ([], True)


def test_a_mention_has_at_most_so_many_tokens():
    words = ["ab"] * (LONGEST_MENTION + 6)
    text = " ".join(words)
    found = accepted(CopyConstraint(text, borders_of(text, re.compile(r"\w+")), pieces_of("gpt2")))
    assert {len(string.split()) for string in found.values()} == set(range(1, LONGEST_MENTION + 1))


def test_a_piece_off_every_path_leads_nowhere():
    constraint = CopyConstraint("Japan won", [(0, 5), (6, 9)], pieces_of("gpt2"))
    wrong = next(iter(set(range(10)) - set(constraint.allowed(constraint.start)[0])))
    assert constraint.allowed(constraint.advance(constraint.start, wrong)) == ([], False)


def test_an_answer_off_the_text_has_no_string():
    constraint = CopyConstraint("Japan won", [(0, 5), (6, 9)], pieces_of("gpt2"))
    with pytest.raises(AssertionError, match="where no mention can end"):
        constraint.string(constraint.start)


def test_one_path_a_token_where_tokens_end_at_pieces():
    """The work is linear in the text: awkward ends alone get a path of their own."""
    pieces: Pieces = pieces_of("gpt2")
    text = "one two three four five six seven"
    constraint = CopyConstraint(text, borders_of(text, re.compile(r"\w+")), pieces)
    assert len(constraint.start.paths) == 7


def test_one_path_a_token_in_chinese_where_characters_are_set_apart():
    text = TEXTS["chinese"][0]
    borders = borders_of(text, CHARACTERS)
    apart, merged = pieces_of("fresh"), pieces_of("gpt2")
    assert apart.sets_han_apart and not merged.sets_han_apart
    assert len(CopyConstraint(text, borders, apart).start.paths) == len(borders)
    assert len(CopyConstraint(text, borders, merged).start.paths) > 5 * len(borders)


def test_a_tokenizer_that_looks_whole_words_up_first():
    """Llama 3 takes a word that is in its vocabulary as one piece, even where merging would not get there: "ab" alone
    is cut otherwise than at the start of "abc", though both have an end behind "b"."""
    names = ["</s>", "a", "b", "c", ".", "Ġ", "ab"]
    tokenizer = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pieces = Pieces(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))
    assert pieces.encode(["ab", "abc"]) == [(6,), (1, 2, 3)]
    text, borders = "abc ab.", [(0, 2), (2, 3), (4, 6), (6, 7)]
    found = accepted(CopyConstraint(text, borders, pieces))
    assert found.keys() == set(pieces.encode(spans(text, borders)))
