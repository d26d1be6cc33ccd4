"""One text for each category, and what must hold for every text."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.metrics.mistakes import CATEGORIES, FORMS, mistake_counts, mistakes
from spacy_padellm.metrics.pairs import Pair, Said
from tests.metrics.makers import TEXT, found, pair, said

A, B = "A", "B"
ANN, MET, BO, ROME, OTHER_BO, BO_IN_ROME = (0, 3), (4, 7), (8, 10), (14, 18), (22, 24), (8, 18)


def at(place, label=A, *ordinal):
    return (*place, label, *ordinal)


def categories(whole, view=None):
    return [(one.side, one.found.start, one.category) for one in mistakes(view or whole, whole)]


ONE_OF_EACH = {
    "nothing": (pair([at(ANN)], [at(ANN)]), []),
    "count_over": (pair([at(ANN)], [at(ANN), at(ROME)]), [("false", 14, "count_over")]),
    # The wrong mention lies under the same wrong count, so it is part of it.
    "count_under": (
        pair([at(ANN), at(BO)], [at(ROME)]),
        [("missed", 0, "count_under"), ("missed", 8, "count_under"), ("false", 14, "count_under")],
    ),
    "mention": (pair([at(ANN)], [at(ROME)]), [("missed", 0, "mention"), ("false", 14, "mention")]),
    "boundary": (pair([at(BO)], [at(BO_IN_ROME)]), [("missed", 8, "boundary"), ("false", 8, "boundary")]),
    # Two labels swapped: all counts are right.
    "label": (
        pair([at(ANN, A), at(BO, B)], [at(ANN, B), at(BO, A)]),
        [("missed", 0, "label"), ("missed", 8, "label"), ("false", 0, "label"), ("false", 8, "label")],
    ),
    "place": (pair([at(BO)], [at(OTHER_BO)]), [("missed", 8, "place"), ("false", 22, "place")]),
    # The second of two mentions was answered as a string that the text does not have.
    "unplaced": (
        pair([at(ANN), at(ROME)], [at(ANN, A, 1)], said({A: 2}, unplaced=[(A, "Roma", 2)])),
        [("missed", 14, "unplaced")],
    ),
    # One was counted and answered; the other occurrence was filled in.
    "filled": (pair([at(BO)], [at(BO, A, 1), at(OTHER_BO, A, 0)], said({A: 1})), [("false", 22, "filled")]),
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_one_of_each(name):
    whole, expected = ONE_OF_EACH[name]
    assert categories(whole) == expected


def test_lost_to_an_overlap():
    whole = pair([at(BO), at(BO_IN_ROME, B)], [at(BO), at(BO_IN_ROME, B)])
    flat_gold, flat_predicted = found(at(BO)), found(at(BO_IN_ROME, B))
    assert categories(whole) == []
    assert categories(whole, Pair(TEXT, flat_gold, flat_predicted)) == [
        ("missed", 8, "overlap"),
        ("false", 8, "mention"),
    ]
    # Without anything that overlaps it, it was not lost to an overlap.
    assert categories(whole, Pair(TEXT, flat_gold, ())) == [("missed", 8, "mention")]


def test_rules_come_before_counts():
    """What a rule did to a right answer is no mistake of the count, though the count is wrong too."""
    whole = pair([at(BO), at(ANN)], [at(BO, A, 1), at(OTHER_BO, A, 0)], said({A: 1}))
    assert categories(whole) == [("missed", 0, "count_under"), ("false", 22, "filled")]
    whole = pair([at(BO)], [at(BO), at(ANN), at(BO_IN_ROME, B)])
    view = Pair(TEXT, found(at(BO)), found(at(ANN), at(BO_IN_ROME, B)))
    assert categories(whole, view)[0] == ("missed", 8, "overlap")


def test_counts_are_the_models_where_it_tells_them():
    lost = pair([at(ANN), at(ROME)], [at(ANN, A, 1)], said({A: 2}, surplus=[(A, "Ann", 2)]))
    assert categories(lost) == [("missed", 14, "mention")]
    assert categories(pair([at(ANN), at(ROME)], [at(ANN)])) == [("missed", 14, "count_under")]


def test_index_counts_within_the_label():
    unplaced = said({A: 1, B: 2}, unplaced=[(B, "Roma", 2)])
    whole = pair([at(ANN, B), at(BO, A), at(ROME, B)], [at(ANN, B, 1)], unplaced)
    assert categories(whole) == [("missed", 8, "mention"), ("missed", 14, "unplaced")]


def test_the_nearer_likeness_wins():
    # The same place under another label, and an overlap under the same one.
    whole = pair([at(BO, A)], [at(BO, B), at(BO_IN_ROME, A)])
    assert [one.form for one in mistakes(whole, whole)] == ["label", "boundary", "label"]


def test_a_right_mention_is_nobodys_likeness():
    # Gold has B at that place too, so A was not mistaken for it.
    whole = pair([at(BO, A), at(BO, B)], [at(BO, B), at(ANN, A)])
    assert [one.form for one in mistakes(whole, whole)] == ["mention", "mention"]


def test_tables():
    whole, _ = ONE_OF_EACH["count_under"]
    relabelled = pair([at(ANN, A)], [at(ANN, B)])
    figures = mistake_counts([*mistakes(whole, whole), *mistakes(relabelled, relabelled)])
    assert (figures["missed"]["total"], figures["false"]["total"]) == (3, 2)
    assert list(figures["missed"]["categories"]) == list(CATEGORIES)
    assert list(figures["missed"]["forms"]) == list(FORMS)
    nonzero = {
        side: {name: n for kind in ("categories", "forms") for name, n in figures[side][kind].items() if n}
        for side in figures
    }
    assert nonzero == {
        "missed": {"count_under": 3, "mention": 2, "label": 1},
        "false": {"count_under": 1, "count_over": 1, "mention": 1, "label": 1},
    }


# Every text

steady = settings(max_examples=300, deadline=None, database=None, derandomize=True)

PLACES = st.integers(0, 5).flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, 7)))
MENTIONS = st.tuples(PLACES, st.sampled_from([A, B]))
COUNTS = st.dictionaries(st.sampled_from([A, B]), st.integers(0, 4))
UNPLACED = st.lists(st.tuples(st.sampled_from([A, B]), st.just("z"), st.integers(1, 4)), max_size=3)


def without_overlaps(mentions):
    chosen = []
    for place, label in mentions:
        if all(place[1] <= other[0] or other[1] <= place[0] for other, _ in chosen):
            chosen.append((place, label))
    return chosen


@st.composite
def texts(draw):
    """What is compared, and the whole of it: the same, or the part without overlaps."""
    gold = draw(st.lists(MENTIONS, max_size=5, unique=True))
    # Often what gold has, and often as many: otherwise nearly all counts would be wrong.
    likely = st.one_of(MENTIONS, st.sampled_from(gold)) if gold else MENTIONS
    predicted = draw(st.lists(likely, min_size=len(gold), max_size=5, unique=True))
    ordinals = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5))
    counts = draw(st.one_of(st.just(Counter(label for _, label in gold)), COUNTS))
    answered = said(dict(counts), draw(UNPLACED)) if draw(st.booleans()) else None
    asked = [at(*one, ordinal if answered else None) for one, ordinal in zip(predicted, ordinals, strict=False)]
    whole = pair([at(*one) for one in gold], asked, answered, text="abababa")
    if draw(st.booleans()):
        return whole, whole
    sides = [[at(*one) for one in without_overlaps(side)] for side in (gold, predicted)]
    return pair(*sides, text="abababa"), whole


def spelled_out(one, view, whole):
    """The specification: every category that holds by its own words, each of them excluding those above it."""
    missed, mention = one.side == "missed", one.found
    gold = [m for m in view.gold if m.key not in view.predicted_keys]
    false = [m for m in view.predicted if m.key not in view.gold_keys]
    wrong = false if missed else gold
    ofs = [m for m in wrong if m.label == mention.label]
    index = [m.key for m in whole.gold if m.label == mention.label].index(mention.key) + 1 if missed else 0
    lost = [(m.label, m.ordinal) for m in whole.said.unplaced] if whole.said else []
    string = view.text[mention.start : mention.end]
    filled = [(m.label, view.text[m.start : m.end]) for m in whole.predicted if m.ordinal == 0]
    crossing = [m for m in view.predicted if set(range(m.start, m.end)) & set(range(mention.start, mention.end))]
    delta = whole.predicted_counts[mention.label] - whole.gold_counts[mention.label]
    holds = {
        "overlap": missed and mention.key in {m.key for m in whole.predicted} and bool(crossing),
        "filled": not missed and (mention.label, string) in filled,
        "count_over": delta > 0,
        "count_under": delta < 0,
        "unplaced": missed and (mention.label, index) in lost,
        "label": any(m[:2] == mention[:2] and m.label != mention.label for m in wrong),
        "boundary": any(m in crossing or set(range(*m[:2])) & set(range(*mention[:2])) for m in ofs),
        "place": any(view.text[m.start : m.end] == string for m in ofs),
        "mention": True,
    }
    return next(name for name, holding in holds.items() if holding)


@steady
@given(texts())
def test_every_mistake_has_exactly_one_category(sides):
    view, whole = sides
    found = list(mistakes(view, whole))
    assert {one.found.key for one in found if one.side == "missed"} == view.gold_keys - view.predicted_keys
    assert {one.found.key for one in found if one.side == "false"} == view.predicted_keys - view.gold_keys
    assert len({(one.side, one.found.key) for one in found}) == len(found)
    figures = mistake_counts(found)
    for side, keys in (
        ("missed", view.gold_keys - view.predicted_keys),
        ("false", view.predicted_keys - view.gold_keys),
    ):
        assert figures[side]["total"] == len(keys)
        assert sum(figures[side]["categories"].values()) == sum(figures[side]["forms"].values()) == len(keys)
    for one in found:
        assert one.category == spelled_out(one, view, whole)


@steady
@given(texts())
def test_labels_boundaries_and_places_are_wrong_on_both_sides(sides):
    """A form that is about the other side never stands alone."""
    view, whole = sides
    found = list(mistakes(view, whole))
    for form in ("label", "boundary", "place"):
        for one in found:
            if one.form == form:
                assert any(other.side != one.side for other in found)


def test_what_was_not_sure_enough_is_missed_by_the_threshold():
    """Whatever the count: a rule left it out after the model had answered."""
    below = found((8, 10, "A"), (14, 18, "B"))
    both = pair([(0, 3, "A"), (8, 10, "A")], [(0, 3, "A", 1)], Said({"A": 3}, below=below))
    (mistake,) = mistakes(both, both)
    assert (mistake.side, mistake.form, mistake.category) == ("missed", "threshold", "threshold")
    # Another label below the threshold at the same place is no reason.
    (other,) = mistakes(pair([(0, 3, "A")], []), pair([(0, 3, "A")], [], Said({"A": 1}, below=found((0, 3, "B")))))
    assert other.form == "mention"
