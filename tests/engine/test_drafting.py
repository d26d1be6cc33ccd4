"""Drafts change what decoding costs, never what it finds."""

import itertools
import random
from dataclasses import replace

import pytest
import torch

from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.drafting import FREE_PIECES, Drafting
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import ListForm, OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Answered, Form, Mention, Scheme
from tests.checkpoints import GOLD, LABELS, TOKENIZERS, build_lm, gold_mentions, pieces_of, trained_lm
from tests.engine.test_decoder import TEXTS, assert_same, borders_of, open_two, request_for

PROMPT = build_english_prompt_v1()
NONE = Drafting(questions=False, copies=0, counts=False)
ALL = Drafting(copies=50, counts=True)
KINDS = [
    Drafting(questions=questions, copies=copies, counts=counts)
    for questions, copies, counts in itertools.product([False, True], [0, 3, 50], [False, True])
]


def run(lm: LanguageModel, requests: list[Request], drafting: Drafting, **options) -> tuple[list, Counters]:
    counters = Counters()
    return decode(lm, requests, Decoding(drafting=drafting, **options), counters), counters


def request_of(scheme: Scheme, text: str, gold: list[Mention] | None = None) -> Request:
    script = None if gold is None else lambda branch: scheme.answer(branch, gold)
    branches = scheme.ask(LABELS, text)
    return Request(text, scheme.trunk(text), branches, scheme.follow, borders_of(text), script)


def placed_mentions() -> list[list[Mention]]:
    """The gold mentions with their places: of a repeated string, the first ones."""
    return [
        [replace(mention, start=text.index(mention.string)) for mention in gold]
        for (text, _), gold in zip(GOLD, gold_mentions(), strict=True)
    ]


def same(got: list[list[Answered]], expected: list[list[Answered]]) -> bool:
    for answers, wanted in zip(got, expected, strict=True):
        assert_same(answers, wanted)
    return True


@pytest.mark.parametrize("drafting", KINDS, ids=str)
@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
def test_a_random_model_answers_as_without_drafts(tokenizer, drafting):
    """It answers anything, so nearly all drafts are refuted; rows that are too short cut them in two."""
    lm = build_lm("llama", pieces_of(tokenizer), seed=3, initializer_range=0.1)
    counting = PaDeLLM(PROMPT, second_look=1, look_floor=0.0)
    requests = [request_for(text, closer="\n") for text in TEXTS]
    requests += [request_of(counting, text) for text in TEXTS]
    expected, _ = run(lm, requests, NONE, max_answer=6)
    for max_row in (4096, 29):
        got, counters = run(lm, requests, drafting, max_answer=6, max_row=max_row)
        assert same(got, expected)
        if max_row == 4096:
            assert (counters.drafts > 0) == (drafting != NONE)


@pytest.mark.parametrize("drafting", KINDS, ids=str)
@pytest.mark.parametrize("scheme", [PaDeLLM, OneStep, AutoRegStruct, AutoRegAug])
def test_a_perfect_model_pays_for_refuted_drafts_only(scheme, drafting):
    """What is computed beside refuted drafts is what is computed without drafts, piece for piece."""
    lm = build_lm("llama", pieces_of("llama"), seed=3)
    made = scheme(PROMPT)
    for (text, _), gold in zip(GOLD, placed_mentions(), strict=True):
        request = request_of(made, text, gold)
        expected, plain = run(lm, [request], NONE)
        got, counters = run(lm, [request], drafting)
        assert same(got, expected)
        assert counters.pieces - (counters.drafts - counters.drafts_accepted) == plain.pieces
        assert 0 <= counters.drafts_accepted <= counters.drafts
        assert counters.steps <= plain.steps


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_trained_model_needs_two_steps_or_three(tokenizer):
    lm = trained_lm(tokenizer)
    request = request_of(PaDeLLM(PROMPT), GOLD[0][0])
    expected, plain = run(lm, [request], NONE)
    steps = {}
    for name, drafting in {"some": Drafting(copies=50), "all": ALL}.items():
        got, counters = run(lm, [request], drafting)
        assert same(got, expected)
        steps[name] = counters.steps
    assert plain.steps > 4
    # Three places are named, one more than the counts that are drafted.
    assert steps == {"some": 3, "all": 3}
    text = "nobody was there"
    assert run(lm, [request_of(PaDeLLM(PROMPT), text, [])], ALL)[1].steps == 1
    gold = [Mention("PER", "nobody"), Mention("PER", "there", 2)]
    assert run(lm, [request_of(PaDeLLM(PROMPT), text, gold)], ALL)[1].steps == 2


def test_drafted_questions_save_the_step_of_the_count():
    lm = build_lm("llama", pieces_of("gpt2"))
    request = request_of(PaDeLLM(PROMPT), GOLD[0][0], gold_mentions()[0])
    without = run(lm, [request], Drafting(questions=False))[1]
    drafted = run(lm, [request], Drafting())[1]
    assert drafted.steps == without.steps - 1


def test_copies_are_drafted_up_to_the_budget():
    """One question whose answer is the whole text, a chain: the first piece is known after one step, and every step
    behind it brings the drafted pieces and one more."""
    lm = build_lm("llama", pieces_of("gpt2"))
    text = "zqjxkvw"
    request = Request(text, (text,), [open_two(PaDeLLM(PROMPT).ask({"A": "a"})[0], "")[0]], lambda branch, answer: [])
    request = Request(text, (text,), request.branches, request.follow, [(0, len(text))])
    n_pieces = len(lm.pieces.encode([text])[0])
    assert n_pieces == 7
    steps = {copies: run(lm, [request], Drafting(copies=copies))[1].steps for copies in (0, 1, 2, 3, 6, 99)}
    assert steps == {0: 8, 1: 5, 2: 4, 3: 3, 6: 2, 99: 2}
    # Half as many where documents share a step.
    assert [run(lm, [request] * 2, Drafting(copies=copies))[1].steps for copies in (0, 2, 6, 12)] == [8, 5, 3, 2]


@pytest.mark.parametrize(
    "n_copying, alone, each",
    [(1, True, 16), (8, True, 16), (9, True, 14), (40, True, 3), (900, True, 2), (40, False, 2)],
)
def test_many_mentions_share_their_drafts(n_copying, alone, each):
    assert Drafting(copies=16).copies_for(None, n_copying, alone=alone) == each
    assert Drafting(copies=1).copies_for(None, n_copying, alone=alone) == 1
    assert Drafting(copies=0).copies_for(None, n_copying, alone=alone) == 0


def test_a_mention_of_many_costs_fewer_drafts(monkeypatch):
    """Answers stay, and a few mentions are drafted as ever."""
    lm = build_lm("llama", pieces_of("gpt2"))
    words = [f"w{number}x" for number in range(60)]
    text, scheme = " ".join(words), PaDeLLM(PROMPT)
    refuted = {}
    for shared in (8, 10_000):
        monkeypatch.setattr("spacy_padellm.engine.drafting.SHARED", shared)
        for count in (4, 60):
            gold = [Mention("PER", word, place) for place, word in enumerate(words[:count], 1)]
            request = request_of(scheme, text, gold)
            expected, _ = run(lm, [request], NONE)
            got, counters = run(lm, [request], Drafting(copies=16))
            assert same(got, expected)
            refuted[shared, count] = (counters.drafts - counters.drafts_accepted) / count
    assert refuted[8, 4] == refuted[10_000, 4] and refuted[10_000, 60] > 5 * refuted[8, 60]


def test_what_is_finished_counts_no_longer_among_the_mentions_that_share():
    """Nor do further answers, which nobody asked for by themselves."""
    seen: list[int] = []

    class Noted(Drafting):
        def copies_for(self, form: Form | None, n_copying: int, *, alone: bool) -> int:
            seen.append(n_copying)
            return super().copies_for(form, n_copying, alone=alone)

    scheme = PaDeLLM(PROMPT)
    run(build_lm("llama", pieces_of("gpt2")), [request_of(scheme, GOLD[0][0], gold_mentions()[0])], Noted())
    assert max(seen) == len(gold_mentions()[0]) and min(seen) >= 1
    many, seen = max(seen), []
    several = PaDeLLM(PROMPT, mention_choices=2, choice_floor=0.0)
    run(trained_lm("gpt2"), [request_of(several, GOLD[0][0])], Noted())
    assert many >= max(seen) >= min(seen) >= 0


def test_of_a_mention_less_is_drafted_on_a_cpu():
    def copies(drafting: Drafting, device: str, form: Form | None = None) -> list[int]:
        placed = drafting.on(torch.device(device))
        return [placed.copies_for(form, 1, alone=alone) for alone in (True, False)]

    assert copies(Drafting(), "cpu") == [4, 2]
    assert copies(Drafting(), "cpu", ListForm()) == copies(Drafting(), "cuda") == [16, 8]
    assert copies(Drafting(copies=7), "cpu") == copies(Drafting(copies=7), "cpu", ListForm()) == [7, 4]
    lm = build_lm("llama", pieces_of("gpt2"))
    request = request_of(PaDeLLM(PROMPT), GOLD[0][0], gold_mentions()[0])
    assert run(lm, [request], Drafting())[1] == run(lm, [request], Drafting(copies=4))[1]
    assert run(lm, [request], Drafting())[1].drafts < run(lm, [request], Drafting(copies=16))[1].drafts


def test_a_longer_count_refutes_the_questions_of_a_shorter_one():
    """Of twelve mentions, the first is asked for under "1" and not under "12": all of that is refuted."""
    lm = build_lm("llama", pieces_of("gpt2"))
    text = "a b c d e f g h i j k l"
    gold = [Mention("PER", string, ordinal) for ordinal, string in enumerate(text.split(), 1)]
    request = request_of(PaDeLLM(PROMPT), text, gold)
    assert len(lm.pieces.encode(["12"])[0]) == 2
    (answers,), counters = run(lm, [request], Drafting(copies=0))
    assert [answer.text for _, answer in answers] == ["12", *text.split(), "0", "0"]
    refuted = counters.drafts - counters.drafts_accepted
    assert refuted == len(lm.pieces.encode([PROMPT.ask_mention(1)])[0])


def test_the_augmented_scheme_copies_by_drafts():
    lm = build_lm("llama", pieces_of("gpt2"))
    request = request_of(AutoRegAug(PROMPT), GOLD[0][0], placed_mentions()[0])
    plain, drafted = (run(lm, [request], drafting)[1] for drafting in (NONE, Drafting()))
    assert drafted.steps < plain.steps / 2


def test_counts_are_drafted_while_steps_are_free(monkeypatch):
    """A row that counts may be drafted in has room for one document here, and not for two."""
    lm = build_lm("llama", pieces_of("gpt2"))
    request = request_of(PaDeLLM(PROMPT), GOLD[0][0], gold_mentions()[0])
    never, always = (run(lm, [request], Drafting(counts=counts))[1] for counts in (False, True))
    assert never.drafts < always.drafts
    assert run(lm, [request], Drafting())[1] == never
    first = run(lm, [replace(request, follow=lambda branch, answer: [])], NONE)[1]
    monkeypatch.setitem(FREE_PIECES, "cpu", 3 * first.pieces)
    assert run(lm, [request], Drafting())[1] == always
    two = [run(lm, [request] * 2, Drafting(counts=counts))[1].drafts for counts in (False, None)]
    assert two[0] == two[1] < 2 * always.drafts
    assert Drafting().spare(torch.device("cuda", 0)) == FREE_PIECES["cuda"] > 0
    assert Drafting(counts=False).spare(torch.device("cuda")) == 0


def test_drafts_need_no_room_in_the_model():
    """A text that fits exactly is answered as without drafts, which do not fit."""
    pieces = pieces_of("gpt2")
    request = request_of(PaDeLLM(PROMPT), "no", [Mention("PER", "no")])
    fitting = []
    for size in range(20, 60):
        lm = build_lm("llama", pieces, max_position_embeddings=size)
        try:
            plain = run(lm, [request], NONE)[0]
        except ValueError as error:
            assert "P023" in str(error)
            with pytest.raises(ValueError, match="P023"):
                run(lm, [request], ALL)
        else:
            fitting.append(size)
            assert same(run(lm, [request], ALL)[0], plain)
    assert 20 < fitting[0] < 50


def test_a_draft_may_be_longer_than_python_calls_itself():
    lm = build_lm("llama", pieces_of("gpt2"), seed=3, max_position_embeddings=4096)
    draw = random.Random(0)
    text = " ".join("".join(draw.choices("bcdfghjkq", k=12)) for _ in range(50))
    request = request_of(PaDeLLM(PROMPT), text, [Mention(next(iter(LABELS)), text, start=0)])
    _, counters = run(lm, [request], Drafting(copies=600), max_answer=2000)
    assert counters.drafts_accepted > 400
