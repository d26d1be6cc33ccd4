import json

import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

from spacy_padellm.cli import evaluate as command
from spacy_padellm.cli.evaluate import evaluate, read_gold
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.records import Gold, Record

NLP = spacy.blank("en")
RECORDS = [
    Record("Ann met Bo", (Gold(0, 3, "PER"), Gold(8, 10, "PER"))),
    Record("Bo sat in Rome", (Gold(0, 2, "PER"), Gold(10, 14, "LOC"))),
    Record("nobody sat"),
    Record("Eve in New York", (Gold(0, 3, "PER"), Gold(7, 15, "LOC"))),
]
"""Ann, Bo, Bo, Rome, Eve, New York."""


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "gold.spacy")


def write(path, records=RECORDS, **settings):
    path.parent.mkdir(exist_ok=True)
    to_doc_bin(records, NLP, **settings)[0].to_disk(path)
    return path


def ruler(folder, patterns, factory="entity_ruler", **config):
    """A pipeline that finds given strings."""
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(factory, config=config)
    pipe.add_patterns([{"label": label, "pattern": pattern} for pattern, label in patterns.items()])
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def good(tmp_path):
    return ruler(tmp_path / "good", {"Ann": "PER", "Bo": "PER", "Rome": "LOC", "York": "LOC"})


@pytest.fixture
def bad(tmp_path):
    return ruler(tmp_path / "bad", {"Ann": "PER", "Rome": "PER"})


def run(*args):
    return CliRunner().invoke(app, ["padellm", "evaluate", *map(str, args)])


def test_tables_and_json(good, data, tmp_path):
    output = tmp_path / "deep" / "figures.json"
    result = run(good, data, "--output", output)
    assert result.exit_code == 0, result.output
    printed = " ".join(result.output.split())
    for told in (
        "4 documents, 6 gold mentions",
        "spans 80.00 66.67 72.73",
        "LOC 50.00 50.00 50.00",
        "with mentions 80.00",
        "2 in gold 100.00 1",
        "the count is too low 1 0 1 0",
        "the boundary is wrong 1 1 1 1",
    ):
        assert told in printed, told
    figures = json.loads(output.read_text(encoding="utf-8"))
    assert (figures["model"], figures["data"], figures["labels"]) == (str(good), str(data), ["LOC", "PER"])
    assert figures["spans"]["interval"]["f"][0] <= figures["spans"]["f"] <= figures["spans"]["interval"]["f"][1]
    assert figures["spans"]["mistakes"]["missed"]["total"] == 2
    assert figures["bootstrap"] == {"samples": 1000, "seed": 0, "confidence": 95.0}
    assert "against" not in figures


def test_against_another_pipeline(good, bad, data, tmp_path):
    result = run(good, data, "--against", bad, "--output", tmp_path / "a.json", "--samples", 200)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert figures["against"]["model"] == str(bad)
    assert figures["against"]["spans"]["f"] == 25.0
    assert figures["difference"]["spans"]["f"]["difference"] == pytest.approx(72.73 - 25.0, abs=0.01)
    assert 0 < figures["difference"]["spans"]["f"]["p"] <= 1
    printed = " ".join(result.output.split())
    assert "spans: F 72.73 25.00 +47.73" in printed
    assert "difference interval p" in printed


def test_against_itself(good, data):
    found = evaluate(good, data, against=good, samples=50)
    assert found["difference"]["spans"]["f"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    assert found["against"]["spans"] == found["spans"]


def test_both_are_judged_on_the_labels_of_either(data, tmp_path):
    one, other = ruler(tmp_path / "one", {"Ann": "PER"}), ruler(tmp_path / "other", {"Zoe": "NAME"})
    assert evaluate(one, data, samples=0)["counts"]["pairs"] == 4 * 2
    found = evaluate(one, data, against=other, samples=1)
    assert found["labels"] == ["LOC", "NAME", "PER"]
    assert found["counts"]["pairs"] == found["against"]["counts"]["pairs"] == 4 * 3


def test_spans_with_overlaps_and_entities_without(data, tmp_path):
    patterns = {"New York": "LOC", "York": "LOC", "Eve": "PER"}
    nested = ruler(tmp_path / "nested", patterns, "span_ruler", spans_key="sc", annotate_ents=True)
    found = evaluate(nested, data, samples=0)
    assert (found["spans"]["predicted"], found["ents"]["predicted"]) == (3, 2)


def test_a_trained_ner(data, tmp_path):
    """spaCy's own component as it comes out of training."""
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    docs = list(DocBin().from_disk(data).get_docs(nlp.vocab))
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(tmp_path / "ner")
    found = evaluate(tmp_path / "ner", data, samples=20)
    assert found["spans"]["f"] > 90
    assert found["lost"] == {"unplaced": 0, "surplus": 0, "below_threshold": 0, "filled": 0}
    assert found["spans"] == found["ents"]


# Options


def test_limit(good, data):
    assert evaluate(good, data, limit=2, samples=0)["docs"] == 2
    assert evaluate(good, data, limit=0, samples=0)["docs"] == 4
    assert "2 documents" in run(good, data, "--limit", 2).output


def test_samples_and_seed(good, data):
    assert "interval" not in json.dumps(evaluate(good, data, samples=0))
    found = [evaluate(good, data, samples=10, seed=seed)["spans"]["interval"] for seed in (0, 0, 5)]
    assert found[0] == found[1] != found[2]
    result = run(good, data, "--samples", 0)
    assert result.exit_code == 0 and " to " not in result.output
    assert run(good, data, "--samples", 10, "--seed", 5).output != run(good, data, "--samples", 10, "--seed", 0).output


def test_spans_key(good, tmp_path):
    """Gold in another group than doc.ents has."""
    path = write(tmp_path / "nested.spacy", [Record("Ann Bo", (Gold(0, 3, "PER"), Gold(0, 6, "X")))], spans_key="all")
    assert evaluate(good, path, samples=0)["spans"]["gold"] == 1
    assert evaluate(good, path, samples=0, spans_key="all")["spans"]["gold"] == 2
    assert "2 gold mentions" in run(good, path, "--spans-key", "all").output


@pytest.fixture
def ours(tmp_path):
    """Two padellm_ner pipes beside a ruler, without training: what they answer does not matter."""
    nlp = spacy.blank("en")
    model = {"hidden_size": 16, "n_layers": 1, "n_heads": 1, "intermediate_size": 32, "vocab_size": 260}
    model = {"@architectures": "spacy-padellm.FreshCausalLM.v1", "device": "cpu", **model}
    nlp.add_pipe("entity_ruler")
    for name in ("first", "second"):
        nlp.add_pipe("padellm_ner", name=name, config={"model": model})
    docs = [Example(NLP.make_doc(doc.text), doc) for doc in to_doc_bin(RECORDS, NLP)[0].get_docs(NLP.vocab)]
    nlp.initialize(lambda: docs)
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Bo"}])
    nlp.to_disk(tmp_path / "ours")
    return tmp_path / "ours"


def write_labels(path, labels):
    path.write_text(json.dumps(labels))
    return path


@pytest.mark.filterwarnings("ignore:.*W001")
def test_labels(ours, data, tmp_path):
    """All padellm_ner pipes are asked about them; the labels of other pipes, and of gold, are judged as before."""
    assert evaluate(ours, data, samples=0)["labels"] == ["LOC", "PER"]
    path = write_labels(tmp_path / "labels.json", {"CITY": "a city", "LOC": None})
    found = evaluate(ours, data, labels=path, samples=0)
    assert found["labels"] == ["CITY", "LOC", "PER"]
    nlp = spacy.load(ours)
    command.ask_about(nlp, json.loads(path.read_text()))
    assert [nlp.get_pipe(name).label_data for name in ("first", "second")] == [{"CITY": "a city", "LOC": None}] * 2
    both = evaluate(ours, data, against=ours, labels=path, samples=1)
    assert both["labels"] == ["CITY", "LOC", "PER"] and both["against"]["spans"] == both["spans"]
    result = run(ours, data, "--labels", write_labels(path, ["MOVIE"]), "--output", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.json").read_text())["labels"] == ["LOC", "MOVIE", "PER"]


@pytest.mark.filterwarnings("ignore:.*W001")
def test_wrong_labels(ours, good, data, tmp_path):
    path = write_labels(tmp_path / "labels.json", ["LOC"])
    refused("P155", good, data, "--labels", path)
    told = evaluate(ours, data, against=good, labels=path, samples=1)
    assert told["against"]["spans"]["f"] == evaluate(good, data, samples=0)["spans"]["f"]
    refused("P155", good, data, "--labels", path, "--against", ours)
    with pytest.raises(ValueError, match=r"\[P155\].*it has entity_ruler\."):
        evaluate(good, data, labels=path)
    refused("P116", ours, data, "--labels", tmp_path / "none.json")
    for labels, code in (([], "P011"), ("LOC", "P016"), ([" "], "P015"), (None, "P016")):
        refused(code, ours, data, "--labels", write_labels(path, labels))


@Language.component("test_nothing")
def nothing(doc):
    return doc


def test_batch_size(good, data, monkeypatch):
    sizes = []
    pipe = Language.pipe

    def noting(self, texts, **settings):
        # A ruler's patterns go through pipe, too, without a size.
        sizes.extend([settings["batch_size"]] if "batch_size" in settings else [])
        return pipe(self, texts, **settings)

    monkeypatch.setattr(Language, "pipe", noting)
    first, second = (evaluate(good, data, samples=0, batch_size=size) for size in (None, 3))
    assert sizes == [None, 3] and first == second
    run(good, data, "--batch-size", 2)
    assert sizes[-1] == 2


def test_gpu_id(good, data, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "setup_gpu", lambda gpu_id, silent: asked.append(gpu_id))
    run(good, data, "--limit", 1)
    run(good, data, "--limit", 1, "--gpu-id", 3)
    assert asked == [-1, 3]


def test_code(data, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("test_nothing")
    nlp.to_disk(tmp_path / "own")
    config = (tmp_path / "own" / "config.cfg").read_text().replace("test_nothing", "test_defined_elsewhere")
    (tmp_path / "own" / "config.cfg").write_text(config)
    code = (
        "from spacy.language import Language\n\n@Language.component('test_defined_elsewhere')\ndef f(doc): return doc\n"
    )
    (tmp_path / "own.py").write_text(code)
    assert "E002" in run(tmp_path / "own", data).output
    assert run(tmp_path / "own", data, "--code", tmp_path / "own.py").exit_code == 0


def test_a_folder_of_files(good, tmp_path):
    for name, records in (("a", RECORDS[:1]), ("b", RECORDS[1:])):
        write(tmp_path / "data" / f"{name}.spacy", records)
    assert evaluate(good, tmp_path / "data", samples=0)["docs"] == 4


# Wrong input


def refused(code, *args):
    result = run(*args)
    assert result.exit_code == 1, result.output
    assert f"[{code}]" in result.output


def test_missing_file(good, tmp_path):
    refused("P150", good, tmp_path / "none.spacy")
    (tmp_path / "empty").mkdir()
    refused("P150", good, tmp_path / "empty")
    (tmp_path / "gold.jsonl").write_text("{}")
    refused("P150", good, tmp_path / "gold.jsonl")
    with pytest.raises(ValueError, match=r"\[P150\].*none\.spacy.*nothing at that path"):
        read_gold(tmp_path / "none.spacy", spans_key="sc")


def test_broken_file(good, tmp_path):
    (tmp_path / "a.spacy").write_bytes(b"not a DocBin at all")
    refused("P109", good, tmp_path / "a.spacy")


def test_missing_model(good, data, tmp_path, monkeypatch):
    refused("P154", tmp_path / "none", data)
    # Said before the first pipeline has done its work.
    monkeypatch.setattr(command, "annotate", None)
    refused("P154", good, data, "--against", "no_such_package")


def test_no_gold_annotation(good, tmp_path):
    DocBin(docs=[NLP("Ann met Bo"), NLP("Bo sat")]).to_disk(tmp_path / "plain.spacy")
    refused("P151", good, tmp_path / "plain.spacy")
    with pytest.raises(ValueError, match=r"\[P151\].*2 documents.*'other'"):
        read_gold(tmp_path / "plain.spacy", spans_key="other")


def test_some_without_gold_annotation(good, tmp_path):
    annotated = NLP("Ann met Bo")
    annotated.set_ents([Span(annotated, 0, 1, "PER")], default="outside")
    DocBin(docs=[NLP("Ann sat"), annotated]).to_disk(tmp_path / "some.spacy")
    with pytest.warns(UserWarning, match=r"\[W060\] 1 of 2 documents"):
        found = evaluate(good, tmp_path / "some.spacy", samples=0)
    assert (found["docs"], found["spans"]["gold"], found["spans"]["right"]) == (1, 1, 1)


def test_nothing_to_score(good, tmp_path):
    DocBin().to_disk(tmp_path / "empty.spacy")
    refused("P152", good, tmp_path / "empty.spacy")
    refused("P152", good, write(tmp_path / "nobody.spacy", [Record("nobody sat")]))


@Language.component("test_shout")
def shout(doc):
    return Doc(doc.vocab, words=[token.text.upper() for token in doc])


def test_a_pipeline_that_changes_the_text(data, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("test_shout")
    nlp.to_disk(tmp_path / "loud")
    refused("P153", tmp_path / "loud", data)


@pytest.mark.parametrize(("option", "value"), [("--samples", -1), ("--seed", -1), ("--limit", -1), ("--batch-size", 0)])
def test_numbers_out_of_range(good, data, option, value):
    refused("P001", good, data, option, value)


def test_a_comparison_needs_samples(good, data):
    refused("P001", good, data, "--against", good, "--samples", 0)
