"""`python -m benchmarks.scaling`: what is counted is exact, what is timed is only there, a bend is seen."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scaling
from benchmarks.curves import add_growth, exponent
from benchmarks.documents import Document
from benchmarks.models import SHAPES, make_model, weights_of
from benchmarks.plots import Line, draw_lines
from benchmarks.synthetic import Measure, invent_labels, invent_tape, make_document, tape_of
from benchmarks.watched import watch
from spacy_padellm.backends.local import answer_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from tests.benchmarks.documents import ENGLISH, write_documents

SMALL = ["--model", "tiny", "--device", "cpu", "--runs", "1", "--seconds", "0.2"]


@pytest.fixture(autouse=True)
def short_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer for fewer words is trained sooner."""
    monkeypatch.setattr("benchmarks.synthetic._VOCABULARY", 200)
    monkeypatch.setattr("benchmarks.synthetic._TAPE", 600)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    scaling.main([*SMALL, *arguments])
    *told, figures = capsys.readouterr().out.splitlines()
    assert any(line.startswith("## ") for line in told)
    return json.loads(figures)


def curves_of(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {curve["name"]: curve["points"] for curve in found["curves"]}


def wanted(document: Document, labels: dict[str, str], pieces: Pieces) -> int:
    """Pieces that a document needs, the slow way: beginnings of all that is asked and answered about it, each once."""
    scheme = PaDeLLM(build_english_prompt_v1())
    trunk = pieces.start + tuple(piece for part in pieces.encode(scheme.trunk(document.text.string)) for piece in part)
    paths = [trunk]
    for branch in scheme.ask(labels):
        count = scheme.answer(branch, document.gold)
        asked = trunk + pieces.question(branch.question) + pieces.question(count)
        paths.append(asked)
        for mention in scheme.follow(branch, count):
            answer = pieces.question(scheme.answer(mention, document.gold))
            paths.append(asked + pieces.question(mention.question) + answer)
    return len({path[:end] for path in paths for end in range(1, len(path) + 1)})


def test_pieces_are_exactly_those_that_are_needed_and_refuted_drafts(capsys: pytest.CaptureFixture[str]) -> None:
    values = ["--labels", "40", "5", "20", "--text", "10", "40", "--mentions", "0", "6", "--batch", "1", "4"]
    options = ["--axis", "labels", "text", "mentions", "batch", *values]
    curves = curves_of(run(capsys, *options))
    assert list(curves) == ["labels, 30 words", "labels, 500 words", "text", "mentions", "batch"]
    bench = scaling.prepare(scaling.read_arguments([*SMALL, *options]))
    seen = 0
    for name, points in curves.items():
        for point in points:
            at = scaling.Point(point["at"], Measure(point["words"], point["labels"], point["mentions"]), point["batch"])
            documents = scaling.documents_of(at, bench, largest_batch=4 if name == "batch" else 0)
            labels = invent_labels(point["labels"], 0)
            needed = sum(wanted(document, labels, bench.lm.pieces) for document in documents) / len(documents)
            assert point["pieces_per_doc"] == pytest.approx(needed + point["drafts_refuted_per_doc"]), (name, point)
            assert point["answers_per_doc"] == point["labels"] + point["mentions"]
            assert point["peak_kv_bytes"] == point["peak_kv_pieces"] * 2 * 2 * 64 * 4
            assert point["ms_per_doc"] > 0 and 0 < point["host_share"] < 1
            seen += 1
    assert seen == 3 + 3 + 2 + 2 + 2
    # A label more costs the same pieces with 5 labels as with 20, but for the chance length of its words.
    for name in ("labels, 30 words", "labels, 500 words"):
        few, some, many = (point["pieces_per_doc"] - point["drafts_per_doc"] for point in curves[name])
        assert (many - some) / 20 == pytest.approx((some - few) / 15, rel=0.15)
    assert [point["at"] for point in curves["labels, 30 words"]] == [5, 20, 40]
    assert curves["mentions"][0]["drafts_refuted_per_doc"] == 0 < curves["mentions"][1]["drafts_refuted_per_doc"]
    one, four = curves["batch"]
    assert (one["docs"], four["docs"]) == (4, 4)
    assert one["forward_passes"] > four["forward_passes"] and one["peak_kv_pieces"] < four["peak_kv_pieces"]


def test_files_tables_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, folder = tmp_path / "out" / "scaling.json", tmp_path / "plots"
    values = ["--axis", "labels", "text", "--labels", "2", "4", "--text", "10", "20", "--clock", "cpu"]
    found = run(capsys, *values, "--output", str(output), "--plots", str(folder))
    assert json.loads(output.read_text("utf8")) == found
    assert (found["words"], found["model"], found["clock"], found["seed"]) == ("invented", "tiny", "cpu", 0)
    told = output.with_suffix(".md").read_text("utf8")
    assert "## Labels, 30 words" in told and "## Labels, 500 words" in told and "## Text" in told
    point = curves_of(found)["text"][1]
    assert f"| 20 | {point['ms_per_doc']:.2f} | {round(100 * point['host_share'])} | " in told
    assert f"| {point['ms_exponent']:.2f} | {point['pieces_exponent']:.2f} |" in told
    assert {path.name for path in folder.iterdir()} == {"scaling-labels.svg", "scaling-text.svg"}
    labels, text = ((folder / f"scaling-{axis}.svg").read_text("utf8") for axis in ("labels", "text"))
    for line in ("measured", "outside the model", "as work grows"):
        assert f">{line}, 30 words<" in labels and f">{line}, 500 words<" in labels and f">{line}<" in text
    assert "Time by text, tiny, cpu time" in text and ">ms a document<" in text


def test_models_share_a_tokenizer_and_those_that_do_not_fit_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SHAPES, "40m", SHAPES["tiny"].__class__(32, 1, 1, 64, 1000, 4096, 10_000.0))
    free = int(scaling.ROOM * 4 * weights_of(SHAPES["tiny"]))
    monkeypatch.setattr(scaling, "available_bytes", lambda: free)
    options = ["--axis", "model", "--models", "8m", "tiny", "40m", "--output", str(tmp_path / "found.json")]
    found = run(capsys, *options)
    (points,) = curves_of(found).values()
    assert [point["model"] for point in points] == ["40m", "tiny"]
    assert points[0]["at"] == points[0]["parameters"] < points[1]["parameters"]
    assert points[0]["pieces_per_doc"] == points[1]["pieces_per_doc"]
    needs = scaling.ROOM * 4 * weights_of(SHAPES["8m"])
    assert found["models_left_out"] == [{"model": "8m", "needs_bytes": needs, "free_bytes": free}]
    assert f"Left out: `8m` needs {needs / 1e9:.1f} GB" in (tmp_path / "found.md").read_text("utf8")
    # It is made in float32 all the same.
    assert run(capsys, *options, "--dtype", "bfloat16")["models_left_out"] == found["models_left_out"]


def test_words_tokenizer_seed_runs_and_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axis = ["--axis", "text", "--text", "12", "--labels", "4"]
    plain = run(capsys, *axis)
    (point,) = curves_of(plain)["text"]
    assert (point["docs"], point["runs"], len(point["ms_per_doc_of_runs"])) == (scaling.AT_A_POINT, 1, 1)
    again = run(capsys, *axis, "--runs", "2", "--seconds", "60", "--dtype", "bfloat16")
    (other,) = curves_of(again)["text"]
    assert (other["runs"], again["dtype"], plain["dtype"]) == (2, "bfloat16", "float32")
    assert other["pieces_per_doc"] == point["pieces_per_doc"]
    docs = write_documents(tmp_path, ENGLISH)
    words = run(capsys, *axis, "--docs", str(docs))
    assert words["words"] == "test.jsonl"
    tokenizer = tmp_path / "tokenizer.json"
    train_tokenizer(["ba be bi"], ["text:\n"], 270).backend_tokenizer.save(str(tokenizer))
    cut = run(capsys, *axis, "--tokenizer", str(tokenizer))
    seeded = run(capsys, *axis, "--seed", "3")
    sizes = [curves_of(found)["text"][0]["pieces_per_doc"] for found in (plain, words, cut, seeded)]
    assert len(set(sizes)) == 4
    with pytest.raises(ValueError, match=r"\[P135\] .*empty\.jsonl"):
        run(capsys, *axis, "--docs", str(write_documents(tmp_path, ENGLISH[2:], "empty.jsonl")))
    with pytest.raises(ValueError, match=r"\[P171\] --text takes whole numbers of at least 3, got 2"):
        run(capsys, "--axis", "text", "--text", "2")


def test_a_short_run_has_few_values() -> None:
    short, full = scaling.read_arguments(["--short"]), scaling.read_arguments([])
    assert set(short.axis) == set(full.axis) == {"labels", "text", "mentions", "batch", "model"}
    for axis, values in scaling.VALUES.items():
        assert list(values) == getattr(full, axis)
        assert len(getattr(short, axis)) == 3 < len(values)
    assert (short.runs, full.runs, short.models, full.models) == (1, 5, ["tiny", "8m"], list(SHAPES))
    assert (short.seconds, full.seconds) == (4.0, 20.0)
    assert scaling.read_arguments(["--short", "--batch", "2", "--runs", "7"]).batch == [2]


def test_documents_are_made_to_measure() -> None:
    tape = invent_tape(0)
    document = make_document(Measure(50, 4, 10), tape, "a")
    text = document.text.string
    assert [text[start:end] for start, end in document.text.borders] == text.split() == tape_of([document])
    assert len(document.text.borders) == 50 and f" {text} " in f" {' '.join(tape * 2)} "
    assert [mention.label for mention in document.gold] == [f"L{number % 4}" for number in range(10)]
    starts = {start for start, _ in document.text.borders}
    behind = 0
    for mention in document.gold:
        assert mention.start in starts and mention.start >= behind
        assert text.startswith(f"{mention.string} ", mention.start) or text.endswith(mention.string)
        behind = mention.start + len(mention.string)
    assert make_document(Measure(50, 4, 10), tape, "a") == document != make_document(Measure(50, 4, 10), tape, "b")
    assert len(make_document(Measure(5, 1, 5), tape, "a").gold) == 5
    few, many = invent_labels(4, 0), invent_labels(500, 0)
    assert list(few.items()) == list(many.items())[:4] and len({*many.values()}) == 500
    assert invent_labels(4, 1) != few


@pytest.mark.parametrize("measure", [Measure(0, 1, 0), Measure(5, 2, 6), Measure(300, 2, 199), Measure(3, 0, 1)])
def test_a_document_without_room_is_refused(measure: Measure) -> None:
    told = rf"\[P170\] A document of {measure.words} words .* {measure.labels} labels .* {measure.mentions} mentions"
    with pytest.raises(ValueError, match=told):
        make_document(measure, ["a", "b"], "seed")


def test_growth_and_bends() -> None:
    assert exponent(10, 40, 1, 2) == pytest.approx(2)
    assert exponent(10, 20, 0, 2) is exponent(10, 20, 2, 2) is None
    costs = [(1, 10, 100), (2, 20, 200), (4, 60, 400), (8, 66, 400)]
    points = [{"at": at, "ms_per_doc": ms, "pieces_per_doc": n, "parameters": 1} for at, ms, n in costs]
    add_growth(points)
    assert [point["bends"] for point in points] == [False, False, True, False]
    assert [point["ms_exponent"] for point in points[1:3]] == pytest.approx([1.0, 1.585], abs=1e-3)
    assert points[0]["ms_exponent"] is None and points[3]["pieces_exponent"] == 0
    # A larger model has more work: nothing bends as long as time grows no faster than its weights.
    models = [
        {"at": n, "ms_per_doc": ms, "pieces_per_doc": 9, "parameters": n} for n, ms in ((1, 1), (10, 9), (20, 27))
    ]
    add_growth(models)
    assert [model["bends"] for model in models] == [False, False, True]


def test_plots_are_the_same_for_the_same_figures_and_take_a_zero() -> None:
    lines = [Line("one", [0, 1, 10], [1.0, 2.0, 3.0], 0), Line("_two", [1_000, 20_000], [1.0, 2.0], 1, "--")]
    svg = draw_lines(lines[:1], title="Time", x="mentions", y="ms")
    assert svg == draw_lines(lines[:1], title="Time", x="mentions", y="ms") and svg.startswith("<svg")
    assert all(f">{told}<" in svg for told in ("one", "mentions", "ms", "Time", "0", "10"))
    assert "mathdefault" not in svg
    other = draw_lines(lines[1:], title="Time", x="weights", y="ms")
    assert ">1000<" in other and ">20k<" in other and other != svg


def test_a_watch_adds_up_the_forward_passes() -> None:
    scheme = PaDeLLM(build_english_prompt_v1())
    document = make_document(Measure(12, 2, 2), invent_tape(0), "a")
    labels = invent_labels(2, 0)
    lm = make_model("tiny", [document.text.string], ["text:\n"], device="cpu", dtype="float32")
    ticks = iter(range(1000))
    watched = watch(lm, lambda: float(next(ticks)))
    answered = []
    for asked in (lm, watched):
        counters = Counters()
        scripts = [partial(scheme.answer, gold=document.gold)]
        answered.append(
            answer_texts(
                asked, scheme, labels, [document.text], decoding=Decoding(), counters=counters, scripts=scripts
            )
        )
    # One tick passes in each forward pass.
    assert watched.seconds == counters.steps == 3 and next(ticks) == 6
    assert answered[0] == answered[1]
