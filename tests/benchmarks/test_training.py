"""`python -m benchmarks.training`: the padded sequences are the paper's, all losses are one, the counts right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import training
from benchmarks.contenders.padded import MentionSequence, batches_of, padded_loss, padded_pieces, sequences_of
from benchmarks.documents import read_documents
from benchmarks.peaks import in_child, peak_bytes, saved_bytes
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from tests.benchmarks.documents import CHINESE, ENGLISH, write_documents
from tests.checkpoints import build_lm, pieces_of

SCHEME = PaDeLLM(build_english_prompt_v1())
LABELS = {"PER": "person", "LOC": "place"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    training.main([*arguments, "--device", "cpu"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def here(work: Callable[..., Any], *arguments: object) -> Any:
    """In place of `in_child`: a new interpreter takes long."""
    return work(*arguments)


def test_sequences_by_hand(tmp_path: Path):
    lm = build_lm("llama", pieces_of("gpt2"))
    document = read_documents(write_documents(tmp_path, ENGLISH))[0]
    names = lm.pieces.tokenizer.convert_ids_to_tokens
    spelled = lambda ids: "".join(names(list(ids))).replace("Ġ", " ").replace("Ċ", "\n")  # noqa: E731
    found = sequences_of(SCHEME, LABELS, document, lm)
    split = {(spelled(one.pieces[: one.first]), spelled(one.pieces[one.first :])) for one in found}
    asked = "text:\nAda met Hugo\nentity type:\n"
    assert split == {
        (f"{asked}place\n\n<num>", "0<|endoftext|>"),
        (f"{asked}person\n\n<num>", "2\n<mention 1>Ada<|endoftext|>"),
        (f"{asked}person\n\n<num>", "2\n<mention 2>Hugo<|endoftext|>"),
    }
    assert len(found) == 3


def sized(*sizes: int) -> list[MentionSequence]:
    return [MentionSequence((1,) * size, 1) for size in sizes]


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("most", [1, 20, 35, 1000])
def test_batches_are_bounded_and_hold_every_sequence_once(most: int, by_length: bool):
    sequences = sized(*range(2, 20), 5, 5)
    batches = batches_of(sequences, most, by_length=by_length)
    assert all(padded_pieces(batch) <= most or len(batch) == 1 for batch in batches)
    assert sorted(len(one.pieces) for batch in batches for one in batch) == sorted(len(one.pieces) for one in sequences)


def test_sequences_of_like_length_pad_less():
    sequences = sized(*range(2, 40), *range(2, 40), *range(2, 40))
    by_length, by_chance = (
        sum(map(padded_pieces, batches_of(sequences, 100, by_length=switch))) for switch in (True, False)
    )
    assert by_length < 0.8 * by_chance


@pytest.mark.parametrize("all_logits", [True, False])
def test_padding_changes_no_loss(tmp_path: Path, all_logits: bool):
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    documents = read_documents(write_documents(tmp_path, ENGLISH))
    batch = [one for document in documents for one in sequences_of(SCHEME, LABELS, document, lm)]
    assert len({len(one.pieces) for one in batch}) > 1
    with own_attention(lm, "sdpa"):
        together = padded_loss(lm, batch, all_logits=all_logits)
        alone = torch.stack([padded_loss(lm, [one], all_logits=all_logits) for one in batch]).sum()
    slow = torch.zeros(())
    with own_attention(lm, "eager"):
        for pieces, first in batch:
            logits = lm.model(input_ids=torch.tensor([pieces]), use_cache=False).logits[0].log_softmax(-1)
            slow -= sum(logits[place - 1, pieces[place]] for place in range(first, len(pieces)))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(together, slow, rtol=1e-5, atol=1e-4)


def test_all_ways_have_one_loss_at_their_own_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training, "in_child", here)
    docs, output = write_documents(tmp_path / "conll03", ENGLISH), tmp_path / "out" / "training.json"
    arguments = ["--docs", str(docs), "--max-row", "400", "--memory", "60", "400", "--output", str(output)]
    found = run(capsys, *arguments)
    assert (found["set"], found["docs"], found["runs"], found["max_row"]) == ("conll03", 2, 2, 400)
    ways = found["ways"]
    assert tuple(ways) == training.WAYS
    assert all(way["loss"] == pytest.approx(ways["packed"]["loss"], rel=1e-4) for way in ways.values())
    assert all(way["cpu_s"] > 0 and way["wall_s"] > 0 and len(way["cpu_s_of_runs"]) == 2 for way in ways.values())
    counted = ("pieces", "pieces_computed", "pieces_in_attention", "rows")
    assert [ways["packed"][key] for key in counted] == [ways["packed again"][key] for key in counted]
    # Nothing is padded in the products of a packed row.
    assert ways["packed"]["pieces"] == ways["packed"]["pieces_computed"] <= ways["packed"]["pieces_in_attention"]
    assert ways["padded"]["pieces"] == ways["padded best"]["pieces"] > 1.9 * ways["packed"]["pieces"]
    assert ways["padded"]["pieces"] < ways["padded best"]["pieces_computed"] <= ways["padded"]["pieces_computed"]
    over = found["ratios"]["padded"]
    assert over["pieces"] == pytest.approx(ways["padded"]["pieces"] / ways["packed"]["pieces"])
    assert over["cpu_s"] == pytest.approx(ways["padded"]["cpu_s"] / ways["packed"]["cpu_s"])
    memory = {(one["way"], one["max_row"]): one for one in found["memory"]}
    assert len(memory) == 8
    for name in training.WAYS:
        assert memory[name, 60]["saved_bytes"] < memory[name, 400]["saved_bytes"]
        assert memory[name, 60]["largest_row"] < memory[name, 400]["largest_row"] <= 400
    assert memory["packed again", 400]["saved_bytes"] < memory["packed", 400]["saved_bytes"] / 2
    assert set(found["estimate"]) == {"per_token", "per_doc", "per_mention", "estimated_over_true"}
    assert json.loads(output.read_text("utf8")) == found
    written = output.with_suffix(".md").read_text("utf8")
    assert f"| packed | {ways['packed']['pieces']} | " in written and "| padded best | 2." in written


def test_sample_seed_language_and_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    docs = write_documents(tmp_path / "resume", [*CHINESE, *CHINESE[:1] * 6])
    whole = run(capsys, "--docs", str(docs), "--runs", "1")
    assert (whole["language"], whole["docs"], whole["memory"]) == ("zh", 8, [])
    drawn = [run(capsys, "--docs", str(docs), "--runs", "1", "--sample", "1", "--seed", seed) for seed in "00123456"]
    assert all(one["docs"] == 1 for one in drawn)
    pieces = [one["ways"]["packed"]["pieces"] for one in drawn]
    assert pieces[0] == pieces[1] and len(set(pieces)) == 2
    # Two sizes of documents are fitted exactly.
    assert whole["estimate"]["estimated_over_true"] == pytest.approx([1.0, 1.0, 1.0], abs=0.01)


def test_losses_that_differ_are_refused_p117(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "padded_loss", lambda *given, **settings: 1.01 * padded_loss(*given, **settings))
    with pytest.raises(ValueError, match=r"\[P117\].*'packed': .*'padded'"):
        training.main(["--docs", str(write_documents(tmp_path, ENGLISH)), "--device", "cpu"])


def test_no_documents_p135(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P135\]"):
        training.main(["--docs", str(write_documents(tmp_path, ENGLISH[2:])), "--device", "cpu"])


def test_saved_bytes_by_hand():
    """exp keeps its output, a product with a weight its input; the weight is not counted."""
    layer = nn.Linear(16, 8, bias=False)
    given = torch.ones(4, 16)
    assert saved_bytes(layer, lambda: layer(given)) == 4 * 4 * 16
    assert saved_bytes(layer, lambda: layer(given).exp()) == 4 * (4 * 16 + 4 * 8)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_peak_bytes_are_those_of_the_work():
    def work(megabytes: int) -> None:
        torch.ones(megabytes * 250_000)

    peaks = [peak_bytes(lambda size=size: work(size)) for size in (40, 160)]
    assert [peak / 1e6 for peak in peaks] == pytest.approx([40, 160], abs=10)


def test_a_child_is_another_process():
    assert in_child(os.getpid) != os.getpid()
    assert in_child(os.path.join, "a", "b") == os.path.join("a", "b")
