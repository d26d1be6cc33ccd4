"""Documents that come and go: whatever happens to those beside it, each gets the answers it gets alone."""

from __future__ import annotations

import gc
import itertools
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.engine import decoder, graphs, memory
from spacy_padellm.engine.decoder import Counters, Decoding, decode, decode_stream
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.group import Group, Member
from spacy_padellm.engine.growth import Growth, Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.memory import bytes_per_place
from spacy_padellm.engine.stream import AHEAD
from spacy_padellm.types import Answered, Branch
from tests.checkpoints import build_lm, pieces_of

WORDS = ("Japan", "Syria", "cup", "of", "the", "city", "1995", "won", "São", "luck")


def open_some(branch: Branch, answer: str) -> list[Branch]:
    """Mentions are asked for whatever the answer, and more of them for some labels: documents differ in steps."""
    if branch.ordinal:
        return []
    n_mentions = len(answer) % 3
    return [Branch(f"\n<mention {k}>", branch.label, k, parent=branch, copies=True) for k in range(1, n_mentions + 1)]


def request_for(n_words: int, *, labels: int = 2, seed: int = 0, limit: int = 3) -> Request:
    rng = random.Random(f"{n_words} {labels} {seed}")
    words = rng.choices(WORDS, k=n_words)
    starts = list(itertools.accumulate((len(word) + 1 for word in words), initial=0))
    borders = [(start, start + len(word)) for start, word in zip(starts, words, strict=False)]
    branches = [Branch(f"entity type:\n{name}\n\n<num>", name, limit=limit) for name in ("per", "person")[:labels]]
    return Request(" ".join(words), ("text:\n", " ".join(words), "\n"), branches, open_some, borders)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return build_lm("llama", pieces_of("gpt2"), seed=3, initializer_range=0.1)


def run(
    lm: LanguageModel, requests: Any, *, in_flight: int, counters: Counters | None = None, **options: Any
) -> Iterator[tuple[int, list[Answered] | Exception]]:
    return decode_stream(lm, requests, Decoding(**options), counters or Counters(), in_flight=in_flight)


def alone(lm: LanguageModel, request: Request) -> list[Answered]:
    return decode(lm, [request], Decoding(), Counters())[0]


def assert_same(got: object, expected: list[Answered]) -> None:
    """Equal, in the same order; probabilities to the last few digits of float32."""
    assert isinstance(got, list), got
    same = lambda answer: answer._replace(probability=1.0)  # noqa: E731
    assert [(branch, same(answer)) for branch, answer in got] == [(branch, same(answer)) for branch, answer in expected]
    probabilities: list[list[float]] = [[answer.probability for _, answer in answers] for answers in (got, expected)]
    assert probabilities[0] == pytest.approx(probabilities[1], rel=1e-3, abs=1e-9)


class Steps:
    """Stands in front of every forward pass: sees what is fed, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fed: list[list[Growth]] = []
        self.fails = lambda growths: False
        self.error: Exception = torch.OutOfMemoryError("out of memory")
        self._inner = graphs.forward
        monkeypatch.setattr(decoder, "_step", self._seen(decoder._step))
        monkeypatch.setattr(graphs, "forward", self._forward)

    def _seen(self, step: Any) -> Any:
        def seen(lm: Any, store: Any, stretches: Any, growths: list[Growth], **options: Any) -> None:
            self.fed.append(growths)
            step(lm, store, stretches, growths, **options)

        return seen

    def _forward(self, model: Any, forest: Any, logits_at: Any) -> Any:
        # After the model has run: every layer's keys and values of the failed step are written.
        logits = self._inner(model, forest, logits_at)
        if self.fails(self.fed[-1]):
            raise self.error.with_traceback(None)
        return logits


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


sizes = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=9)


@given(sizes, st.integers(1, 9), st.sampled_from([1, 30, 200, None]), st.sampled_from([5, 64, 4096]))
@settings(max_examples=25)
def test_any_batch_any_order_any_budget(lm, documents, in_flight, places, max_row):
    requests = [request_for(words, labels=labels, seed=seed) for words, labels, seed in documents]
    kv_bytes = None if places is None else places * bytes_per_place(lm)
    counters = Counters()
    got = dict(run(lm, requests, in_flight=in_flight, counters=counters, kv_bytes=kv_bytes, max_row=max_row))
    assert sorted(got) == list(range(len(requests)))
    for number, request in enumerate(requests):
        assert_same(got[number], alone(lm, request))
    assert counters.documents == len(requests)
    assert counters.answers == sum(map(len, got.values()))


def test_bytes_per_place_are_those_of_the_store(lm, monkeypatch):
    write = decoder.KVStore.write

    def written(store: Any, *given: Any, **options: Any) -> Any:
        stored = write(store, *given, **options)
        sizes.append((store.n_bytes, store.n_pieces))
        return stored

    monkeypatch.setattr(decoder.KVStore, "write", written)
    for family in ("llama", "qwen3", "mistral-window"):
        sizes: list[tuple[int, int]] = []
        other = build_lm(family, pieces_of("gpt2"))
        decode(other, [request_for(5)], Decoding(max_answer=2), Counters())
        n_bytes, n_places = sizes[-1]
        assert n_bytes == n_places * bytes_per_place(other) > 0


def test_who_is_done_leaves_and_the_next_one_joins(lm, steps):
    """Each document in flight steps each time, and new ones join while others are under way."""
    requests = [request_for(5 + number % 7, seed=number) for number in range(24)]
    counters = Counters()
    # Without drafts, which let all take about as many steps.
    plain = Drafting(questions=False, copies=0)
    ended = [number for number, _ in run(lm, requests, in_flight=6, counters=counters, drafting=plain)]
    assert sorted(ended) == list(range(24)) != ended
    assert max(map(len, steps.fed)) == 6
    ages = [{growth.n_steps for growth in fed} for fed in steps.fed]
    assert any(len(age) > 1 for age in ages)
    batches = Counters()
    for place in range(0, 24, 6):
        decode(lm, requests[place : place + 6], Decoding(drafting=plain), batches)
    assert counters.steps < batches.steps
    assert (counters.pieces, counters.answers) == (batches.pieces, batches.answers)


def test_a_long_document_does_not_stall_the_short_ones(lm, steps):
    """They take as many steps as without it, and most of them are handed on before it."""
    short = [request_for(4, seed=number) for number in range(7)]
    long = replace(request_for(150, limit=40), follow=lambda branch, answer: [])
    solo = [Counters() for _ in short]
    plain = Drafting(questions=False, copies=0)
    for request, counters in zip(short, solo, strict=True):
        decode(lm, [request], Decoding(drafting=plain), counters)
    steps.fed.clear()
    outcomes = dict(run(lm, [long, *short], in_flight=8, drafting=plain))
    assert next(iter(outcomes)) != 0
    taken = {id(growth): growth.n_steps for fed in steps.fed for growth in fed if len(growth.tree) < 200}
    assert sorted(taken.values()) == sorted(counters.steps for counters in solo)
    assert all(len({len(growth.tree) > 200 for growth in fed}) == 1 for fed in steps.fed)
    assert_same(outcomes[0], alone(lm, long))


def test_a_full_row_starves_nobody(lm):
    """A row that one new document fills: those that began earlier still come to their end in turn."""
    requests = [request_for(12, seed=number, limit=12) for number in range(20)]
    ended = [number for number, _ in run(lm, requests, in_flight=4, max_row=20)]
    assert all(abs(place - number) <= 4 * AHEAD for place, number in enumerate(ended))


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_is_read_than_said(lm, in_flight):
    """The documents never end, and the first takes longer than all others."""
    taken = 0

    def requests() -> Iterator[Request | None]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield None if number % 5 == 4 else request_for(3, seed=number % 4, limit=1 if number else 60)

    stream = run(lm, requests(), in_flight=in_flight)
    assert taken == 0
    done: set[int] = set()
    for number, _ in itertools.islice(stream, 60):
        done.add(number)
        first = next(number for number in itertools.count() if number not in done)
        assert taken - first <= AHEAD * in_flight
    assert taken >= 60


def test_nothing_asked_and_nothing_to_ask_about(lm):
    failure = ValueError("no text")
    counters = Counters()
    asked = [None, failure, Request("a", ("a",), [], open_some), None]
    assert dict(run(lm, asked, in_flight=2, counters=counters)) == {0: [], 1: failure, 2: [], 3: []}
    assert counters == Counters(documents=1)
    assert list(run(lm, [], in_flight=2)) == []


# Memory


@pytest.mark.parametrize("places", [80, 160, 400])
def test_keys_and_values_stay_within_their_bytes(lm, places):
    requests = [request_for(4 + number % 3, seed=number, limit=12) for number in range(16)]
    largest = 0
    for request in requests:
        counters = Counters()
        decode(lm, [request], Decoding(), counters)
        largest = max(largest, counters.peak_kv_pieces)
    free, bound = Counters(), Counters()
    list(run(lm, requests, in_flight=16, counters=free))
    got = dict(run(lm, requests, in_flight=16, counters=bound, kv_bytes=places * bytes_per_place(lm)))
    assert bound.peak_kv_pieces <= max(places, largest) < free.peak_kv_pieces
    assert bound.steps > free.steps
    for number, request in enumerate(requests):
        assert_same(got[number], alone(lm, request))


def test_trees_that_outgrow_the_bytes_go_back_into_line(lm, steps):
    """Long answers to short texts: what fits at the start does not at the end. The first document never begins anew."""
    requests = [replace(request_for(2, labels=1, seed=n, limit=60), follow=lambda *_: []) for n in range(4)]
    counters = Counters()
    got = dict(run(lm, requests, in_flight=4, counters=counters, kv_bytes=150 * bytes_per_place(lm)))
    assert counters.peak_kv_pieces <= 150
    assert len({id(growth) for fed in steps.fed for growth in fed}) > 4
    for number, request in enumerate(requests):
        assert_same(got[number], alone(lm, request))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("Unable to allocate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_halves_the_documents_at_once(lm, steps, error):
    """Whoever has memory for two documents gets two at once from then on, and says so once."""
    requests = [request_for(6, seed=number) for number in range(16)]
    expected = [alone(lm, request) for request in requests]
    steps.fed.clear()
    steps.error, steps.fails = error, lambda growths: len(growths) > 2
    counters = Counters()
    with pytest.warns(UserWarning) as warned:
        got = dict(run(lm, requests, in_flight=12, counters=counters))
    assert [str(one.message)[:6] for one in warned] == ["[W005]"]
    assert "12 documents in flight" in str(warned[0].message) and "at most 6" in str(warned[0].message)
    widths = [len(fed) for fed in steps.fed]
    assert widths[:3] == [12, 6, 3] and set(widths[3:]) <= {1, 2}
    for number, answers in enumerate(expected):
        assert_same(got[number], answers)
    assert (counters.documents, counters.answers) == (16, sum(map(len, expected)))
    assert counters.steps == len(widths) - 3


@pytest.mark.parametrize("seed", range(6))
def test_an_allocator_that_fails_now_and_then(lm, steps, seed):
    """At any step, with some documents begun and others at their end."""
    rng = random.Random(seed)
    requests = [request_for(rng.randint(1, 30), seed=number) for number in range(12)]
    expected = [alone(lm, request) for request in requests]
    failing = set(rng.sample(range(30), 5))
    calls = itertools.count()
    steps.fails = lambda growths: next(calls) in failing and len(growths) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = dict(run(lm, requests, in_flight=6))
    assert next(calls) > 12
    for number, answers in enumerate(expected):
        assert_same(got[number], answers)


def test_a_document_too_large_alone_fails_alone(lm, steps):
    requests = [request_for(4, seed=1), request_for(90, seed=2), request_for(4, seed=3), request_for(5, seed=4)]
    expected = [alone(lm, request) for request in requests]
    steps.fails = lambda growths: any(len(growth.tree) > 100 for growth in growths)
    with pytest.warns(UserWarning, match=r"\[W005\]"):
        got = dict(run(lm, requests, in_flight=4))
    assert got.pop(1) is steps.error
    for number, answers in got.items():
        assert_same(answers, expected[number])
    assert sorted(got) == [0, 2, 3]


@pytest.mark.parametrize("bad", [0, 4, 7])
def test_any_other_failure_is_of_one_document(lm, steps, bad):
    """No memory is at stake: halves of the step, until the document stands alone. The rest goes on as before."""
    requests = [request_for(6, seed=number) for number in range(8)]
    expected = [alone(lm, request) for request in requests]
    steps.error = ValueError("no luck")
    steps.fails = lambda growths: any(growth._request is requests[bad] for growth in growths)
    counters = Counters()
    got = dict(run(lm, requests, in_flight=8, counters=counters))
    assert got.pop(bad) is steps.error
    for number, answers in got.items():
        assert_same(answers, expected[number])
    assert counters.documents == 7


def test_a_failure_keeps_no_tensors(lm, steps):
    """An error handler may collect exceptions: they must not hold the step they came from."""
    steps.error, steps.fails = ValueError("no luck"), lambda growths: True
    before = live(Growth)
    errors = [outcome for _, outcome in run(lm, [request_for(5, seed=n) for n in range(6)], in_flight=3)]
    steps.fed.clear()
    assert len(errors) == 6
    assert live(Growth) == before


def live(kind: type) -> int:
    gc.collect()
    return sum(issubclass(type(one), kind) for one in gc.get_objects())


def test_memory_does_not_creep(lm):
    """Two thousand documents leave nothing behind: no document, no store, no tensor."""
    quick = [replace(request_for(1 + n, labels=1, seed=n, limit=1), follow=lambda *_: []) for n in range(5)]
    before = live(Growth)
    stream = run(lm, itertools.cycle(quick), in_flight=16)
    held, tensors = [], []
    for _ in range(4):
        for _ in itertools.islice(stream, 500):
            pass
        held.append(live(Growth))
        tensors.append(live(torch.Tensor))
    assert max(held) - before <= 16 * AHEAD
    assert max(tensors) - min(tensors) <= 8
    stream.close()
    del stream
    assert live(Growth) == before


def test_bytes_are_derived_from_what_is_free(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_LIMIT", tmp_path / "max")
    monkeypatch.setattr(memory, "_USED", tmp_path / "current")
    monkeypatch.setattr(memory, "_STAT", tmp_path / "stat")
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:    4000 kB\n")
    assert memory.kv_budget(cpu) == 1000 * 1024
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "current").write_text("5\n")
    assert memory.kv_budget(cpu) == 1000 * 1024
    (tmp_path / "max").write_text("2048000\n")
    (tmp_path / "current").write_text("1024000\n")
    assert memory.kv_budget(cpu) == 256_000
    # Files that were read are kept as long as nobody needs the memory.
    (tmp_path / "stat").write_text("anon 500000\ninactive_file 512000\n")
    assert memory.kv_budget(cpu) == 384_000
    (tmp_path / "current").write_text("3024000\n")
    assert memory.kv_budget(cpu) == 0
    (tmp_path / "max").unlink()
    (tmp_path / "meminfo").write_text("MemAvailable: 900000000 kB\n")
    assert memory.kv_budget(cpu) == memory.CPU_MOST
    (tmp_path / "meminfo").write_text("")
    assert memory.available_bytes() > 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (600, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert memory.kv_budget(torch.device("cuda")) == 400


def test_one_document_asks_nobody_for_memory(lm, monkeypatch):
    """Reading what is free takes time, so it is left out where no second document is in sight."""
    monkeypatch.setattr(decoder, "kv_budget", lambda device: pytest.fail("asked"))
    assert len(dict(run(lm, [request_for(3), request_for(4)], in_flight=1))) == 2


def test_memory_that_runs_out_while_some_is_given_back_fails_nobody(lm, monkeypatch):
    inner, calls = KVStore.fit, []

    def fit(store: KVStore, length: int, *, slack: int = 1) -> None:
        calls.append(length)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        inner(store, length, slack=slack)

    monkeypatch.setattr(KVStore, "fit", fit)
    requests = [request_for(n_words) for n_words in (3, 4, 5)]
    with pytest.warns(UserWarning, match="W005"):
        got = dict(run(lm, requests, in_flight=3))
    assert [[one.answer.text for one in got[number]] for number in range(3)] == [
        [one.answer.text for one in alone(lm, request)] for request in requests
    ]


def test_a_full_row_takes_neighbours_and_nobody_is_fed_twice_before_all_were_once(lm):
    """Documents of consecutive slots share a row, whatever their numbers: keys and values are read in place."""
    decoding = Decoding()

    def grow(request: Request) -> Growth:
        return Growth(
            request,
            lm.pieces,
            slot=0,
            max_positions=lm.max_positions,
            max_answer=decoding.max_answer,
            constrain=True,
            drafting=decoding.drafting,
        )

    requests = [request_for(20 - place, seed=place) for place in range(9)]
    numbers = (4, 0, 7, 2, 8, 1, 6, 3, 5)
    members = [Member(number, request, grow(request)) for number, request in zip(numbers, requests, strict=True)]
    group = Group(KVStore(), members)
    max_row = sum(member.size for member in members[:3]) + 1
    fed: list[int] = []
    for turn in range(1, 5):
        stretches, growths = group.fill_row(max_row, turn)
        slots = [stretch.slot for stretch in stretches]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        assert sum(stretch.stop - stretch.start for stretch in stretches) <= max_row
        for stretch, growth in zip(stretches, growths, strict=True):
            growth.awaited(stretch)
        fed += [slot for slot, stretch in zip(slots, stretches, strict=True) if stretch.start == 0]
        if len(fed) == len(members):
            break
    assert fed == list(range(len(members))) and turn > 2
