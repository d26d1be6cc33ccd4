"""The copy constraint of answers with a form, against brute force: every answer that can be written about a text, cut
as training cuts it, and nothing else."""

import itertools
import random
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.engine.form import FormConstraint, FormState
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug, nest
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Answer, Answered, Branch, Finish, Mention, Scheme
from tests.checkpoints import TOKENIZERS, pieces_of

PROMPT = build_english_prompt_v1()
LABELS = {"A": "per", "B": "b|(x]"}
TEXTS = {
    "blanks": "  Mr.  Ann \n",
    "quotes": '"Ann" said',
    "brackets": "[a]|",
    "parentheses": "(a)",
    "backslashes": "a\\b \\",
    "null": "NULL x",
    "chinese": "上海市",
    "apostrophe": "isn't",
    "normalised": "cafe\u0301 no",
    "emoji": "😀👍 a",
    "repeats": "a a",
}

Span = tuple[int, int]


def borders_of(text: str) -> list[Span]:
    return [match.span() for match in re.finditer(r"[a-zA-Z]+|[^\sa-zA-Z]", text)]


def spans_of(borders: list[Span]) -> list[Span]:
    return [(start, end) for place, (start, _) in enumerate(borders) for _, end in borders[place:]]


def golds(scheme: Scheme, text: str, borders: list[Span]) -> Iterator[list[Mention]]:
    """Everything that can be found in a text: up to two mentions for each label, or any nesting of two."""
    spans = spans_of(borders)
    if isinstance(scheme, AutoRegAug):
        mentions = [Mention(label, text[start:end], start=start) for start, end in spans for label in LABELS]
        for size in range(3):
            for gold in itertools.product(mentions, repeat=size):
                if not nest(gold, 2)[1]:
                    yield list(gold)
        return
    strings = [text[start:end] for start, end in spans]
    lists = [list(found) for size in range(3) for found in itertools.product(set(strings), repeat=size)]
    for first, second in itertools.product(lists, [[], *([string] for string in strings)]):
        yield [*(Mention("A", string) for string in first), *(Mention("B", string) for string in second)]


def accepted(constraint: FormConstraint, most: int) -> dict[tuple[int, ...], str]:
    """Every answer of at most so many pieces that the constraint lets through. Fails at a dead end."""
    found: dict[tuple[int, ...], str] = {}
    waiting: list[tuple[tuple[int, ...], FormState]] = [((), constraint.start)]
    while waiting:
        answer, state = waiting.pop()
        following, may_end = constraint.allowed(state)
        assert following or may_end, f"dead end behind {answer}"
        assert len(set(following)) == len(following)
        if may_end:
            found[answer] = constraint.string(state)
        if len(answer) < most:
            waiting += [((*answer, piece), constraint.advance(state, piece)) for piece in following]
    return found


def read_back(scheme: Scheme, branch: Branch, constraint: FormConstraint, cut: tuple[int, ...]) -> str:
    """Walk an answer through the constraint: each piece must be allowed, and the end behind the last."""
    state = constraint.start
    for piece in cut:
        assert piece in constraint.allowed(state)[0]
        state = constraint.advance(state, piece)
    assert constraint.allowed(state)[1]
    return constraint.string(state)


def answered(branch: Branch, text: str) -> Answered:
    return Answered(branch, Answer(text, 1.0, Finish.END, 1))


def one_of(text: str) -> list[list[Mention]]:
    """No mention, and each mention alone, of the label "A"."""
    return [[], *([Mention("A", text[start:end], start=start)] for start, end in spans_of(borders_of(text)))]


SCHEMES = [OneStep(PROMPT), AutoRegStruct(PROMPT), AutoRegAug(PROMPT, max_nesting=2)]
each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)


@each_scheme
@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_answer_about_a_text_can_be_given(scheme, family, name):
    """Spelled as training spells it, and given back in the text's own characters."""
    text, pieces = TEXTS[name], pieces_of(family)
    borders = borders_of(text)
    same = lambda string: unicodedata.normalize("NFC", string) if family == "qwen" else string  # noqa: E731
    for branch in scheme.ask(LABELS, text):
        constraint = FormConstraint(branch.form, text, borders, pieces)
        answers = {scheme.answer(branch, gold) for gold in golds(scheme, text, borders)}
        assert len(answers) > 2
        for answer in answers:
            cut = pieces.answer(branch.form.cut(answer))
            assert same(read_back(scheme, branch, constraint, cut)) == same(answer)


@each_scheme
@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("text", ["a", "北京", '"', "NULL", "[", "\\n", "a b"])
def test_nothing_else_can_be_given(scheme, family, text):
    """Every answer up to a number of pieces is one that the scheme reads without loss, of strings of the text."""
    pieces = pieces_of(family)
    borders = borders_of(text)
    strings = {text[start:end] for start, end in spans_of(borders)}
    branch = scheme.ask({"A": "x"}, text)[0]
    constraint = FormConstraint(branch.form, text, borders, pieces)
    longest = max(len(pieces.answer(branch.form.cut(scheme.answer(branch, gold)))) for gold in one_of(text))
    found = accepted(constraint, longest)
    assert found
    for cut, string in found.items():
        assert pieces.answer(branch.form.cut(string)) == cut
        reading = scheme.read([answered(branch, string)])
        assert reading.unreadable == ()
        assert {mention.string for mention in reading.mentions} <= strings
        assert scheme.answer(branch, reading.mentions) == string
    expected = {scheme.answer(branch, gold) for gold in one_of(text)}
    assert expected <= set(found.values())


@each_scheme
@pytest.mark.parametrize("family", TOKENIZERS)
@given(text=st.text(alphabet="ab1京é\u0301😀'.-([|\"\\]\n İ", min_size=1, max_size=14), data=st.data())
def test_whatever_is_chosen_the_answer_stands_in_the_text(scheme, family, text, data):
    """Any text with any tokens, and any way through the constraint."""
    marks = sorted(data.draw(st.sets(st.integers(1, len(text)))) | {0, len(text)})
    borders = [(start, end) for start, end in itertools.pairwise(marks) if not text[start:end].isspace()]
    gaps = [text[end:start] for (_, end), (start, _) in itertools.pairwise([(0, 0), *borders, (len(text), 0)])]
    if not borders or any(gap.strip() for gap in gaps):
        return
    pieces = pieces_of(family)
    branch = scheme.ask(LABELS, text)[0]
    constraint = FormConstraint(branch.form, text, borders, pieces)
    state, answer, draw = constraint.start, [], random.Random(data.draw(st.integers(0, 1000)))
    for _ in range(200):
        following, may_end = constraint.allowed(state)
        assert following or may_end
        if may_end and (not following or draw.random() < 0.5):
            break
        answer.append(draw.choice(following))
        state = constraint.advance(state, answer[-1])
    complete = constraint.allowed(state)[1]
    reading = scheme.read([answered(branch, constraint.string(state))])
    assert complete == (reading.unreadable == ())
    strings = {text[start:end].strip() for start, end in spans_of(borders)}
    assert {mention.string for mention in reading.mentions} <= strings
    if complete and isinstance(scheme, AutoRegAug):
        assert all(text.startswith(mention.string, mention.start) for mention in reading.mentions)


def test_a_text_without_tokens_has_nothing_to_give():
    for scheme in SCHEMES:
        (branch,) = scheme.ask({"A": "a"}, " ")
        constraint = FormConstraint(branch.form, " ", [], pieces_of("gpt2"))
        assert constraint.allowed(constraint.start) == ([], True)
        assert constraint.string(constraint.start) == ""


def test_an_answer_that_is_cut_off_keeps_what_is_complete():
    pieces = pieces_of("gpt2")
    (branch,) = SCHEMES[0].ask({"A": "a"}, "Japan Syria")
    constraint = FormConstraint(branch.form, "Japan Syria", [(0, 5), (6, 11)], pieces)
    state, (first, second) = constraint.start, pieces.literal('"]')
    for piece in pieces.answer(branch.form.cut('["Japan", "Syria')):
        state = constraint.advance(state, piece)
    assert constraint.string(state) == '["Japan", "Syria'
    state = constraint.advance(state, first)
    assert constraint.string(state) == '["Japan", "Syria'
    assert constraint.string(constraint.advance(state, second)) == '["Japan", "Syria"]'


def test_repeats_do_not_multiply_the_ways_to_read_an_answer():
    """Equal strings are one way to go on, however often they stand in the text."""
    pieces: Pieces = pieces_of("gpt2")
    text = " ".join(["a"] * 20)
    (branch,) = SCHEMES[0].ask({"A": "a"}, text)
    constraint = FormConstraint(branch.form, text, borders_of(text), pieces)
    state = constraint.start
    for piece in pieces.answer(branch.form.cut('["a", "a", "a", "a')):
        state = constraint.advance(state, piece)
    assert (len(state.joints), len(state.traces)) == (1, 19)
