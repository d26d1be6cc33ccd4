"""Exactly which pieces are targets, how much each counts, and that the loss is the paper's."""

import functools
import random

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.training.batching import rows_of
from spacy_padellm.training.copying import MOST_WORDS, CopyTask, draw_copy_task
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.targets import TargetTree, grow_gold
from spacy_padellm.types import Finish, Mention
from tests.checkpoints import GOLD, LABELS, TOKENIZERS, build_lm, build_model, gold_mentions, pieces_of

SCHEME = PaDeLLM(build_english_prompt_v1())
WITH_FORMS = [scheme(build_english_prompt_v1()) for scheme in (OneStep, AutoRegStruct, AutoRegAug)]


def spelled(target: TargetTree, pieces: Pieces) -> dict[tuple[str, str], float]:
    """(everything up to the target, the target) to its weight, as strings."""
    names = pieces.tokenizer.convert_ids_to_tokens
    text_of = lambda ids: "".join(names(ids)).replace("Ġ", " ").replace("Ċ", "\n")  # noqa: E731
    found = {}
    for node, piece, weight in zip(target.nodes, target.pieces, target.weights, strict=True):
        path = [target.tree.pieces[at] for at in target.tree.path(int(node))]
        found[text_of(path), text_of([int(piece)])] = float(weight)
    assert len(found) == len(target.nodes)
    return found


@pytest.mark.parametrize("weighting", ["tree", "sequence"])
def test_targets_by_hand(weighting):
    """One label with two mentions, one without: the count "2", both markers, both mentions and their ends; "0" and its
    end. Neither text nor label question is a target."""
    pieces = pieces_of("gpt2")
    cuts = [pieces.tokenizer.convert_ids_to_tokens(list(cut)) for cut in pieces.encode(["\n<mention 1>", "Japan", "a"])]
    assert cuts == [["Ċ", "<", "mention", "Ġ1", ">"], ["Japan"], ["a"]]
    shared = ["\n", "<", "mention"]
    gold = [Mention("LOC", "Japan", 1), Mention("LOC", "a", 2)]
    target = grow_gold(SCHEME, {"LOC": "x", "PER": "y"}, "a", gold, pieces, weighting=weighting)

    loc, per = "text:\na\nentity type:\nx\n\n<num>", "text:\na\nentity type:\ny\n\n<num>"
    m = 2.0 if weighting == "sequence" else 1.0
    end = "<|endoftext|>"
    expected = {(loc, "2"): m}
    before = loc + "2"
    for name in shared:
        expected[before, name] = m
        before += name
    expected |= {
        (before, " 1"): 1.0,
        (before + " 1", ">"): 1.0,
        (before + " 1>", "Japan"): 1.0,
        (before + " 1>Japan", end): 1.0,
        (before, " 2"): 1.0,
        (before + " 2", ">"): 1.0,
        (before + " 2>", "a"): 1.0,
        (before + " 2>a", end): 1.0,
        (per, "0"): 1.0,
        (per + "0", end): 1.0,
    }
    assert spelled(target, pieces) == expected
    assert target.weight == sum(expected.values())


def sequences_of(text: str, gold: list[Mention], pieces: Pieces) -> list[tuple[list[int], list[int]]]:
    """The paper's training data: for each mention one sequence text, label, count, marker, mention, end, for each
    label without mentions one of text, label, "0", end. Each with the places (from 1) of its targets."""
    sequences = []
    trunk = [*pieces.start, *(piece for cut in pieces.encode(["text:\n", text, "\n"]) for piece in cut)]
    for label, words in LABELS.items():
        strings = [mention.string for mention in gold if mention.label == label]
        asked = [*trunk, *pieces.encode([f"entity type:\n{words}\n\n<num>"])[0]]
        answers = [
            [str(len(strings)), f"\n<mention {ordinal}>", string] for ordinal, string in enumerate(strings, 1)
        ] or [["0"]]
        for answer in answers:
            ids = [*asked, *(piece for cut in pieces.encode(answer) for piece in cut), pieces.end]
            sequences.append((ids, list(range(len(asked), len(ids)))))
    return sequences


def slow_loss(model, sequences, once: bool) -> torch.Tensor:
    """Sum of the cross-entropies of all targets; `once`: of a target in several sequences only the first counts."""
    total, seen = torch.zeros(()), set()
    for ids, places in sequences:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        for place in places:
            if not once or tuple(ids[: place + 1]) not in seen:
                seen.add(tuple(ids[: place + 1]))
                total = total - torch.log_softmax(logits[place - 1], dim=-1)[ids[place]]
    return total


@pytest.mark.parametrize("tokenizer", ["fresh", "llama"])
@pytest.mark.parametrize("weighting", ["tree", "sequence"])
def test_the_loss_is_that_of_one_sequence_per_mention(tokenizer, weighting):
    """With the same weights: "sequence" as the paper counts, "tree" each target once. Loss and gradients."""
    pieces = pieces_of(tokenizer)
    lm = build_lm("llama", pieces, initializer_range=0.1)
    own = build_model("llama", vocab_size=len(pieces), attention="eager", initializer_range=0.1)
    lm.model.train(), own.train()
    picked = [0, 2, 3]
    trees = [grow_gold(SCHEME, LABELS, GOLD[at][0], gold_mentions()[at], pieces, weighting=weighting) for at in picked]
    sequences = [sequences_of(GOLD[at][0], gold_mentions()[at], pieces) for at in picked]
    weight = sum(tree.weight for tree in trees)
    if weighting == "sequence":
        assert weight == sum(len(places) for document in sequences for _, places in document)
    got = row_loss(lm, trees) / weight
    expected = sum(slow_loss(own, document, weighting == "tree") for document in sequences) / weight
    assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.backward(), expected.backward()
    wanted = {name: weight.grad for name, weight in own.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in wanted.values())
    assert largest > 0.05
    for name, weight in lm.model.named_parameters():
        assert_close(weight.grad, wanted[name], rtol=0, atol=1e-5 * max(1.0, largest))


def test_the_weightings_differ_where_a_label_has_several_mentions():
    pieces = pieces_of("gpt2")
    text, gold = GOLD[0][0], gold_mentions()[0]
    tree, sequence = (grow_gold(SCHEME, LABELS, text, gold, pieces, weighting=name) for name in ("tree", "sequence"))
    assert set(tree.weights) == {1.0} and set(sequence.weights) == {1.0, 3.0}
    assert tree.tree.pieces == sequence.tree.pieces
    assert np.array_equal(tree.nodes, sequence.nodes) and np.array_equal(tree.pieces, sequence.pieces)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_what_is_trained_is_what_is_asked(tokenizer):
    """The tree of training is, path by path, the tree that decoding grows with a perfect model."""
    lm = build_lm("llama", pieces_of(tokenizer))
    text, gold = GOLD[3][0], gold_mentions()[3]
    trained = grow_gold(SCHEME, LABELS, text, gold, lm.pieces).tree
    script = lambda branch: SCHEME.answer(branch, gold)  # noqa: E731
    request = Request(text, SCHEME.trunk(text), SCHEME.ask(LABELS), SCHEME.follow, (), script)
    counters = Counters()
    decode(lm, [request], Decoding(), counters)
    assert counters.pieces == len(trained)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("scheme", WITH_FORMS, ids=lambda scheme: type(scheme).__name__)
def test_what_is_trained_is_what_is_asked_in_every_scheme(tokenizer, scheme):
    """Piece by piece: the targets are the answers, cut by their forms, and their ends."""
    lm = build_lm("llama", pieces_of(tokenizer))
    text, gold = 'Ann (PER) left "Japan"', [Mention("PER", "Ann", 1, start=0), Mention("LOC", '"Japan"', 1, start=15)]
    target = grow_gold(scheme, LABELS, text, gold, lm.pieces)
    script = lambda branch: scheme.answer(branch, gold)  # noqa: E731
    request = Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow, (), script)
    counters = Counters()
    (answers,) = decode(lm, [request], Decoding(), counters)
    assert counters.pieces == len(target.tree)
    assert {answer.finish for _, answer in answers} == {Finish.END}
    paths = {
        (*(target.tree.pieces[at] for at in target.tree.path(int(node))), int(piece))
        for node, piece in zip(target.nodes, target.pieces, strict=True)
    }
    trunk = [*lm.pieces.start, *(piece for cut in lm.pieces.encode(scheme.trunk(text)) for piece in cut)]
    for branch, answer in answers:
        cut = lm.pieces.answer(branch.form.cut(answer.text))
        assert (*trunk, *lm.pieces.question(branch.question), *cut, lm.pieces.end) in paths
    assert target.weight == len(paths)


def test_labels_with_the_same_words_share_their_question():
    pieces = pieces_of("gpt2")
    gold = [Mention("A", "a", 1)]
    target = grow_gold(SCHEME, {"A": "x", "B": "x"}, "a", gold, pieces)
    found = spelled(target, pieces)
    asked = "text:\na\nentity type:\nx\n\n<num>"
    assert found[asked, "1"] == found[asked, "0"] == 1.0


def test_no_labels_no_targets():
    target = grow_gold(SCHEME, {}, "a", [], pieces_of("gpt2"))
    assert (len(target.nodes), len(target.pieces), target.weight) == (0, 0, 0.0)


@pytest.mark.parametrize("weighting", ["tree", "sequence"])
def test_a_copy_task_adds_its_answer_without_an_end(weighting):
    pieces = pieces_of("gpt2")
    plain = spelled(grow_gold(SCHEME, LABELS, "a b", [], pieces, weighting=weighting), pieces)
    task = CopyTask("repeat:\na", "b2")
    target = grow_gold(SCHEME, LABELS, "a b", [], pieces, weighting=weighting, copy_task=task)
    asked = "text:\na b\nrepeat:\na"
    assert spelled(target, pieces) == plain | {(asked, "b"): 1.0, (asked + "b", "2"): 1.0}


def test_a_copy_task_repeats_what_follows_a_word():
    text = "one  two, three"
    borders = [(0, 3), (5, 8), (8, 9), (10, 15)]
    random.seed(0)
    tasks = {draw_copy_task(text, borders) for _ in range(100)}
    assert tasks == {
        CopyTask("repeat:\none", "two, three"),
        CopyTask("repeat:\ntwo", ", three"),
        CopyTask("repeat:\n,", "three"),
    }
    assert draw_copy_task("one", [(0, 3)]) is None
    assert draw_copy_task("", []) is None
    words = " ".join("abcdefghijklmnop")
    borders = [(2 * place, 2 * place + 1) for place in range(16)]
    lengths = {len(draw_copy_task(words, borders).answer.split()) for _ in range(200)}
    assert lengths == set(range(1, MOST_WORDS + 1))


def trees_of(sizes: list[int]) -> list[TargetTree]:
    """Trees with texts of so many words."""
    pieces = pieces_of("gpt2")
    return [grow_gold(SCHEME, {"X": "x"}, " ".join("a" * size), [], pieces) for size in sizes]


@pytest.mark.parametrize("max_row", [1, 40, 64, 100, 10_000])
def test_rows_are_bounded_and_hold_every_tree_once(max_row):
    trees = trees_of([30, 1, 17, 5, 5, 40, 2, 9])
    rows = rows_of(trees, max_row)
    for row in rows:
        padded = max(len(target.tree) for target in row) * len(row)
        assert padded <= max_row or len(row) == 1
    assert sorted(id(tree) for row in rows for tree in row) == sorted(id(tree) for tree in trees)
    if max_row == 10_000:
        assert len(rows) == 1
    if max_row == 1:
        assert len(rows) == len(trees)


def test_no_trees_no_rows():
    assert rows_of([], 100) == []


def test_the_loss_of_several_rows_is_that_of_one():
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    trees = [
        grow_gold(SCHEME, LABELS, text, gold, lm.pieces) for (text, _), gold in zip(GOLD, gold_mentions(), strict=True)
    ]
    largest = max(len(tree.tree) for tree in trees)
    rows = {max_row: rows_of(trees, max_row) for max_row in (1, 2 * largest, 10_000)}
    assert [len(parts) for parts in rows.values()] == [4, 2, 1]
    losses, gradients = [], []
    for parts in rows.values():
        lm.model.zero_grad()
        loss = sum(row_loss(lm, part) for part in parts)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(lm.model.lm_head.weight.grad.clone())
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert_close(loss, losses[0], rtol=1e-5, atol=0)
        assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-4)


def test_the_order_of_trees_does_not_matter():
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    trees = trees_of([3, 12, 7])
    assert_close(row_loss(lm, trees), row_loss(lm, trees[::-1]), rtol=1e-5, atol=0)


def test_weights_weigh():
    """A target of weight 3 counts three times."""
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    (one,) = trees_of([3])
    parts = [
        row_loss(lm, [TargetTree(one.tree, one.nodes[at], one.pieces[at], one.weights[at])])
        for at in (slice(0, 1), slice(1, None))
    ]
    heavy = one.weights.copy()
    heavy[0] = 3.0
    got = row_loss(lm, [TargetTree(one.tree, one.nodes, one.pieces, heavy)])
    assert_close(got, 3 * parts[0] + parts[1], rtol=1e-5, atol=0)


def test_a_text_that_does_not_fit_the_model_is_refused():
    """Before the tree is built for a text that alone is too long, and for an answer that goes beyond."""
    pieces = pieces_of("gpt2")
    grow = functools.partial(grow_gold, SCHEME, {"LOC": "x"}, "a b", [Mention("LOC", "a b")], pieces)
    depth = max(grow().tree.depths) + 1
    assert len(grow(max_positions=depth).tree) == len(grow().tree)
    for limit in (3, depth - 1):
        with pytest.raises(ValueError, match=rf"P023.*model has {limit}\."):
            grow(max_positions=limit)


@pytest.mark.parametrize("weighting", ["tree", "sequence"])
@pytest.mark.parametrize("count_weight", [3.0, 0.5, 0.0])
def test_count_weight_weighs_the_pieces_of_counts(weighting, count_weight):
    """Those only: neither markers nor mentions, and not what ends a count, be it the end piece or a marker."""
    pieces = pieces_of("gpt2")
    assert [len(cut) for cut in pieces.encode(["0", "12"])] == [1, 2]
    gold = [Mention("LOC", "a", ordinal) for ordinal in range(1, 13)]
    grow = functools.partial(grow_gold, SCHEME, {"LOC": "x", "PER": "y"}, "a " * 12, gold, pieces, weighting=weighting)
    plain, weighted = (spelled(grow(count_weight=weight), pieces) for weight in (1.0, count_weight))
    changed = {target: weighted[target] / plain[target] for target in plain if weighted[target] != plain[target]}
    loc, per = (f"text:\n{'a ' * 12}\nentity type:\n{words}\n\n<num>" for words in "xy")
    assert changed == dict.fromkeys([(loc, "1"), (loc + "1", "2"), (per, "0")], count_weight)
    assert plain.keys() == weighted.keys()


@pytest.mark.parametrize("scheme", WITH_FORMS, ids=lambda scheme: type(scheme).__name__)
def test_schemes_without_counts_have_none_to_weigh(scheme):
    grow = functools.partial(
        grow_gold, scheme, LABELS, "Japan", [Mention("LOC", "Japan", 1, start=0)], pieces_of("gpt2")
    )
    assert np.array_equal(grow().weights, grow(count_weight=5.0).weights)
