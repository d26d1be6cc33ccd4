import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span, SpanGroup

from spacy_padellm.metrics.mistakes import mistakes
from spacy_padellm.metrics.pairs import Found, Said
from spacy_padellm.pipeline.outcomes import (
    entities_of,
    is_annotated,
    labels_of,
    mentions_of,
    outcome_of,
    said_in,
)
from spacy_padellm.types import Mention
from tests.pipeline.makers import answering, blank, examples

NLP = spacy.blank("en")


def doc_with(text, *, group=None, ents=None, **attrs):
    """Spans are (start, end, label) in tokens."""
    doc = NLP.make_doc(text)
    if group is not None:
        doc.spans["sc"] = SpanGroup(doc, name="sc", spans=[Span(doc, *span) for span in group], attrs=attrs)
    if ents is not None:
        doc.set_ents([Span(doc, *span) for span in ents], default="outside")
    return doc


def test_mentions_of_a_group():
    doc = doc_with(
        "Ann met Bo", group=[(2, 3, "A"), (0, 1, "A"), (0, 3, "B")], scores=[0.5, 0.25, 1], ordinals=[2, 1, 0]
    )
    assert mentions_of(doc, "sc") == (
        Found(0, 10, "B", 1.0, 0),
        Found(0, 3, "A", 0.25, 1),
        Found(8, 10, "A", 0.5, 2),
    )


def test_entities_where_there_is_no_group():
    doc = doc_with("Ann sat", ents=[(0, 1, "A")])
    assert [tuple(one) for one in mentions_of(doc, "sc")] == [(0, 3, "A", None, None, None)]
    assert mentions_of(doc_with("Ann sat", ents=[(0, 1, "A")], group=[]), "sc") == ()
    assert mentions_of(doc, "other") == entities_of(doc)


def test_a_mention_given_twice_is_one():
    assert len(mentions_of(doc_with("Ann sat", group=[(0, 1, "A"), (0, 1, "A"), (0, 1, "B")]), "sc")) == 2


def test_attributes_out_of_step_tell_nothing():
    """As after a pipe that removed a span from the group."""
    doc = doc_with("Ann met Bo", group=[(0, 1, "A")], scores=[0.5, 0.25], ordinals=[1, 2])
    assert mentions_of(doc, "sc") == (Found(0, 3, "A"),)


def test_annotation():
    assert not is_annotated(NLP.make_doc("Ann"), "sc")
    assert is_annotated(doc_with("Ann", ents=[]), "sc")
    assert is_annotated(doc_with("Ann", group=[]), "sc")
    assert not is_annotated(doc_with("Ann", group=[]), "other")


def test_labels_are_those_of_pipes_that_find_mentions():
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "ORG", "pattern": "Acme"}])
    nlp.add_pipe("tagger").add_label("NN")
    nlp.add_pipe("ner").add_label("PER")
    nlp.add_pipe("spancat").add_label("LOC")
    nlp.add_pipe("padellm_ner").add_label("MISC")
    assert labels_of(nlp) == {"PER", "ORG", "LOC", "MISC"}


def test_another_text_is_refused():
    with pytest.raises(ValueError, match=r"\[P153\].*'Ann sat'.*'ann sat'"):
        outcome_of([NLP.make_doc("Ann sat")], [NLP.make_doc("ann sat")])


# What a padellm_ner pipe leaves behind

SCRIPT = {
    ("movie", 0): "3",
    ("movie", 1): "Jaws",
    ("movie", 2): "Jaws 2",
    ("movie", 3): "Jaws",
    ("city", 0): "1",
    ("city", 1): "Paris",
}
TEXT = "Jaws in Paris, I mean Paris"


@pytest.fixture(scope="module")
def answered():
    """A document in which one string is not in the text, one is there once too few, and one once more."""
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    with pytest.MonkeyPatch.context() as patch, answering(patch, SCRIPT), pytest.warns(UserWarning, match="W001"):
        return nlp(TEXT)


def test_what_was_answered_stands_beside_the_spans(answered):
    assert mentions_of(answered, "sc") == (
        Found(0, 4, "movie", 0.5, 1, 0.375),
        Found(8, 13, "city", 0.5, 1, 0.375),
        Found(22, 27, "city", 0.5, 0, 0.375),
    )
    assert said_in(answered, "sc") == Said(
        {"city": 1, "movie": 3}, (Mention("movie", "Jaws 2", 2),), (Mention("movie", "Jaws", 3),)
    )
    assert said_in(doc_with("Ann", group=[]), "sc") is None
    assert said_in(answered, "other") is None


def test_it_survives_a_file(answered, tmp_path):
    DocBin(docs=[answered], store_user_data=True).to_disk(tmp_path / "a.spacy")
    (again,) = DocBin().from_disk(tmp_path / "a.spacy").get_docs(NLP.vocab)
    assert mentions_of(again, "sc") == mentions_of(answered, "sc")
    assert said_in(again, "sc") == said_in(answered, "sc") is not None


def test_strings_and_mistakes_follow_what_was_answered(answered):
    gold = doc_with(TEXT, ents=[(0, 1, "movie"), (2, 3, "city")])
    outcome = outcome_of([gold], [answered])
    (pair,) = outcome.spans
    assert dict(pair.predicted_strings) == {("movie", "Jaws"): 2, ("movie", "Jaws 2"): 1, ("city", "Paris"): 1}
    assert [(one.found.start, one.category) for one in mistakes(pair, pair)] == [(22, "filled")]
    assert outcome.ents[0].gold == pair.gold


def test_a_document_without_text_says_nothing():
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    doc = next(iter(nlp.pipe([Doc(nlp.vocab)])))
    assert said_in(doc, "sc") == Said({})
