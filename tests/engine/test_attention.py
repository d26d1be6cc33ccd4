"""Packed equals alone: logits and gradients of a forest are those of each path, run through the model's own attention.

The slow form: every path is a sequence of its own, without a cache, through "eager" attention.
"""

import copy
import random
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.testing import assert_close

from spacy_padellm.engine import attention, blocks
from spacy_padellm.engine.attention import ForestRow, forest_attention, forward, run_row
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.rooms import FixedStore, Shelf
from spacy_padellm.tree.packing import Stretch, pack
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from tests.checkpoints import MODELS, build_model

VOCABULARY = 64
NOWHERE = (*torch.zeros(2, 0, dtype=torch.int64), *torch.zeros(2, 0, 1, 2))
"""A write of no nodes: slots, places, keys and values."""

CPU = torch.device("cpu")


def random_tree(seed: int, *, trunk: int, labels: int) -> Tree:
    """A text, questions that begin alike, and answers with questions under them."""
    draw = random.Random(seed)
    tree = Tree()
    text = tree.add(ROOT, draw.choices(range(VOCABULARY), k=trunk))
    shared = draw.choices(range(VOCABULARY), k=2)
    for _ in range(labels):
        label = tree.add(text, [*shared, *draw.choices(range(VOCABULARY), k=draw.randint(1, 3))])
        for _ in range(draw.randint(0, 3)):
            tree.add(label, [shared[0], *draw.choices(range(VOCABULARY), k=draw.randint(1, 4))])
    return tree


def forest() -> list[Tree]:
    """Documents of different size, the longest path (17) longer than the window of `mistral-window` (5)."""
    return [random_tree(1, trunk=9, labels=4), random_tree(2, trunk=2, labels=1), random_tree(3, trunk=5, labels=3)]


def alone(model: nn.Module, tree: Tree) -> Tensor:
    """Logits [nodes, V]: each path from the first piece to a last one as a sequence of its own."""
    logits: dict[int, Tensor] = {}
    for last in set(range(len(tree))) - set(tree.parents):
        path = tree.path(last)
        pieces = torch.tensor([[tree.pieces[node] for node in path]])
        logits.update(zip(path, model(input_ids=pieces, use_cache=False).logits[0], strict=True))
    return torch.stack([logits[node] for node in range(len(tree))])


def packed(model: nn.Module, trees: list[Tree]) -> list[Tensor]:
    """Logits [nodes, V] of each tree, all in one row."""
    stretches = [Stretch(tree, 0, len(tree), slot) for slot, tree in enumerate(trees)]
    n_nodes = [len(tree) for tree in trees]
    logits = run_row(model, stretches, store=None, device=CPU, logits_at=torch.arange(sum(n_nodes)))
    return list(logits.split(n_nodes))


def assert_near(got: Tensor, expected: Tensor) -> None:
    """Equal to 2e-5 of the largest value."""
    assert_close(got, expected, rtol=0, atol=2e-5 * max(1.0, expected.abs().max().item()))


@pytest.fixture(
    params=[*((family, blocks.SIZE) for family in MODELS), ("llama", 3), ("mistral-window", 2)],
    ids=lambda param: f"{param[0]} {param[1]}",
)
def models(request, monkeypatch):
    """A family's model with the forest's attention, and the same weights with its own. Some with blocks so small that
    every row has several."""
    family, size = request.param
    monkeypatch.setattr(attention, "blocks_of", partial(blocks.blocks_of, size=size))
    built = [build_model(family, attention=kind) for kind in ("spacy_padellm_forest", "eager")]
    for name, weight in built[0].state_dict().items():
        assert torch.equal(weight, built[1].state_dict()[name])
    return built


def with_adapter(model: nn.Module) -> nn.Module:
    """The model in a LoRA adapter that already does something."""
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear")
    adapted = get_peft_model(copy.deepcopy(model), lora)
    draw = torch.Generator().manual_seed(5)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=draw) * 0.1
    return adapted


@torch.inference_mode()
def test_logits(models):
    ours, own = models
    for tree, logits in zip(forest(), packed(ours, forest()), strict=True):
        assert_near(logits, alone(own, tree))


@pytest.mark.parametrize("adapter", [False, True], ids=["whole", "lora"])
def test_loss_and_gradients_in_train_mode(models, adapter):
    ours, own = (with_adapter(model) if adapter else model for model in models)
    trees = forest()
    draw = torch.Generator().manual_seed(7)
    targets = [torch.randint(VOCABULARY, (len(tree),), generator=draw) for tree in trees]
    weights = [torch.rand(len(tree), generator=draw) for tree in trees]

    def loss(logits: list[Tensor]) -> Tensor:
        parts = [
            nn.functional.cross_entropy(row, target, reduction="none")
            for row, target in zip(logits, targets, strict=True)
        ]
        return sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True)) / 20

    ours.train(), own.train()
    logits = packed(ours, trees), [alone(own, tree) for tree in trees]
    for got, expected in zip(*logits, strict=True):
        assert_near(got, expected)
    losses = loss(logits[0]), loss(logits[1])
    assert_near(losses[0], losses[1])
    for one in losses:
        one.backward()
    expected = {name: weight.grad for name, weight in own.named_parameters() if weight.requires_grad}
    got = {name: weight.grad for name, weight in ours.named_parameters() if weight.requires_grad}
    assert got.keys() == expected.keys()
    assert any(gradient.abs().max() > 0.01 for gradient in expected.values())
    for name, gradient in expected.items():
        assert_near(got[name], gradient)


@torch.inference_mode()
@pytest.mark.parametrize("chunk", [2, 7])
def test_cached_steps(models, chunk):
    """Nodes fed in chunks, documents leaving as they end: the slots of those that left are given back."""
    ours, own = models
    trees = forest()
    store = KVStore(len(trees))
    fed = [0] * len(trees)
    slots = list(range(len(trees)))
    got: list[list[Tensor]] = [[] for _ in trees]
    while live := [doc for doc, tree in enumerate(trees) if fed[doc] < len(tree)]:
        if len(live) < store.n_slots:
            before = store.leave([slot for doc, slot in enumerate(slots) if slot >= 0 and doc not in live])
            held = {slot: doc for doc, slot in enumerate(slots)}
            slots = [before.index(slots[doc]) if doc in live else -1 for doc in range(len(trees))]
            assert [slots[held[slot]] for slot in before] == list(range(len(live)))
        # Every other step leaves the first document out, so that slots are not always all of them in order.
        live = live[::-1] if sum(fed) % 2 else live[-2:]
        stretches = [Stretch(trees[doc], fed[doc], min(len(trees[doc]), fed[doc] + chunk), slots[doc]) for doc in live]
        sizes = [stretch.stop - stretch.start for stretch in stretches]
        logits = run_row(ours, stretches, store=store, device=CPU, logits_at=torch.arange(sum(sizes)))
        for doc, part, size in zip(live, logits.split(sizes), sizes, strict=True):
            got[doc].append(part)
            fed[doc] += size
    assert store.n_slots < len(trees)
    for tree, parts in zip(trees, got, strict=True):
        assert_near(torch.cat(parts), alone(own, tree))


@torch.inference_mode()
def test_the_window_is_counted_in_tree_positions():
    """Two nodes apart in number but near in position see each other; the model's own window says the same."""
    ours, own = (build_model("mistral-window", attention=attention) for attention in ("spacy_padellm_forest", "eager"))
    wide = build_model("mistral-window", attention="eager", sliding_window=None)
    tree = Tree()
    trunk = tree.add(ROOT, range(1, 4))
    for label in range(10, 30):
        tree.add(trunk, (label, label + 1))
    tree.add(len(tree) - 1, range(40, 46))
    assert_near(packed(ours, [tree])[0], alone(own, tree))
    assert not torch.allclose(alone(own, tree)[-1], alone(wide, tree)[-1], atol=1e-2)


@pytest.mark.parametrize("kind", ["llama", "mistral-window"])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_blocks_of_queries_change_nothing(kind, size, monkeypatch):
    """Logits and gradients are those of all queries at once, whole trees and in steps; far fewer keys are looked at."""
    model = build_model(kind)
    trees = [random_tree(4, trunk=30, labels=5), random_tree(5, trunk=25, labels=2)]
    looked: list[int] = []
    attend = nn.functional.scaled_dot_product_attention

    def watched(queries: Tensor, keys: Tensor, values: Tensor, **settings) -> Tensor:
        looked.append(queries.shape[2] * keys.shape[2])
        return attend(queries, keys, values, **settings)

    def outcome() -> tuple[list[Tensor], list[Tensor], int]:
        looked.clear()
        model.zero_grad()
        whole = packed(model, trees)
        torch.cat(whole).square().mean().backward()
        pairs = sum(looked)
        gradients = [weight.grad.clone() for weight in model.parameters()]
        store, steps = KVStore(2), []
        with torch.inference_mode():
            for start, stop in ((0, 20), (20, 32), (32, 99)):
                stretches = [
                    Stretch(tree, min(start, len(tree)), min(stop, len(tree)), slot) for slot, tree in enumerate(trees)
                ]
                n_pieces = sum(stretch.stop - stretch.start for stretch in stretches)
                steps.append(run_row(model, stretches, store=store, device=CPU, logits_at=torch.arange(n_pieces)))
        return [*whole, *steps], gradients, pairs

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", watched)
    monkeypatch.setattr(attention, "blocks_of", lambda mask: blocks.WHOLE)
    expected = outcome()
    monkeypatch.setattr(attention, "blocks_of", partial(blocks.blocks_of, size=size))
    got = outcome()
    for ours, theirs in zip((*got[0], *got[1]), (*expected[0], *expected[1]), strict=True):
        assert_near(ours, theirs)
    assert got[2] < 0.7 * expected[2]


def test_a_block_looks_no_further_than_its_last_query_may_see():
    """600 nodes of one text behind 5 that are fed, in blocks of 256: what a block sees lies in one piece."""
    tree = Tree()
    tree.add(ROOT, [1] * 605)
    row = ForestRow(pack([Stretch(tree, 5, 605, 0)]), store=KVStore(1), device=CPU)
    found = list(row.blocks_within(None, torch.float32))
    assert [block.keys for block, _ in found] == [slice(261), slice(517), slice(605)]
    bias = torch.zeros(605, 605).masked_fill(torch.ones(605, 605).triu(1).bool(), -torch.inf)[5:]
    for block, part in found:
        assert torch.equal(part[0, 0], bias[block.queries, block.keys])


@torch.inference_mode()
def test_consecutive_slots_are_read_in_place_and_others_as_copies():
    store = KVStore(4)
    trees = [random_tree(seed, trunk=3, labels=1) for seed in range(4)]
    key, value = torch.randn(2, 8, 1, 2).unbind()
    for slots, in_place in (([1, 2], True), ([2, 3], True), ([0, 2], False), ([2, 1], False)):
        row = ForestRow(pack([Stretch(trees[slot], 0, 4, slot) for slot in slots]), store=store, device=CPU)
        keys, values = row.keys_and_values(0, key, value)
        for got, given, kept in zip((keys, values), (key, value), store.write(0, *NOWHERE, 4), strict=True):
            assert torch.equal(got, given.view(2, 4, 1, 2).transpose(1, 2))
            assert (got.untyped_storage().data_ptr() == kept.untyped_storage().data_ptr()) is in_place


@torch.inference_mode()
def test_logits_come_only_from_the_places_asked_for():
    model = build_model("llama")
    tree = forest()[0]
    stretch = Stretch(tree, 0, len(tree), 0)
    some = run_row(model, [stretch], store=None, device=CPU, logits_at=torch.tensor([4, 2]))
    assert some.shape == (2, VOCABULARY)
    assert_near(some, packed(model, [tree])[0][[4, 2]])


@torch.inference_mode()
def test_every_layer_counts_its_call():
    model = build_model("llama", num_hidden_layers=3)
    tree = forest()[1]
    row = ForestRow(pack([Stretch(tree, 0, len(tree), 0)]), device=CPU)
    forward(model, row, torch.tensor([0]))
    assert row.calls == 3


def test_a_model_without_its_forest_is_refused():
    with pytest.raises(ValueError, match="P021"):
        build_model("llama")(input_ids=torch.tensor([[1, 2]]))


@pytest.mark.parametrize(
    "kind, settings", [("soft-capping", {"softcap": 30.0}), ("attention sinks", {"s_aux": torch.zeros(2)})]
)
def test_a_kind_of_attention_that_is_not_supported_is_refused(kind, settings):
    states = torch.zeros(1, 2, 3, 4)
    tree = Tree()
    tree.add(ROOT, [1, 2, 3])
    row = ForestRow(pack([Stretch(tree, 0, 3, 0)]), device=CPU)
    with pytest.raises(ValueError, match=f"P022.*{kind}"):
        forest_attention(SimpleNamespace(layer_idx=0), states, states, states, None, forest=row, **settings)


def test_a_layer_without_an_index_is_refused():
    states = torch.zeros(1, 2, 3, 4)
    tree = Tree()
    tree.add(ROOT, [1, 2, 3])
    row = ForestRow(pack([Stretch(tree, 0, 3, 0)]), store=KVStore(1), device=CPU)
    with pytest.raises(ValueError, match=r"P022.*without an index.*SimpleNamespace"):
        forest_attention(SimpleNamespace(), states, states, states, None, forest=row)


@torch.inference_mode()
@pytest.mark.parametrize("store", [KVStore, partial(FixedStore, Shelf(1 << 30))], ids=["grows", "stays"])
def test_a_document_alone_needs_no_gathering_and_gets_the_same(models, store, monkeypatch):
    """Its nodes are its queries. It stands in the second slot; the first is another's."""
    tree, other, _ = forest()
    cuts = [0, 7, 8, len(tree)]

    def run() -> list[Tensor]:
        held = store()
        held.join(), held.join()
        run_row(models[0], [Stretch(other, 0, 3, 0)], store=held, device=CPU, logits_at=torch.arange(3))
        return [
            run_row(
                models[0], [Stretch(tree, *ends, 1)], store=held, device=CPU, logits_at=torch.arange(len(range(*ends)))
            )
            for ends in pairwise(cuts)
        ]

    views = run()
    made = ForestRow.__init__

    def gathering(self: ForestRow, *args, **settings) -> None:
        made(self, *args, **settings)
        assert self._alone and self._run is not None
        self._alone, self._run = False, None

    monkeypatch.setattr(ForestRow, "__init__", gathering)
    assert_near(torch.cat(views), torch.cat(run()))
    assert_near(torch.cat(views), alone(models[1], tree))


def test_company_is_gathered():
    trees = forest()
    both = [Stretch(tree, 0, 3, slot) for slot, tree in enumerate(trees[:2])]
    assert not ForestRow(pack(both), store=KVStore(2), device=CPU)._alone
