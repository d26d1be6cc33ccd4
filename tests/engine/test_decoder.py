"""Greedy decoding of a forest against the slow form: every question alone, the whole sequence anew for each piece."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from spacy_padellm.engine.constraint import CopyConstraint
from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.form import FormConstraint
from spacy_padellm.engine.growth import Growth, Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Answer, Answered, Branch, Finish
from tests.checkpoints import GOLD, LABELS, TOKENIZERS, build_lm, build_model, gold_mentions, pieces_of, trained_lm

PROMPT = build_english_prompt_v1()
SCHEME = PaDeLLM(PROMPT)
TEXTS = (
    "Japan began the defence of their Asian Cup title with a lucky 2-1 win against Syria.",
    "Mr. Cuttitta isn't in Brasília!",
    "no",
    "But China saw their luck desert them in the 1995 World Cup in the city of São Paulo",
)


def borders_of(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in re.finditer(r"[A-Za-z]+|\S", text))


def open_two(branch: Branch, answer: str) -> list[Branch]:
    """Whatever the answer, two mentions are asked for: a random model does not count."""
    if branch.ordinal:
        return []
    return [Branch(PROMPT.ask_mention(k), branch.label, k, parent=branch, copies=True) for k in (1, 2)]


def request_for(text: str, *, closer: str = "", follow: Callable[[Branch, str], list[Branch]] = open_two) -> Request:
    # "per" and "person" begin alike; "club" and "team" have the same words; one question is the start of another.
    words = {"A": "per", "B": "person", "club": "a club", "team": "a club"}
    branches = [Branch(PROMPT.ask_label(words[label]), label, closer=closer) for label in words]
    branches.append(Branch("entity type:\n", "short", closer=closer))
    return Request(text, PROMPT.trunk(text), branches, follow, borders_of(text))


def run(lm: LanguageModel, requests: list[Request], **options) -> tuple[list[list[Answered]], Counters]:
    counters = Counters()
    return decode(lm, requests, Decoding(**options), counters), counters


@torch.inference_mode()
def slow_decode(own: LanguageModel, request: Request, *, constrain: bool, max_answer: int) -> list[Answered]:
    """The specification. `own` has its own attention; nothing is cached, shared or packed."""
    pieces, answered = own.pieces, []
    trunk = [*pieces.start, *(piece for segment in request.trunk for piece in pieces.encode([segment])[0])]
    text, borders = request.text, request.borders
    strings = [text[start:end] for place, (start, _) in enumerate(borders) for _, end in borders[place:]]
    spellings = dict(zip(pieces.encode(strings), strings, strict=True))

    def choose(scores: torch.Tensor, answer: tuple[int, ...], held: bool) -> int:
        if not held:
            return int(scores.argmax())
        size = len(answer)
        allowed = {cut[size] for cut in spellings if len(cut) > size and cut[:size] == answer}
        return max(allowed | ({pieces.end} if answer in spellings else set()), key=lambda piece: scores[piece].item())

    def ask(branch: Branch, before: list[int]) -> None:
        asked = [*before, *pieces.encode([branch.question])[0]]
        held = constrain and branch.copies
        closer = pieces.encode([branch.closer])[0][0] if branch.closer else None
        answer, log_probability, finish = (), 0.0, None
        while finish is None:
            logits = own.model(input_ids=torch.tensor([[*asked, *answer]]), use_cache=False).logits[0, -1]
            scores = torch.log_softmax(logits, dim=-1)
            piece = choose(scores, answer, held)
            if piece == pieces.end:
                finish = Finish.END
            elif piece == closer and answer:
                finish = Finish.FOLLOWED
            else:
                answer, log_probability = (*answer, piece), log_probability + scores[piece].item()
                if len(answer) == (branch.limit or max_answer) and not held:
                    finish = Finish.LIMIT
        string = spellings[answer] if held else pieces.decode(answer)
        answered.append(Answered(branch, Answer(string, math.exp(log_probability), finish, len(answer))))
        for follow in request.follow(branch, string):
            ask(follow, [*asked, *answer])

    for branch in request.branches:
        ask(branch, trunk)
    return answered


def assert_same(got: list[Answered], expected: list[Answered]) -> None:
    """Equal, in the same order; probabilities to the last few digits of float32."""
    plain = [[(branch, answer._replace(probability=1.0)) for branch, answer in answers] for answers in (got, expected)]
    assert plain[0] == plain[1]
    assert [answer.probability for _, answer in got] == pytest.approx(
        [answer.probability for _, answer in expected], rel=1e-3, abs=1e-9
    )


@pytest.fixture(params=[("llama", "gpt2"), ("mistral-window", "qwen"), ("qwen3", "llama")], ids="-".join)
def pair(request) -> tuple[LanguageModel, LanguageModel]:
    """A random model with the forest's attention, and with its own."""
    family, tokenizer = request.param
    return tuple(
        build_lm(family, pieces_of(tokenizer), seed=3, attention=attention, initializer_range=0.1)
        for attention in ("spacy_padellm_forest", "eager")
    )


@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
def test_decoding_equals_the_slow_form(pair, constrain):
    lm, own = pair
    requests = [request_for(text) for text in TEXTS[1:3]]
    got, _ = run(lm, requests, constrain=constrain, max_answer=3)
    for answers, request in zip(got, requests, strict=True):
        assert_same(answers, slow_decode(own, request, constrain=constrain, max_answer=3))
        assert len(answers) == 5 * 3
    mentions = [
        (answer.text in request.text, answer.finish is Finish.END)
        for answers, request in zip(got, requests, strict=True)
        for branch, answer in answers
        if branch.copies
    ]
    assert all(inside and ended for inside, ended in mentions) == constrain


@torch.inference_mode()
@pytest.mark.parametrize(
    "scheme", [OneStep(PROMPT), AutoRegStruct(PROMPT), AutoRegAug(PROMPT)], ids=lambda s: type(s).__name__
)
def test_held_answers_with_a_form_equal_the_slow_form(pair, scheme):
    """Each piece is the likeliest of those that the form and the text allow, in the model's own attention."""
    lm, own = pair
    text, borders, limit = TEXTS[1], borders_of(TEXTS[1]), 12
    branches = [replace(branch, limit=limit) for branch in scheme.ask({"A": "per", "B": "a club"}, text)]
    request = Request(text, scheme.trunk(text), branches, scheme.follow, borders)
    (got,) = run(lm, [request])[0]
    trunk = [*lm.pieces.start, *(piece for cut in lm.pieces.encode(scheme.trunk(text)) for piece in cut)]
    for branch, answer in got:
        constraint = FormConstraint(branch.form, text, borders, lm.pieces)
        ids, state, log_probability, size = [*trunk, *lm.pieces.question(branch.question)], constraint.start, 0.0, 0
        while size < limit:
            following, may_end = constraint.allowed(state)
            scores = torch.log_softmax(own.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1], dim=-1)
            best = max([*following, *[lm.pieces.end] * may_end], key=lambda piece: scores[piece].item())
            if best == lm.pieces.end:
                break
            ids, state, size = [*ids, best], constraint.advance(state, best), size + 1
            log_probability += scores[best].item()
        finish = Finish.LIMIT if size == limit else Finish.END
        assert (answer.text, answer.n_pieces, answer.finish) == (constraint.string(state), size, finish)
        assert answer.probability == pytest.approx(math.exp(log_probability), rel=1e-3, abs=1e-9)


def test_one_document_equals_many_in_any_order_and_any_row(pair):
    lm, _ = pair
    requests = [request_for(text) for text in TEXTS]
    alone = [run(lm, [request], max_answer=4)[0][0] for request in requests]
    together, counters = run(lm, requests, max_answer=4)
    assert max(len(row) for row in alone) == 15
    for got, expected in zip(together, alone, strict=True):
        assert_same(got, expected)
    backwards, counters_backwards = run(lm, requests[::-1], max_answer=4)
    for got, expected in zip(backwards, alone[::-1], strict=True):
        assert_same(got, expected)
    assert counters == counters_backwards
    for max_row in (7, 20):
        in_parts, counters_in_parts = run(lm, requests, max_answer=4, max_row=max_row)
        for got, expected in zip(in_parts, alone, strict=True):
            assert_same(got, expected)
        assert counters_in_parts.steps >= counters.pieces / max_row > counters.steps
        assert counters_in_parts.answers == counters.answers
        assert counters_in_parts.answer_pieces == counters.answer_pieces


def test_one_piece_a_step():
    lm = build_lm("llama", pieces_of("gpt2"), seed=3)
    requests = [request_for("a b"), request_for("c")]
    got, counters = run(lm, requests, max_answer=2, max_row=1)
    for answers, request in zip(got, requests, strict=True):
        assert_same(answers, run(lm, [request], max_answer=2)[0][0])
    assert counters.steps == counters.pieces == counters.document_steps


def test_slots_of_finished_documents_are_given_back():
    """One long document among many short ones does not hold the K/V of all to the end."""
    lm = build_lm("llama", pieces_of("gpt2"), seed=3)
    short = replace(request_for("no"), branches=[Branch("?", "A")], follow=lambda branch, answer: [])
    long = request_for(TEXTS[0])
    got, counters = run(lm, [short, short, long, short], max_answer=2)
    assert_same(got[2], run(lm, [long], max_answer=2)[0][0])
    alone = run(lm, [long], max_answer=2)[1]
    assert counters.peak_kv_pieces < 4 * alone.peak_kv_pieces


def test_a_document_without_questions_costs_nothing():
    lm = build_lm("llama", pieces_of("gpt2"))
    got, counters = run(lm, [Request("a", ("a",), [], open_two)])
    assert got == [[]]
    assert counters == Counters(documents=1)
    assert run(lm, [])[0] == []


def trie(paths: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {path[: place + 1] for path in paths for place in range(len(path))}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_counters_of_a_replayed_document(tokenizer):
    """Pieces: the trie of all paths, each piece once. Steps without drafts: the first, then one for each piece of the
    longest chain of count, marker and mention; a marker is fed in one step. Drafts add to this what is refuted."""
    lm = build_lm("llama", pieces_of(tokenizer))
    encode = lambda *segments: sum(lm.pieces.encode(segments), start=())  # noqa: E731
    text, mentions = GOLD[0][0], gold_mentions()[0]
    script = lambda branch: SCHEME.answer(branch, mentions)  # noqa: E731
    request = Request(text, SCHEME.trunk(text), SCHEME.ask(LABELS), SCHEME.follow, borders_of(text), script)
    (answered,), counters = run(lm, [request], drafting=Drafting(questions=False, copies=0))

    trunk = (*lm.pieces.start, *encode("text:\n", text, "\n"))
    none = [(*trunk, *encode(f"entity type:\n{words}\n\n<num>", "0")) for words in ("person", "club")]
    count = (*trunk, *encode("entity type:\nplace\n\n<num>", "3"))
    strings = ("Japan", "Syria", "Abu Dhabi")
    found = [(*count, *encode(f"\n<mention {k}>", string)) for k, string in enumerate(strings, 1)]
    assert [answer.text for _, answer in answered] == ["0", "3", *strings, "0"]
    n_count = len(encode("3"))
    longest = max(len(encode(string)) for string in strings)
    answer_pieces = 2 * len(encode("0")) + n_count + sum(len(encode(string)) for string in strings)
    pieces = len(trie([*none, *found]))
    steps = 1 + n_count + 1 + longest
    assert counters == Counters(
        documents=1,
        steps=steps,
        document_steps=steps,
        pieces=pieces,
        answers=6,
        answer_pieces=answer_pieces,
        peak_kv_pieces=counters.peak_kv_pieces,
    )
    assert pieces <= counters.peak_kv_pieces <= pieces * 3 // 2
    drafted = run(lm, [request], drafting=Drafting(copies=50))[1]
    assert drafted.pieces - (drafted.drafts - drafted.drafts_accepted) == pieces
    # The questions with what counts begin with; the counts with the questions they open; the mentions.
    assert drafted.steps == 3


def test_counters_by_hand():
    """The same with the figures themselves. Trunk "text", ":", "\\n" and so on, as the tokenizer cuts it below."""
    lm = build_lm("llama", pieces_of("gpt2"))
    pieces = lm.pieces
    asked = [Branch("ab", "x"), Branch("ac", "y")]
    script = {"ab": "q", "ac": "rs"}
    request = Request("t", ("t",), asked, lambda branch, answer: [], (), lambda branch: script[branch.question])
    assert [len(cut) for cut in pieces.encode(["t", "ab", "ac", "q", "rs"])] == [1, 2, 2, 1, 2]
    counters = run(lm, [request])[1]
    #  t ─ a ┬ b ─ q          step 1: t a b c   step 2: q r   step 3: s
    #        └ c ─ r ─ s
    assert (counters.pieces, counters.steps, counters.answers, counters.answer_pieces) == (7, 3, 2, 3)


@pytest.mark.parametrize("tokenizer", ["fresh", "llama"])
def test_a_trained_model_counts_and_copies(tokenizer):
    """A count above zero ends where the first mention question would begin, a count of zero and a mention at the end
    piece. The trained model's answers are the slow form's, held to the text or not."""
    lm = trained_lm(tokenizer)
    own_model = build_model("llama", vocab_size=len(lm.pieces), hidden_size=48, attention="eager")
    own_model.load_state_dict(lm.model.state_dict())
    own = replace(lm, model=own_model)
    requests = [
        Request(text, SCHEME.trunk(text), SCHEME.ask(LABELS), SCHEME.follow, borders_of(text)) for text, _ in GOLD
    ]
    for constrain in (True, False):
        got, _ = run(lm, requests, constrain=constrain)
        for answers, request, gold in zip(got, requests, gold_mentions(), strict=True):
            assert_same(answers, slow_decode(own, request, constrain=constrain, max_answer=128))
            for branch, answer in answers:
                assert answer.text == SCHEME.answer(branch, gold)
                opens = not branch.ordinal and answer.text != "0"
                assert answer.finish is (Finish.FOLLOWED if opens else Finish.END)


@pytest.mark.parametrize("constrain", [True, False])
def test_what_copies_are_held_to_is_made_while_a_device_computes(monkeypatch, constrain):
    """On a GPU, once a document and before anything is asked for; where answers cannot open questions, not at all."""
    made: list[str] = []
    inner = CopyConstraint.__init__

    def init(self: CopyConstraint, text: str, *rest: Any) -> None:
        made.append(text)
        inner(self, text, *rest)

    monkeypatch.setattr(CopyConstraint, "__init__", init)
    text, scheme = GOLD[0][0], PaDeLLM(build_english_prompt_v1())
    opening = Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow, borders_of(text))
    for request in (opening, request_for(text)):
        growth = Growth(
            request,
            pieces_of("gpt2"),
            slot=0,
            max_positions=512,
            max_answer=9,
            constrain=constrain,
            drafting=Drafting(),
        )
        assert not made[1:]
        growth.prepare()
        growth.prepare()
    assert made == ([text] if constrain else [])


def test_free_answers_stop_at_the_limit():
    lm = build_lm("llama", pieces_of("gpt2"), seed=3)
    ask = lambda branch: replace(request_for("a b"), branches=[branch], follow=lambda branch, answer: [])  # noqa: E731
    for limit in (1, 3, 5):
        (((_, answer),),) = run(lm, [ask(Branch("?"))], max_answer=limit)[0]
        assert (answer.n_pieces, answer.finish) == (limit, Finish.LIMIT)
        (((_, answer),),) = run(lm, [ask(Branch("?", limit=limit))], max_answer=7)[0]
        assert (answer.n_pieces, answer.finish) == (limit, Finish.LIMIT)


def test_a_held_answer_may_be_longer_than_the_limit():
    lm = build_lm("llama", pieces_of("gpt2"))
    text = "zqjxkvw"
    request = Request(text, (text,), [Branch("?", copies=True)], lambda branch, answer: [], [(0, len(text))])
    (((_, answer),),) = run(lm, [request], max_answer=2)[0]
    assert (answer.text, answer.finish, answer.n_pieces) == (text, Finish.END, len(lm.pieces.encode([text])[0]))


def test_a_text_without_tokens_has_no_mention_to_give():
    lm = build_lm("llama", pieces_of("gpt2"))
    request = Request(" ", (" ",), [Branch("?", copies=True)], lambda branch, answer: [])
    (((_, answer),),) = run(lm, [request])[0]
    assert answer == Answer("", 1.0, Finish.END, 0)


@pytest.mark.parametrize(
    "text, question", [("a b c d e f g h i j k", "?"), ("a", "b c d e f g h i j k l"), ("a b c d e f g h i j", "")]
)
def test_what_is_deeper_than_the_model_is_refused(text, question):
    lm = build_lm("llama", pieces_of("gpt2"), max_position_embeddings=8)
    request = Request(text, (text,), [Branch(question)], lambda branch, answer: [])
    with pytest.raises(ValueError, match=r"P023.*the model has 8.*'a"):
        run(lm, [request])


def test_the_last_position_can_be_used():
    pieces: Pieces = pieces_of("gpt2")
    text, question = "a b c d", "? ?"
    size = len(pieces.encode([text])[0]) + len(pieces.encode([question])[0])
    request = Request(text, (text,), [Branch(question)], lambda branch, answer: [])
    (((_, answer),),) = run(build_lm("llama", pieces, seed=3, max_position_embeddings=size), [request])[0]
    assert (answer.n_pieces, answer.finish) == (1, Finish.LIMIT)
    with pytest.raises(ValueError, match="P023"):
        run(build_lm("llama", pieces, max_position_embeddings=size - 1), [request])


def test_a_held_answer_deeper_than_the_model_is_refused():
    lm = build_lm("llama", pieces_of("gpt2"), max_position_embeddings=9)
    text = "zqjxkvw"
    request = Request(text, (text,), [Branch("?", copies=True)], lambda branch, answer: [], [(0, len(text))])
    with pytest.raises(ValueError, match="P023"):
        run(lm, [request])


@pytest.mark.parametrize("constrain", [True, False])
def test_weights_that_are_not_numbers_are_noticed(constrain):
    lm = build_lm("llama", pieces_of("gpt2"))
    with torch.no_grad():
        lm.model.lm_head.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="P024"):
        run(lm, [request_for("a b")], constrain=constrain)


def test_counters_add_up_and_become_a_dictionary():
    lm = build_lm("llama", pieces_of("gpt2"))
    counters = Counters()
    for _ in range(2):
        decode(lm, [request_for("a b")], Decoding(max_answer=2), counters)
    once = run(lm, [request_for("a b")], max_answer=2)[1].as_dict()
    twice = counters.as_dict()
    assert twice.pop("peak_kv_pieces") == once.pop("peak_kv_pieces")
    assert twice == {name: 2 * value for name, value in once.items()}
