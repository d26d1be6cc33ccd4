"""Further answers to one question against the slow form: every path alone, in the model's own attention."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.types import Answer, Answered, Branch, Finish
from tests.checkpoints import GOLD, LABELS, build_lm, build_model, gold_mentions, pieces_of, trained_lm

PROMPT = build_english_prompt_v1()
TEXTS = ("Mr. Cuttitta isn't in Brasília!", "no", "in São Paulo")
LIMIT = 2


def borders_of(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in re.finditer(r"[A-Za-z]+|\S", text))


def request_for(text: str, *, further: int, floor: float, closer: str = "", mentions: int = 0) -> Request:
    """Two labels, and two mentions under every answer: a random model does not count.

    mentions (int): Further answers to each mention question.
    """
    words = {"A": "per", "B": "person"}
    branches = [
        Branch(PROMPT.ask_label(words[label]), label, closer=closer, limit=LIMIT, further=further, floor=floor)
        for label in words
    ]

    def open_two(branch: Branch, answer: str) -> list[Branch]:
        if branch.ordinal:
            return []
        opened = Branch("", branch.label, parent=branch, copies=True, under=answer, limit=LIMIT)
        opened = replace(opened, further=mentions, floor=floor)
        return [replace(opened, question=PROMPT.ask_mention(k), ordinal=k) for k in (1, 2)]

    return Request(text, PROMPT.trunk(text), branches, open_two, borders_of(text))


def run(lm: LanguageModel, requests: Sequence[Request], **options) -> tuple[list[list[Answered]], Counters]:
    counters = Counters()
    return decode(lm, requests, Decoding(**options), counters), counters


class Slow:
    """The specification. Nothing is cached, shared or packed."""

    def __init__(self, own: LanguageModel, request: Request, *, constrain: bool) -> None:
        self.own, self.request, self.constrain = own, request, constrain
        text, borders = request.text, request.borders
        strings = [text[start:end] for place, (start, _) in enumerate(borders) for _, end in borders[place:]]
        self.spellings = dict(zip(own.pieces.encode(strings), strings, strict=True))
        self.known: dict[tuple[int, ...], list[float]] = {}

    @torch.inference_mode()
    def scores(self, ids: Sequence[int]) -> list[float]:
        """The log-probability of every next piece, each path run alone."""
        if tuple(ids) not in self.known:
            logits = self.own.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, -1]
            self.known[tuple(ids)] = torch.log_softmax(logits, dim=-1).tolist()
        return self.known[tuple(ids)]

    def ends(self, branch: Branch, answer: tuple[int, ...]) -> set[int]:
        closer = self.own.pieces.encode([branch.closer])[0][:1] if branch.closer and answer else ()
        return {self.own.pieces.end, *closer}

    def possible(self, branch: Branch, answer: tuple[int, ...]) -> set[int]:
        """The pieces that may come next."""
        if not (self.constrain and branch.copies):
            return set(range(len(self.own.pieces)))
        size = len(answer)
        allowed = {cut[size] for cut in self.spellings if len(cut) > size and cut[:size] == answer}
        return allowed | ({self.own.pieces.end} if answer in self.spellings else set())

    def go_on(self, branch: Branch, asked: list[int], start: tuple[int, ...]) -> list[int]:
        """The pieces of the greedy answer that begins with `start`, with the piece that ends it, if one does."""
        answer = list(start)
        while not answer or answer[-1] not in self.ends(branch, tuple(answer[:-1])):
            if len(answer) == (branch.limit or 128) and not (self.constrain and branch.copies):
                return answer
            scores = self.scores([*asked, *answer])
            answer.append(max(self.possible(branch, tuple(answer)), key=lambda piece: scores[piece]))
        return answer

    def starts(self, branch: Branch, asked: list[int], own: list[int]) -> list[tuple[int, ...]]:
        """Where answers leave the model's own: place by place, the likeliest pieces first, as many as may. Those of a
        mention leave at the first place where it could be another one."""
        found: list[tuple[int, ...]] = []
        for place, piece in enumerate(own):
            scores = self.scores([*asked, *own[:place]])
            ends = self.ends(branch, tuple(own[:place]))
            taken = ends if piece in ends else {piece}
            others = self.possible(branch, tuple(own[:place])) - taken
            for other in sorted(others, key=lambda one: -scores[one]):
                if other in taken:
                    continue
                if math.exp(scores[other] - scores[piece]) >= branch.floor:
                    found.append((*own[:place], other))
                    taken = taken | (ends if other in ends else {other})
            if branch.copies and others:
                break
        return found[: branch.further]

    def ask(self, branch: Branch, before: list[int]) -> list[Answered]:
        asked = [*before, *self.own.pieces.encode([branch.question])[0]]
        own = self.go_on(branch, asked, ())
        starts = self.starts(branch, asked, own) if branch.further else []
        given: list[list[Answered]] = []
        for answer in [own, *(self.go_on(branch, asked, start) for start in starts)]:
            ended = answer[-1] in self.ends(branch, tuple(answer[:-1]))
            finish = Finish.END if answer[-1] == self.own.pieces.end else Finish.FOLLOWED if ended else Finish.LIMIT
            kept = tuple(answer[:-1] if ended else answer)
            held = self.constrain and branch.copies
            string = self.spellings[kept] if held else self.own.pieces.decode(kept)
            total = sum(self.scores([*asked, *kept[:place]])[piece] for place, piece in enumerate(kept))
            found = [Answered(branch, Answer(string, math.exp(total), finish, len(kept)))]
            for opened in self.request.follow(branch, string):
                found += self.ask(opened, [*asked, *kept])
            given.append(found)
        first, *others = given
        ranked = [first, *sorted(others, key=lambda found: -found[0].answer.probability)]
        best = {found[0].answer.text: found for found in ranked[::-1]}
        return [one for found in ranked if best[found[0].answer.text] is found for one in found]

    def answered(self) -> list[Answered]:
        pieces = self.own.pieces
        trunk = [*pieces.start, *(piece for segment in self.request.trunk for piece in pieces.encode([segment])[0])]
        return [one for branch in self.request.branches for one in self.ask(branch, trunk)]


def assert_same(got: list[Answered], expected: list[Answered]) -> None:
    plain = [[(branch, answer._replace(probability=1.0)) for branch, answer in answers] for answers in (got, expected)]
    assert plain[0] == plain[1]
    assert [answer.probability for _, answer in got] == pytest.approx(
        [answer.probability for _, answer in expected], rel=1e-3, abs=1e-9
    )


@pytest.fixture(params=[("llama", "gpt2"), ("qwen3", "llama"), ("mistral-window", "fresh")], ids="-".join)
def pair(request) -> tuple[LanguageModel, LanguageModel]:
    """A random model with the forest's attention, and with its own."""
    family, tokenizer = request.param
    return tuple(
        build_lm(family, pieces_of(tokenizer), seed=3, attention=attention, initializer_range=0.15)
        for attention in ("spacy_padellm_forest", "eager")
    )


@pytest.mark.parametrize(("constrain", "further", "floor"), [(True, 3, 0.5), (False, 1, 0.0)], ids=["held", "free"])
def test_further_answers_equal_the_slow_form(pair, constrain, further, floor):
    lm, own = pair
    requests = [request_for(text, further=further, floor=floor) for text in TEXTS[1:]]
    got, _ = run(lm, requests, constrain=constrain)
    for answers, request in zip(got, requests, strict=True):
        assert_same(answers, Slow(own, request, constrain=constrain).answered())
    # Each of the two questions has its own answer, others beside it, and two mentions under each.
    assert all(len(answers) > 2 * 3 for answers in got)


@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
def test_further_mentions_equal_the_slow_form(pair, constrain):
    lm, own = pair
    requests = [request_for(text, further=0, floor=1e-3, mentions=2) for text in TEXTS]
    got, _ = run(lm, requests, constrain=constrain)
    for answers, request in zip(got, requests, strict=True):
        assert_same(answers, Slow(own, request, constrain=constrain).answered())
    # Two counts with two mentions each, and more than one answer to some mention question.
    assert any(len(answers) > 6 for answers in got)
    if constrain:
        for answers, text in zip(got, TEXTS, strict=True):
            assert all(answer.text in text for branch, answer in answers if branch.copies)


def test_with_a_closer_that_may_end_answers_too(pair):
    """The closer is a piece the model likes, so that it is among those by which answers leave each other."""
    lm, own = pair
    plain = request_for(TEXTS[1], further=0, floor=0.0)
    (answered,), _ = run(lm, [plain])
    liked = next(answer.text for _, answer in answered if lm.pieces.question(answer.text))
    request = request_for(TEXTS[1], further=2, floor=0.0, closer=liked)
    (got,), _ = run(lm, [request])
    assert_same(got, Slow(own, request, constrain=True).answered())


def test_one_document_equals_many_in_any_order_and_any_row(pair):
    lm, _ = pair
    requests = [request_for(text, further=2, floor=0.3) for text in TEXTS]
    alone = [run(lm, [request])[0][0] for request in requests]
    together, counters = run(lm, requests)
    backwards, _ = run(lm, requests[::-1])
    for got, back, expected in zip(together, backwards[::-1], alone, strict=True):
        assert_same(got, expected)
        assert_same(back, expected)
    for max_row in (1, 7, 20):
        in_parts, counters_in_parts = run(lm, requests, max_row=max_row)
        for got, expected in zip(in_parts, alone, strict=True):
            assert_same(got, expected)
        assert counters_in_parts.pieces == counters.pieces
    assert len({len(answers) for answers in alone}) > 1 or len(alone[0]) > 6


def test_nothing_is_fed_for_answers_below_the_floor(pair):
    """No answer is as probable as the best one: the same answers and the same cost as without a look."""
    lm, _ = pair
    plain, cost = run(lm, [request_for(text, further=0, floor=0.0) for text in TEXTS])
    looked, looked_cost = run(lm, [request_for(text, further=3, floor=1.0) for text in TEXTS])
    assert cost == looked_cost
    for one, other in zip(plain, looked, strict=True):
        assert [answer for _, answer in one] == [answer for _, answer in other]


def test_what_a_further_answer_costs():
    """By hand: its pieces, and those of what it opens, each once. No step more, as nothing of it is longer."""
    lm = build_lm("llama", pieces_of("gpt2"), seed=3, initializer_range=0.15)
    ask = lambda further: Request(  # noqa: E731
        "t", ("t",), [Branch("a", "x", limit=1, further=further)], lambda branch, answer: [], ()
    )
    (one,), plain = run(lm, [ask(0)])
    (three,), cost = run(lm, [ask(2)])
    assert [len(one), len(three)] == [1, 3]
    assert three[0].answer == one[0].answer
    assert three[1].answer.probability >= three[2].answer.probability
    assert (cost.pieces - plain.pieces, cost.steps - plain.steps) == (0, 0)  # answers of one piece are never fed
    assert (cost.answers, cost.answer_pieces) == (3, 3)


def test_a_replayed_answer_has_no_others():
    lm = build_lm("llama", pieces_of("gpt2"))
    scheme = PaDeLLM(PROMPT, second_look=3, look_floor=0.0)
    text, gold = GOLD[0][0], gold_mentions()[0]
    script = lambda branch: scheme.answer(branch, gold)  # noqa: E731
    request = Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow, borders_of(text), script)
    (answered,), _ = run(lm, [request])
    assert [answer.text for _, answer in answered] == ["0", "3", "Japan", "Syria", "Abu Dhabi", "0"]


@pytest.mark.parametrize(("tokenizer", "constrain"), [("fresh", True), ("llama", True), ("llama", False)])
def test_a_trained_models_counts_equal_the_slow_form(tokenizer, constrain):
    """Of a model that counts: other counts with their mentions, also where "3" is two pieces, the first of them no
    digit. Its own answers are what they are without a look."""
    lm = trained_lm(tokenizer)
    own_model = build_model("llama", vocab_size=len(lm.pieces), hidden_size=48, attention="eager")
    own_model.load_state_dict(lm.model.state_dict())
    own = replace(lm, model=own_model)
    schemes = [PaDeLLM(PROMPT, second_look=looks, look_floor=1e-9) for looks in (0, 2)]
    requests = [
        [
            Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow, borders_of(text))
            for text, _ in GOLD[:1]
        ]
        for scheme in schemes
    ]
    plain, got = (run(lm, asked, constrain=constrain)[0] for asked in requests)
    counts: set[str] = set()
    for answers, without, request in zip(got, plain, requests[1], strict=True):
        assert_same(answers, Slow(own, request, constrain=constrain).answered())
        texts = [[answer.text for branch, answer in some if not branch.ordinal] for some in (answers, without)]
        assert len(texts[0]) > len(texts[1]) == len(LABELS)
        # Of several the model's own comes first.
        firsts = {branch: answer.text for branch, answer in answers[::-1] if not branch.ordinal}
        assert list(firsts.values())[::-1] == texts[1]
        counts.update(texts[0])
    assert {"0", "3"} < counts


def test_alternatives_without_room_are_not_followed(monkeypatch: pytest.MonkeyPatch):
    """Wherever the plain answers fit the model, so do those with a look and with choices: what does not fit is left
    out, a count with all its mentions, and the rest is what it is where there is room."""
    lm, text, labels = trained_lm("fresh"), GOLD[1][0], {"LOC": LABELS["LOC"]}
    plain = PaDeLLM(PROMPT)
    looking = PaDeLLM(PROMPT, second_look=3, look_floor=1e-9, mention_choices=2, choice_floor=1e-9)

    def ask(scheme: PaDeLLM, limit: int) -> list[Answered] | None:
        request = Request(text, scheme.trunk(text), scheme.ask(labels, text), scheme.follow, borders_of(text))
        monkeypatch.setattr(lm.model.config, "max_position_embeddings", limit)
        try:
            return run(lm, [request])[0][0]
        except ValueError as error:
            assert str(error).startswith("[P023]")
            return None

    room = ask(looking, lm.max_positions)
    assert room is not None
    kept: list[int] = []
    for limit in (lm.max_positions, *range(42, 0, -1)):
        fitting, looked = ask(plain, limit), ask(looking, limit)
        assert (looked is None) == (fitting is None)
        if looked is None:
            break
        kept.append(len(looked))
        found = {(branch, answer.text) for branch, answer in looked}
        assert_same(looked, [one for one in room if (one.branch, one.answer.text) in found])
        for branch, answer in looked:
            opened = looking.follow(branch, answer.text)
            assert {one.ordinal for one in opened} == {one.branch.ordinal for one in looked if one.branch in opened}
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < kept[0] == len(room)
