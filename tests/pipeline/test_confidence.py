"""How sure a mention is, what thresholds leave out, and the commands that choose them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from spacy.cli.find_threshold import find_threshold
from spacy.language import Language
from typer.testing import CliRunner

from spacy_padellm.cli.calibrate import calibrate
from spacy_padellm.cli.evaluate import evaluate
from spacy_padellm.metrics.calibration import Calibration
from spacy_padellm.metrics.report import report
from spacy_padellm.pipeline.confidence import Bar
from spacy_padellm.pipeline.outcomes import outcome_of
from spacy_padellm.types import Mention, Placed
from tests.pipeline.makers import DATA, Gold, Script, answering, blank, entities, examples, ours, spans, write_docs

PARIS = "Paris Paris and Jaws"
TWO: Script = {("city", 0): "2", ("city", 1): "Paris", ("city", 2): "Paris", ("movie", 0): "1", ("movie", 1): "Jaws"}
"""Everything has the probability 0.75 of its count times 0.5 of its own."""


@pytest.fixture
def scripted(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def annotate(script: Script = TWO, text: str = PARIS, *, labels: Any = None, **settings: Any) -> Any:
        nlp = trained(**settings)
        if labels:
            ours(nlp).set_labels(labels)
        with answering(monkeypatch, script):
            return nlp(text)

    return annotate


def attrs(doc: Any) -> dict[str, Any]:
    return doc.spans["sc"].attrs


def test_a_confidence_is_count_times_mention(scripted: Callable[..., Any]):
    found = attrs(scripted())["confidences"]
    assert found.dtype == np.float32
    assert found.tolist() == [0.375] * 3


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 3), (0.375, 3), (0.376, 0), (1.0, 0)])
def test_threshold(scripted: Callable[..., Any], threshold: float, kept: int):
    doc = scripted(threshold=threshold)
    assert len(spans(doc)) == len(entities(doc)) == len(attrs(doc)["confidences"]) == kept
    # What is left out is told, and the counts are still what was answered.
    assert len(attrs(doc)["below_threshold"]) == 3 - kept
    assert attrs(doc)["counts"] == {"city": 2, "movie": 1}


def test_what_is_left_out_is_kept_in_the_attributes(scripted: Callable[..., Any]):
    doc = scripted(labels={"city": None, "movie": {"threshold": 0.9}})
    assert spans(doc) == [(0, 5, "city"), (6, 11, "city")]
    assert attrs(doc)["below_threshold"] == [[16, 20, "movie", 0.375, 0.5, 0.75]]
    again = spacy.tokens.Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert attrs(again)["below_threshold"] == attrs(doc)["below_threshold"]


def test_a_labels_own_threshold_goes_before_the_pipes(scripted: Callable[..., Any]):
    doc = scripted(threshold=0.9, labels={"city": {"threshold": 0.0}, "movie": None})
    assert spans(doc) == [(0, 5, "city"), (6, 11, "city")]


def test_mentions_are_left_out_of_their_places_and_not_before(scripted: Callable[..., Any]):
    """The second "Paris" keeps its place when the first one is not sure enough."""
    bar = Bar(threshold=0.5)
    first, second = (
        Placed(Mention("city", "Paris", place, score), place, place + 5) for place, score in ((1, 0.4), (2, 0.6))
    )
    kept, below = bar.judge([first, second])
    assert [one.placed for one in kept] == [second] and [one.placed for one in below] == [first]


def test_one_that_is_left_out_leaves_room_for_what_it_overlaps(scripted: Callable[..., Any]):
    script: Script = {("city", 0): "1", ("city", 1): "Jaws", ("movie", 0): "1", ("movie", 1): "and Jaws"}
    assert entities(scripted(script)) == [(12, 20, "movie")]
    doc = scripted(script, labels={"city": None, "movie": {"threshold": 0.9}})
    assert entities(doc) == [(16, 20, "city")]


def test_nothing_is_warned_of_what_was_asked_for(scripted: Callable[..., Any]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scripted(threshold=1.0)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_thresholds_out_of_range_p001(threshold: float):
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'threshold'.*between 0 and 1"):
        blank(threshold=threshold)


def test_missed_below_the_threshold_is_a_category_of_its_own(scripted: Callable[..., Any]):
    nlp = spacy.blank("en")
    gold = nlp.make_doc(PARIS)
    gold.set_ents([gold.char_span(16, 20, label="movie")])
    doc = scripted({("movie", 0): "1", ("movie", 1): "Jaws"}, threshold=0.9)
    found = report(outcome_of([gold], [doc]), ["movie"])
    for view in ("spans", "ents"):
        assert found[view]["mistakes"]["missed"]["categories"]["threshold"] == 1
        assert found[view]["mistakes"]["missed"]["total"] == 1
    assert found["lost"]["below_threshold"] == 1
    assert found["counts"]["nonzero"] == 100.0


# Calibration


def test_a_calibration_turns_probabilities_into_confidences(trained: Callable[..., Language], monkeypatch: Any):
    nlp = trained(threshold=0.5)
    ours(nlp).calibration = Calibration(1.0, 2.0)
    with answering(monkeypatch, TWO):
        doc = nlp(PARIS)
    assert attrs(doc)["confidences"].tolist() == pytest.approx([Calibration(1.0, 2.0)(0.375)] * 3)
    assert attrs(doc)["scores"].tolist() == [0.5] * 3
    ours(nlp).calibration = None
    with answering(monkeypatch, TWO):
        assert spans(nlp(PARIS)) == []


def test_a_calibration_is_saved_and_initialize_forgets_it(trained: Callable[..., Language], tmp_path: Path):
    nlp = trained()
    assert ours(nlp).calibration is None
    ours(nlp).calibration = Calibration(0.5, -0.25)
    ours(nlp).to_disk(tmp_path / "pipe")
    again = [trained(), trained()]
    ours(again[0]).from_disk(tmp_path / "pipe")
    ours(again[1]).from_bytes(ours(nlp).to_bytes())
    assert [ours(one).calibration for one in again] == [Calibration(0.5, -0.25)] * 2
    nlp.initialize(lambda: examples(nlp))
    assert ours(nlp).calibration is None


WRONG: list[Gold] = [
    *DATA,
    ("Show me Jaws in Boston", [(8, 12, "movie")]),
    ("Is Jaws playing at the cinema in Paris?", [(3, 7, "movie")]),
]
"""Two of its cities are not gold, so that some of what the trained pipe finds is wrong."""


@pytest.fixture
def saved(trained: Callable[..., Language], tmp_path: Path) -> Path:
    trained().to_disk(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore:.*W001")
def test_calibrate_writes_a_pipeline_with_the_numbers(saved: Path, tmp_path: Path):
    data = write_docs(tmp_path / "dev.spacy", WRONG * 10)
    args = ["padellm", "calibrate", str(saved), str(data), str(tmp_path / "out" / "calibrated"), "--batch-size", "2"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert "expected calibration error" in done.output and "slope" in done.output
    after = evaluate(tmp_path / "out" / "calibrated", data, samples=0)
    before = evaluate(saved, data, samples=0)
    assert before["spans"]["f"] == after["spans"]["f"]
    assert before["spans"]["p"] < 100
    assert after["reliability"]["confidence"]["brier"] < before["reliability"]["confidence"]["brier"]
    assert after["reliability"]["score"] == before["reliability"]["score"]
    nlp = spacy.load(tmp_path / "out" / "calibrated")
    assert ours(nlp).calibration is not None


@pytest.mark.filterwarnings("ignore:.*W001")
def test_calibrate_looks_below_thresholds_and_past_an_older_calibration(
    trained: Callable[..., Language], tmp_path: Path
):
    data = write_docs(tmp_path / "dev.spacy", WRONG)
    plain, strict = trained(), trained(threshold=1.0)
    ours(strict).calibration = Calibration(0.1, -3.0)
    one, other = calibrate(plain, data), calibrate(strict, data)
    assert one["before"]["mentions"] == other["before"]["mentions"] > 8
    assert (one["slope"], one["offset"]) == pytest.approx((other["slope"], other["offset"]), rel=1e-3)


def test_calibrate_needs_a_pipe_of_ours_p193(tmp_path: Path, saved: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "other")
    data = write_docs(tmp_path / "dev.spacy")
    for model, options, told in (
        (tmp_path / "other", [], r"padellm_ner pipe 'padellm_ner'"),
        (tmp_path / "other", ["--pipe", "sentencizer"], "the pipeline has sentencizer"),
        (saved, ["--pipe", "another"], "the pipeline has padellm_ner"),
    ):
        args = ["padellm", "calibrate", str(model), str(data), str(tmp_path / "out"), *options]
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 1 and "[P193]" in done.output and told in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_calibrate_without_a_pipeline_p154(tmp_path: Path):
    args = ["padellm", "calibrate", str(tmp_path / "none"), str(write_docs(tmp_path / "a.spacy")), str(tmp_path / "o")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1 and "[P154]" in done.output


def test_a_pipe_that_is_always_right_cannot_be_calibrated_p192(saved: Path, tmp_path: Path):
    args = ["padellm", "calibrate", str(saved), str(write_docs(tmp_path / "dev.spacy")), str(tmp_path / "out")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1 and "[P192]" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:.*W001")
def test_find_threshold_of_spacy(trained: Callable[..., Language], tmp_path: Path, capsys: Any):
    """The calibration makes every mention a little surer than a half, so that only a threshold of 1 leaves any out."""
    nlp = trained()
    ours(nlp).calibration = Calibration(0.01, 0.0)
    nlp.to_disk(tmp_path / "model")
    data = write_docs(tmp_path / "dev.spacy", group="sc")
    best, score, scores = find_threshold(
        str(tmp_path / "model"), data, "padellm_ner", "threshold", "ents_f", n_trials=3
    )
    assert (best, score) == (0.0, 1.0)
    assert list(scores.values()) == [1.0, 1.0, 0.0]


def test_evaluate_prints_the_curve(saved: Path, tmp_path: Path):
    args = ["padellm", "evaluate", str(saved), str(write_docs(tmp_path / "dev.spacy")), "-o", str(tmp_path / "f.json")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert "expected calibration error" in done.output and "0.9 to 1.0" in done.output
    figures = json.loads((tmp_path / "f.json").read_text())["reliability"]
    assert figures["confidence"]["mentions"] == figures["score"]["mentions"] == 7
