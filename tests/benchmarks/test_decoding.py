"""`python -m benchmarks.decoding`: its figures are counts that can be made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import decoding
from benchmarks.decoding import Runner, ratios
from benchmarks.shares import Shares
from tests.benchmarks.documents import ENGLISH, write_documents

Figures = dict[str, Any]


@pytest.fixture
def docs_path(tmp_path: Path) -> Path:
    return write_documents(tmp_path, ENGLISH)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, contenders: tuple[str, ...] = ()) -> Figures:
    decoding.main([*arguments, "--contender", *contenders, "--runs", "1", "--device", "cpu"])
    figures: Figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    return figures


def forest(figures: Figures, batch_size: int = 1) -> Figures:
    told: Figures = figures["arms"][f"forest at {batch_size}"]
    return told


def test_replayed_answers_cost_the_same_in_any_batch(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run(capsys, "--docs", str(docs_path), "--batch-size", "1", "2")
    alone, together = forest(figures), forest(figures, 2)
    for name in ("steps_per_doc", "pieces_per_doc", "answers_per_doc", "answer_pieces_per_doc"):
        assert alone[name] == together[name]
    assert (figures["docs"], figures["ratios"]) == (2, [])
    # Counts are one piece each ("2", "0", "1", "0"); the rest are the mentions' pieces.
    assert alone["answer_pieces_per_doc"] >= (4 + 3) / 2
    assert together["forward_passes"] < alone["forward_passes"]
    assert alone["ms_per_doc"] > 0


def test_contenders_answer_the_same_at_their_own_cost(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--docs", str(docs_path), "--batch-size", "2", "--clock", "cpu"]
    figures = run(capsys, *arguments, contenders=tuple(decoding.CONTENDERS))
    arms = figures["arms"]
    assert [*arms] == [
        "forest at 2",
        "padellm-unshared at 1",
        "padellm-unshared at 2",
        "structured-generate at 1",
        "augmented-generate at 1",
        "one-step-generate at 1",
    ]
    same = [arms[name]["answer_pieces_per_doc"] for name in arms if "unshared" in name]
    assert same == [forest(figures, 2)["answer_pieces_per_doc"]] * 2
    # Each of two labels and then each mention reads the text again.
    assert arms["padellm-unshared at 1"]["pieces_per_doc"] > forest(figures, 2)["pieces_per_doc"]
    assert arms["padellm-unshared at 2"]["padding_per_doc"] > arms["padellm-unshared at 1"]["padding_per_doc"]
    assert arms["augmented-generate at 1"]["steps_per_doc"] > forest(figures, 2)["steps_per_doc"]
    found = {(one["contender"], one["its_batch_size"]): one for one in figures["ratios"]}
    assert len(found) == 5 and all(one["our_batch_size"] == 2 for one in found.values())
    steps = found["augmented-generate", 1]["steps"]
    assert steps == arms["augmented-generate at 1"]["steps_per_doc"] / forest(figures, 2)["steps_per_doc"]


def test_by_default_there_are_three_contenders(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decoding.main(["--docs", str(docs_path), "--runs", "1", "--device", "cpu"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = ["forest", "padellm-unshared", "structured-generate", "augmented-generate"]
    assert [*figures["arms"]] == [f"{name} at 1" for name in names]


def test_a_ratio_is_the_median_of_the_runs_quotients_with_its_spread() -> None:
    def told(*ms: float, steps: float = 1.0) -> Figures:
        return {"ms_per_doc_of_runs": [*ms], "steps_per_doc": steps, "pieces_per_doc": 10 * steps}

    costs = {
        Runner("forest", 1): told(1.0, 2.0, 4.0),
        Runner("forest", 16): told(0.5, 1.0, 1.0),
        Runner("padellm-unshared", 1): told(5.0, 6.0, 8.0, steps=2.0),
        Runner("padellm-unshared", 16): told(4.0, 9.0, 10.0),
        Runner("augmented-generate", 1): told(20.0, 20.0, 20.0),
    }
    found = ratios(costs, scheme="padellm")
    keys = ("contender", "its_batch_size", "our_batch_size", "time", "least", "most", "target")
    assert [tuple(one[key] for key in keys) for one in found] == [
        ("padellm-unshared", 1, 1, 3.0, 2.0, 5.0, 5.0),
        ("padellm-unshared", 1, 16, 8.0, 6.0, 10.0, None),
        ("padellm-unshared", 16, 16, 9.0, 8.0, 10.0, 8.0),
        ("augmented-generate", 1, 1, 10.0, 5.0, 20.0, 12.0),
        ("augmented-generate", 1, 16, 20.0, 20.0, 40.0, 18.0),
    ]
    assert (found[0]["steps"], found[0]["pieces"]) == (2.0, 2.0)
    assert [one["target"] for one in ratios(costs, scheme="one_step")] == [None] * 5


def test_results_are_written_as_json_and_as_tables(docs_path: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "out" / "decoding.json"
    arguments = ["--docs", str(docs_path), "--clock", "cpu", "--dtype", "bfloat16", "--output", str(output)]
    figures = run(capsys, *arguments, contenders=("padellm-unshared",))
    assert json.loads(output.read_text("utf8")) == figures
    assert (figures["clock"], figures["dtype"]) == ("cpu", "bfloat16")
    written = output.with_suffix(".md").read_text("utf8")
    assert f"| forest at 1 | {forest(figures)['ms_per_doc']:.2f} |" in written
    (ratio,) = figures["ratios"]
    assert f"| padellm-unshared at 1 / forest at 1 | {ratio['time']:.2f} | " in written


def test_threads_and_documents_that_are_left_out(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        figures = run(capsys, "--docs", str(docs_path), "--threads", "1", "--limit", "1")
        torch.set_num_threads(2)
        other = run(capsys, "--docs", str(docs_path), "--limit", "1")
    finally:
        torch.set_num_threads(before)
    assert (figures["torch_threads"], other["torch_threads"]) == (1, 2)
    # All labels of the file are asked about, whatever is left out of it.
    assert (figures["docs"], figures["labels"]) == (1, {"LOC": "LOC", "PER": "PER"})


def test_shares_add_up(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run(capsys, "--docs", str(docs_path), "--batch-size", "1", "2", "--shares")
    assert [*figures["shares"]] == ["forest at 1", "forest at 2"]
    for found in figures["shares"].values():
        host = found.pop("ms_of_the_host_per_doc")
        assert sum(found.values()) == pytest.approx(1) and all(share > 0 for share in found.values())
        assert host > 0
    assert run(capsys, "--docs", str(docs_path))["shares"] == {}


def test_shares_are_those_of_the_modules() -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projection = nn.Linear(2, 2)

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            ticks.append(10)
            return self.projection(states)

    class Head(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            ticks.append(5)
            return super().forward(states)

    ticks: list[int] = []
    model = nn.Sequential(SelfAttention(), nn.Identity(), Head(2, 2))
    watch = Shares(lambda: float(sum(ticks)))
    with watch.watching(model):
        model(torch.zeros(1, 2))
    model(torch.zeros(1, 2))
    assert watch.of(30.0) == {
        "matrix products": pytest.approx(5 / 30),
        "attention without its products": pytest.approx(10 / 30),
        "the rest of the model": pytest.approx(0),
        "choosing pieces": 0.0,
        "the host": pytest.approx(15 / 30),
    }


def test_no_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[P135\] .*test\.jsonl"):
        decoding.main(["--docs", str(write_documents(tmp_path, ENGLISH[2:]))])


@pytest.mark.parametrize(("drafts", "offered"), [("none", False), ("some", True), ("all", True)])
def test_drafts_save_steps(docs_path: Path, capsys: pytest.CaptureFixture[str], drafts: str, offered: bool) -> None:
    told = forest(run(capsys, "--docs", str(docs_path), "--drafts", drafts, "--copies", "2"))
    some = forest(run(capsys, "--docs", str(docs_path)))
    assert (told["drafts_per_doc"] > 0) is offered
    order = {"none": 1, "some": 0, "all": -1}[drafts]
    assert (told["steps_per_doc"] > some["steps_per_doc"]) - (told["steps_per_doc"] < some["steps_per_doc"]) == order


def test_a_second_reading_of_the_text_adds_its_pieces(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = forest(run(capsys, "--docs", str(docs_path)))
    twice = forest(run(capsys, "--docs", str(docs_path), "--readings", "2"))
    assert twice["pieces_per_doc"] > once["pieces_per_doc"]
    assert twice["answer_pieces_per_doc"] == once["answer_pieces_per_doc"]


def test_the_models_own_answers(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = run(capsys, "--docs", str(docs_path), "--answers", "model", "--limit", "1")
    assert (own["docs"], own["answers"]) == (1, "model")


@pytest.mark.parametrize("scheme", ["one_step", "structured", "augmented"])
def test_the_other_schemes_are_replayed_too(docs_path: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    """One question for each label, or one for all; the answers are longer, and so take more steps."""
    ours = forest(run(capsys, "--docs", str(docs_path)))
    figures = run(capsys, "--docs", str(docs_path), "--scheme", scheme)
    other = forest(figures)
    assert (figures["scheme"], figures["docs"]) == (scheme, 2)
    assert other["answer_pieces_per_doc"] > ours["answer_pieces_per_doc"]
    assert other["steps_per_doc"] > ours["steps_per_doc"]
