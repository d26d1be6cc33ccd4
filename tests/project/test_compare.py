"""The workflow `compare`: the schemes under equal conditions, and what is drawn of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin, Span
from spacy.util import load_config


def run(project, *args):
    return subprocess.run([sys.executable, *map(str, args)], cwd=project, capture_output=True, text=True, timeout=600)


def figures(name, seed, f, *, interval=None, ms=10.0):
    """A row of compare.json with little in it."""
    spans = {"f": f, **({"interval": {"f": interval}} if interval else {})}
    quality = {"spans": spans, "strings": {"set": {"f": f}}, "counts": {"all": 90.0, "nonzero": 80.0}}
    speed = {"ms_per_doc": {"1": ms, "16": ms / 4}}
    return {
        "name": name,
        "seed": seed,
        "path": f"{name}/model-best",
        "training": {},
        "quality": quality,
        "speed": speed,
    }


@pytest.fixture
def gold_path(tmp_path):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("Ada met <b>Hugo</b>"), nlp.make_doc("in Paris")]
    docs[0].ents = [Span(docs[0], 0, 1, "PER")]
    DocBin(docs=docs).to_disk(tmp_path / "test.spacy")
    return tmp_path / "test.spacy"


def test_a_plot_says_what_it_is_given_and_always_the_same(scripts):
    from plots import Bar, draw_bars

    bars = {"one": {"A": Bar(93.0, 90.0, 95.0), "B": Bar(80.0)}, "two": {"B": Bar(70.0)}}
    drawn = draw_bars(bars, title="F of <spans>", unit="F")
    assert drawn.startswith("<svg") and drawn == draw_bars(bars, title="F of <spans>", unit="F")
    for word in ("A", "B", "one", "two", "F of &lt;spans&gt;"):
        assert f">{word}</text>" in drawn
    higher = {**bars, "two": {"B": Bar(71.0)}}
    assert draw_bars(higher, title="F of <spans>", unit="F") != drawn
    assert draw_bars(bars, title="F of <spans>", unit="F", logarithmic=True) != drawn


def test_a_plot_takes_any_name(scripts):
    """Not as a formula, and not as what is to be hidden."""
    from plots import Bar, draw_bars

    drawn = draw_bars({"a$b^$<x>": {"_mine": Bar(1.0), "P&Q": Bar(2.0)}}, title="F", unit="F")
    for word in ("a$b^$&lt;x&gt;", "_mine", "P&amp;Q"):
        assert f">{word}</text>" in drawn


def test_bars_are_means_over_seeds_with_their_range(scripts):
    from draw_report import COLUMNS, bar_of
    from plots import Bar

    path = COLUMNS["span F"]
    one, other = figures("padellm", 0, 80.0, interval=[75.0, 84.0]), figures("padellm", 1, 90.0)
    assert bar_of([one], path) == Bar(80.0, 75.0, 84.0)
    assert bar_of([one, other], path) == Bar(85.0, 80.0, 90.0)
    assert bar_of([other], path) == Bar(90.0)
    assert bar_of([other], COLUMNS["steps"]) is None


def test_page_gathers_every_data_set(scripts, tmp_path, gold_path, monkeypatch):
    import draw_report

    found = tmp_path / "padellm"
    found.mkdir()
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("Ada met <b>Hugo</b>"), nlp.make_doc("in Paris")]
    docs[0].ents = [Span(docs[0], 1, 2, '<img src="x" onerror="y">')]
    DocBin(docs=docs).to_disk(found / "found.spacy")
    about = {"machine": "<img>", "threads": "1", "commit": "c", "versions": {}, "command": "python compare.py"}
    for data_set, f in (("first", 81.25), ("second", 63.5)):
        rows = [figures("padellm", 0, f), figures("mine", None, 50.0, ms=1234.5)]
        rows[0]["path"] = str(found / "model-best")
        told = {"data_set": data_set, "test": str(gold_path), "pipelines": rows, "surroundings": about}
        (tmp_path / "m" / data_set).mkdir(parents=True)
        srsly.write_json(tmp_path / "m" / data_set / "compare.json", told)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "m"), str(tmp_path / "out" / "page.html"), "--texts", "1"])
    draw_report.main()
    html = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    for word in ("first", "second", "PaDeLLM", "mine", "81.2", "63.5", "1,234.5", "python compare.py"):
        assert word in html, word
    assert "&lt;b&gt;" in html and "<b>" not in html
    assert "&lt;img src=" in html and "<img" not in html
    assert html.count('class="entity wrong"') == 2, "one text of each data set"
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--texts-of", "second"])
    draw_report.main()
    fewer = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert fewer.count('class="entity wrong"') == 1 and "81.2" in fewer
    assert html.count("<svg") == len(draw_report.PLOTS) == len(list((tmp_path / "out").glob("*.svg")))


def test_page_needs_something_to_show(scripts, project, tmp_path):
    done = run(project, "project/scripts/draw_report.py", tmp_path, tmp_path / "page.html")
    assert done.returncode == 1 and "run compare.py first" in " ".join(done.stdout.split())


@pytest.mark.parametrize("config", ["compare", "lora"])
@pytest.mark.parametrize("name", ["padellm", "augmented", "ner"])
def test_configs_take_what_a_scheme_is_trained_with(scripts, config, name):
    from train_schemes import Training

    configs = scripts.parent / "configs"
    training = Training(Path("corpus"), "some/model", configs, config, "zh", "Chinese", 12, 4, 5, -1)
    command = training.command(name, 3, Path("out"))
    assert command[:4] == ["-m", "spacy", "train", str(configs / f"{'ner' if name == 'ner' else config}.cfg")]
    pairs = dict(zip(command[8::2], command[9::2], strict=True))
    overrides = {key[2:]: int(value) if value.isdigit() else value for key, value in pairs.items()}
    read = load_config(command[3], overrides=overrides, interpolate=True)
    assert (read["training"]["max_steps"], read["training"]["eval_frequency"], read["training"]["seed"]) == (12, 3, 3)
    assert (read["corpora"]["train"]["limit"], read["nlp"]["lang"]) == (5, "zh")
    if name != "ner":
        pipe = read["components"]["padellm_ner"]
        assert pipe["model"]["name"] == "some/model"
        assert (
            pipe["scheme"]["@misc"]
            == {
                "padellm": "spacy-padellm.PaDeLLM.v1",
                "augmented": "spacy-padellm.AutoRegAug.v1",
            }[name]
        )
        assert pipe["scheme"]["prompt"]["@misc"] == "spacy-padellm.ChinesePrompt.v1"


def test_speed_is_measured_on_every_pipeline_and_batch_size(scripts):
    from compare import cost, speed

    nlp = spacy.blank("en")
    told = speed([nlp, nlp], ["a b", "c"], [1, 2], runs=1)
    assert [sorted(one["ms_per_doc"]) for one in told] == [["1", "2"]] * 2
    assert all(value > 0 for one in told for value in one["ms_per_doc"].values())
    assert cost(nlp, ["a"]) == {}


def test_what_was_found_is_kept_until_the_pipeline_is_newer(scripts, tmp_path, gold_path):
    from compare import FOUND, RECORD, Contender, annotate

    class Counted:
        """A pipeline that says how often it ran."""

        def __init__(self):
            self.vocab, self.runs = spacy.blank("en").vocab, 0

        def pipe(self, texts):
            self.runs += 1
            return [Doc(self.vocab, words=text.split(), spaces=[True, False]) for text in texts]

    nlp = Counted()
    gold = list(DocBin().from_disk(gold_path).get_docs(nlp.vocab))[1:]
    record = tmp_path / RECORD
    record.write_text("{}")
    kept = Contender("padellm", 0, str(tmp_path / "model-best"), {}, tmp_path / FOUND)
    for newer, runs in ((0, 1), (0, 1), (5, 2)):
        moment = record.stat().st_mtime + newer
        if newer:
            os.utime(record, (moment, moment + 10))
        assert [doc.text for doc in annotate(kept, nlp, gold)] == ["in Paris"]
        assert nlp.runs == runs
    other = Contender("mine", None, "mine", {}, None)
    annotate(other, nlp, gold)
    annotate(other, nlp, gold)
    assert nlp.runs == 4


def record_in(folder, *, name="padellm", seed=0, train="a", updates=2, moment=1000):
    """What train_schemes.py leaves of a training."""
    from compare import RECORD

    path = folder / f"seed-{seed}" / name
    path.mkdir(parents=True)
    inputs = {"corpus/train.spacy": train, "corpus/dev.spacy": "d"}
    command = ["python", "--training.max_steps", str(updates), "--corpora.train.limit", "0"]
    srsly.write_json(path / RECORD, {"scheme": name, "seed": seed, "command": command, "inputs": inputs})
    os.utime(path / RECORD, (moment, moment))


def test_only_pipelines_of_equal_conditions_are_compared(scripts, tmp_path, capsys):
    """What an earlier run left, on other documents or for other updates, is named and left out."""
    from compare import contenders

    record_in(tmp_path, name="ner", seed=1, train="before")
    record_in(tmp_path, name="one_step", seed=1, updates=5)
    record_in(tmp_path, name="ner", moment=2000)
    record_in(tmp_path)
    assert [(one.name, one.seed) for one in contenders(tmp_path)] == [("padellm", 0), ("ner", 0)]
    assert " ".join(capsys.readouterr().out.split()).count("is left out: it was not trained") == 2


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["a"], "expected NAME=FOLDER_OR_PACKAGE, got 'a'"),
        (["=a"], "expected NAME=FOLDER_OR_PACKAGE, got '=a'"),
        (["a={0}", "a={0}"], "'a' stands for another pipeline"),
        (["padellm={0}"], "'padellm' stands for another pipeline"),
        (["a={0}/none"], r"P154.*/none'"),
    ],
)
def test_pipelines_from_elsewhere_need_names_of_their_own(scripts, tmp_path, named, message):
    from compare import others

    given = [one.format(tmp_path) for one in named]
    with pytest.raises(ValueError, match=message):
        others(given, {"padellm"})
    assert [one.path for one in others([f"a={tmp_path}", f"b={tmp_path}"], {"padellm"})] == [str(tmp_path)] * 2


def test_nothing_to_compare_is_said_without_a_traceback(project, tmp_path, gold_path):
    done = run(project, "project/scripts/compare.py", tmp_path, gold_path, tmp_path / "out.json")
    assert done.returncode == 1 and "run train_schemes.py first" in " ".join(done.stdout.split())
    done = run(project, "project/scripts/compare.py", tmp_path, tmp_path / "none.spacy", tmp_path / "out.json")
    assert done.returncode == 1 and "P150" in done.stdout


def test_what_was_cut_off_in_writing_is_made_again(scripts, tmp_path, gold_path, monkeypatch):
    import train_schemes
    from compare import FOUND, RECORD, Contender, annotate

    nlp = spacy.blank("en")
    (tmp_path / RECORD).write_text("{}")
    (tmp_path / FOUND).write_bytes(b"half")
    os.utime(tmp_path / RECORD, (1000, 1000))
    gold = list(DocBin().from_disk(gold_path).get_docs(nlp.vocab))
    kept = Contender("padellm", 0, str(tmp_path / "model-best"), {}, tmp_path / FOUND)
    assert len(annotate(kept, nlp, gold)) == len(list(DocBin().from_disk(tmp_path / FOUND).get_docs(nlp.vocab))) == 2

    class Instant(train_schemes.Training):
        def command(self, name, seed, folder):
            return [name]

        def checksums(self, name):
            return {}

    trained = []
    monkeypatch.setattr(train_schemes, "_train", lambda command, folder: trained.append(command) or {"seconds": 1})
    (tmp_path / "one.cfg").touch()
    training = Instant(tmp_path, "", tmp_path, "one", "en", "English", 1, 1, 0, -1)
    record = tmp_path / "seed-0" / "one" / RECORD
    record.parent.mkdir(parents=True)
    for content, times in ((None, 1), (None, 1), ('{"scheme": ', 2)):
        if content:
            record.write_text(content)
        list(train_schemes.train_all(training, tmp_path, ["one"], [0]))
        assert len(trained) == times
    with pytest.raises(ValueError, match=r"no config for 'two'.*two\.cfg"):
        list(train_schemes.train_all(training, tmp_path, ["padellm", "two"], [1]))
    assert len(trained) == 2, "nothing before the names are known"


@pytest.mark.parametrize("augmenter", ["spacy-padellm.MentionSwap.v1", "spacy.lower_case.v1"])
def test_a_rival_may_have_any_augmenter(scripts, project, augmenter):
    """Only one that settles is told when."""
    from train_schemes import Training

    configs = project / "project" / "configs"
    written = load_config(configs / "ner.cfg")
    settles = {"settle_after": 1} if "Swap" in augmenter else {"level": 0.1}
    written["corpora"]["train"]["augmenter"] = {"@augmenters": augmenter, **settles}
    written.to_disk(configs / "mine.cfg")
    training = Training(project, "first", configs, "compare", "en", "English", 4, 2, 0, -1)
    told = "--corpora.train.augmenter.settle_after" in training.command("mine", 0, project)
    assert told == ("Swap" in augmenter)


@pytest.mark.parametrize("content", ["{", "[]", '{"data_set": "x"}'])
def test_a_broken_comparison_is_named(project, tmp_path, content):
    (tmp_path / "compare.json").write_text(content)
    done = run(project, "project/scripts/draw_report.py", tmp_path, tmp_path / "page.html")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "compare.json" in done.stdout


def test_texts_that_have_changed_are_left_out_of_the_page(scripts, tmp_path, gold_path):
    from draw_report import texts

    nlp = spacy.blank("en")
    DocBin(docs=[nlp.make_doc("Ada met <b>Hugo</b>"), nlp.make_doc("in Paris")]).to_disk(tmp_path / "found.spacy")
    rows = [{**figures("padellm", 0, 1.0), "path": str(tmp_path / "model-best")}]
    told = {"test": str(gold_path), "pipelines": rows}
    assert "Ada" in texts(told, 2)
    DocBin(docs=[nlp.make_doc("another text")]).to_disk(tmp_path / "found.spacy")
    assert "Ada" not in texts(told, 2)
    gold_path.unlink()
    assert "not there any more" in texts(told, 2)


@pytest.mark.slow
def test_whole_workflow_on_ten_sentences(project):
    """As a user runs it; what is trained is not trained again, and one that is gone is."""
    folder = project / "project"
    config = folder / "configs" / "compare.cfg"
    # What two updates have taught answers anything at any length.
    load_config(config, overrides={"components.padellm_ner.max_answer": 8}).to_disk(config)
    settings = [".", "--vars.limit", "10", "--vars.updates", "2"]
    done = run(project, "-m", "spacy", "project", "run", "compare", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((folder / "metrics" / "snips_screening" / "compare.json").read_text())
    assert [row["name"] for row in told["pipelines"]] == ["padellm", "one_step", "structured", "augmented", "ner"]
    schemes = [row for row in told["pipelines"] if row["name"] != "ner"]
    assert all(row["speed"]["steps_per_doc"] > 0 for row in schemes)
    assert all(row["training"]["cpu_seconds"] > 0 for row in told["pipelines"])
    assert ["against_padellm" in row for row in told["pipelines"]] == [False, True, True, True, True]
    commands = {row["name"]: row["training"]["command"] for row in schemes}
    differing = {index for index, part in enumerate(commands["padellm"]) if part != commands["augmented"][index]}
    assert len(differing) == 2, "the folder and the scheme"
    assert {row["training"]["inputs"]["project/training/snips_screening/first/model.safetensors"] for row in schemes}
    assert (folder / "visualizations" / "report.html").stat().st_size > 10_000

    trained = folder / "training" / "snips_screening" / "compare" / "seed-0"
    (trained / "ner" / "training.json").unlink()
    times = {path.parent.name: path.stat().st_mtime for path in trained.glob("*/training.json")}
    done = run(project, "-m", "spacy", "project", "run", "train_schemes", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ".join(done.stdout.split()).count("trained already") == 4
    assert {path.parent.name: path.stat().st_mtime for path in trained.glob("*/training.json")}.items() > times.items()
