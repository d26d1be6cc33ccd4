"""Who answers: the model, or gold answers that are paid for with the model's steps."""

import math
import re
from dataclasses import replace

import pytest
import torch

from spacy_padellm.backends.local import Text, answer_texts
from spacy_padellm.backends.replay import replay_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Finish, Mention
from tests.checkpoints import GOLD, LABELS, TOKENIZERS, build_lm, build_model, gold_mentions, pieces_of, trained_lm

SCHEME = PaDeLLM(build_english_prompt_v1())
TEXTS = [Text(text, [match.span() for match in re.finditer(r"[A-Za-z]+|\S", text)]) for text, _ in GOLD]


def strings(mentions) -> list[tuple[str, int, str]]:
    return sorted((mention.label, mention.ordinal, mention.string) for mention in mentions)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
@pytest.mark.parametrize("max_row", [11, 4096])
def test_replay_gives_gold_back(tokenizer, constrain, max_row):
    lm = build_lm("llama", pieces_of(tokenizer))
    counters = Counters()
    decoding = Decoding(constrain=constrain, max_row=max_row)
    answered = replay_texts(lm, SCHEME, LABELS, TEXTS, gold_mentions(), decoding=decoding, counters=counters)
    for answers, gold in zip(answered, gold_mentions(), strict=True):
        reading = SCHEME.read(answers)
        assert strings(reading.mentions) == strings(gold)
        assert reading.counts == {label: sum(mention.label == label for mention in gold) for label in LABELS}
        assert (reading.unreadable, reading.over_limit) == ((), ())
    assert counters.documents == len(TEXTS)
    assert counters.answers == sum(len(LABELS) + len(gold) for gold in gold_mentions())


def test_replay_in_chinese_with_many_mentions():
    text = "上海北京" * 6
    gold = [Mention("LOC", text[place : place + 2], place // 2 + 1) for place in range(0, 24, 2)]
    scheme = PaDeLLM(build_chinese_prompt_v1())
    borders = [(place, place + 1) for place in range(24)]
    lm = build_lm("llama", pieces_of("qwen"))
    (answered,) = replay_texts(
        lm, scheme, {"LOC": "地名"}, [Text(text, borders)], [gold], decoding=Decoding(), counters=Counters()
    )
    assert strings(scheme.read(answered).mentions) == strings(gold)
    assert scheme.read(answered).counts == {"LOC": 12}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
def test_replay_with_the_compact_prompt(tokenizer, constrain):
    """Counts of one digit and of two, mentions that begin with digits or look like parts of the prompt, label words
    that are the start of others, or the same."""
    text = "2 dogs, 12 cats: #1:3 in 1995 " + "Ada " * 11
    words = [match.group() for match in re.finditer(r"[A-Za-z0-9]+|\S", text)]
    numbers = ["2", "12", "#1:3", "1995"]
    gold = [Mention("NUM", string, ordinal) for ordinal, string in enumerate(numbers, 1)]
    gold += [Mention("PER", "Ada", ordinal) for ordinal in range(1, words.count("Ada") + 1)]
    labels = {"NUM": "number", "PER": "number 1", "OTHER": "number 1", "NONE": "1"}
    borders = [match.span() for match in re.finditer(r"[A-Za-z0-9]+|\S", text)]
    scheme, lm = PaDeLLM(COMPACT), build_lm("llama", pieces_of(tokenizer))
    decoding = Decoding(constrain=constrain)
    (answered,) = replay_texts(
        lm, scheme, labels, [Text(text, borders)], [gold], decoding=decoding, counters=Counters()
    )
    reading = scheme.read(answered)
    assert strings(reading.mentions) == strings(gold)
    assert reading.counts == {"NUM": 4, "PER": 11, "OTHER": 0, "NONE": 0}
    assert reading.unreadable == ()


def test_a_gold_mention_off_the_token_borders_is_replayed_too():
    lm = build_lm("llama", pieces_of("gpt2"))
    gold = [Mention("LOC", "apa", 1)]
    (answered,) = replay_texts(
        lm, SCHEME, {"LOC": "place"}, TEXTS[:1], [gold], decoding=Decoding(), counters=Counters()
    )
    assert SCHEME.read(answered).mentions[0].string == "apa"


@torch.inference_mode()
def test_replayed_probabilities_are_the_models_own():
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    own = build_model("llama", vocab_size=len(lm.pieces), attention="eager", initializer_range=0.1)
    (answered,) = replay_texts(
        lm, SCHEME, LABELS, TEXTS[:1], gold_mentions()[:1], decoding=Decoding(), counters=Counters()
    )
    trunk = [piece for cut in lm.pieces.encode(SCHEME.trunk(TEXTS[0].string)) for piece in cut]
    for branch, answer in answered:
        before = [] if branch.parent is None else [branch.parent.question, str(len(gold_mentions()[0]))]
        ids = [*trunk, *(piece for cut in lm.pieces.encode([*before, branch.question]) for piece in cut)]
        expected = 0.0
        for piece in lm.pieces.encode([answer.text])[0]:
            logits = own(input_ids=torch.tensor([ids])).logits[0, -1]
            expected += torch.log_softmax(logits, dim=-1)[piece].item()
            ids.append(piece)
        assert answer.probability == pytest.approx(math.exp(expected), rel=1e-3)


@pytest.mark.parametrize("tokenizer", ["fresh", "llama"])
def test_a_trained_model_finds_gold(tokenizer):
    counters = Counters()
    answered = answer_texts(trained_lm(tokenizer), SCHEME, LABELS, TEXTS, decoding=Decoding(), counters=counters)
    for answers, gold in zip(answered, gold_mentions(), strict=True):
        reading = SCHEME.read(answers)
        assert strings(reading.mentions) == strings(gold)
        assert all(0.5 < mention.score <= 1 and 0.5 < mention.count_score <= 1 for mention in reading.mentions)
    replayed = Counters()
    replay_texts(trained_lm(tokenizer), SCHEME, LABELS, TEXTS, gold_mentions(), decoding=Decoding(), counters=replayed)
    assert counters == replayed


def test_a_text_may_hold_the_prompts_markers():
    """They are read as plain text, and may be mentions."""
    text = "<num>2\n<mention 1>Japan</s> text:\n"
    gold = [Mention("LOC", "<num>2", 1), Mention("LOC", "</s>", 2)]
    for tokenizer in TOKENIZERS:
        lm = build_lm("llama", pieces_of(tokenizer))
        (answered,) = replay_texts(
            lm, SCHEME, {"LOC": "place"}, [Text(text, [])], [gold], decoding=Decoding(), counters=Counters()
        )
        assert strings(SCHEME.read(answered).mentions) == strings(gold)


def test_no_labels_no_answers():
    lm = build_lm("llama", pieces_of("gpt2"))
    assert answer_texts(lm, SCHEME, {}, TEXTS[:2], decoding=Decoding(), counters=Counters()) == [[], []]


PROMPT = build_english_prompt_v1()
COMPACT = build_compact_prompt_v1()
WITH_FORMS = [scheme(prompt) for prompt in (PROMPT, COMPACT) for scheme in (OneStep, AutoRegStruct, AutoRegAug)]


def named(scheme) -> str:
    return type(scheme).__name__ + (" compact" if scheme.prompt is COMPACT else "")


def located(text: str, mentions: list[Mention]) -> list[Mention]:
    """Mentions with their places: the first behind the one before."""
    found, place = [], 0
    for mention in mentions:
        start = text.index(mention.string, place)
        place = start + len(mention.string)
        found.append(replace(mention, start=start))
    return found


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("scheme", WITH_FORMS, ids=named)
@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
def test_replay_gives_gold_back_in_every_scheme(tokenizer, scheme, constrain):
    """One answer for each question, as long as the gold answer is: longer than the limit of free answers."""
    lm = build_lm("llama", pieces_of(tokenizer))
    gold = [located(text.string, mentions) for text, mentions in zip(TEXTS, gold_mentions(), strict=True)]
    counters = Counters()
    decoding = Decoding(constrain=constrain, max_answer=2)
    answered = replay_texts(lm, scheme, LABELS, TEXTS, gold, decoding=decoding, counters=counters)
    pieces = 0
    for answers, mentions in zip(answered, gold, strict=True):
        reading = scheme.read(answers)
        assert strings(reading.mentions) == strings(mentions)
        assert (reading.unreadable, reading.over_limit) == ((), ())
        for branch, answer in answers:
            assert (answer.text, answer.finish) == (scheme.answer(branch, mentions), Finish.END)
            pieces += len(lm.pieces.answer(branch.form.cut(answer.text)))
    assert counters.answer_pieces == pieces


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("scheme", WITH_FORMS[:3], ids=named)
def test_a_random_model_answers_with_strings_of_the_text(tokenizer, scheme):
    """Held to the text, in any batch; what reaches the limit keeps what is complete of it."""
    lm = build_lm("llama", pieces_of(tokenizer), seed=3, initializer_range=0.1)
    texts = [*TEXTS, Text('"a" (b) [c | d] \\', [(0, 1), (1, 2), (2, 3), (4, 7), (8, 10), (10, 15), (16, 17)])]
    together = answer_texts(lm, scheme, LABELS, texts, decoding=Decoding(), counters=Counters())
    assert any(scheme.read(answers).mentions for answers in together)
    for text, answers in zip(texts, together, strict=True):
        (alone,) = answer_texts(lm, scheme, LABELS, [text], decoding=Decoding(), counters=Counters())
        assert [answer.text for _, answer in alone] == [answer.text for _, answer in answers]
        reading = scheme.read(answers)
        ends = {end for _, end in text.borders}
        inside = {text.string[start:end] for start, _ in text.borders for end in ends if end > start}
        assert {mention.string for mention in reading.mentions} <= inside
        assert all(answer.finish is Finish.END for _, answer in answers) == (reading.unreadable == ())
