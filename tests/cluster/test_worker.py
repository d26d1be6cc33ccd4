"""What a worker makes of a table, and how entries travel; no cluster is needed for it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.language import Language

from spacy_padellm.cluster import worker
from spacy_padellm.cluster.rows import BITS, READ, WRITTEN, entries_of, entry_id, table_of
from spacy_padellm.cluster.worker import Worker
from spacy_padellm.data.entries import Broken, Entry
from tests.pipeline.makers import DATA, annotations, blank, train

SETTINGS: dict[str, Any] = {"code": None, "labels": None, "spans_key": "sc", "batch_size": None, "gpu": False}


def entry(text: Any, **fields: Any) -> Entry:
    return Entry("a.jsonl", 7, text, {"text": text, **fields})


def table(*entries: Entry | Broken) -> Any:
    return table_of(list(enumerate(entries)), "text")


def test_ids_are_whole_numbers_that_do_not_meet():
    assert entry_id(0, 5) == 5 and entry_id(3, 5) == 3 * 2**BITS + 5
    assert entry_id(2**30, 2**32 - 1) < 2**63 - 1


def test_entries_travel():
    nlp = spacy.blank("en")
    doc = nlp("Ann met")
    doc.user_data["mine"], doc[1].tag_ = 7, "VBD"
    broken = Broken("b.txt", ValueError("[P106] no \ud800"))
    told = table(entry("\u4eac", day=datetime.date(2026, 1, 2), raw=b"\x00\xff"), broken, entry(doc))
    assert told.schema == READ
    assert json.loads(told["fields"][0].as_py()) == {"day": "2026-01-02", "raw": "AP8="}
    first, second, third = entries_of(told, nlp.vocab)
    assert first == Entry("a.jsonl", 7, "\u4eac", {})
    assert isinstance(second, Broken) and (second.file, str(second.error)) == ("b.txt", "[P106] no \\ud800")
    assert isinstance(third, Entry) and isinstance(third.text, spacy.tokens.Doc)
    assert (third.text.user_data["mine"], third.text[1].tag_) == (7, "VBD")


def test_a_table_is_annotated(model: Path):
    broken = Broken("a.jsonl", ValueError("[P113] \ud800"))
    found = Worker(str(model), **SETTINGS)(table(entry("Ann met Bo", x=1), broken, entry("a crash"), entry("nobody")))
    assert found.schema == WRITTEN
    first, second, third, fourth = found.to_pylist()
    places = [{"start": 0, "end": 3, "label": "PER"}, {"start": 8, "end": 10, "label": "PER"}]
    spans = [{"start": 0, "end": 10, "label": "ALL"}, *places]
    assert first == {
        **{"id": 0, "file": "a.jsonl", "line": 7, "text": "Ann met Bo", "fields": '{"x": 1}'},
        **{"spans": [{**one, "score": None} for one in spans], "ents": places, "error": None, "reason": None},
    }
    nothing = {"text": None, "fields": None, "line": None, "spans": None, "ents": None}
    assert second == {**nothing, "id": 1, "file": "a.jsonl", "error": "P113", "reason": "[P113] \\ud800"}
    assert (third["text"], third["error"], third["reason"], third["spans"]) == ("a crash", "ValueError", "no", None)
    assert (fourth["spans"], fourth["ents"], fourth["error"]) == ([], [], None)


def test_an_empty_table(model: Path):
    found = Worker(str(model), **SETTINGS)(table())
    assert (found.schema, found.num_rows) == (WRITTEN, 0)


def test_documents_keep_their_tokens(model: Path):
    doc = spacy.tokens.Doc(spacy.blank("en").vocab, words=["Ann", "Bo"], spaces=[False, False])
    (row,) = Worker(str(model), **SETTINGS)(table(entry(doc))).to_pylist()
    assert row["text"] == "AnnBo" and [one["end"] for one in row["ents"]] == [3, 5]


def test_a_document_that_cannot_be_told_is_a_failure(model: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(doc: Any, spans_key: str) -> Any:
        raise TypeError("no span \ud800")

    monkeypatch.setattr("spacy_padellm.cluster.rows.mentions_of", fails)
    (row,) = Worker(str(model), **SETTINGS)(table(entry("Ann"))).to_pylist()
    assert (row["error"], row["reason"], row["spans"]) == ("TypeError", "no span \\ud800", None)


def test_scores_and_labels_of_our_own_pipe(tmp_path: Path):
    nlp = train(blank())
    nlp.to_disk(tmp_path / "model")
    texts = [text for text, _ in DATA]
    expected = annotations(nlp, texts)
    rows = Worker(str(tmp_path / "model"), **SETTINGS)(table(*map(entry, texts))).to_pylist()
    for row, (ents, spans, scores) in zip(rows, expected, strict=True):
        assert [(one["start"], one["end"], one["label"]) for one in row["ents"]] == ents
        assert [(one["start"], one["end"], one["label"]) for one in row["spans"]] == spans
        assert [one["score"] for one in row["spans"]] == pytest.approx(scores, abs=1e-3)
    asked = Worker(str(tmp_path / "model"), **{**SETTINGS, "labels": ["city"]})
    assert {one["label"] for row in asked(table(*map(entry, texts))).to_pylist() for one in row["spans"]} == {"city"}


def test_settings_have_effects(model: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: list[Any] = []
    pipe = Language.pipe

    def noting(self: Language, texts: Any, **settings: Any) -> Any:
        sizes.extend([settings["batch_size"]] if settings.get("as_tuples") else [])
        return pipe(self, texts, **settings)

    monkeypatch.setattr(Language, "pipe", noting)
    gpus: list[int] = []
    monkeypatch.setattr(worker.spacy, "require_gpu", gpus.append)
    Worker(str(model), **SETTINGS)(table(entry("Ann")))
    found = Worker(str(model), **{**SETTINGS, "batch_size": 5, "spans_key": "none", "gpu": True})
    (row,) = found(table(entry("Ann met Bo"))).to_pylist()
    assert (sizes, gpus, len(row["spans"])) == ([None, 5], [0], 2)


def test_code_is_imported(model: Path):
    config = (model / "config.cfg").read_text().replace("test_crash_or_sleep", "test_named_by_code")
    (model / "config.cfg").write_text(config)
    with pytest.raises(ValueError, match="E002"):
        Worker(str(model), **SETTINGS)
    own = "from spacy.language import Language\n\n@Language.component('test_named_by_code')\ndef f(doc): return doc\n"
    (row,) = Worker(str(model), **{**SETTINGS, "code": own})(table(entry("Ann"))).to_pylist()
    assert len(row["ents"]) == 1


def test_no_pipeline_p043():
    with pytest.raises(ValueError, match=r"\[P043\].*'nowhere'"):
        Worker("nowhere", **SETTINGS)


def test_labels_need_a_pipe_of_ours_p155(model: Path):
    with pytest.raises(ValueError, match="P155"):
        Worker(str(model), **{**SETTINGS, "labels": srsly.json_loads('["LOC"]')})
