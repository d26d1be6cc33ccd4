"""The command, against a stand-in of the hub: what is pushed, what is told, and that it loads again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from click.testing import Result
from huggingface_hub import constants, snapshot_download
from spacy.cli._util import app
from typer.testing import CliRunner

from spacy_padellm.cli.evaluate import evaluate
from tests.pipeline.makers import annotations, blank, examples, write_docs
from tests.sharing.conftest import KNOWN, TOKEN_NAME
from tests.sharing.stand_in import TOKEN, Hub

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*W001"),
    # The hub's library itself, release 2, where it sends files without its faster way (xet).
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

REPO = "ada/films"

ROOT = Path(__file__).parents[2]


def run(*args: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["padellm", "push", *map(str, args)], input=answer)


def push(model: Path, *args: object, repo: str = REPO) -> Result:
    form = [] if {"--as-is", "--adapter", "--merged"} & set(args) else ["--pipeline"]
    licence = [] if "--licence" in args else ["--licence", "mit"]
    return run(model, repo, *form, *licence, "--token-name", TOKEN_NAME, "--yes", *args)


def message(result: Result) -> str:
    """What was printed, in one line. The token stands in nothing."""
    assert TOKEN not in result.output
    return re.sub(r"\s+", " ", result.output)


def refused(result: Result, told: str) -> None:
    assert result.exit_code == 1, result.output
    assert re.search(told, message(result)), message(result)


def card(hub: Hub, repo: str = REPO, revision: str = "main") -> str:
    return hub.files(repo, revision)["README.md"].decode()


def metadata(text: str) -> Any:
    found = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    assert found is not None
    return srsly.yaml_loads(found[1])


# What is pushed, and loaded again


@pytest.mark.parametrize("form", ["--pipeline", "--as-is"])
def test_a_pipeline_comes_back(hub: Hub, model: Path, tmp_path: Path, form: str):
    result = push(model, form)
    assert result.exit_code == 0, result.output
    assert "Pushed:" in message(result) and f"{REPO} is not there yet" in message(result)
    loaded = spacy.load(snapshot_download(REPO, cache_dir=tmp_path))
    original = spacy.load(model)
    assert annotations(loaded) == annotations(original) and any(ents for ents, _, _ in annotations(original))
    assert loaded.get_pipe("padellm_ner").label_data == original.get_pipe("padellm_ner").label_data  # type: ignore[attr-defined]
    assert ("frozen" in loaded.config["components"]["padellm_ner"]["model"]) == (form == "--pipeline")
    # What is listed is what was sent.
    listed = dict(re.findall(r"^(\S+) +([\d,]+)$", result.output, flags=re.MULTILINE))
    files = {name: content for name, content in hub.files(REPO).items() if name != ".gitattributes"}
    total = listed.pop("all")
    assert listed == {name: f"{len(content):,}" for name, content in files.items()}
    assert total == f"{sum(map(len, files.values())):,}"
    assert not any(TOKEN.encode() in content or str(tmp_path.parent).encode() in content for content in files.values())


@pytest.mark.slow
def test_every_form_over_a_base_model_of_the_hub(hub: Hub, model: Path, tmp_path: Path):
    """In another process, that knows of the hub by its environment: by the code of the cards."""
    assert push(model, "--merged", repo="ada/base").exit_code == 0
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.sharing.elsewhere", str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "[W0" not in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["expected"] == "[('Paris', 'city')]"
    assert told["as-is"] == told["pipeline"] == [told["expected"]]
    # The second block of these asks the model without this package.
    assert told["adapter"] == told["merged"] == [told["expected"], "city 1 ['Paris']"]
    assert told["peft"] == "ada/base" and told["merged_weights"] > 0
    assert set(hub.files("ada/adapter")) == {
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert not any("base" in name for name in hub.files("ada/as-is") if name.endswith("safetensors"))
    for form, library in (("adapter", "peft"), ("as-is", "spacy"), ("pipeline", "spacy"), ("merged", "transformers")):
        found = metadata(card(hub, f"ada/{form}"))
        assert (found["library_name"], found["base_model"]) == (library, "ada/base")
    assert "fetches its base model `ada/base`" in card(hub, "ada/as-is")
    assert "more in a LoRA adapter of rank 4; trained from `ada/base`" in card(hub, "ada/adapter")


def test_a_base_model_of_a_folder_is_no_help_to_others_p068(hub: Hub, model: Path, tmp_path: Path):
    base = model / "padellm_ner" / "model"
    lora = {"@misc": "spacy-padellm.LoRA.v1", "rank": 2}
    nlp = blank({"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu", "lora": lora})
    nlp.initialize(lambda: examples(nlp, KNOWN))
    nlp.config["paths"]["train"] = "/home/ada/secret/train.spacy"
    logger = {"@loggers": "spacy.ConsoleLogger.v3", "output_file": "/home/ada/secret/log.jsonl"}
    nlp.config["training"]["logger"] = logger
    nlp.config["corpora"]["dev"] = {"@readers": "spacy.Corpus.v1", "path": "/home/ada/secret/dev.spacy"}
    nlp.to_disk(tmp_path / "adapted")
    for form in ("--adapter", "--as-is"):
        refused(push(tmp_path / "adapted", form), rf"\[P068\] The pipe 'padellm_ner'.*{base.name}.*--base-model")
    assert REPO not in hub.repos
    assert push(tmp_path / "adapted", "--pipeline").exit_code == 0
    assert "base_model" not in metadata(card(hub))
    for form in ("--adapter", "--as-is"):
        result = push(tmp_path / "adapted", form, "--base-model", "ada/base", repo=f"ada/{form[2:]}")
        assert result.exit_code == 0, result.output
        assert bool(re.search(r"this machine were taken out of .*config\.cfg", message(result))) == (form == "--as-is")
        assert metadata(card(hub, f"ada/{form[2:]}"))["base_model"] == "ada/base"
    config = json.loads(hub.files("ada/adapter")["adapter_config.json"])
    assert config["base_model_name_or_path"] == "ada/base"
    config = hub.files("ada/as-is")["config.cfg"].decode()
    assert 'name = "ada/base"' in config and 'device = "auto"' in config
    for repo in ("ada/adapter", "ada/as-is", REPO):
        for name, content in hub.files(repo).items():
            assert str(base).encode() not in content and b"secret" not in content, name
    refused(push(tmp_path / "adapted", "--adapter", "--base-model", str(base)), r"\[P001\] Setting 'base_model'")


def test_a_second_push_is_a_new_commit(hub: Hub, model: Path):
    assert push(model).exit_code == 0
    repo = hub.repos[REPO]
    repo.commit("main", {**hub.files(REPO), "notes.txt": b"mine", "model-00001-of-2.safetensors": b"old"}, "by hand")
    result = push(model, "--as-is", "--keep", "--message", "as it is")
    assert result.exit_code == 0, result.output
    assert "files of it stay beside the new ones" in message(result)
    assert hub.files(REPO)["notes.txt"] == b"mine" and repo.messages[-1] == "as it is"
    result = push(model)
    assert re.search(r"is there: a new commit replaces \d+ of its files", message(result))
    assert re.search(r"files of it go \(.*--keep.*\): .*notes\.txt", message(result))
    assert {"notes.txt", "model-00001-of-2.safetensors"}.isdisjoint(hub.files(REPO))
    assert ".gitattributes" in hub.files(REPO) and repo.messages[-1] == "en_pipeline 0.0.0 (pipeline)"
    assert len(repo.messages) == 5


def test_nothing_is_pushed_without_a_yes(hub: Hub, model: Path):
    args = (model, REPO, "--pipeline", "--licence", "mit", "--token-name", TOKEN_NAME)
    for answer in ("n\n", ""):
        result = run(*args, answer=answer)
        assert result.exit_code == 1 and f"files to {REPO}?" in message(result)
        assert {method for method, _ in hub.asked} == {"GET"} and not hub.repos
    assert run(*args, answer="y\n").exit_code == 0 and REPO in hub.repos


def test_branches_pull_requests_and_private_repositories(hub: Hub, model: Path):
    assert push(model, "--private").exit_code == 0
    repo = hub.repos[REPO]
    assert repo.private
    assert push(model, "--branch", "v2", "--licence", "apache-2.0").exit_code == 0
    assert metadata(card(hub))["license"] == "mit" and metadata(card(hub, revision="v2"))["license"] == "apache-2.0"
    assert "snapshot_download('ada/films', revision='v2')" in card(hub, revision="v2")
    result = push(model, "--create-pr", "--licence", "other")
    assert result.exit_code == 0 and "discussions/1" in message(result)
    assert metadata(card(hub))["license"] == "mit"
    assert metadata(card(hub, revision="refs/pr/1"))["license"] == "other"
    refused(push(model, "--create-pr", "--branch", "v2"), r"\[P001\] Setting 'branch'.*v2")
    # One that is there stays as visible as it is.
    assert push(model).exit_code == 0 and hub.repos[REPO].private


def test_an_output_folder_holds_what_would_be_pushed(hub: Hub, model: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = run(model, REPO, "--pipeline", "--licence", "mit", "--output", out)
    assert result.exit_code == 0 and "pushed nothing" in message(result) and hub.asked == []
    assert push(model).exit_code == 0
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert files == {name: content for name, content in hub.files(REPO).items() if name != ".gitattributes"}
    refused(run(model, REPO, "--merged", "--licence", "mit", "--output", out), r"\[P033\].*--force")
    assert run(model, REPO, "--merged", "--licence", "mit", "--output", out, "--force").exit_code == 0
    assert (out / "model.safetensors").exists() and not (out / "config.cfg").exists()


def test_the_weights_dtype(hub: Hub, model: Path):
    assert push(model, "--merged", "--dtype", "bfloat16").exit_code == 0
    assert json.loads(hub.files(REPO)["config.json"])["dtype"] == "bfloat16"
    assert "'dtype': 'bfloat16'" in card(hub)


# What the card says


@pytest.fixture(scope="session")
def metrics(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metrics")
    gold = write_docs(folder / "test|set.spacy", KNOWN)
    srsly.write_json(folder / "figures.json", evaluate(model, gold, samples=50))
    return folder / "figures.json"


def test_figures_are_those_of_the_file(hub: Hub, model: Path, metrics: Path):
    result = push(model, "--metrics", metrics, "--dataset", "ada/snips", "--data", "Made <up> by *hand*.")
    assert result.exit_code == 0, result.output
    text, figures = card(hub), srsly.read_json(metrics)
    assert "on 5 documents of `test|set.spacy`, in percent" in text and str(metrics.parent) not in text
    for label, row in figures["spans"]["per_label"].items():
        low, high = row["interval"]["f"]
        shares = " | ".join(f"{row[name]:.2f}" for name in "prf")
        assert f"| `{label}` | {shares} | {low:.2f} to {high:.2f} | {row['predicted']} | {row['gold']} |" in text
    assert "interval of F (95 %)" in text and f"has mentions of: {figures['counts']['nonzero']:.2f} %" in text
    assert "Made &lt;up&gt; by \\*hand\\*." in text and "Data sets of the hub: `ada/snips`." in text
    assert "Speed" not in text
    (index,) = metadata(text)["model-index"]
    (result_,) = index["results"]
    assert index["name"] == "films" and result_["task"] == {"type": "token-classification", "name": "NER"}
    assert result_["dataset"] == {"name": "test|set.spacy", "type": "ada/snips"}
    values = {one["name"]: (one["type"], one["value"]) for one in result_["metrics"]}
    assert values["F, all mentions"] == ("f1", round(figures["spans"]["f"] / 100, 4))
    assert values["Recall, doc.ents"] == ("recall", round(figures["ents"]["r"] / 100, 4))
    assert len(values) == 6


def test_a_card_without_figures_has_none(hub: Hub, model: Path):
    assert push(model).exit_code == 0
    text = card(hub)
    assert "No figures were given" in text and "Nothing was said about the data" in text
    assert "model-index" not in metadata(text) and "datasets" not in metadata(text)
    found = metadata(text)
    assert found["tags"] == ["spacy", "token-classification", "padellm"] and found["language"] == ["en"]
    assert (found["license"], found["library_name"]) == ("mit", "spacy")
    assert "| `city` | city | A \\*town\\* \\| &lt;b&gt;big&lt;/b&gt; |  |" in text
    total = sum(
        len(content) for name, content in hub.files(REPO).items() if name not in ("README.md", ".gitattributes")
    )
    assert f"{total:,} bytes" in text


def test_what_meta_json_says(hub: Hub, model: Path, tmp_path: Path):
    nlp = spacy.load(model)
    nlp.meta.update(license="CC-BY-4.0", description="# Not a heading\n---\n`x`", author="A | B", name="films")
    nlp.to_disk(tmp_path / "said")
    options = ("--token-name", TOKEN_NAME, "--yes", "--language", "en", "--language", "de")
    assert run(tmp_path / "said", REPO, "--pipeline", *options).exit_code == 0
    text = card(hub)
    assert metadata(text)["license"] == "cc-by-4.0" and metadata(text)["language"] == ["en", "de"]
    assert "\\# Not a heading --- \\`x\\`" in text and "| author | A \\| B |" in text and "`en_films` 0.0.0" in text


def test_the_speed_that_a_file_of_the_project_has(hub: Hub, model: Path, metrics: Path, tmp_path: Path):
    figures = srsly.read_json(metrics)
    for name in ("labels", "data", "bootstrap"):
        del figures[name]
    figures["speed"] = {"docs": 1234, "docs_per_second": 56.78, "machine": "x86_64"}
    srsly.write_json(tmp_path / "figures.json", figures)
    assert push(model, "--metrics", tmp_path / "figures.json").exit_code == 0
    assert "Speed: 56.78 documents a second (1,234 documents; x86\\_64)." in card(hub)


# What is refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], r"\[P060\].*none of them"),
        (["--pipeline", "--as-is"], r"\[P060\].*--pipeline and --as-is"),
        (["--adapter", "--dtype", "float16"], r"\[P001\] Setting 'dtype'.*nothing with --adapter"),
        (["--as-is", "--dequantize"], r"\[P001\] Setting 'dequantize'"),
        (["--as-is", "--pipe", "padellm_ner"], r"\[P001\] Setting 'pipe'"),
        (["--merged", "--pipe", "ner"], r"\[P034\] The pipe 'ner'.*there is none"),
        (["--adapter"], r"\[P034\] The pipe 'padellm_ner'.*no adapter"),
        (["--merged", "--licence", ""], r"\[P065\].*--licence"),
        (["--merged", "--licence", "as you like"], r"\[P065\].*'as you like'"),
    ],
)
def test_what_cannot_be_asked_for(hub: Hub, model: Path, options: list[str], told: str):
    licence = [] if "--licence" in options else ["--licence", "mit"]
    refused(run(model, REPO, *options, *licence, "--token-name", TOKEN_NAME, "--yes"), told)
    assert not hub.repos


@pytest.mark.parametrize("repo", ["films", "a/b/c", "/films", "ada/fi lms", "ada/films--x", "ada/films.git", "ada/"])
def test_what_is_no_repository_p061(hub: Hub, model: Path, repo: str):
    refused(push(model, repo=repo), r"\[P061\].*OWNER/NAME")
    assert hub.asked == []


def test_no_pipeline_p154(hub: Hub, tmp_path: Path):
    refused(push(tmp_path / "nowhere"), r"\[P154\]")


def test_no_token_p062(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    args = (model, REPO, "--pipeline", "--licence", "mit", "--yes")
    refused(run(*args), r"\[P062\].*nobody is logged in.*hf auth login")
    refused(run(*args, "--token-name", "NOWHERE"), r"\[P062\].*NOWHERE is not set")
    refused(run(*args, "--token-name", TOKEN), r"\[P062\].*no name of an environment variable.*never the token")
    monkeypatch.setenv(TOKEN_NAME, f"{TOKEN} and more\n")
    refused(run(*args, "--token-name", TOKEN_NAME), r"\[P062\].*no token has")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run(*args).exit_code == 0


def test_a_token_that_the_hub_does_not_take_p063(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(TOKEN_NAME, "hf_wrong")
    result = push(model)
    refused(result, r"\[P063\].*401")
    assert "hf_wrong" not in result.output and {path for _, path in hub.asked} == {"/api/whoami-v2"}


def test_somebody_else_s_namespace_p063(hub: Hub, model: Path):
    hub.failing["repos/create"] = 403, f"no rights for {TOKEN} there"
    result = push(model, repo="grace/films")
    refused(result, r"\[P063\].*403.*may you write to grace/films")


def test_a_hub_that_fails_p064(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for part in ("whoami", "repos/create", "preupload", "objects", "commit"):
        hub.failing = {part: (503, "out of order")}
        refused(push(model), r"\[P064\] The hub at http://127.*503")
    hub.failing = {}
    assert push(model).exit_code == 0


def test_no_hub_at_all_p064(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(push(model), r"\[P064\] The hub at http://127\.0\.0\.1:9 cannot be reached")


def test_what_the_hub_does_not_take_p069(hub: Hub, model: Path):
    refused(push(model, "--licence", "my-own"), r"\[P069\].*licen[cs]e")
    hub.failing = {"commit": (422, "too many files")}
    refused(push(model), r"\[P069\].*422.*too many files")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "No such file"),
        ("[", "no JSON"),
        ("[]", "holds no figures"),
        ("{}", "'spans' is missing"),
        ({"docs": "many"}, "'docs' is 'many'"),
        ({"spans": 3}, "'spans' is 3"),
        ({"spans.f": 140}, "spans: 'f' is 140"),
        ({"spans.p": True}, "spans: 'p' is True"),
        ({"spans.gold": 1.5}, r"spans: 'gold' is 1\.5"),
        ({"spans.per_label.city.r": None}, "city: 'r' is missing"),
    ],
)
def test_figures_that_cannot_be_used_p066(hub: Hub, model: Path, metrics: Path, tmp_path: Path, change: Any, told: str):
    path = tmp_path / "figures.json"
    if isinstance(change, str):
        path.write_text(change)
    elif change is not None:
        figures = srsly.read_json(metrics)
        for place, value in change.items():
            *blocks, last = place.split(".")
            block = figures
            for name in blocks:
                block = block[name]
            block[last] = value
        srsly.write_json(path, figures)
    refused(push(model, "--metrics", path), rf"\[P066\].*{told}.*padellm evaluate")
    assert not hub.repos


def test_figures_of_another_pipeline_p067(hub: Hub, model: Path, metrics: Path, tmp_path: Path):
    figures = srsly.read_json(metrics)
    srsly.write_json(tmp_path / "others.json", {**figures, "labels": ["city", "person"]})
    refused(push(model, "--metrics", tmp_path / "others.json"), r"\[P067\].*nothing about the labels 'movie'")
    del figures["labels"]
    figures["spans"]["per_label"] = {"person": figures["spans"]["per_label"]["city"]}
    srsly.write_json(tmp_path / "others.json", figures)
    refused(push(model, "--metrics", tmp_path / "others.json"), r"\[P067\].*none of the labels 'city', 'movie'")
