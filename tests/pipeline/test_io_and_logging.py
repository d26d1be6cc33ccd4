"""What `save_io` keeps, and what the package logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_padellm.engine import counters
from tests.pipeline.makers import TEXTS, ours

IO = logging.getLogger("spacy_padellm.io")


def said(doc: Doc) -> list[dict[str, Any]]:
    # msgpack reads lists back as tuples.
    lines: list[dict[str, Any]] = json.loads(json.dumps(doc.user_data["llm_io"]["padellm_ner"]))
    return lines


@pytest.fixture
def io_level() -> Any:
    before = IO.level
    yield IO.setLevel
    IO.setLevel(before)


# save_io


def test_save_io_lines(trained: Callable[..., Language]):
    count, mention, *_ = said(trained(save_io=True)(TEXTS[0]))
    assert count["prompt"] == "entity type:\ncity\n\n<num>" and count["response"] == "1"
    assert (count["label"], count["ordinal"], count["finish"], count["pieces"]) == ("city", 0, "followed", 1)
    assert (mention["response"], mention["ordinal"], mention["finish"]) == ("Boston", 1, "end")
    assert 0.8 < mention["probability"] < 1.0
    assert 1 <= count["steps"][0] <= count["steps"][1] <= mention["steps"][0] <= mention["steps"][1]
    assert not {"window", "passed_over"} & count.keys()


@pytest.mark.filterwarnings("ignore:.*W010")
def test_save_io_names_windows(trained: Callable[..., Language]):
    doc = trained(window=13, window_overlap=0.0, save_io=True)(f"{TEXTS[1]}. {TEXTS[2]}")
    windows = doc.spans["sc"].attrs["windows"]
    assert len(windows) > 1
    assert [line["window"] for line in said(doc) if not line["ordinal"]] == [one for one in windows for _ in range(2)]
    for line in said(doc):
        if line["ordinal"]:
            assert line["response"] in doc.text[slice(*line["window"])]


@pytest.mark.filterwarnings("ignore:.*W010")
@pytest.mark.parametrize("settings", [{}, {"window": 13, "window_overlap": 0.0}])
def test_save_io_survives(trained: Callable[..., Language], settings: dict[str, Any], tmp_path: Path):
    nlp = trained(save_io=True, **settings)
    doc = nlp(TEXTS[0])
    lines = said(doc)
    assert json.loads(json.dumps(lines)) == lines
    assert said(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == lines
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "a.spacy")
    (again,) = DocBin().from_disk(tmp_path / "a.spacy").get_docs(nlp.vocab)
    assert said(again) == lines


def test_save_io_of_a_text_without_words(trained: Callable[..., Language]):
    assert said(trained(save_io=True)("")) == []


# Logging


def test_steps_and_streams(trained: Callable[..., Language], caplog: pytest.LogCaptureFixture):
    nlp = trained()
    with caplog.at_level(logging.DEBUG, logger="spacy_padellm"):
        list(nlp.pipe(TEXTS))
    counted = ours(nlp).counters
    steps = [record for record in caplog.records if record.levelno == logging.DEBUG]
    assert len(steps) == counted.steps
    assert sum(record.args[0] for record in steps) == counted.pieces
    (stream,) = [record for record in caplog.records if record.levelno == logging.INFO]
    assert stream.args[:3] == (len(TEXTS), counted.steps, counted.pieces)
    assert stream.args[-1] == counted.peak_kv_pieces
    assert stream.name.startswith("spacy_padellm.")


def test_a_second_stream_counts_anew(trained: Callable[..., Language], caplog: pytest.LogCaptureFixture):
    nlp = trained()
    with caplog.at_level(logging.INFO, logger="spacy_padellm"):
        list(nlp.pipe(TEXTS))
        nlp(TEXTS[3])
    assert [record.args[0] for record in caplog.records] == [len(TEXTS), 1]


def test_load(trained: Callable[..., Language], caplog: pytest.LogCaptureFixture, tmp_path: Path):
    with caplog.at_level(logging.INFO, logger="spacy_padellm"):
        trained().to_disk(tmp_path)
        spacy.load(tmp_path)
    loaded = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Loaded")]
    assert loaded
    for told in ("family llama", "device cpu", "dtype torch.float32", "check passed"):
        assert told in loaded[-1]


def test_no_text_is_logged(
    trained: Callable[..., Language], caplog: pytest.LogCaptureFixture, io_level: Callable[[int], None]
):
    nlp = trained()
    with caplog.at_level(logging.DEBUG, logger="spacy_padellm"), caplog.at_level(logging.DEBUG):
        nlp(TEXTS[0])
    assert caplog.records
    assert not any(word in caplog.text for word in ("Ghost", "Boston", "cinema", "movie", "city"))
    io_level(logging.DEBUG)
    nlp(TEXTS[0])
    (record,) = [record for record in caplog.records if record.name == "spacy_padellm.io"]
    assert TEXTS[0] in record.getMessage() and "entity type" in record.getMessage()
    assert json.loads(record.args[2])[1]["response"] == "Boston"


def test_off_by_default(trained: Callable[..., Language], capsys: pytest.CaptureFixture[str], monkeypatch: Any):
    logger = logging.getLogger("spacy_padellm")
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET

    def no_clock() -> float:
        raise AssertionError("a silent log asks for the time")

    nlp = trained()
    capsys.readouterr()  # transformers 5 tells of loading
    monkeypatch.setattr(counters.time, "perf_counter", no_clock)
    nlp(TEXTS[0])
    assert capsys.readouterr() == ("", "")
