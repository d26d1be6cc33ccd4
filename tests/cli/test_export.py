"""The command: its forms, and what it leaves alone."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import spacy
from click.testing import Result
from spacy.cli._util import app
from spacy.language import Language
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from spacy_padellm.cli.export import export
from spacy_padellm.data.folders import written_whole
from spacy_padellm.model import sources
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import TEXTS, answers, blank, examples

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

FOUR = {"quant_method": "bitsandbytes", "load_in_4bit": True}


@pytest.fixture(autouse=True)
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "prove", lambda lm: None)


def saved(folder: Path, **settings: object) -> Path:
    base = folder / "base"
    if not base.exists():
        write_checkpoint(base, family="llama", tokenizer="qwen", hidden_size=64, initializer_range=0.08)
    lora = {"@misc": "spacy-padellm.LoRA.v1", "rank": 2}
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu", "lora": lora}
    nlp = blank({**model, **settings})
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(folder / "model")
    return folder / "model"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["padellm", "export", *map(str, args)])


def message(result: Result) -> str:
    """What was printed, in one line."""
    return re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("form", "file"),
    [
        ("--merged", "model.safetensors"),
        ("--adapter", "adapter_model.safetensors"),
        ("--pipeline", "padellm_ner/model/base/model.safetensors"),
    ],
)
def test_forms(tmp_path: Path, form: str, file: str):
    model, out = saved(tmp_path), tmp_path / "deep" / "out"
    result = run(model, out, form)
    assert result.exit_code == 0, result.output
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.safetensors")] == [file]
    assert (out / "README.md").exists() == (form != "--pipeline")
    assert out.stat().st_mode & 0o777 == out.parent.stat().st_mode & 0o777
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    if form == "--pipeline":
        assert answers(spacy.load(out)) == answers(spacy.load(model))


def test_a_gguf_file(tmp_path: Path):
    model, out = saved(tmp_path), tmp_path / "out"
    result = run(model, out, "--gguf", "--dtype", "q8_0")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "model.gguf"]
    assert (out / "model.gguf").read_bytes()[:4] == b"GGUF"
    assert "llama-server --model model.gguf" in (out / "README.md").read_text()
    size = (out / "model.gguf").stat().st_size
    assert run(model, out, "--gguf", "--force").exit_code == 0
    assert (out / "model.gguf").stat().st_size > 1.5 * size


def test_without_the_package_p070(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    result = run(saved(tmp_path), tmp_path / "out", "--gguf")
    assert result.exit_code == 1 and re.search(r"\[P070\].*spacy-padellm\[gguf\]", message(result))


def test_a_pipeline_that_asks_a_server(tmp_path: Path):
    model, out = saved(tmp_path), tmp_path / "out"
    result = run(model, out, "--served", "http://127.0.0.1:9/v1", "--served-name", "films")
    assert result.exit_code == 0, result.output
    assert not list(out.rglob("*.safetensors"))
    block = spacy.load(out).config["components"]["padellm_ner"]["model"]
    assert (block["base_url"], block["served_name"]) == ("http://127.0.0.1:9/v1", "films")


def test_dtype_and_quantised_weights(tmp_path: Path):
    model = saved(tmp_path, quantization=FOUR)
    result = run(model, tmp_path / "out", "--merged")
    assert result.exit_code == 1 and "[P030]" in message(result) and "--dequantize" in message(result)
    assert not (tmp_path / "out").exists()
    result = run(model, tmp_path / "out", "--merged", "--dequantize", "--dtype", "float16")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], r"\[P032\].*none of them"),
        (["--merged", "--adapter"], r"\[P032\].*--merged and --adapter"),
        (["--adapter", "--dtype", "float16"], r"\[P001\] Setting 'dtype'.*float16"),
        (["--adapter", "--dequantize"], r"\[P001\] Setting 'dequantize'"),
        (["--served", "http://127.0.0.1:9/v1", "--dtype", "float16"], r"\[P001\] Setting 'dtype'.*--served"),
        (["--served", "127.0.0.1:9"], r"\[P001\] Setting 'base_url'"),
        (["--merged", "--served-name", "tiny"], r"\[P001\] Setting 'served_name'.*--merged"),
        (["--gguf", "--dtype", "float64"], r"\[P001\] Setting 'dtype'.*q8_0.*float64"),
        (["--merged", "--dtype", "q8_0"], r"\[P001\] Setting 'dtype'.*q8_0"),
        (["--merged", "--pipe", "ner"], r"\[P034\] The pipe 'ner'.*padellm_ner"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path: Path, options: list[str], told: str):
    result = run(saved(tmp_path), tmp_path / "out", *options)
    assert result.exit_code == 1
    assert re.search(told, message(result))
    assert not (tmp_path / "out").exists()


def test_no_pipeline_p154(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P154\].*nowhere"):
        export(tmp_path / "nowhere", tmp_path / "out", forms={"--merged": True})
    assert "[P154]" in message(run(tmp_path / "nowhere", tmp_path / "out", "--merged"))


def test_what_is_there_stays_unless_forced_p033(tmp_path: Path):
    model, out = saved(tmp_path), tmp_path / "out"
    out.mkdir()
    assert run(model, out, "--adapter").exit_code == 0
    (out / "mine.txt").write_text("mine")
    result = run(model, out, "--merged")
    assert result.exit_code == 1 and re.search(r"\[P033\].*with 4 files in it.*--force", message(result))
    assert {path.name for path in out.iterdir()} >= {"mine.txt", "adapter_config.json"}
    assert run(model, out, "--merged", "--pipe", "ner", "--force").exit_code == 1
    assert (out / "mine.txt").exists()  # what fails leaves it, too
    assert run(model, out, "--merged", "--force").exit_code == 0
    assert not (out / "mine.txt").exists() and not (out / "adapter_config.json").exists()
    AutoModelForCausalLM.from_pretrained(out)


@pytest.mark.parametrize(
    ("place", "told"),
    [("model", "the pipeline itself"), ("model/out", "one within"), (".", "lies in"), ("file", "a file")],
)
def test_places_that_are_taken_p033(tmp_path: Path, place: str, told: str):
    model = saved(tmp_path / "parent")
    (tmp_path / "parent" / "file").write_text("mine")
    result = run(model, tmp_path / "parent" / place, "--adapter", "--force")
    assert result.exit_code == 1 and re.search(rf"\[P033\].*{told}", message(result))
    spacy.load(model)


def test_a_folder_that_fails_half_way_is_not_there(tmp_path: Path):
    with pytest.raises(RuntimeError), written_whole(tmp_path / "out", force=False) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_texts_are_not_empty(tmp_path: Path):
    """Or the answers above would be equal for nothing."""
    nlp: Language = spacy.load(saved(tmp_path))
    assert len(answers(nlp)) == len(TEXTS) and answers(nlp)[0]
