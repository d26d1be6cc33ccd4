"""Documents of benchmarks: any format of the package, whatever of tokens it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpora import read_corpus
from benchmarks.documents import labels_of, read_documents
from tests.benchmarks.documents import CHINESE, ENGLISH, write_documents

ASSETS = Path(__file__).parents[2] / "project" / "assets" / "snips"


def test_documents_are_read_in_text_order_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = write_documents(tmp_path, ENGLISH)
    documents = read_documents(path)
    assert [doc.text.string for doc in documents] == ["Ada met Hugo", "in Paris"]
    assert documents[0].text.borders == [(0, 3), (4, 7), (8, 12)]
    assert [mention.string for mention in documents[0].gold] == ["Ada", "Hugo"]
    assert labels_of(documents) == {"LOC": "LOC", "PER": "PER"}
    assert len(read_documents(path, limit=1)) == 1


@pytest.mark.parametrize(
    ("language", "borders"), [("en", [(0, 2), (3, 5), (5, 6)]), ("zh", [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6)])]
)
def test_a_text_without_tokens_gets_those_of_its_language(
    tmp_path: Path, language: str, borders: list[tuple[int, int]]
) -> None:
    path = write_documents(tmp_path, [{"text": "王明 来了。", "spans": [[0, 2, "PER"]]}])
    (document,) = read_documents(path, language=language)
    found = [(start, end) for start, end in document.text.borders if language == "zh" or start in (0, 3, 5)]
    assert found[0][0] == 0 and found == borders


def test_tokens_of_the_file_are_kept_and_mentions_trimmed_and_grown_to_them(tmp_path: Path) -> None:
    record = {"text": "in New-York .", "tokens": ["in", "New-York", "."], "spans": [[2, 6, "LOC"], [0, 0, "PER"]]}
    (document,) = read_documents(write_documents(tmp_path, [record]))
    assert document.text.borders == [(0, 2), (3, 11), (12, 13)]
    assert [(mention.string, mention.start) for mention in document.gold] == [("New-York", 3)]
    (chinese, _) = read_documents(write_documents(tmp_path, CHINESE), language="zh")
    assert chinese.text.borders == [(place, place + 1) for place in range(5)]


def test_what_the_project_ships_can_be_read_as_it_is() -> None:
    corpus = read_corpus(ASSETS / "SearchScreeningEvent" / "validate_SearchScreeningEvent.json")
    assert (len(corpus.documents), len(corpus.labels)) == (100, 7)
    assert "movie_name" in corpus.labels
    assert sum(len(document.gold) for document in corpus.documents) == 212
    assert len(read_documents(ASSETS / "other_intents" / "dev.jsonl", limit=7)) == 7


@pytest.mark.parametrize(
    "line", ["[1]", json.dumps({"text": "a", "tokens": ["b"]}), '{"text": "a", "spans": [[0, 5, "X"]]}']
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = write_documents(tmp_path, ENGLISH[:1])
    path.write_text(path.read_text("utf8") + line + "\n", encoding="utf8")
    with pytest.raises(ValueError, match=r"\[P100\] .*test\.jsonl, line 2: .*Expected one JSON object"):
        read_documents(path)
