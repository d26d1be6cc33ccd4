"""Segments tokenised alone give the text back, whatever stands in them."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.pieces import Pieces, without_surrogates
from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from tests.checkpoints import TOKENIZERS, fresh_tokenizer, gpt2_tokenizer, pieces_of

PROMPTS = (build_english_prompt_v1(), build_chinese_prompt_v1(), build_compact_prompt_v1())
SEGMENTS = [
    *(segment for prompt in PROMPTS for segment in prompt.trunk("Japan")),
    *(prompt.ask_label(words) for prompt in PROMPTS for words in ("person", "人名", "a label, with a comma")),
    *(prompt.ask_mention(ordinal) for prompt in PROMPTS for ordinal in (1, 12)),
    "",
    " ",
    "  Japan ",
    "\n",
    "\n\n Japan\n",
    "\tJapan\r\n",
    "didn't",
    "0",
    "12",
    "王小明",
    "ＡＢＣ１２",
    "İstanbul",
    "👩\u200d👩\u200d👧 🇯🇵 😀",
    "a\u00a0b\u3000c",
    "\ufffd",
]


def back(family: str, text: str) -> str:
    """The text as a family's tokenizer gives it back at best."""
    return unicodedata.normalize("NFC", text) if family == "qwen" else text


@pytest.mark.parametrize("family", TOKENIZERS)
def test_prompts_and_answers_come_back(family):
    pieces = pieces_of(family)
    cuts = pieces.encode(SEGMENTS)
    assert [pieces.decode(cut) for cut in cuts] == [back(family, segment) for segment in SEGMENTS]
    # Tokenised alone: what stands beside a segment in the batch changes nothing.
    assert [pieces.encode([segment])[0] for segment in SEGMENTS] == cuts
    assert [pieces.question(segment) for segment in SEGMENTS * 2] == cuts * 2


@pytest.mark.parametrize("family", TOKENIZERS)
@given(text=st.text(max_size=30))
@example(text=" \n <num>2\n<mention 1>")
def test_any_text_comes_back(family, text):
    pieces = pieces_of(family)
    assert pieces.decode(pieces.encode([text])[0]) == back(family, text)


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("special", ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_end|>"])
def test_special_tokens_are_read_as_plain_text(family, special):
    pieces = pieces_of(family)
    for text in (special, f"a{special} b", f"\n{special}"):
        (cut,) = pieces.encode([text])
        assert not set(cut) & set(pieces.tokenizer.all_special_ids)
        assert pieces.decode(cut) == text
        assert pieces.spell([text])[0].pieces == cut


@pytest.mark.parametrize("family", TOKENIZERS)
def test_no_special_pieces_are_added(family):
    pieces = pieces_of(family)
    assert not {*pieces.start, pieces.end} & set(pieces.encode(["Japan"])[0])
    assert pieces.start == ((1,) if family == "llama" else ())
    assert pieces.end == pieces.tokenizer.eos_token_id
    assert len(pieces) == len(pieces.tokenizer)


@pytest.mark.parametrize("family", TOKENIZERS)
def test_lone_surrogates_become_one_character_each(family):
    text = "a\ud83d b\udc00\ud800"
    assert without_surrogates(text) == "a\ufffd b\ufffd\ufffd"
    pieces = pieces_of(family)
    (spelling,) = pieces.spell([text])
    assert pieces.decode(spelling.pieces) == "a\ufffd b\ufffd\ufffd"
    assert spelling.ends[-1] == len(text)


@given(st.text())
def test_a_text_without_surrogates_stays(text):
    assert without_surrogates(text) == text


@pytest.mark.parametrize("family", TOKENIZERS)
@given(text=st.text(alphabet="aé京😀 \n.", min_size=1, max_size=12))
def test_each_end_is_the_character_behind_the_piece(family, text):
    pieces = pieces_of(family)
    (spelling,) = pieces.spell([text])
    assert len(spelling.ends) == len(spelling.pieces)
    known = [end for end in spelling.ends if end > 0]
    assert known == sorted(known) and known[-1] == len(text)
    for place, end in enumerate(spelling.ends, 1):
        if end > 0:
            assert pieces.decode(spelling.pieces[:place]) == text[:end]


def test_a_leading_blank_makes_a_word_the_same_at_the_start_and_inside():
    texts = ["Japan beat Syria in Japan"]
    tokenizer = fresh_tokenizer()
    with_blank, without = (Pieces(tokenizer, leading_blank=flag) for flag in (True, False))
    inside = with_blank.encode(texts)[0]
    for word in texts[0].split():
        (cut,) = with_blank.encode([word])
        assert any(inside[place : place + len(cut)] == cut for place in range(len(inside)))
    assert with_blank.encode(["Japan"])[0] == without.encode([" Japan"])[0] != without.encode(["Japan"])[0]
    # A segment that begins with a newline is not changed.
    assert with_blank.encode(["\n<mention 1>"]) == without.encode(["\n<mention 1>"])


def test_a_fresh_tokenizer_cuts_a_mention_as_it_is_cut_inside_the_text():
    """For every word with a blank before it, and every run of words: that is what makes copying learnable."""
    text = "Play the Tokyo marathon film by Shōhei Imamura near Sao Paulo tomorrow"
    pieces = Pieces(train_tokenizer([text, "find a film near me"], [], 300), leading_blank=True)
    inside = pieces.encode([text])[0]
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            (mention,) = pieces.encode([" ".join(words[start:end])])
            before = pieces.encode([" ".join(words[:start])])[0] if start else ()
            assert inside[len(before) : len(before) + len(mention)] == mention


def test_a_fresh_tokenizer_counts_each_word_once():
    """So a word that comes often is not made one piece at the cost of pieces that words share."""
    once, often = (train_tokenizer(["zzyyxx " * count + "aba abc abd abe"], [], 262) for count in (1, 1000))
    assert once.get_vocab() == often.get_vocab()
    assert len(once) == 262


def test_a_fresh_tokenizer_keeps_the_words_of_questions_whole():
    words = [f"{first}{second}{third}" for first in "abcde" for second in "fghij" for third in "klmno"]
    pieces = Pieces(train_tokenizer([" ".join(words)], ["text:\nentity type:\n"], 300), leading_blank=True)
    inside = pieces.question("text:\nentity type:\n")
    assert {"text", "entity", "type"} <= {pieces.decode([piece]) for piece in inside}
    assert min(len(pieces.question(word)) for word in words) > 1


def test_many_questions_do_not_fill_the_memory():
    pieces = Pieces(gpt2_tokenizer())
    for number in range(5000):
        pieces.question(str(number))
    assert len(pieces._cache) <= 4096
    assert pieces.question("17") == pieces.encode(["17"])[0]


def test_no_segments_no_pieces():
    assert pieces_of("gpt2").encode([]) == []
    assert pieces_of("gpt2").spell([]) == []


def test_a_tokenizer_without_an_end_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(ValueError, match=r"P020.*'my model'"):
        Pieces(bare, name="my model")


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False
        eos_token = "</s>"
        eos_token_id = 2

    with pytest.raises(ValueError, match=r"P020.*Slow"):
        Pieces(Slow())


PARTS = [
    "a",
    "Japan",
    "don't",
    "  ",
    " ",
    "\n",
    "\t",
    "!",
    "?!\n",
    "São",
    "日本",
    "é",
    "e\u0301",
    "12",
    "\u3000",
    "😀",
    ' ("',
    "U.S.",
]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=12), st.data())
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_parts_of_a_text_are_spelled_as_they_are_alone(tokenizer, parts, data):
    pieces, text = pieces_of(tokenizer), "".join(parts)
    assert pieces.cuts_at_blanks
    place = st.integers(0, len(text) - 1)
    chosen = data.draw(st.lists(st.tuples(place, place), min_size=1, max_size=6))
    spans = [(min(pair), max(pair) + 1) for pair in chosen]
    assert pieces.spell_within(text, spans) == pieces.spell([text[start:stop] for start, stop in spans])


def test_a_tokenizer_with_pieces_across_blanks_spells_each_part_alone():
    tokenizer = Tokenizer(models.BPE({"</s>": 0, "a": 1, " ": 2, "b": 3, "a ": 4, "a b": 5}, [("a", " "), ("a ", "b")]))
    pieces = Pieces(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))
    assert not pieces.cuts_at_blanks
    assert [spelling.pieces for spelling in pieces.spell_within("a b a", [(0, 3), (2, 5), (0, 1)])] == [
        (5,),
        (3, 2, 1),
        (1,),
    ]
