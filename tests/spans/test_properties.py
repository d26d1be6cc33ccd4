"""What must hold for every text and every prediction."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.spans.occurrences import Borders, occurrences
from spacy_padellm.spans.resolve import POLICIES, flat, one_label_per_string, place
from spacy_padellm.types import Mention

steady = settings(max_examples=150, deadline=None, database=None, derandomize=True)

# Few characters, so that strings repeat, nest and cross; among them blanks, an astral one, a combining one and "İ".
CHARACTERS = "ab 𝔹\u0301İ哈\n"
LABELS = ("X", "Y", "Z")


@st.composite
def tokenised(draw):
    """A text and the offsets of its tokens. Tokens touch, or have blanks between them, or are blank themselves."""
    tokens = draw(st.lists(st.text(CHARACTERS, min_size=1, max_size=3), max_size=12))
    text, offsets = "", []
    for token in tokens:
        offsets.append((len(text), len(text) + len(token)))
        text += token + draw(st.sampled_from(["", "", " "]))
    return text, offsets


def slices(text):
    """Strings of the text, and strings that may not be in it."""
    inside = st.tuples(st.integers(0, len(text)), st.integers(0, 4)).map(lambda at: text[at[0] : at[0] + at[1]])
    return st.one_of(inside, st.text(CHARACTERS, max_size=3))


@st.composite
def predicted(draw, *, located=False):
    text, offsets = draw(tokenised())
    starts = [None, *range(len(text) + 1)] if located else [None]
    mention = st.builds(
        Mention,
        st.sampled_from(LABELS),
        slices(text),
        st.integers(1, 9),
        st.floats(0, 1, allow_nan=False),
        start=st.sampled_from(starts),
    )
    mentions = draw(st.lists(mention, max_size=10))
    return text, offsets, sorted(mentions, key=lambda mention: mention.label)


def spelled_out(text, offsets, string):
    """The specification of `occurrences`: try every pair of tokens, keep what does not overlap, from the left."""
    string = string.strip()
    worded = [(start, end) for start, end in offsets if text[start:end].strip()]
    pairs = [(start, end) for start, _ in worded for _, end in worded if start < end]
    found = []
    for start, end in sorted(pairs):
        if text[start:end] == string and (not found or start >= found[-1][1]):
            found.append((start, end))
    return found


@steady
@given(st.data())
def test_occurrences_equal_the_specification(data):
    text, offsets = data.draw(tokenised())
    string = data.draw(slices(text))
    assert occurrences(text, Borders.from_tokens(text, offsets), string) == spelled_out(text, offsets, string)


@steady
@given(st.booleans().flatmap(lambda located: predicted(located=located)), st.sampled_from(POLICIES))
def test_places_are_on_borders_once_and_every_mention_is_accounted_for(prediction, policy):
    text, offsets, mentions = prediction
    borders = Borders.from_tokens(text, offsets)
    placement = place(mentions, text, borders, policy)
    keys = [(span.start, span.end, span.mention.label) for span in placement.spans]
    assert len(set(keys)) == len(keys)
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)
    for span in placement.spans:
        assert span.start in borders.starts and span.end in borders.ends
        assert text[span.start : span.end] == span.mention.string.strip()
        assert not text[span.start].isspace() and not text[span.end - 1].isspace()
    own = len(placement.spans) - placement.filled
    assert own + len(placement.unplaced) + len(placement.surplus) == len(mentions)


@steady
@given(predicted())
def test_policies_widen_each_other(prediction):
    text, offsets, mentions = prediction
    borders = Borders.from_tokens(text, offsets)
    found = {
        policy: {(s.start, s.end, s.mention.label) for s in place(mentions, text, borders, policy).spans}
        for policy in POLICIES
    }
    assert found["first"] <= found["strict"] <= found["ordered"] <= found["all"]


@steady
@given(predicted())
def test_flat_never_overlaps_and_leaves_no_room(prediction):
    text, offsets, mentions = prediction
    spans = place(mentions, text, Borders.from_tokens(text, offsets)).spans
    chosen = flat(spans)
    assert all(left.end <= right.start for left, right in pairwise(chosen))
    for span in spans:
        assert any(span.start < other.end and other.start < span.end for other in chosen)


@steady
@given(st.data())
def test_ordered_gives_gold_back_where_every_occurrence_is_annotated(data):
    text, offsets = data.draw(tokenised())
    annotated = data.draw(st.dictionaries(slices(text).map(str.strip), st.sets(st.sampled_from(LABELS), min_size=1)))
    gold = sorted(
        (start, end, label)
        for string, labels in annotated.items()
        for start, end in spelled_out(text, offsets, string)
        for label in labels
    )
    mentions = [Mention(label, text[start:end]) for label in LABELS for start, end, its in gold if its == label]
    borders = Borders.from_tokens(text, offsets)
    for policy in ("ordered", "strict", "all"):
        placement = place(mentions, text, borders, policy)
        assert sorted((s.start, s.end, s.mention.label) for s in placement.spans) == gold
        assert (placement.filled, placement.unplaced, placement.surplus) == (0, (), ())


@steady
@given(predicted())
def test_one_label_per_string_leaves_one_label_and_every_string(prediction):
    _, _, mentions = prediction
    kept, dropped = one_label_per_string(mentions)
    pairs = {(mention.string.strip(), mention.label) for mention in kept}
    assert len(pairs) == len({string for string, _ in pairs}) == len({mention.string.strip() for mention in mentions})
    assert len(kept) + len(dropped) == len(mentions)
    assert one_label_per_string(kept) == (kept, ())
