"""`python -m benchmarks.latency`: what is counted is tested, what is timed is only there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import latency
from benchmarks.arms import run_interleaved
from benchmarks.contenders.generation import BatchCounters
from benchmarks.documents import Document, read_documents
from tests.benchmarks.documents import ENGLISH, write_documents

SAME = ("answers_per_doc", "answer_pieces_per_doc")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    latency.main([*arguments, "--device", "cpu"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_all_ways_give_the_same_answers_at_their_own_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs, output = write_documents(tmp_path / "conll03", ENGLISH), tmp_path / "out" / "latency.json"
    arguments = ["--docs", str(docs), "--batch-size", "1", "2", "--runs", "2", "--clock", "cpu", "--pipeline", "ner"]
    found = run(capsys, *arguments, "--output", str(output))
    assert (found["set"], found["docs"], found["clock"], found["answers"]) == ("conll03", 2, "cpu", "gold")
    single, double = (found["batches"][size]["arms"] for size in "12")
    for scheme in ("padellm", "one_step", "structured", "augmented"):
        ways = [single[f"{scheme} {way}"] for way in ("forest", "generate")]
        ways += [double[f"{scheme} {way}"] for way in ("forest", "generate")]
        ways += [single[f"{scheme} alone"]] if scheme in ("padellm", "one_step") else []
        assert all([way[key] for key in SAME] == [ways[0][key] for key in SAME] for way in ways)
        assert all(len(way["ms_per_doc_of_runs"]) == 2 and way["ms_per_doc"] > 0 for way in ways)
        forest, generated, together, padded = ways[:4]
        # Alone, more of a copy is drafted: no more steps, no fewer pieces. In a padded batch a document waits for the
        # longest.
        assert forest["steps_per_doc"] <= together["steps_per_doc"] < padded["steps_per_doc"]
        assert forest["pieces_per_doc"] >= together["pieces_per_doc"]
        assert forest["padding_per_doc"] == together["padding_per_doc"] == 0 < padded["padding_per_doc"]
        assert generated["steps_per_doc"] <= padded["steps_per_doc"]
        assert padded["forward_passes"] < generated["forward_passes"]
    # Each of four labels, and then each mention, encodes the text again.
    assert single["padellm generate"]["pieces_per_doc"] > 2 * single["padellm forest"]["pieces_per_doc"]
    assert single["padellm alone"]["padding_per_doc"] == 0
    assert "padellm alone" not in double and "structured alone" not in single
    assert set(single["ner"]) == {"ms_per_doc", "ms_per_doc_of_runs"}
    paper = found["batches"]["1"]["speed_ups"]["augmented generate / padellm alone"]["paper"]
    assert paper == pytest.approx(992.70 / 229.74)
    assert json.loads(output.read_text("utf8")) == found
    written = output.with_suffix(".md").read_text("utf8")
    assert written.startswith("# latency\n\n`python -m benchmarks.")
    assert f"| padellm forest | {single['padellm forest']['ms_per_doc']:.2f} |" in written
    assert "| ner | " in written and "| augmented generate / padellm alone | " in written


def test_schemes_ways_language_and_the_models_own_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = write_documents(tmp_path, ENGLISH)
    arguments = ["--docs", str(docs), "--runs", "1", "--schemes", "padellm", "--ways", "generate", "alone"]
    gold = run(capsys, *arguments, "--limit", "1")
    assert (gold["docs"], list(gold["batches"]["1"]["arms"])) == (1, ["padellm generate", "padellm alone"])
    assert gold["batches"]["1"]["speed_ups"] == {}
    own = run(capsys, *arguments, "--limit", "1", "--answers", "model", "--language", "zh")
    assert (own["answers"], own["language"], own["labels"]) == ("model", "zh", {"PER": "人名"})
    arms = [found["batches"]["1"]["arms"]["padellm generate"] for found in (gold, own)]
    assert arms[0]["answer_pieces_per_doc"] != arms[1]["answer_pieces_per_doc"]


def test_no_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[P135\] .*test\.jsonl"):
        latency.main(["--docs", str(write_documents(tmp_path, ENGLISH[2:]))])


class Fake:
    """An arm that notes when it was run and takes as many seconds as it has documents, times its factor."""

    def __init__(self, name: str, factor: float, log: list[tuple[str, int]]) -> None:
        self.name, self.factor, self.log = name, factor, log

    def run(self, documents: Sequence[Document], counters: BatchCounters) -> float:
        self.log.append((self.name, len(documents)))
        counters.documents += len(documents)
        return self.factor * len(documents)


def test_arms_take_turns_on_every_batch(tmp_path: Path) -> None:
    documents = read_documents(write_documents(tmp_path, ENGLISH[:2])) + read_documents(
        write_documents(tmp_path, ENGLISH[:1])
    )
    log: list[tuple[str, int]] = []
    arms = {"a": Fake("a", 1.0, log), "b": Fake("b", 2.0, log)}
    timed = run_interleaved(arms, documents, batch_size=2, runs=2)
    first, second = [("a", 2), ("b", 2), ("b", 1), ("a", 1)], [("b", 2), ("a", 2), ("a", 1), ("b", 1)]
    assert log == first + second
    assert {name: seconds for name, (_, seconds) in timed.items()} == {"a": [3.0, 3.0], "b": [6.0, 6.0]}
    assert all(counters.documents == 3 for counters, _ in timed.values())


def test_a_speed_up_is_the_median_of_the_runs_quotients() -> None:
    arms = {
        "augmented generate": {"ms_per_doc_of_runs": [10.0, 30.0, 60.0], "steps_per_doc": 30.0},
        "padellm alone": {"ms_per_doc_of_runs": [5.0, 10.0, 10.0], "steps_per_doc": 12.0},
        "padellm generate": {"ms_per_doc_of_runs": [10.0, 10.0, 12.0], "steps_per_doc": 5.0},
        "padellm forest": {"ms_per_doc_of_runs": [2.0, 10.0, 6.0], "steps_per_doc": 5.0},
    }
    found = latency.speed_ups(arms, {"augmented": 990.0, "padellm multi": 220.0, "padellm batch": 330.0})
    assert found["augmented generate / padellm alone"] == {"time": 3.0, "steps": None, "paper": 4.5}
    assert found["augmented generate / padellm generate"] == {"time": 3.0, "steps": 6.0, "paper": 3.0}
    assert found["augmented generate / padellm forest"] == {"time": 5.0, "steps": 6.0, "paper": None}
    assert found["padellm generate / padellm forest"] == {"time": 2.0, "steps": 1.0, "paper": None}
    assert len(found) == 4
