"""Batches under a budget of pieces: nothing lost, nothing over, in an order that a seed decides."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.training.batcher import PieceBatcher, TreeSize, build_batch_by_pieces_v1
from spacy_padellm.training.targets import grow_gold
from spacy_padellm.types import Mention
from tests.checkpoints import pieces_of

VOCAB = Vocab()


def example(size: int, mentions: Sequence[tuple[int, int, str]] = (), group: str | None = None) -> Example:
    """An example of so many tokens, its mentions given by tokens."""
    gold = Doc(VOCAB, words=["a"] * size)
    spans = [Span(gold, start, end, label) for start, end, label in mentions]
    if group is None:
        gold.set_ents(spans)
    else:
        gold.spans[group] = spans
    return Example(Doc(VOCAB, words=["a"] * size), gold)


def batcher(size: int, **settings: object) -> PieceBatcher:
    """One that counts tokens."""
    settings = {"window": 100, "discard_oversize": False, "seed": 0, **settings}
    return PieceBatcher(size, pieces=lambda one: len(one.reference), **settings)  # type: ignore[arg-type]


def sizes(batches: Iterable[list[Example]]) -> list[list[int]]:
    return [[len(one.reference) for one in batch] for batch in batches]


def test_batches_by_hand():
    examples = [example(size) for size in (3, 8, 1, 4, 7, 2)]
    assert sorted(sizes(batcher(8)(examples))) == [[1, 2, 3], [4], [7], [8]]
    assert sorted(sizes(batcher(8, window=3)(examples))) == [[1, 3], [2, 4], [7], [8]]
    assert sizes(batcher(8)([])) == []


@pytest.mark.parametrize("window", [1, 7, 500])
@pytest.mark.parametrize("size", [40, 100, 10_000])
def test_every_document_once_and_no_batch_over(size: int, window: int):
    examples = [example(1 + place * 13 % 40) for place in range(120)]
    batches = list(batcher(size, window=window)(iter(examples)))
    assert all(sum(each) <= size for each in sizes(batches))
    assert sorted(id(one) for batch in batches for one in batch) == sorted(map(id, examples))
    assert all(each == sorted(each) for each in sizes(batches))


def test_sorting_pads_less_than_chance():
    """What attention computes: each document as long as the longest of its batch."""
    examples = [example(1 + place * 13 % 40) for place in range(200)]
    padded = {
        window: sum(len(each) * max(each) for each in sizes(batcher(200, window=window)(examples)))
        for window in (1, 20, 200)
    }
    own = sum(len(one.reference) for one in examples)
    assert padded[1] == own  # one document a batch
    unsorted = [examples[place : place + 10] for place in range(0, 200, 10)]
    assert own < padded[200] < padded[20] < sum(len(each) * max(each) for each in sizes(unsorted))
    assert padded[200] < 1.1 * own


def test_the_seed_decides_the_order_and_every_pass_has_another():
    examples = [example(1 + place % 9) for place in range(60)]
    one, same, other = batcher(20, seed=1), batcher(20, seed=1), batcher(20, seed=2)
    first, again, differing = (list(each(examples)) for each in (one, same, other))
    assert first == again
    assert first != differing
    second = list(one(examples))
    assert second == list(same(examples)) != first
    ordered = sizes(first)
    assert ordered != sorted(ordered)
    # Documents of one size do not always meet the same others.
    assert {frozenset(map(id, batch)) for batch in first} != {frozenset(map(id, batch)) for batch in second}


@pytest.mark.parametrize("discard", [False, True])
def test_oversized_documents_w042(discard: bool):
    examples = [example(size) for size in (2, 30, 3, 11, 10)]
    made = batcher(10, discard_oversize=discard)
    treated = "are left out" if discard else "have a batch each"
    told = rf"\[W042\] 2 of the first 5 .* than a batch of 10 pieces .*largest has 30\), and {treated}"
    with pytest.warns(UserWarning, match=told):
        batches = sizes(made(examples))
    assert sorted(batches) == ([[2, 3], [10]] if discard else [[2, 3], [10], [11], [30]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(sizes(made(examples))) == len(batches)


def test_the_estimate_by_hand():
    size = TreeSize(2.0, 30.0, 5.0, "sc")
    assert size(example(4)) == 38
    assert size(example(4, [(0, 1, "X"), (2, 4, "Y")])) == 30 + 2 * (4 + 3) + 5 * 2
    assert size(example(4, [(0, 3, "X"), (2, 4, "Y")], group="sc")) == 30 + 2 * (4 + 5) + 5 * 2
    assert size(example(4, [(0, 3, "X")], group="other")) == 38


def test_settings_reach_the_estimate():
    examples = [example(10, [(0, 1, "X")]), example(10, [(0, 1, "X")], group="mine")]
    one = {"size": 21, "per_token": 1.0, "per_doc": 0.0, "per_mention": 0.0}

    def count(**settings: object) -> int:
        return len(list(build_batch_by_pieces_v1(**{**one, **settings})(examples)))

    # Tokens and one mention: the other one is in a group of which nobody was told.
    assert count() == 1
    assert count(size=20) == count(per_token=1.1) == count(per_doc=1.0) == count(per_mention=1.0) == 2
    assert count(spans_key="mine") == 2
    assert count(spans_key="mine", size=22) == 1


def test_the_estimate_is_near_the_trees():
    """With settings that fit the tokenizer: here a token of the text is a piece or two."""
    pieces = pieces_of("gpt2")
    scheme, labels = PaDeLLM(build_english_prompt_v1()), {"X": "x", "Y": "y"}
    grow = lambda text, gold: len(grow_gold(scheme, labels, text, gold, pieces).tree)  # noqa: E731
    per_doc = grow("a", [])
    estimate = TreeSize(1.0, per_doc - 1, 4.0, "sc")
    for words in (5, 20, 60):
        text = " ".join("a" * words)
        spans = [(place, place + 1, "X") for place in range(0, words, 5)]
        gold = [Mention("X", "a", ordinal) for ordinal in range(1, len(spans) + 1)]
        # "a" and " a" are one piece each.
        assert estimate(example(words, spans)) == pytest.approx(grow(text, gold), rel=0.25)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 0), ("window", 0), ("seed", -1), ("per_token", -1.0), ("per_doc", -0.1), ("per_mention", "4")],
)
def test_numbers_out_of_range_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'"):
        build_batch_by_pieces_v1(**{setting: value})  # type: ignore[arg-type]
