"""Swapped mentions: other words in their places, everything else as it was."""

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_padellm.training.augment import build_mention_swap_v1

NLP = spacy.blank("en")
TEXTS = [
    ("Play Blue Moon by Elvis, please!", [(5, 14, "SONG"), (18, 23, "ARTIST")]),
    ("I didn't like  Hey Jude (1968)", [(15, 23, "SONG"), (25, 29, "YEAR")]),
    ("nothing here", []),
    ("Sing Let It Be by The Beatles from 1970", [(5, 14, "SONG"), (18, 29, "ARTIST"), (35, 39, "YEAR")]),
    ("İstanbul by They", [(0, 8, "SONG"), (12, 16, "ARTIST")]),
]


def example_of(text: str, spans: list[tuple[int, int, str]], *, as_group: bool = True, as_ents: bool = True) -> Example:
    reference = NLP.make_doc(text)
    made = [reference.char_span(start, end, label) for start, end, label in spans]
    assert None not in made
    if as_ents:
        reference.set_ents(made)
    if as_group:
        reference.spans["sc"] = made
    return Example(NLP.make_doc(text), reference)


def examples(**form: bool) -> list[Example]:
    return [example_of(text, spans, **form) for text, spans in TEXTS]


def swap_all(given: list[Example], **settings) -> list[Example]:
    swap = build_mention_swap_v1(**settings)
    made = []
    for example in given:
        made += swap(NLP, example)
    assert len(made) == len(given)
    return made


def outside(doc: Doc) -> list[str]:
    """The runs of text between the mentions."""
    ends = [(ent.start_char, ent.end_char) for ent in doc.ents]
    starts = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(doc.text)]
    return [doc.text[start:stop] for start, stop in zip(starts, stops, strict=True)]


def ents(doc: Doc) -> list[tuple[int, int, str]]:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


@pytest.mark.parametrize("seed", range(8))
def test_labels_and_everything_outside_mentions_stay(seed):
    for round_ in range(4):
        given = examples()
        made = swap_all(given * (round_ + 1), share=1.0, final_share=1.0, noise=0.0, seed=seed)
        for before, after in zip(given * (round_ + 1), made, strict=True):
            old, new = before.reference, after.reference
            assert [ent.label_ for ent in new.ents] == [ent.label_ for ent in old.ents]
            assert outside(new) == outside(old)
            assert all(ent.text.strip() == ent.text != "" for ent in new.ents)
            assert [(span.start, span.end, span.label_) for span in new.spans["sc"]] == [
                (ent.start, ent.end, ent.label_) for ent in new.ents
            ]
            assert after.predicted.text == new.text
            assert not after.predicted.ents


def test_the_given_example_is_not_changed():
    given = examples()
    swap_all(given, share=1.0, noise=1.0)
    for example, (text, spans) in zip(given, TEXTS, strict=True):
        assert (example.reference.text, ents(example.reference)) == (text, spans)


def test_without_share_and_noise_nothing_changes():
    for (text, spans), after in zip(TEXTS, swap_all(examples(), share=0.0, final_share=0.0, noise=0.0), strict=True):
        assert (after.reference.text, ents(after.reference)) == (text, spans)


def test_a_text_that_did_not_change_keeps_its_other_annotation():
    """A changed one cannot: tags and categories were made for other words."""
    given = examples()
    for example in given:
        example.reference.cats["asked"] = 1.0
    kept = swap_all(given, share=0.0, final_share=0.0, noise=0.0)
    assert [after is before for after, before in zip(kept, given, strict=True)] == [True] * len(given)
    assert not any(after.reference.cats for after in swap_all(given, share=0.0, final_share=0.0, noise=1.0))


def changed(made: list[Example], given: list[Example]) -> float:
    """Share of the mentions that are other words now."""
    pairs = [
        (new.text, old.text)
        for after, before in zip(made, given, strict=True)
        for new, old in zip(after.reference.ents, before.reference.ents, strict=True)
    ]
    return sum(new != old for new, old in pairs) / len(pairs)


def test_share_says_how_many_mentions_are_swapped():
    given = examples() * 40
    low, high = (changed(swap_all(given, share=share, final_share=share, noise=0.0), given) for share in (0.2, 1.0))
    assert 0.02 < low < 0.25 < 0.4 < high


def test_the_share_settles():
    given = examples() * 60
    made = swap_all(given, share=1.0, final_share=0.0, settle_after=200, noise=0.0)
    assert changed(made[:50], given[:50]) > changed(made[100:150], given[100:150]) > 0
    assert changed(made[200:], given[200:]) == 0


def test_noise_changes_words_around_mentions():
    given = examples() * 20
    still, noisy = (swap_all(given, share=0.0, final_share=0.0, noise=noise) for noise in (0.0, 0.3))
    assert all(
        outside(after.reference) == outside(before.reference) for after, before in zip(still, given, strict=True)
    )
    moved = [outside(after.reference) != outside(before.reference) for after, before in zip(noisy, given, strict=True)]
    assert 0.3 < sum(moved) / len(moved)
    for after, before in zip(noisy, given, strict=True):
        assert [ent.label_ for ent in after.reference.ents] == [ent.label_ for ent in before.reference.ents]
        assert [ent.text.lower() for ent in after.reference.ents] == [ent.text.lower() for ent in before.reference.ents]


def test_noise_lowers_the_case_of_mentions_alone():
    given = [example_of("Play All The Songs by Elvis", [(22, 27, "ARTIST")])] * 10
    made = swap_all(given, share=0.0, final_share=0.0, noise=1.0)
    assert all(example.reference.ents[0].text == "elvis" for example in made)
    assert any(not outside(example.reference)[0].islower() for example in made)


def test_the_seed_decides():
    texts = [[example.reference.text for example in swap_all(examples() * 5, seed=seed)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_closed_labels_get_mentions_that_were_seen_open_ones_also_new_ones():
    """Two fixed phrases against a new title in every text."""
    times, titles = ("noon", "midnight"), [f"Film{place}" for place in range(120)]
    closed = [
        example_of(
            f"{place} at {times[place % 2]}", [(len(f"{place} at "), len(f"{place} at {times[place % 2]}"), "T")]
        )
        for place in range(120)
    ]
    open_ = [example_of(f"see {title}", [(4, 4 + len(title), "F")]) for title in titles]
    late, new = (
        [example.reference.ents[0].text for example in swap_all(given, share=1.0, final_share=1.0, noise=0.0)]
        for given in (closed, open_)
    )
    assert sum(text in times for text in late[40:]) / len(late[40:]) > 0.8
    assert 0.2 < sum(text in titles for text in new) / len(new) < 0.8


def test_overlapping_mentions_stay():
    reference = NLP.make_doc("The Beatles song")
    reference.spans["sc"] = [reference.char_span(0, 11, "A"), reference.char_span(4, 11, "B")]
    example = Example(NLP.make_doc(reference.text), reference)
    assert swap_all([example], share=1.0) == [example]


def test_texts_without_annotation_stay():
    example = Example(NLP.make_doc("Play Blue Moon"), NLP.make_doc("Play Blue Moon"))
    assert swap_all([example], share=1.0, noise=1.0) == [example]


def test_entities_are_taken_where_there_is_no_group():
    given = examples(as_group=False) * 10
    made = swap_all(given, share=1.0, final_share=1.0)
    assert changed(made, given) > 0.3
    assert all("sc" not in example.reference.spans for example in made)


def test_the_group_is_the_one_named():
    given = examples(as_ents=False) * 5
    assert swap_all(given, share=1.0, spans_key="other") == given


@pytest.mark.parametrize(
    "setting, value",
    [("share", -0.1), ("share", 1.1), ("final_share", 2), ("noise", -1), ("settle_after", 0)],
)
def test_settings_that_make_no_sense(setting, value):
    with pytest.raises(ValueError, match=rf"P001.*'{setting}'"):
        build_mention_swap_v1(**{setting: value})


def test_one_text_annotated_in_two_ways():
    """The second way brings a label of its own, which must be known when its mention is swapped."""
    given = [example_of("we saw Ada", [(7, 10, "PER")]), example_of("we saw Ada", [(7, 10, "SHIP")])]
    made = swap_all(given, share=1.0, final_share=1.0)
    assert [span.label_ for example in made for span in example.reference.ents] == ["PER", "SHIP"]
