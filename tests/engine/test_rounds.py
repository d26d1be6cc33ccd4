"""Labels asked about in groups, over one reading of the text: the same answers, and no more keys and values than one
group needs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from spacy_padellm.engine.decoder import Counters, Decoding, decode, decode_stream
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.graphs import CapturedSteps
from spacy_padellm.engine.group import Member
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.memory import bytes_per_place
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Answered, Mention, Scheme
from tests.checkpoints import GOLD, LABELS, build_lm, gold_mentions, pieces_of, trained_lm
from tests.engine.recording import record
from tests.engine.test_decoder import TEXTS, assert_same, borders_of, request_for
from tests.engine.test_stream import steps

__all__ = ["steps"]

PROMPT = build_english_prompt_v1()
ALL = Drafting(copies=50, counts=True)
PLAIN = Drafting(questions=False, copies=0, counts=False)
KINDS = {
    "none": PLAIN,
    "questions": replace(PLAIN, questions=True),
    "copies": replace(PLAIN, copies=50),
    "counts": replace(PLAIN, counts=True),
    "all": ALL,
}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return build_lm("llama", pieces_of("gpt2"), seed=3, initializer_range=0.1)


def asked(
    scheme: Scheme, labels: dict[str, str], text: str, gold: list[Mention] | None = None, *, limit: int | None = None
) -> Request:
    script = None if gold is None else lambda branch: scheme.answer(branch, gold)
    branches = [branch if limit is None else replace(branch, limit=limit) for branch in scheme.ask(labels, text)]
    return Request(text, scheme.trunk(text), branches, scheme.follow, borders_of(text), script)


def many(number: int) -> dict[str, str]:
    """So many labels; some begin alike, some have the same words."""
    return {f"L{place}": f"kind {place // 2}" for place in range(number)}


def run(lm: LanguageModel, requests: list[Request], **options: Any) -> tuple[list[list[Answered]], Counters]:
    counters = Counters()
    return decode(lm, requests, Decoding(**{"max_answer": 6, **options}), counters), counters


def same(got: list[list[Answered]], expected: list[list[Answered]]) -> bool:
    for answers, wanted in zip(got, expected, strict=True):
        assert_same(answers, wanted)
    return True


SCHEMES: dict[str, Scheme] = {
    "padellm": PaDeLLM(PROMPT),
    "second look": PaDeLLM(PROMPT, second_look=1, look_floor=0.0),
    "choices": PaDeLLM(PROMPT, mention_choices=2, choice_floor=0.0),
    "compact": PaDeLLM(build_compact_prompt_v1()),
    "one step": OneStep(PROMPT),
    "structured": AutoRegStruct(PROMPT),
    "augmented": AutoRegAug(PROMPT),
}


@pytest.mark.parametrize("drafting", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_answers_are_those_to_all_labels_at_once(lm, scheme, drafting):
    """A random model answers anything: documents that step together end their groups at different times."""
    requests = [asked(scheme, LABELS, text, limit=9) for text in TEXTS[1:3]]
    if isinstance(scheme, PaDeLLM):
        # Mentions are asked for whatever is answered; two labels have the same words.
        requests += [request_for(text, closer=closer) for text, closer in zip(TEXTS[1:3], ("", "\n"), strict=True)]
    expected, together = run(lm, requests, drafting=drafting)
    got, counters = run(lm, requests, drafting=drafting, labels_at_once=1)
    assert same(got, expected)
    assert (counters.answers, counters.answer_pieces) == (together.answers, together.answer_pieces)
    if len(scheme.ask(LABELS)) == 1:
        assert counters == together
    else:
        assert counters.steps > together.steps
    assert same(run(lm, requests, drafting=drafting, labels_at_once=2, max_row=29)[0], expected)


@pytest.mark.parametrize("at_once", [1, 2, 5, 7])
def test_a_model_that_knows_is_asked_in_groups(at_once):
    """Gold answers on what the model was trained on, the last group smaller than the others."""
    lm = trained_lm("llama")
    words = {**LABELS, **many(4)}
    requests = [asked(SCHEMES["padellm"], words, text) for text, _ in GOLD]
    expected, together = run(lm, requests)
    got, counters = run(lm, requests, labels_at_once=at_once)
    assert same(got, expected)
    assert any(branch.ordinal for branch, _ in got[0])
    assert (counters.steps > together.steps) == (at_once < 7) == (counters != together)


def test_the_text_is_read_once():
    """Without drafts a piece is fed once, whatever the groups; one label begins as another one does, which is shared
    within a group only."""
    lm = build_lm("llama", pieces_of("gpt2"))
    words = {"A": "apple", "B": "banana", "C": "cherry"}
    request = asked(SCHEMES["compact"], words, TEXTS[0], [])
    counters = {at_once: run(lm, [request], drafting=PLAIN, labels_at_once=at_once)[1] for at_once in (None, 1)}
    assert counters[None].pieces == counters[1].pieces
    assert counters[1].steps == 3 * counters[None].steps


def test_drafts_of_all_groups_are_counted():
    """What is computed beside refuted drafts is what is computed without drafts."""
    lm = build_lm("llama", pieces_of("llama"), seed=3)
    for (text, _), gold in zip(GOLD, gold_mentions(), strict=True):
        request = asked(SCHEMES["padellm"], LABELS, text, gold)
        plain = run(lm, [request], drafting=PLAIN, labels_at_once=1)[1]
        counters = run(lm, [request], drafting=ALL, labels_at_once=1)[1]
        assert counters.pieces - (counters.drafts - counters.drafts_accepted) == plain.pieces
        assert 0 < counters.drafts_accepted < counters.drafts
        assert counters.steps < plain.steps


def test_a_question_of_a_later_group_that_does_not_fit_is_refused_at_once_p023(steps):
    lm = build_lm("llama", pieces_of("gpt2"), max_position_embeddings=24)
    words = {"A": "a", "B": "b " * 24}
    with pytest.raises(ValueError, match=r"P023.*the model has 24"):
        run(lm, [asked(SCHEMES["compact"], words, "no")], labels_at_once=1)
    assert not steps.fed


# Memory


def test_a_thousand_labels_take_the_memory_of_fifty():
    """Keys and values, and the table of who sees whom, are bounded by the group; pieces and answers are the same."""
    lm = build_lm("llama", pieces_of("gpt2"), max_position_embeddings=4096)
    gold = [Mention(label, "Japan") for label in ("L7", "L930")]
    scheme = SCHEMES["compact"]
    fifty = run(lm, [asked(scheme, many(50), TEXTS[0], gold)])[1]
    request = asked(scheme, many(1000), TEXTS[0], gold)
    expected, together = run(lm, [request])
    got, counters = run(lm, [request], labels_at_once=50)
    assert same(got, expected)
    assert counters.answers == together.answers == 1002
    # Labels up to "kind 499" are a little longer than those up to "kind 24".
    assert counters.peak_kv_pieces <= 1.5 * fifty.peak_kv_pieces < together.peak_kv_pieces / 5
    assert counters.steps >= 20 > together.steps


def test_the_tree_and_its_tables_stay_small(lm, steps):
    request = asked(SCHEMES["compact"], many(400), TEXTS[2], [])
    run(lm, [request], labels_at_once=20)
    (growth,) = {id(growth): growth for fed in steps.fed for growth in fed}.values()
    assert growth.done and len(growth.answered()) == 400
    assert growth.largest < 200
    assert len(growth.tree.visibility._seen) <= 256


def test_documents_in_flight_are_bounded_by_their_largest_group(lm, steps):
    """A tree is expected to become what others have been at their largest, which need not be at their end."""
    text = TEXTS[0]
    gold = [Mention("L0", "Japan"), Mention("L0", "Syria", 2), Mention("L1", "Asian Cup")]
    request = asked(SCHEMES["padellm"], many(8), text, gold)
    alone = run(lm, [request], labels_at_once=2)[1].peak_kv_pieces
    places = 3 * alone
    counters = Counters()
    decoding = Decoding(labels_at_once=2, kv_bytes=places * bytes_per_place(lm))
    outcomes = dict(decode_stream(lm, [request] * 9, decoding, counters, in_flight=9))
    (expected,) = run(lm, [request], labels_at_once=2)[0]
    assert same([outcomes[number] for number in range(9)], [expected] * 9)
    assert counters.peak_kv_pieces <= places
    assert 1 < max(map(len, steps.fed)) < 9
    member = Member(0, request, steps.fed[0][0])
    assert member.growth.largest > len(member.growth.tree) == member.size
    assert member.growth_rate == member.growth.largest / member.size


def test_a_document_that_starts_over_begins_at_its_first_group(lm, steps):
    requests = [asked(SCHEMES["padellm"], many(6), text) for text in TEXTS * 2]
    expected = [run(lm, [request])[0][0] for request in requests]
    calls = itertools.count()
    # In the middle of the second group or behind it.
    steps.fails = lambda growths: len(growths) > 1 and next(calls) in (6, 9)
    with pytest.warns(UserWarning, match="W005"):
        got = dict(decode_stream(lm, requests, Decoding(max_answer=6, labels_at_once=2), Counters(), in_flight=8))
    assert next(calls) > 9
    assert same([got[number] for number in range(8)], expected)


def test_a_failure_in_a_later_group_is_of_one_document(lm, steps):
    requests = [asked(SCHEMES["padellm"], many(6), text) for text in TEXTS]
    expected = [run(lm, [request])[0][0] for request in requests]
    steps.error = ValueError("no luck")
    steps.fails = lambda growths: any(growth._request is requests[2] and len(growth._unasked) < 3 for growth in growths)
    got = dict(decode_stream(lm, requests, Decoding(max_answer=6, labels_at_once=2), Counters(), in_flight=4))
    assert got.pop(2) is steps.error
    for number, answers in got.items():
        assert_same(answers, expected[number])


@pytest.mark.parametrize("in_flight", [1, 3])
def test_captured_steps_use_the_same_places_again(in_flight):
    """The room of a store keeps its size; what an earlier group left there is seen by nobody."""
    lm = trained_lm("gpt2")
    words = {**LABELS, **many(40)}
    requests = [asked(SCHEMES["padellm"], words, text) for text, _ in GOLD]
    expected = run(lm, requests)[0]
    room = {}
    for at_once in (None, 5):
        captured = replace(lm, steps=CapturedSteps(lambda _: record, sightings=1))
        counters = Counters()
        decoding = Decoding(max_answer=6, labels_at_once=at_once)
        got = dict(decode_stream(captured, requests, decoding, counters, in_flight=in_flight))
        assert same([got[number] for number in range(len(requests))], expected)
        assert captured.steps.replays >= captured.steps.captures > 0
        room[at_once] = counters.peak_kv_pieces
    # Group after group has steps of the same shapes, in the same room.
    assert captured.steps.replays > captured.steps.captures
    assert room[5] < room[None]
