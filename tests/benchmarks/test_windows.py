"""`python -m benchmarks.windows`: long documents made of texts, and what is printed about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy

from benchmarks import windows
from tests.pipeline.makers import DATA, blank, examples, train, write_docs


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained pipeline, and beside it its gold documents."""
    folder = tmp_path_factory.mktemp("windows")
    train(blank()).to_disk(folder / "pipeline")
    write_docs(folder / "gold.spacy")
    return folder / "pipeline"


def test_texts_are_put_together_with_their_mentions_and_borders() -> None:
    nlp = spacy.blank("en")
    docs = [example.reference for example in examples(nlp)]
    whole = windows.joined(docs)
    assert [sent.text for sent in whole.sents] == [text for text, _ in DATA]
    assert [ent.text for ent in whole.ents] == [ent.text for doc in docs for ent in doc.ents]
    assert not windows.joined(docs, with_sentences=False).has_annotation("SENT_START")
    copy = windows.bare(nlp, whole)
    assert (copy.text, len(list(copy.sents)), len(copy.ents)) == (whole.text, len(docs), 0)
    assert [doc.text for doc in windows.in_groups(docs, 3)] == [" ".join(doc.text for doc in docs[:3]), docs[3].text]


def test_figures_before_and_after_training(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = str(pipeline.parent / "gold.spacy")
    asked = ["--model", str(pipeline), "--docs", gold, "--train", gold, "--windows", "24", "44", "--sentences", "4"]
    windows.main([*asked, "--updates", "1", "--batch", "2", "--most", "2", "--rate", "0.0"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    before, after = found["models"].values()
    assert len(before) == 5
    # The pipeline knows the single texts by heart; a rate of 0 teaches it nothing.
    assert before["one by one"]["f"] == after["one by one"]["f"] == 100
    assert before["one by one"]["windows"] == 0
    small, large = (before[f"windows of {size}, cut at text ends"] for size in (24, 44))
    assert small["windows"] > large["windows"] >= 1
    for way in (small, large):
        assert way["loss_of_f"] == pytest.approx(100 - way["f"])
        assert way["gold"] == sum(len(ents) for _, ents in DATA)
    assert small["f"] > large["f"]


def test_training_changes_the_model(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = str(pipeline.parent / "gold.spacy")
    asked = ["--model", str(pipeline), "--docs", gold, "--train", gold, "--windows", "60", "--sentences", "4"]
    windows.main([*asked, "--updates", "40", "--batch", "4", "--most", "4", "--rate", "0.005"])
    before, after = json.loads(capsys.readouterr().out.splitlines()[-1])["models"].values()
    name = "windows of 60, cut at text ends"
    assert after[name]["f"] > before[name]["f"]


def test_batches_are_drawn_alike_from_one_seed(pipeline: Path) -> None:
    nlp = spacy.load(pipeline)
    docs = [example.reference for example in examples(nlp)]

    def drawn(seed: int) -> list[str]:
        return [doc.text for batch in windows.batches(docs, updates=3, size=2, most=3, seed=seed) for doc in batch]

    assert drawn(0) == drawn(0) != drawn(1)
    assert len(drawn(0)) == 6
