import warnings

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_padellm.data.docs import Summary, to_doc_bin, to_docs, trim
from spacy_padellm.data.records import Gold, Record

NLP = spacy.blank("en")


def convert(text, *spans, tokens=None, **options):
    summary = Summary()
    record = Record(text, tuple(Gold(*span) for span in spans), tokens)
    (doc,) = to_docs([record], NLP, summary=summary, **options)
    return doc, summary


def found(spans):
    return [(span.text, span.label_) for span in spans]


def test_text_and_tokens_are_those_of_prediction():
    text = "  Ann's  dog\n barks. "
    doc, _ = convert(text, (2, 5, "PER"))
    assert doc.text == text
    assert [token.text for token in doc] == [token.text for token in NLP.make_doc(text)]
    assert found(doc.ents) == found(doc.spans["sc"]) == [("Ann", "PER")]


@pytest.mark.parametrize(("start", "end"), [(3, 6), (2, 6), (3, 8), (0, 9)])
def test_blank_edges_are_trimmed(start, end):
    text = "   Ann   b"
    doc, summary = convert(text, (start, end, "PER"))
    assert found(doc.ents) == [("Ann", "PER")]
    assert summary.trimmed == ((start, end) != (3, 6))


def test_trim():
    assert trim(" a b\n", 0, 5) == (1, 4)
    assert trim("   ", 0, 3) == (3, 3)


def test_blank_mentions_are_dropped_and_counted():
    doc, summary = convert("a   b", (1, 4, "X"), (2, 2, "X"))
    assert not doc.spans["sc"]
    assert (summary.mentions, summary.kept, summary.blank, summary.trimmed) == (2, 0, 2, 0)


# One token to spaCy, two mentions to whoever annotated it.
UNALIGNED = ("see Sexy Dance 2times here", (4, 16, "movie"), (16, 21, "type"))


def test_split_cuts_the_token_in_the_gold_document_only():
    doc, summary = convert(*UNALIGNED)
    assert found(doc.ents) == [("Sexy Dance 2", "movie"), ("times", "type")]
    assert doc.text == UNALIGNED[0]
    assert (summary.unaligned, summary.kept, summary.skipped) == (2, 2, 0)
    example = Example(NLP.make_doc(doc.text), doc)
    assert len(example.predicted) == len(doc) - 1
    assert len(example.reference.ents) == 2


def test_split_in_several_places_of_a_token():
    doc, summary = convert("xaabbx y", (1, 3, "A"), (3, 5, "B"))
    assert [token.text for token in doc] == ["x", "aa", "bb", "x", "y"]
    assert doc.text == "xaabbx y"
    assert summary.unaligned == 2


def test_expand_grows_to_whole_tokens():
    doc, summary = convert(*UNALIGNED, on_unaligned="expand")
    assert found(doc.spans["sc"]) == [("Sexy Dance 2times", "movie"), ("2times", "type")]
    assert found(doc.ents) == [("Sexy Dance 2times", "movie")]
    assert (summary.unaligned, summary.kept, summary.nested) == (2, 2, 1)


def test_expand_may_make_two_mentions_one():
    doc, summary = convert("abc d", (0, 1, "X"), (1, 2, "X"), on_unaligned="expand")
    assert found(doc.spans["sc"]) == [("abc", "X")]
    assert (summary.mentions, summary.kept, summary.repeated) == (2, 1, 1)


def test_skip_drops():
    doc, summary = convert(*UNALIGNED, on_unaligned="skip")
    assert found(doc.spans["sc"]) == []
    assert (summary.unaligned, summary.skipped, summary.kept) == (2, 2, 0)


def test_policy_that_does_not_exist():
    with pytest.raises(ValueError, match=r"\[P107\] .*'contract'.*split, expand, skip"):
        convert("a", on_unaligned="contract")


def test_nested_and_crossing_mentions():
    text = "Bank of China and Hong Kong"
    spans = [(8, 13, "LOC"), (0, 13, "ORG"), (8, 27, "X"), (18, 27, "LOC")]
    doc, summary = convert(text, *spans)
    assert found(doc.spans["sc"]) == [
        ("Bank of China", "ORG"),
        ("China and Hong Kong", "X"),
        ("China", "LOC"),
        ("Hong Kong", "LOC"),
    ]
    # The longest in tokens stays: "China and Hong Kong", which overlaps all the others.
    assert found(doc.ents) == [("China and Hong Kong", "X")]
    assert (summary.kept, summary.nested) == (4, 3)


def test_same_place_under_two_labels_and_twice():
    doc, summary = convert("Ann", (0, 3, "B"), (0, 3, "A"), (0, 3, "A"))
    assert found(doc.spans["sc"]) == [("Ann", "A"), ("Ann", "B")]
    assert found(doc.ents) == [("Ann", "A")]
    assert (summary.mentions, summary.kept, summary.repeated, summary.nested) == (3, 2, 1, 1)


def test_spans_key():
    doc, _ = convert("Ann", (0, 3, "A"), spans_key="gold")
    assert "sc" not in doc.spans
    assert found(doc.spans["gold"]) == [("Ann", "A")]


def test_tokens_of_the_file():
    given = {"tokens": ("小", "明", "在", "家")}
    doc, _ = convert("小明在家", (0, 2, "人"), use_tokens=True, **given)
    assert [token.text for token in doc] == list(given["tokens"])
    doc, summary = convert("小明在家", (0, 2, "人"), **given)
    assert found(doc.ents) == [("小明", "人")]
    assert summary.unaligned == 1


@pytest.mark.parametrize("text", ["", " \n"])
def test_blank_text_is_kept_and_counted(text):
    doc, summary = convert(text)
    assert doc.text == text
    assert (summary.docs, summary.blank_texts) == (1, 1)


def test_tokens_outside_mentions_are_annotated_as_outside():
    doc, _ = convert("Ann sat")
    assert doc.has_annotation("ENT_IOB")
    assert [token.ent_iob_ for token in doc] == ["O", "O"]


def test_doc_bin_round_trip(tmp_path):
    records = [Record(UNALIGNED[0], tuple(Gold(*span) for span in UNALIGNED[1:])), Record("none"), Record("")]
    doc_bin, summary = to_doc_bin(records, NLP)
    doc_bin.to_disk(tmp_path / "a.spacy")
    docs = list(DocBin().from_disk(tmp_path / "a.spacy").get_docs(NLP.vocab))
    assert [doc.text for doc in docs] == [record.text for record in records]
    assert found(docs[0].spans["sc"]) == found(docs[0].ents) == [("Sexy Dance 2", "movie"), ("times", "type")]
    assert summary.figures()["docs"] == 3
    assert summary.labels == {"movie": 1, "type": 1}


def test_warns_once_with_counts_and_only_if_mentions_were_left_out():
    records = [Record("a   b", (Gold(1, 4, "X"), Gold(0, 1, "X"), Gold(0, 1, "X")))]
    with pytest.warns(UserWarning, match=r"\[W041\] 2 of 3 mentions .*1 blank, 1 given twice") as caught:
        to_doc_bin(records, NLP)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_doc_bin([Record("Ann ", (Gold(0, 4, "X"),))], NLP)
