"""Packed equals alone: logits and gradients of a forest are those of each path, run through the model's own attention.

The slow form: every path is a sequence of its own, without a cache, through "eager" attention.
"""

import copy
import functools
import itertools
import random
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.testing import assert_close

from spacy_padellm.engine import attention
from spacy_padellm.engine.attention import ForestRow, forest_attention, forward, run_row
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.rooms import FixedStore, Shelf
from spacy_padellm.tree.packing import RowShape, Stretch, pack, pack_padded
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from tests.checkpoints import MODELS, build_model

VOCABULARY = 64
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


@pytest.fixture(params=list(MODELS))
def models(request):
    """A family's model with the forest's attention, and the same weights with its own."""
    built = [build_model(request.param, attention=attention) for attention in ("spacy_padellm_forest", "eager")]
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
@pytest.mark.parametrize("store", [KVStore, functools.partial(FixedStore, Shelf(1 << 30))], ids=["grows", "stays"])
def test_a_lone_document_needs_no_gathering_and_gets_the_same_bits(models, store, monkeypatch):
    """It stands in the second slot; the first is another's."""
    tree, other, _ = forest()
    got: list[list[Tensor]] = []
    for views in (True, False):
        if not views:
            monkeypatch.setattr(attention, "_lone_document", lambda row: None)
        held = store()
        held.join(), held.join()
        run_row(models[0], [Stretch(other, 0, 3, 0)], store=held, device=CPU, logits_at=torch.arange(3))
        edges = [0, 7, 8, len(tree)]
        stretches = [Stretch(tree, start, stop, 1) for start, stop in itertools.pairwise(edges)]
        everywhere = [torch.arange(stretch.stop - stretch.start) for stretch in stretches]
        assert all((attention._lone_document(pack([stretch])) is not None) is views for stretch in stretches)
        got.append(
            [
                run_row(models[0], [stretch], store=held, device=CPU, logits_at=places)
                for stretch, places in zip(stretches, everywhere, strict=True)
            ]
        )
    assert all(torch.equal(one, other) for one, other in zip(*got, strict=True))
    assert_near(torch.cat(got[0]), alone(models[1], tree))


def test_padding_and_company_are_gathered():
    trees = forest()
    both = [Stretch(tree, 0, 3, slot) for slot, tree in enumerate(trees[:2])]
    assert attention._lone_document(pack(both)) is None
    shape = RowShape(n_pieces=8, n_documents=1, n_queries=8, n_keys=16, n_awaited=1)
    assert attention._lone_document(pack_padded(both[:1], [0], shape, scratch=16)) is None


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
