"""Captured steps equal plain ones: the same logits, the same keys and values, the same answers.

On the CPU a recording stands in for CUDA graphs (`recording.py`): the same operations over the same memory, and reading
a value back is as forbidden. Markers `gpu` do the same with true graphs.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.testing import assert_close

from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.graphs import CapturedSteps, GraphRecorder, padded_shape, recorder_for
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.memory import bytes_per_place
from spacy_padellm.engine.rooms import FixedStore, Shelf, round_up
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.tree.packing import Stretch, pack_padded, shape_of
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Answered
from tests.checkpoints import GOLD, LABELS, MODELS, build_model, pieces_of, trained_lm
from tests.engine.recording import record

CPU = torch.device("cpu")
TEXTS = [text for text, _ in GOLD]


def recorded(**settings) -> CapturedSteps:
    return CapturedSteps(lambda _: record, **settings)


def grow(draw: random.Random, tree: Tree, size: int) -> None:
    """More nodes anywhere under a tree."""
    for _ in range(size):
        parent = draw.randrange(len(tree)) if len(tree) else ROOT
        tree.add(parent, draw.choices(range(64), k=draw.randint(1, 3)))


def steps_of(seed: int, n_documents: int, n_steps: int) -> list[tuple[list[Stretch], list[int]]]:
    """Steps of a forest as the decoder feeds them: some documents at a time, trees growing in between."""
    draw = random.Random(seed)
    trees, fed = [Tree() for _ in range(n_documents)], [0] * n_documents
    steps = []
    for _ in range(n_steps):
        chosen = sorted(draw.sample(range(n_documents), draw.randint(1, n_documents)), key=lambda _: draw.random())
        stretches = []
        for doc in chosen:
            grow(draw, trees[doc], draw.randint(1, 5))
            stretches.append(Stretch(trees[doc], fed[doc], len(trees[doc]), doc))
            fed[doc] = len(trees[doc])
        size = sum(stretch.stop - stretch.start for stretch in stretches)
        steps.append((stretches, draw.sample(range(size), draw.randint(0, size))))
    return steps


@contextmanager
def store_of(steps: CapturedSteps, model, n_slots: int, n_places: int, device: torch.device = CPU) -> Iterator[Any]:
    store = steps.store(model, device=device)
    for _ in range(n_slots):
        store.join()
    store.reserve(n_places)
    try:
        yield store
    finally:
        store.close()


def run_all(steps: CapturedSteps, model, forest, store: KVStore, device: torch.device = CPU) -> list[Tensor]:
    # A tree grows after it was fed: what a step sees is what stood there then.
    return [steps.run(model, stretches, awaited, store=store, device=device) for stretches, awaited in forest]


@torch.inference_mode()
@pytest.mark.parametrize("family", list(MODELS))
@pytest.mark.parametrize("n_documents", [1, 3])
def test_captured_steps_against_plain_ones(family, n_documents):
    model = build_model(family)
    steps = recorded(sightings=1)
    for seed in range(3):
        forest = steps_of(seed, n_documents, n_steps=6)
        plain = KVStore(n_documents)
        expected = run_all(CapturedSteps(), model, forest, plain)
        with store_of(steps, model, n_documents, 20) as store:
            got = run_all(steps, model, forest, store)
            assert [len(logits) for logits in got] == [len(awaited) for _, awaited in forest]
            for one, other in zip(got, expected, strict=True):
                assert_close(one, other, rtol=1e-5, atol=1e-5)
            trees = {stretch.slot: len(stretch.tree) for stretches, _ in forest for stretch in stretches}
            for layer, parts in plain._layers.items():
                for part, fixed in zip(parts, store._layers[layer], strict=True):
                    for slot, size in trees.items():
                        assert_close(fixed[slot, :, :size], part[slot, :, :size], rtol=1e-5, atol=1e-5)
    assert steps.replays == 3 * 6 and 0 < steps.captures < steps.replays


def test_padding_is_written_where_nobody_looks():
    tree = Tree()
    tree.add(ROOT, range(5))
    steps = recorded()
    with store_of(steps, build_model("llama"), 3, 10) as store:
        assert isinstance(store, FixedStore) and store.n_viewed == 3
        stretches = [Stretch(tree, 2, 5, 1)]
        shape = padded_shape(shape_of(stretches, 2), store)
        row = pack_padded(stretches, [2, 0], shape, scratch=store.room.n_places)
        assert shape == (8, 3, 8, 64, 8)
        assert row.keys.tolist() == [2, 3, 4, *[store.room.n_places] * 5]
        assert row.documents.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
        assert row.mask[0].sum() == 8 and row.mask[0, 0, :, 0].all()
        assert row.awaited.tolist() == [2, 0, 0, 0, 0, 0, 0, 0]


@torch.inference_mode()
def test_what_an_earlier_forest_left_is_not_seen():
    model = build_model("llama")
    steps = recorded(sightings=1)
    forest = steps_of(4, 2, n_steps=3)
    with store_of(steps, model, 2, 20) as store:
        expected = run_all(steps, model, forest, store)
        for part in (part for pair in store._layers.values() for part in pair):
            part.fill_(torch.nan)
        first = store.room
    with store_of(steps, model, 2, 20) as store:
        assert store.room is first
        for one, other in zip(run_all(steps, model, forest, store), expected, strict=True):
            assert torch.equal(one, other)


@torch.inference_mode()
def test_a_store_that_is_too_small_moves():
    model = build_model("llama")
    steps, tree = recorded(sightings=1), Tree()
    tree.add(ROOT, [number % 64 for number in range(300)])
    forest = [([Stretch(tree, start, start + 50, 0)], [49]) for start in range(0, 300, 50)]
    expected = run_all(CapturedSteps(), model, forest, KVStore(1))
    with store_of(steps, model, 1, 20) as store:
        assert store.room.n_places == 256
        for one, other in zip(run_all(steps, model, forest, store), expected, strict=True):
            assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert store.room.n_places >= 300


def test_what_is_kept_is_bounded():
    shelf = Shelf(most_bytes=2 * 257 * 4 * 2 * 4)  # the first room: 2 heads of size 4, 2 tensors, float32
    first, second = shelf.take(1, 10), shelf.take(9, 10)
    assert (first.n_slots, first.n_places, second.n_slots, second.n_places) == (1, 256, 10, 10)
    for room in (first, second):
        room.layer(0, torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
        shelf.put(room)
    assert shelf.keeps(first) and shelf.take(9, 10) is second
    shelf.put(second)
    assert shelf._rooms == [second]  # that which came back last
    larger = shelf.take(12, 300)
    shelf.put(larger)
    assert shelf._rooms == [second, larger]  # two were out at the same time
    third = shelf.take(13, 10)
    shelf.put(third)
    assert shelf._rooms == [larger, third]  # the second is one that the others can stand in for
    larger.layer(0, torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    assert not shelf.keeps(larger)


@pytest.mark.parametrize("size", [1, 4, 5, 8, 9, 100, 257, 1000])
def test_rounding_up_adds_a_quarter_at_most(size):
    assert size <= round_up(size) <= size * 1.25


def answers(lm: LanguageModel, texts: list[str], **options) -> tuple[list[list[Answered]], Counters]:
    scheme, counters = PaDeLLM(build_english_prompt_v1()), Counters()
    requests = [Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow) for text in texts]
    return decode(lm, requests, Decoding(constrain=False, **options), counters), counters


def with_steps(lm: LanguageModel, steps: CapturedSteps) -> LanguageModel:
    return LanguageModel(lm.model, lm.pieces, lm.device, lm.name, steps)


def strings(answered: list[list[Answered]]) -> list[list[tuple[str, float]]]:
    return [[(answer.text, pytest.approx(answer.probability, rel=1e-4)) for _, answer in doc] for doc in answered]


@pytest.mark.parametrize("n_texts", [1, 4])
@pytest.mark.parametrize("max_row", [7, 4096])
def test_answers_are_those_of_plain_steps(n_texts, max_row):
    lm = with_steps(trained_lm("gpt2"), recorded())
    plain, costs = answers(lm, TEXTS[:n_texts], cuda_graphs=False, max_row=max_row)
    assert (lm.steps.captures, lm.steps.replays) == (0, 0)
    for _ in range(4):
        got, counters = answers(lm, TEXTS[:n_texts], max_row=max_row)
        assert strings(got) == strings(plain)
        assert (counters.steps, counters.pieces) == (costs.steps, costs.pieces)
    captures, replays = lm.steps.captures, lm.steps.replays
    assert captures and replays
    answers(lm, TEXTS[:n_texts], max_row=max_row)
    assert (lm.steps.captures, lm.steps.replays) == (captures, replays + costs.steps)


def test_documents_do_not_begin_anew_for_the_sake_of_a_room():
    """The room of many documents is larger than what a budget leaves once few are left; nobody is sent back for it."""
    lm = with_steps(trained_lm("gpt2"), recorded())
    texts = [*TEXTS, *TEXTS]
    _, plain = answers(lm, texts, cuda_graphs=False)
    for _ in range(2):
        _, counters = answers(lm, texts)
        assert counters.pieces == plain.pieces
    most = 2 * len(texts) * 90 * bytes_per_place(lm)
    _, bounded = answers(lm, texts, kv_bytes=most)
    assert bounded.pieces == plain.pieces


def test_nothing_is_captured_on_the_cpu():
    lm = with_steps(trained_lm("gpt2"), CapturedSteps())
    for _ in range(3):
        answers(lm, TEXTS[:1])
    assert recorder_for(CPU) is None
    assert (lm.steps.captures, lm.steps.replays) == (0, 0)


def test_large_rows_are_run_as_they_are():
    lm = with_steps(trained_lm("gpt2"), recorded(sightings=1, most_pieces=8))
    _, counters = answers(lm, TEXTS[:1])
    assert 0 < lm.steps.replays < counters.steps


def test_a_shape_is_captured_when_it_comes_again():
    lm = with_steps(trained_lm("gpt2"), recorded(sightings=3, most_graphs=2))
    answers(lm, ["no"])
    before = lm.steps.captures
    for _ in range(3):
        answers(lm, ["no"])
    assert lm.steps.captures > before
    (room,) = lm.steps._shelf._rooms
    assert len(room.steps) <= 2


@pytest.mark.parametrize("change", ["exchanged", "moved", "in place", "told"])
def test_changed_weights_are_seen(change):
    model, pieces = build_model("llama", vocab_size=len(pieces_of("gpt2"))), pieces_of("gpt2")
    lm = LanguageModel(model, pieces, CPU, "llama", recorded(sightings=1))
    before, _ = answers(lm, TEXTS[:2])
    epoch = lm.steps._shelf.epoch
    with torch.no_grad():
        if change == "exchanged":
            lm.model = build_model("llama", vocab_size=len(pieces), seed=1)
        elif change == "moved":
            for weight in lm.model.parameters():
                weight.data = weight.data * 1.5
        else:
            for weight in lm.model.parameters():
                weight.mul_(1.5)
    if change == "told":
        lm.steps.forget()
    got, _ = answers(lm, TEXTS[:2])
    plain, _ = answers(lm, TEXTS[:2], cuda_graphs=False)
    assert strings(got) == strings(plain) != strings(before)
    assert (lm.steps._shelf.epoch > epoch) == (change != "in place")


@torch.inference_mode()
def test_with_an_adapter():
    model = get_peft_model(build_model("llama"), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)) * 0.1
    model.eval()
    forest, steps = steps_of(5, 3, n_steps=5), recorded(sightings=1)
    expected = run_all(CapturedSteps(), model, forest, KVStore(3))
    with store_of(steps, model, 3, 20) as store:
        for one, other in zip(run_all(steps, model, forest, store), expected, strict=True):
            assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert steps.replays == 5


def test_a_model_that_cannot_be_captured_is_run_as_it_is_w005():
    rope = {"rope_type": "dynamic", "factor": 2.0}  # its positions are read back in every step
    model = build_model("llama", vocab_size=len(pieces_of("gpt2")), rope_scaling=rope)
    lm = LanguageModel(model, pieces_of("gpt2"), CPU, "llama", recorded(sightings=1))
    with pytest.warns(UserWarning, match=r"W008.*cuda_graphs"):
        got, _ = answers(lm, TEXTS[:2])
    again, _ = answers(lm, TEXTS[:2])  # and no second warning
    plain, _ = answers(lm, TEXTS[:2], cuda_graphs=False)
    assert strings(got) == strings(again) == strings(plain)
    assert lm.steps.captures == 0


def test_a_store_comes_back_after_an_error_and_not_after_memory_ran_out(monkeypatch):
    lm = with_steps(trained_lm("gpt2"), recorded(sightings=1))
    answers(lm, TEXTS[:1])
    (room,) = lm.steps._shelf._rooms
    forward = type(lm.model).forward
    for error, stays in ((KeyError("no"), True), (torch.OutOfMemoryError(), False)):

        def fail(*given: Any, error: Exception = error, **options: Any) -> Any:
            monkeypatch.setattr(type(lm.model), "forward", forward)
            raise error

        monkeypatch.setattr(type(lm.model), "forward", fail)
        with pytest.raises(type(error)):
            # A text of another shape, whose steps are not captured.
            answers(lm, [" ".join(TEXTS)])
        assert (room in lm.steps._shelf._rooms) == stays


def test_a_copy_has_nothing_captured():
    lm = with_steps(trained_lm("gpt2"), recorded(sightings=1))
    answers(lm, TEXTS[:1])
    for other in (copy.deepcopy(lm.steps), pickle.loads(pickle.dumps(lm.steps))):
        assert (other.captures, other.replays) == (0, 0)


@pytest.mark.gpu
@torch.inference_mode()
@pytest.mark.parametrize("adapter", [False, True], ids=["whole", "lora"])
def test_cuda_graphs_against_plain_steps(adapter):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    device = torch.device("cuda")
    model = build_model("llama")
    if adapter:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")).eval()
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = torch.randn(weight.shape) * 0.1
    model = model.to(device)
    steps = CapturedSteps(GraphRecorder)
    for _ in range(4):
        for seed in range(3):
            forest = steps_of(seed, 3, n_steps=6)
            expected = run_all(CapturedSteps(lambda _: None), model, forest, KVStore(3), device)
            with store_of(steps, model, 3, 20, device) as store:
                for one, other in zip(run_all(steps, model, forest, store, device), expected, strict=True):
                    assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert steps.captures and steps.replays > 3 * 6 * 2


@pytest.mark.gpu
def test_answers_on_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    cpu = trained_lm("gpt2")
    lm = LanguageModel(copy.deepcopy(cpu.model).to("cuda"), cpu.pieces, torch.device("cuda"), "trained")
    for texts in (TEXTS, TEXTS[:1], TEXTS):
        plain, _ = answers(lm, texts, cuda_graphs=False)
        for _ in range(4):
            assert strings(answers(lm, texts)[0]) == strings(plain)
    captured = lm.steps.captures
    assert captured and lm.steps.replays > captured
    for weight in lm.model.parameters():
        weight.data = weight.data * 1.2
    assert strings(answers(lm, TEXTS)[0]) == strings(answers(lm, TEXTS, cuda_graphs=False)[0])


def test_more_answers_than_pieces_wait_at_one_node():
    """Labels with the same words share their question, and so the node at which their answers wait."""
    lm = trained_lm("llama")
    labels = {f"L{number}": "person" for number in range(10)}
    scheme = PaDeLLM(build_english_prompt_v1())
    request = Request(TEXTS[0], scheme.trunk(TEXTS[0]), scheme.ask(labels, TEXTS[0]), scheme.follow)
    options = Decoding(constrain=False, max_answer=4)
    (expected,) = decode(lm, [request], options, Counters())
    lm = copy.copy(lm)
    lm.steps = recorded(sightings=1)
    (got,) = decode(lm, [request], options, Counters())
    assert [one.answer.text for one in got] == [one.answer.text for one in expected]
    assert lm.steps.replays


def test_what_is_no_number_does_not_stay_in_a_room():
    shelf = Shelf(1 << 30)
    first = FixedStore(shelf)
    for _ in range(4):
        first.join()
    first.reserve(10)
    room, (slot, place), one = first.room, torch.tensor([[3], [5]]), torch.ones(1, 1, 2)
    first.write(0, slot, place, one * torch.nan, one * torch.nan, 10)
    first.close()
    second = FixedStore(shelf)
    second.join()
    second.reserve(10)
    for _ in range(3):
        second.join()
    keys, values = second.write(0, slot, place - 5, one, one, 10)
    assert second.room is room
    assert keys.isfinite().all() and values.isfinite().all()


def test_what_is_forgotten_is_not_run_again_by_a_store_in_use():
    lm = trained_lm("llama")
    steps, tree = recorded(sightings=1), Tree()
    tree.add(ROOT, [5, 6, 7])
    with torch.inference_mode(), store_of(steps, lm.model, 1, 20) as store:
        steps.run(lm.model, [Stretch(tree, 0, 3, 0)], [2], store=store, device=CPU)
        assert steps.replays == 1
        steps.forget()
        assert not store.room.steps
        steps.run(lm.model, [Stretch(tree, 0, 3, 0)], [2], store=store, device=CPU)
        assert steps.replays == steps.captures == 1
