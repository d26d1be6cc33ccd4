import json

import spacy
from spacy.tokens import Doc, Span

from spacy_padellm.data.checks import examine

NLP = spacy.blank("en")


def gold(text, *spans, ents=(), key="sc"):
    doc = NLP.make_doc(text)
    doc.spans[key] = [Span(doc, *span) for span in spans]
    doc.set_ents([Span(doc, *span) for span in ents], default="outside")
    return doc


def test_counts_by_label():
    docs = [gold("a b c", (0, 1, "X"), (1, 2, "X"), (2, 3, "Y")), gold("d", (0, 1, "X")), gold("e")]
    found = examine(docs, NLP)
    assert (found.docs, found.tokens, found.mentions, found.without_mentions) == (3, 5, 4, 1)
    assert found.labels == {"X": 3, "Y": 1}
    assert found.docs_with == {"X": 2, "Y": 1}
    assert found.most == {"X": 2, "Y": 1}


def test_limit():
    docs = [gold("a b c", (0, 1, "X"), (1, 2, "X"), (2, 3, "X"))]
    assert examine(docs, NLP, limit=2).over_limit == 1
    assert examine(docs, NLP, limit=3).over_limit == 0


def test_blank_edges():
    doc = Doc(NLP.vocab, words=["a", "\n", "b"], spaces=[False, False, False])
    doc.spans["sc"] = [Span(doc, 0, 2, "X"), Span(doc, 1, 3, "X"), Span(doc, 0, 3, "X")]
    assert examine([doc], NLP).blank_edges == 2


def test_mentions_across_sentences():
    doc = gold("a b c d", (0, 2, "X"), (1, 3, "X"), (2, 4, "X"))
    assert examine([doc], NLP).cross_sentence == 0
    for token in doc:
        token.is_sent_start = token.i in (0, 2)
    assert examine([doc], NLP).cross_sentence == 1


def test_unaligned_with_the_tokens_of_prediction():
    doc = Doc(NLP.vocab, words=["Dance", "2", "times"], spaces=[True, False, False])
    doc.spans["sc"] = [Span(doc, 0, 2, "X"), Span(doc, 0, 1, "X"), Span(doc, 0, 3, "X")]
    assert examine([doc], NLP).unaligned == 1


def test_nested_mentions_that_ents_lack():
    found = examine([gold("a b", (0, 2, "X"), (0, 1, "Y"), ents=[(0, 2, "X")])], NLP)
    assert (found.mentions, found.nested) == (2, 1)


def test_entities_where_there_is_no_group():
    doc = NLP.make_doc("a b")
    doc.ents = [Span(doc, 0, 1, "X")]
    assert examine([doc], NLP).labels == {"X": 1}
    assert examine([NLP.make_doc("a")], NLP).unannotated == 1
    assert examine([gold("a", (0, 1, "X"), key="other")], NLP, spans_key="other").labels == {"X": 1}


def test_texts():
    found = examine([gold("a"), gold("A "), gold(""), gold("much longer"), gold("longer")], NLP, keep=2)
    assert (found.doubles, found.blank_texts) == (1, 1)
    assert [text.begins for text in found.longest] == ["much longer", "longer"]
    assert json.loads(json.dumps(found.figures()))["longest"][0] == {
        "characters": 11,
        "tokens": 2,
        "begins": "much longer",
    }
    assert "texts" not in found.figures()
