"""The command: formats in and out, going on, failures, and a process that is killed again and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
import srsly
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import get_lang_class
from typer.testing import CliRunner

from spacy_padellm.cli import annotate as command
from spacy_padellm.cli.annotate import annotate
from spacy_padellm.data.shards import Shards, Step


@Language.component("test_fails_at_crash")
def fails_at_crash(doc):
    if "crash" in doc.text:
        raise ValueError("[P023] too long" if "coded" in doc.text else "no")
    return doc


@Language.component("test_leaves_an_object")
def leaves_an_object(doc):
    if "object" in doc.text:
        doc.user_data["what"] = object()
    return doc


@pytest.fixture
def model(tmp_path):
    """Ann and Bo are persons, in a span group and in doc.ents; texts with "crash" fail."""
    nlp = spacy.blank("en")
    for name in ("test_fails_at_crash", "test_leaves_an_object"):
        nlp.add_pipe(name)
    patterns = [{"label": "PER", "pattern": name} for name in ("Ann", "Bo")]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    config = {"spans_key": "sc", "annotate_ents": False}
    nlp.add_pipe("span_ruler", config=config).add_patterns([*patterns, {"label": "ALL", "pattern": "Ann met Bo"}])
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"


def run(*args):
    return CliRunner().invoke(app, ["padellm", "annotate", *map(str, args)])


def write(path, *lines):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(folder):
    return [line for path in sorted(folder.glob("part-*.jsonl")) for line in srsly.read_jsonl(path)]


def failed(folder):
    return list(srsly.read_jsonl(folder / "failed.log"))


ANN = {"spans": [[0, 3, "PER"]], "scores": [None], "ents": [[0, 3, "PER"]]}
NOBODY = {"spans": [], "scores": [], "ents": []}


def test_text_lines(model, tmp_path):
    source, out = write(tmp_path / "a.txt", "Ann", "", "Ann met Bo", "京"), tmp_path / "deep" / "out"
    result = run(model, source, out)
    assert result.exit_code == 0, result.output
    assert "3 documents in" in result.output
    spans = [[0, 10, "ALL"], [0, 3, "PER"], [8, 10, "PER"]]
    both = {"text": "Ann met Bo", "spans": spans, "scores": [None] * 3, "ents": [[0, 3, "PER"], [8, 10, "PER"]]}
    assert read(out) == [{"text": "Ann", **ANN}, both, {"text": "京", **NOBODY}]
    assert "京" in (out / "part-000000.jsonl").read_text(encoding="utf-8")
    assert not (out / "failed.log").exists()


def test_fields_of_the_input_are_kept(model, tmp_path):
    record = {"id": 10**30, "body": "Ann", "spans": "mine", "replaced": [1], "deep": {"x": [None, "\ud800"]}}
    out = tmp_path / "out"
    assert run(model, write(tmp_path / "a.jsonl", json.dumps(record)), out, "--field", "body").exit_code == 0
    kept = {name: record[name] for name in ("id", "body", "deep")}
    (line,) = (out / "part-000000.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {**kept, **ANN, "replaced": {"spans": "mine", "replaced": [1]}}
    assert run(model, tmp_path / "a.jsonl", tmp_path / "docs", "-F", "body", "--format", "spacy").exit_code == 0
    (doc,) = docs_in(tmp_path / "docs")
    assert json.loads(doc.user_data["fields"]) == record


def docs_in(folder):
    vocab = get_lang_class("en")().vocab
    return [doc for path in sorted(folder.glob("part-*.spacy")) for doc in DocBin().from_disk(path).get_docs(vocab)]


def test_csv_whole_files_and_a_folder_of_all(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.csv", "id,text", '1,"Ann"')
    write(folder / "b.txt", "Ann", "Bo")
    DocBin(docs=[spacy.blank("en")("Ann")]).to_disk(folder / "c.spacy")
    assert run(model, folder, tmp_path / "out", "--whole-files").exit_code == 0
    whole = {"file": "b.txt", "text": "Ann\nBo", "spans": [[0, 3, "PER"], [4, 6, "PER"]], "scores": [None, None]}
    lines = [{"id": "1", "text": "Ann", **ANN}, {**whole, "ents": whole["spans"]}, {"text": "Ann", **ANN}]
    assert read(tmp_path / "out") == lines
    assert run(model, folder, tmp_path / "lines").exit_code == 0
    assert [line["text"] for line in read(tmp_path / "lines")] == ["Ann", "Ann", "Bo", "Ann"]


def test_spacy_documents_keep_what_they_had(model, tmp_path):
    nlp = spacy.blank("en")
    docs = [nlp("Ann sat"), nlp("Bo")]
    docs[0].user_data["mine"], docs[0][1].tag_, docs[1].cats = 7, "VBD", {"x": 1.0}
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "a.spacy")
    assert run(model, tmp_path / "a.spacy", tmp_path / "out", "-f", "spacy", "--shard-size", 1).exit_code == 0
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    first, second = docs_in(tmp_path / "out")
    assert (first.user_data["mine"], first[1].tag_, second.cats) == (7, "VBD", {"x": 1.0})
    assert [[ent.text for ent in doc.ents] for doc in (first, second)] == [["Ann"], ["Bo"]]
    assert [len(doc.spans["sc"]) for doc in (first, second)] == [1, 1]
    assert run(model, tmp_path / "out", tmp_path / "again").exit_code == 0
    assert [line["spans"] for line in read(tmp_path / "again")] == [[[0, 3, "PER"]], [[0, 2, "PER"]]]


def test_failures_are_told_and_the_rest_is_done(model, tmp_path):
    source, out = (
        write(tmp_path / "a.jsonl", '{"text": "Ann"}', "", '{"te', '{"text": "coded crash"}'),
        tmp_path / "out",
    )
    with source.open("a") as file:
        file.write("\n" + json.dumps({"text": "crash " * 100}) + '\n{"text": "Bo"}')
    result = run(model, source, out, "--on-error", "skip")
    assert result.exit_code == 3, result.output
    assert "3 entries have no document" in " ".join(result.output.split())
    assert [line["text"] for line in read(out)] == ["Ann", "Bo"]
    first, second, third = failed(out)
    assert (first["number"], first["file"], first["line"], first["code"]) == (1, "a.jsonl", None, "P113")
    assert "line 3" in first["reason"]
    assert second == {
        **{"number": 2, "file": "a.jsonl", "line": 4, "code": "P023", "reason": "[P023] too long"},
        "text": "coded crash",
    }
    assert (third["number"], third["line"], third["code"]) == (3, 5, "ValueError") and len(third["text"]) == 60
    assert run(model, source, out, "--on-error", "skip").exit_code == 3
    assert len(failed(out)) == 3


def test_a_broken_entry_stops_before_anything_is_done(model, tmp_path):
    source = write(tmp_path / "a.jsonl", '{"text": "Ann"}', "{")
    result = run(model, source, tmp_path / "out")
    assert result.exit_code == 1 and "[P113]" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"lock"}
    assert run(model, source, tmp_path / "out", "--on-error", "skip").exit_code == 3


def test_a_document_that_cannot_be_written(model, tmp_path):
    source, out = write(tmp_path / "a.txt", "Ann", "an object", "Bo"), tmp_path / "out"
    assert run(model, source, out, "--format", "spacy").exit_code == 3
    assert [doc.text for doc in docs_in(out)] == ["Ann", "Bo"]
    assert [[ent.text for ent in doc.ents] for doc in docs_in(out)] == [["Ann"], ["Bo"]]
    assert [(one["code"], one["text"]) for one in failed(out)] == [("TypeError", "an object")]
    assert run(model, source, tmp_path / "lines").exit_code == 0


# Going on


def interrupt(monkeypatch, steps):
    """Let writing the shard behind so many fail."""
    inner = Shards.add

    def add(self, part, told):
        if len(self.steps) == steps:
            raise OSError("no space left")
        inner(self, part, told)

    monkeypatch.setattr(Shards, "add", add)


def test_it_goes_on_where_it_stopped(model, tmp_path):
    texts = [f"Ann {number}" for number in range(10)]
    source, out, seen = write(tmp_path / "a.txt", *texts), tmp_path / "out", []
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 2)
        result = run(model, source, out, "--shard-size", 3)
        assert result.exit_code == 1 and "no space left" in result.output
    assert [line["text"] for line in read(out)] == texts[:6]
    with pytest.MonkeyPatch.context() as patch:
        inner = command.settle
        patch.setattr(command, "settle", lambda nlp, entries, **kwargs: inner(nlp, map(noted(seen), entries), **kwargs))
        # How much at once and where from may change; what is asked may not.
        moved = tmp_path / "elsewhere" / "a.txt"
        moved.parent.mkdir()
        source.rename(moved)
        assert run(model, moved, out, "--shard-size", 100, "--batch-size", 1, "--no-progress").exit_code == 0
    assert seen == texts[6:]
    assert [line["text"] for line in read(out)] == texts


def noted(seen):
    def note(entry):
        seen.append(entry.text)
        return entry

    return note


def test_what_is_complete_is_left_alone(model, tmp_path, monkeypatch):
    source, out = write(tmp_path / "a.txt", "Ann"), tmp_path / "out"
    run(model, source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(command.spacy, "load", None)
    assert run(model, source, out).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_empty_input(model, tmp_path):
    assert annotate(model, write(tmp_path / "a.txt", ""), tmp_path / "out").settled == 0
    assert annotate(model, tmp_path / "a.txt", tmp_path / "out").settled == 0


def test_another_command_is_refused_p159(model, tmp_path):
    source, out = write(tmp_path / "a.txt", "Ann"), tmp_path / "out"
    run(model, source, out)
    for name, options in (("format", ["-f", "spacy"]), ("field", ["-F", "x"]), ("whole_files", ["-w"])):
        refused("P159", model, source, out, *options, says=f"{name} (")
    refused("P159", model, source, out, "-sk", "other", says="spans_key (")
    refused("P159", model, write(source, "Bo."), out, says="input (")
    write(source, "Ann")
    (model / "meta.json").write_text((model / "meta.json").read_text() + " ")
    refused("P159", model, source, out, says="model (")
    assert [line["text"] for line in read(out)] == ["Ann"]


def test_a_shard_is_closed_in_time(model, tmp_path):
    source = write(tmp_path / "a.txt", "Ann", "Bo", "Eve")
    annotate(model, source, tmp_path / "often", save_every=0)
    annotate(model, source, tmp_path / "rarely")
    assert [len(list((tmp_path / name).glob("part-*"))) for name in ("often", "rarely")] == [3, 1]


# Settings


def refused(code, *args, says=""):
    result = run(*args)
    assert result.exit_code == 1, result.output
    printed = " ".join(result.output.split())
    assert f"[{code}]" in printed and says in printed


def test_wrong_settings(model, tmp_path):
    source, out = write(tmp_path / "a.txt", "Ann"), tmp_path / "out"
    for options in (["-f", "csv"], ["-e", "go"], ["-b", 0], ["-n", 0], ["-s", -1]):
        refused("P001", model, source, out, *options)
    refused("P154", tmp_path / "none", source, out)
    refused("P156", model, tmp_path / "none.txt", out)
    refused("P158", model, source, source)
    refused("P158", model, tmp_path, tmp_path / "within" / "it", says="within the input")
    refused("P157", model, write(tmp_path / "a.csv", "id"), tmp_path / "new")


def test_labels(model, tmp_path, monkeypatch):
    source, path = write(tmp_path / "a.txt", "Ann"), tmp_path / "labels.json"
    srsly.write_json(path, ["LOC"])
    refused("P155", model, source, tmp_path / "out", "--labels", path)
    refused("P116", model, source, tmp_path / "out", "--labels", write(tmp_path / "bad.json", "{"))
    asked = []
    monkeypatch.setattr(command, "ask_about", lambda nlp, labels: asked.append(labels))
    assert run(model, source, tmp_path / "new", "--labels", path).exit_code == 0
    assert asked == [["LOC"]]
    srsly.write_json(path, ["PER"])
    refused("P159", model, source, tmp_path / "new", "--labels", path, says="labels (")


def test_batch_size_gpu_id_and_spans_key(model, tmp_path, monkeypatch):
    sizes, gpus, pipe = [], [], Language.pipe

    def noting(self, texts, **settings):
        sizes.extend([settings["batch_size"]] if settings.get("as_tuples") else [])
        return pipe(self, texts, **settings)

    monkeypatch.setattr(Language, "pipe", noting)
    monkeypatch.setattr(command, "setup_gpu", lambda gpu_id, silent: gpus.append(gpu_id))
    source = write(tmp_path / "a.txt", "Ann met Bo")
    run(model, source, tmp_path / "a")
    run(model, source, tmp_path / "b", "-b", 5, "-g", 3, "-sk", "none")
    assert (sizes, gpus) == ([None, 5], [-1, 3])
    assert [len(line["spans"]) for name in "ab" for line in read(tmp_path / name)] == [3, 2]


def test_code(model, tmp_path):
    code = (
        "from spacy.language import Language\n\n@Language.component('test_named_elsewhere')\ndef f(doc): return doc\n"
    )
    config = (model / "config.cfg").read_text().replace("test_fails_at_crash", "test_named_elsewhere")
    (model / "config.cfg").write_text(config)
    source = write(tmp_path / "a.txt", "Ann")
    refused("E002", model, source, tmp_path / "out")
    assert run(model, source, tmp_path / "out", "--code", write(tmp_path / "own.py", code)).exit_code == 0
    refused("P159", model, source, tmp_path / "out", "--code", write(tmp_path / "own.py", code, ""), says="code (")


def test_progress_is_for_terminals(model, tmp_path, capfd):
    source = write(tmp_path / "a.txt", "Ann", "crash")
    annotate(model, source, tmp_path / "a", progress=True)
    assert "2 of 2, 1 failed, " in capfd.readouterr().err
    annotate(model, source, tmp_path / "b")
    run(model, source, tmp_path / "c")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("option", "terminal", "shown"), [([], True, 1), (["--no-progress"], True, 0), ([], False, 0)])
def test_progress_option(model, tmp_path, monkeypatch, option, terminal, shown):
    told = []
    monkeypatch.setattr(command, "annotate", lambda *_, progress, **__: told.append(progress) or Step())
    monkeypatch.setattr(command, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: terminal)))
    assert run(model, tmp_path / "a.txt", tmp_path / "out", *option).exit_code == 0
    assert told == [bool(shown)]


# Killed

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}

DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from spacy.language import Language
from spacy_padellm.cli.annotate import annotate

@Language.component("test_slow")
def slow(doc):
    if "crash" in doc.text:
        raise ValueError("no")
    time.sleep(0.002)
    return doc

model, source, out, format, kills = sys.argv[1:]
draw, killed = random.Random(3), 0
while killed < int(kills):
    child = os.fork()
    if not child:
        annotate(Path(model), Path(source), Path(out), format=format, shard_size=7, batch_size=3)
        os._exit(0)
    time.sleep(draw.uniform(0.02, 0.35))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), f"it was done before the {killed + 1}th time"
    killed += 1
last = annotate(Path(model), Path(source), Path(out), format=format, shard_size=7, batch_size=3)
print(last.settled, last.documents, last.failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("format", ["jsonl", pytest.param("spacy", marks=pytest.mark.slow)])
def test_killed_twenty_times(tmp_path, format):
    """At random moments, by the signal that no process can catch. Nothing is lost and nothing doubled."""
    nlp = spacy.blank("en")
    nlp.add_pipe("test_slow")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ann"}])
    nlp.to_disk(tmp_path / "model")
    count = 2500
    texts = [f"Ann {number}" if number % 50 else f"crash {number}" for number in range(count)]
    source, out, script = write(tmp_path / "a.txt", *texts), tmp_path / "out", write(tmp_path / "driver.py", DRIVER)
    options = [tmp_path / "model", source, out, format, 20]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=240,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(count), str(count - 50), "50"]
    found = [doc.text for doc in docs_in(out)] if format == "spacy" else [line["text"] for line in read(out)]
    assert found == [text for text in texts if text.startswith("Ann")]
    assert [one["text"] for one in failed(out)] == [text for text in texts if text.startswith("crash")]


@Language.component("test_slow")
def slow(doc):
    return doc


@pytest.mark.slow
def test_the_command_is_killed(model, tmp_path):
    """The whole command, in a process of its own."""
    texts = [f"Ann {number}" for number in range(10_000)]
    source, out = write(tmp_path / "a.txt", *texts), tmp_path / "out"
    code = write(tmp_path / "own.py", Path(__file__).read_text(encoding="utf-8"))
    args = ["spacy", "padellm", "annotate", model, source, out, "--code", code, "--shard-size", 500]
    command = [sys.executable, "-m", *map(str, args)]
    for shards in (1, 3):
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT)
        while begun.poll() is None and len(list(out.glob("part-*"))) < shards:
            time.sleep(0.01)
        begun.kill()
        assert begun.wait() == -signal.SIGKILL, begun.stderr.read()
        begun.stderr.close()
    assert 0 < len(read(out)) < len(texts)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=ENVIRONMENT)
    assert done.returncode == 0 and "10000 documents" in done.stdout, done.stdout + done.stderr
    assert [line["text"] for line in read(out)] == texts
