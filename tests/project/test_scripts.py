import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from zipfile import ZipFile

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.util import load_config

from spacy_padellm.data.catalogue import data_set
from spacy_padellm.data.data_set import PublishedFile
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.records import Gold, Record
from spacy_padellm.metrics.pairs import Found, Pair, Said
from spacy_padellm.metrics.report import Outcome
from spacy_padellm.pipeline.outcomes import outcome_of
from spacy_padellm.types import Mention


def run(project, script, *args):
    command = [sys.executable, f"project/scripts/{script}.py", *map(str, args)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)


def docs_of(nlp, *records):
    return list(to_doc_bin(records, nlp)[0].get_docs(nlp.vocab))


@pytest.fixture(scope="module")
def corpus(project):
    """Ten sentences of each part, converted by the script."""
    done = run(project, "convert", "snips_screening", "project/assets", "project/corpus/ten", "--limit", 10)
    assert done.returncode == 0, done.stderr
    return project / "project" / "corpus" / "ten"


@pytest.fixture(scope="module")
def ruler(project):
    """A pipeline that a script can load in its own process."""
    nlp = spacy.blank("en")
    nlp.add_pipe("span_ruler", config={"annotate_ents": True, "spans_key": "sc"}).add_patterns(
        [{"label": "object_type", "pattern": "movie schedule"}, {"label": "movie_type", "pattern": "movies"}]
    )
    nlp.to_disk(project / "ruler")
    return project / "ruler"


def test_convert_writes_parts_labels_and_summary(corpus):
    nlp = spacy.blank("en")
    for part in ("train", "dev", "test"):
        assert len(list(DocBin().from_disk(corpus / f"{part}.spacy").get_docs(nlp.vocab))) == 10
    assert json.loads((corpus / "labels.json").read_text()) == dict(data_set("snips_screening").labels)
    summary = json.loads((corpus / "summary.json").read_text())
    assert summary["licence"] == "CC0-1.0"
    assert summary["doubles"] == {"rule": "keep", "within": 102, "dev": 11, "test": 3}
    assert summary["train"]["docs"] == 10


def test_convert_drops_doubles(project):
    output = project / "project" / "corpus" / "new"
    done = run(project, "convert", "snips_screening", "project/assets", output, "--doubles", "drop")
    assert done.returncode == 0, done.stderr
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["train"]["docs"], summary["dev"]["docs"], summary["test"]["docs"]) == (1746, 100, 100)


def test_convert_says_where_missing_files_are_to_be_had(project):
    done = run(project, "convert", "crossner_ai", "project/assets", "project/corpus/none")
    assert done.returncode == 1
    told = " ".join((done.stdout + done.stderr).split())
    assert "[P115]" in told and "Traceback" not in told
    assert "project/assets/crossner/ai/train.txt from https://raw.githubusercontent.com/zliucr/CrossNER/" in told
    done = run(project, "convert", "ace05", "project/assets", "project/corpus/none")
    assert done.returncode == 1 and "LDC2006T06" in done.stdout + done.stderr
    assert not (project / "project" / "corpus" / "none").exists()


def test_convert_reads_any_entry(project, tmp_path):
    lines = [{"tokens": ["Bonn", "slept"], "entities": [{"start": 0, "end": 1, "type": "GPE"}]}, {"tokens": []}]
    for part in ("train", "dev", "test"):
        path = tmp_path / "ace05" / f"{part}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, lines)))
    assert "[P113]" in run(project, "convert", "ace05", tmp_path, tmp_path / "out").stdout
    done = run(project, "convert", "ace05", tmp_path, tmp_path / "out", "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert "No checksum is known for ace05/train.json" in done.stdout
    assert "3 broken records" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["train"]["docs"], summary["nested"], len(summary["broken"])) == (1, True, 3)
    assert summary["unverified"] == [f"ace05/{part}.json" for part in ("train", "dev", "test")]
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["GPE"] == "geo-political entity"


def test_convert_takes_labels_from_train_where_they_are_words(project, tmp_path):
    question = {"from": "human", "value": "What describes town in the text?"}
    answers = [{"from": "gpt", "value": "Yes."}, {"from": "gpt", "value": '["Bonn"]'}]
    lines = [
        {"conversations": [{"from": "human", "value": f"Text: Bonn {number}"}, answers[0], question, answers[1]]}
        for number in range(501)
    ]
    (tmp_path / "pile_ner").mkdir()
    (tmp_path / "pile_ner" / "train.json").write_text(json.dumps(lines))
    done = run(project, "convert", "pile_ner", tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == {"town": "town"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [summary[part]["docs"] for part in ("train", "dev", "test")] == [1, 500, 0]


def test_convert_reads_a_folder_of_assets(project, tmp_path):
    """Without an entry in the catalogue; the parts that are there."""
    done = run(project, "convert", "snips/other_intents", "project/assets", tmp_path / "out", "--limit", 5)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [summary[part]["docs"] for part in ("train", "dev", "test")] == [5, 5, 0]
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["poi"] == "point of interest"
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "labels.json").write_text('["LOC"]')
    (folder / "train.jsonl").write_text(json.dumps({"text": "Bonn ist hier", "spans": [[0, 4, "LOC"]]}))
    done = run(project, "convert", "mine", tmp_path, tmp_path / "mine_out", "--lang", "de")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "mine_out" / "labels.json").read_text()) == {"LOC": "LOC"}
    given = {"LOC": {"description": "a place"}, "PER": {"words": "person"}, "ORG": None}
    (folder / "labels.json").write_text(json.dumps(given))
    done = run(project, "convert", "mine", tmp_path, tmp_path / "mine_out", "--lang", "de")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {"LOC": {"description": "a place"}, "PER": "person", "ORG": "ORG"}
    assert json.loads((tmp_path / "mine_out" / "labels.json").read_text()) == kept
    (folder / "labels.json").write_text('[" "]')
    assert "[P015]" in run(project, "convert", "mine", tmp_path, tmp_path / "mine_out").stdout


def test_a_folder_is_cut_into_tokens_by_its_language(scripts, tmp_path, monkeypatch):
    from convert import entry_of

    (tmp_path / "labels.json").write_text('{"LOC": null}')
    assert entry_of(".", tmp_path, lang="de").lang == "de"
    assert entry_of(".", tmp_path).files == {}
    with pytest.raises(ValueError, match=r"\[P108\]"):
        entry_of("none", tmp_path)


def test_zero_shot_tells_labels_of_training_from_others(scripts, stand_in, monkeypatch):
    import zero_shot

    asked = []
    monkeypatch.setattr(zero_shot, "ask_about", lambda nlp, labels: asked.append(labels))
    gold = docs_of(
        stand_in,
        Record("Where is Ann", (Gold(9, 12, "movie_name"),)),
        Record("a cinema in Bonn", (Gold(2, 8, "object_location_type"), Gold(12, 16, "city"))),
    )
    labels = {"movie_name": {"words": "Movie name", "colour": "red"}, "object_location_type": "type of place"}
    found = zero_shot.evaluate(stand_in, gold, labels=labels, trained=["movie name", "town"])
    assert asked == [labels]
    # The stand-in's nested mention has an empty label. Where, Ann and Bonn are called movies.
    assert found["labels"] == {"seen": ["movie_name"], "unseen": ["", "city", "object_location_type"]}
    tally = {
        view: tuple(found[view]["spans"][key] for key in ("right", "predicted", "gold")) for view in zero_shot.VIEWS
    }
    assert tally["seen"][::2] == (1, 1) and tally["unseen"][::2] == (1, 2)
    assert tally["all"] == tuple(map(sum, zip(tally["seen"], tally["unseen"], strict=True)))
    assert set(found["unseen"]["spans"]["per_label"]) == {"", "city", "object_location_type"}
    assert found["all"]["counts"]["pairs"] == 2 * 4


def test_zero_shot_takes_what_was_said_apart(scripts):
    from zero_shot import only

    below = (Found(0, 3, "A"), Found(1, 3, "B"))
    said = Said({"A": 2, "B": 1}, (Mention("A", "x"), Mention("B", "y")), (Mention("B", "z"),), below)
    pair = Pair("Ann", (Found(0, 3, "A"), Found(0, 3, "B")), (Found(0, 3, "B"),), said)
    (part,) = only(Outcome((pair,), (replace(pair, said=None),)), ["B"]).spans
    assert part == Pair(
        "Ann", (Found(0, 3, "B"),), (Found(0, 3, "B"),), Said({"B": 1}, said.unplaced[1:], said.surplus, below[1:])
    )


def test_zero_shot_refuses_another_pipeline(project, corpus, ruler):
    labels = ("--labels", corpus / "labels.json", "--train-labels", corpus / "labels.json")
    done = run(project, "zero_shot", ruler, corpus / "test.spacy", "m/z.json", *labels)
    assert done.returncode == 1 and "[P155]" in done.stdout
    assert not (project / "m" / "z.json").exists()


def test_fetch_keeps_only_the_published_file(scripts, tmp_path):
    from fetch import fetch

    source = tmp_path / "published.txt"
    source.write_text("Bonn\tB-LOC\n")
    right = hashlib.md5(source.read_bytes()).hexdigest()
    files = {md5: PublishedFile(f"{md5}.txt", url=source.as_uri(), md5=md5) for md5 in (right, None, "0" * 32)}
    entry = replace(data_set("crossner_ai"), files={"train": (files[right], files[None])})
    assert sorted(fetch(entry, tmp_path / "a")) == sorted(tmp_path / "a" / file.path for file in entry)
    assert fetch(entry, tmp_path / "a") == []
    with pytest.raises(ValueError, match=r"\[P112\]"):
        fetch(replace(entry, files={"train": (files["0" * 32],)}), tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []
    with pytest.raises(OSError):
        fetch(replace(entry, files={"train": (PublishedFile("c", url=f"{source.as_uri()}x"),)}), tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []
    with pytest.raises(ValueError, match=r"\[P115\] .*LDC2006T06"):
        fetch(data_set("ace05"), tmp_path / "d")


def test_evaluate_and_visualize_run_on_any_pipeline(project, corpus, ruler):
    done = run(project, "evaluate", ruler, corpus / "test.spacy", "m/a.json", "--train", corpus / "train.spacy")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((project / "m" / "a.json").read_text())
    assert metrics["speed"]["docs"] == 10
    assert metrics["speed"]["docs_per_second"] > 0
    assert metrics["spans"]["gold"] == 16
    assert set(metrics) == {
        "docs",
        "spans",
        "ents",
        "strings",
        "counts",
        "lost",
        "reliability",
        "bootstrap",
        "unseen",
        "speed",
    }
    assert {"all", "nonzero", "pairs", "nonzero_pairs", "by_gold", "interval"} <= set(metrics["counts"])
    done = run(project, "visualize", ruler, corpus / "test.spacy", "v/a.html", "--title", "<ten>")
    assert done.returncode == 0, done.stderr
    assert "&lt;ten&gt;" in (project / "v" / "a.html").read_text(encoding="utf-8")


def test_clean_removes_only_the_projects_folders(project):
    (project / "project" / "made").mkdir()
    (project / "mine").mkdir()
    assert run(project, "clean", "project/made", "mine").returncode == 1
    assert run(project, "clean", "project").returncode == 1
    assert (project / "project" / "made").exists() and (project / "mine").exists()
    assert run(project, "clean", "project/made", "project/none").returncode == 0
    assert not (project / "project" / "made").exists()


def test_evaluate_without_texts_seen_in_training(scripts, stand_in):
    from evaluate import evaluate

    gold = docs_of(stand_in, Record("Ann sat", (Gold(0, 3, "movie_name"),)), Record("Bo sat", (Gold(3, 6, "X"),)))
    metrics = evaluate(stand_in, gold, seen={"bo sat"})
    assert metrics["spans"]["gold"] == 2
    assert (metrics["unseen"]["docs"], metrics["unseen"]["spans"]["gold"]) == (1, 1)
    assert metrics["spans"]["per_label"]["movie_name"]["right"] == 1


def test_gold_that_prediction_cannot_reach_counts_as_missed(scripts, stand_in):
    from evaluate import evaluate

    gold = docs_of(stand_in, Record("see 2times", (Gold(4, 5, "X"), Gold(5, 10, "Y"))))
    assert evaluate(stand_in, gold, seen=set())["spans"]["gold"] == 2


class Marks(HTMLParser):
    """The texts of a page's marked mentions, and every tag."""

    def __init__(self):
        super().__init__()
        self.tags, self.classes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "mark":
            self.classes.append(dict(attrs)["class"].split())


HOSTILE = "<script>alert(1)</script> & {text} Ann"


def test_page_escapes_everything(scripts):
    from visualize import page

    label = '<img src="x" onerror="y">'
    pair = Pair(HOSTILE, (Found(0, 8, label),), (Found(0, 8, label, 0.875), Found(35, 38, "A{b}")))
    html = page([pair], title=HOSTILE)
    marks = Marks()
    marks.feed(html)
    assert not {"script", "img"} & set(marks.tags)
    assert "0.88" in html and "A{b}" in html
    assert [sorted(names) for names in marks.classes] == [["entity"], ["entity"], ["entity", "wrong"]]


def test_page_draws_overlaps_in_layers(scripts):
    from visualize import layers, page

    outer, inner, after = Found(0, 9, "A"), Found(0, 3, "B"), Found(10, 12, "A")
    assert layers([outer, inner, after]) == [[outer, after], [inner]]
    html = page([Pair("Ann Smith sat", (outer, inner, after), ())], title="t")
    assert html.count("missed") - html.count(".missed") == 3


def test_page_puts_differences_first(scripts):
    from visualize import page

    same, differs = Pair("the same", (), ()), Pair("differing", (Found(0, 3, "A"),), ())
    html = page([same, differs], title="t")
    assert html.index("fering") < html.index("the same")
    assert "1 with a difference" in html
    assert page([], title="t").startswith("<!DOCTYPE html>")


def test_page_shows_scores_of_a_pipeline(scripts, stand_in):
    from visualize import page

    gold = docs_of(stand_in, Record("Where is Ann", (Gold(9, 12, "movie_name"),)))
    html = page(outcome_of(gold, stand_in.pipe(doc.text for doc in gold)).spans, title="t")
    assert "0.75" in html and "0.25" in html


def test_page_draws_labels_in_their_own_colours(scripts):
    from visualize import chosen_colors, page

    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("padellm_ner")
    pipe.set_labels({"<A>": {"colour": "#123456"}, "B": None})
    chosen = chosen_colors(nlp)
    assert chosen["<A>"] == "#123456"
    html = page(
        [Pair("Ann sat", (Found(0, 3, "<A>"),), (Found(0, 3, "B"), Found(4, 7, "C")))], title="t", chosen=chosen
    )
    assert "#123456" in html and chosen["B"] in html
    # A label that no pipe has gets a colour all the same.
    assert html.count('style="background: #') == 3
    assert chosen_colors(spacy.blank("en")) == {}


TINY = {
    "components.padellm_ner.model": {
        "@architectures": "spacy-padellm.FreshCausalLM.v1",
        "hidden_size": 32,
        "n_layers": 1,
        "n_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 300,
    },
    "training.max_steps": 2,
    "training.eval_frequency": 1,
}


def load_elsewhere(wheel, folder):
    """Unpack a packaged pipeline as pip would, and annotate with it in another process with the hub out of reach."""
    with ZipFile(wheel) as packed:
        packed.extractall(folder)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    code += "import en_padellm_snips_screening as package\n"
    code += "doc = package.load()('When is Alien on?'); print(len(doc), 'sc' in doc.spans)"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=offline)
    assert done.stdout.split() == ["5", "True"], done.stderr


@pytest.mark.slow
def test_zero_shot_on_ten_sentences(project):
    """In a process of its own, with a tiny model: trained on the other intents, asked about the data set's labels."""
    folder = project / "project"
    load_config(folder / "configs" / "zero_shot.cfg", overrides=TINY).to_disk(folder / "configs" / "tiny_zero_shot.cfg")
    command = [sys.executable, "-m", "spacy", "project", "run", "zero_shot", "."]
    command += ["--vars.limit", "10", "--vars.zero_shot_config", "tiny_zero_shot"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((folder / "metrics" / "snips_screening" / "tiny_zero_shot.json").read_text())
    assert metrics["labels"]["seen"] == ["object_type", "spatial_relation", "timeRange"]
    assert len(metrics["labels"]["unseen"]) == 4
    assert metrics["all"]["spans"]["gold"] == metrics["seen"]["spans"]["gold"] + metrics["unseen"]["spans"]["gold"] > 0
    pipe = spacy.load(folder / "training" / "snips_screening" / "tiny_zero_shot" / "model-last").get_pipe("padellm_ner")
    assert pipe.labels == tuple(data_set("snips_screening").labels)
    trained = json.loads((folder / "assets" / "snips" / "other_intents" / "labels.json").read_text())
    assert pipe.cfg["train_labels"] == trained
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert again.stdout.count("nothing changed") == 1, again.stdout


@pytest.mark.slow
def test_whole_workflow_on_ten_sentences(project, tmp_path):
    """As a user runs it, in a process of its own, with a tiny model; a second run has nothing to do."""
    folder = project / "project"
    load_config(folder / "configs" / "fresh.cfg", overrides=TINY).to_disk(folder / "configs" / "tiny.cfg")
    command = [
        sys.executable,
        "-m",
        "spacy",
        "project",
        "run",
        "all",
        ".",
        "--vars.limit",
        "10",
        "--vars.config",
        "tiny",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((folder / "metrics" / "snips_screening" / "tiny.json").read_text())
    assert metrics["counts"]["pairs"] == 70
    assert (folder / "visualizations" / "snips_screening" / "tiny.html").stat().st_size > 1000
    built = {path.name for path in (folder / "packages" / "dist").iterdir()}
    name = "en_padellm_snips_screening-0.1.0"
    assert built == {f"{name}.tar.gz", f"{name}-py3-none-any.whl"}
    load_elsewhere(folder / "packages" / "dist" / f"{name}-py3-none-any.whl", tmp_path)
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0
    assert again.stdout.count("nothing changed") == 6, again.stdout
