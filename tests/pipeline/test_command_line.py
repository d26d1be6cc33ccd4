"""spaCy's own commands on a pipeline of ours alone, without a network, and in a pipeline with others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from confection import Config
from spacy.cli.debug_config import debug_config
from spacy.cli.evaluate import evaluate
from spacy.cli.init_config import fill_config
from spacy.cli.init_pipeline import init_labels_cli
from spacy.cli.package import package
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_padellm.cli.evaluate import evaluate as evaluate_more
from spacy_padellm.pipeline.component import PaDeLLMNER
from tests.pipeline.makers import DATA, FRESH, TEXTS, ours, same_weights, weights, write_docs

# Models that were trained for two steps answer nonsense.
pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def write_config(folder: Path, *, steps: int = 4, components: dict[str, Any] | None = None, **training: Any) -> Path:
    """A config as a user would write it: what is not named is left to the defaults."""
    corpus = {"@readers": "spacy.Corpus.v1"}
    components = components or {"padellm_ner": {"factory": "padellm_ner", "model": FRESH}}
    config = {
        "nlp": {"lang": "en", "pipeline": list(components)},
        "components": components,
        "corpora": {
            "train": {**corpus, "path": str(write_docs(folder / "train.spacy"))},
            "dev": {**corpus, "path": str(write_docs(folder / "dev.spacy", group="sc"))},
        },
        "training": {
            "max_steps": steps,
            "eval_frequency": 2,
            "patience": 0,
            "optimizer": {"@optimizers": "Adam.v1", "learn_rate": 0.01, "use_averages": False},
            **training,
        },
    }
    path = folder / "config.cfg"
    Config(config).to_disk(path)
    return path


def filled(folder: Path, **settings: Any) -> Path:
    path = folder / "filled.cfg"
    fill_config(path, write_config(folder, **settings))
    return path


def test_fill_config_writes_every_setting_and_loads_no_weights(tmp_path: Path):
    config = Config().from_disk(filled(tmp_path))
    block = config["components"]["padellm_ner"]
    assert block["placing"] == "ordered"
    assert block["model"]["rope_theta"] == 1000.0
    assert block["scheme"]["prompt"] == {
        "@misc": "spacy-padellm.EnglishPrompt.v1",
        "label_words": None,
        "repeat_text": 1,
    }
    assert config["training"]["score_weights"]["ents_f"] == 1.0


def test_debug_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = filled(tmp_path)
    debug_config(path, show_vars=True)
    assert "is valid" in capsys.readouterr().out.lower()
    broken = tmp_path / "broken.cfg"
    broken.write_text(path.read_text().replace('placing = "ordered"', 'placing = "nearest"'))
    with pytest.raises(SystemExit):
        debug_config(broken)


def test_init_labels_writes_what_initialize_reads(tmp_path: Path):
    path = filled(tmp_path)

    class Context:
        args: Sequence[str] = ()

    init_labels_cli(Context(), path, tmp_path / "labels", None, False, -1)  # type: ignore[arg-type]
    written = tmp_path / "labels" / "padellm_ner.json"
    assert srsly.read_json(written) == ["city", "movie"]
    srsly.write_json(written, ["movie", "city"])
    config = Config().from_disk(path)
    reader = {"@readers": "spacy.read_labels.v1", "path": str(written), "require": True}
    config["initialize"]["components"]["padellm_ner"] = {"labels": reader}
    config.to_disk(path)
    train(path, tmp_path / "out")
    assert ours(spacy.load(tmp_path / "out" / "model-last")).labels == ("movie", "city")


def test_train_and_evaluate(tmp_path: Path):
    train(filled(tmp_path, steps=120, eval_frequency=120), tmp_path / "out")
    found = evaluate(str(tmp_path / "out" / "model-last"), tmp_path / "dev.spacy", tmp_path / "scores.json")
    assert found["ents_f"] > 0.5
    assert srsly.read_json(tmp_path / "scores.json")["ents_f"] == pytest.approx(found["ents_f"])
    assert found["spans_sc_f"] is not None
    more = evaluate_more(tmp_path / "out" / "model-last", tmp_path / "dev.spacy", samples=20)
    assert more["ents"]["f"] == pytest.approx(100 * found["ents_f"], abs=0.01)
    assert more["counts"]["pairs"] == 2 * len(DATA)
    assert more["strings"]["set"]["predicted"] >= more["strings"]["set"]["right"] > 0
    assert spacy.load(tmp_path / "out" / "model-last").meta["performance"]["padellm_ner_loss"] > 0


def test_averages_reach_what_is_saved(tmp_path: Path):
    """After few steps averages are far from the last weights: the same run without them saves others."""
    found = {}
    for use in (True, False):
        folder = tmp_path / str(use)
        folder.mkdir()
        path = filled(folder)
        config = Config().from_disk(path)
        config["training"]["optimizer"]["use_averages"] = use
        config.to_disk(path)
        train(path, folder / "out")
        found[use] = weights(spacy.load(folder / "out" / "model-last"))
    assert found[True].keys() == found[False].keys()
    assert not same_weights(found[True], found[False])


def test_accumulated_sub_batches_train_as_the_large_batch(tmp_path: Path):
    found = []
    for parts in (1, 2, 4):
        folder = tmp_path / str(parts)
        folder.mkdir()
        train(filled(folder, steps=3, accumulate_gradient=parts, dropout=0.0), folder / "out")
        found.append(weights(spacy.load(folder / "out" / "model-last")))
    for name, weight in found[0].items():
        # Adam divides by the size of the gradient, so that rounding shows where a gradient is all but zero.
        assert all((other[name] - weight).abs().mean() < 1e-4 for other in found[1:]), name


def test_batches_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Four documents of some 60 pieces: two batches of two."""
    batches: list[int] = []
    update = PaDeLLMNER.update

    def spy(pipe: PaDeLLMNER, examples: Sequence[Example], **settings: Any) -> Any:
        batches.append(len(list(examples)))
        return update(pipe, examples, **settings)

    monkeypatch.setattr(PaDeLLMNER, "update", spy)
    batcher = {"@batchers": "spacy-padellm.batch_by_pieces.v1", "size": 120, "per_token": 2.0, "per_doc": 40.0}
    train(filled(tmp_path, steps=4, batcher=batcher), tmp_path / "out")
    assert batches and max(batches) == 2
    assert ours(spacy.load(tmp_path / "out" / "model-last")).labels == ("city", "movie")


# With others

ONE_PASS = {"@architectures": "spacy.Tagger.v2", "nO": None, "normalize": False}


def bert(folder: Path) -> Path:
    """A tiny BERT, as transformers saves it."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word for text in TEXTS for word in text.lower().replace("?", " ?").split()})
    letters = [chr(place) for place in range(97, 123)]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *words, *letters, *(f"##{one}" for one in letters)]
    names = list(dict.fromkeys(names))
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(names))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(names), **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def neighbours(folder: Path, *, transformer: bool) -> dict[str, Any]:
    """Components before and after ours: a ruler on either side, a sentencizer, a tagger on a shared layer."""
    if transformer:
        shared = {
            "factory": "transformer",
            "model": {
                "@architectures": "spacy-transformers.TransformerModel.v3",
                "name": str(bert(folder / "bert")),
                "tokenizer_config": {"use_fast": True},
                "transformer_config": {},
                "mixed_precision": False,
                "grad_scaler_config": {},
                "get_spans": {"@span_getters": "spacy-transformers.doc_spans.v1"},
            },
        }
        listener = {
            "@architectures": "spacy-transformers.TransformerListener.v1",
            "grad_factor": 1.0,
            "pooling": {"@layers": "reduce_mean.v1"},
            "upstream": "*",
        }
    else:
        settings = {"width": 16, "depth": 1, "embed_size": 50, "window_size": 1, "maxout_pieces": 2}
        cnn = {"@architectures": "spacy.HashEmbedCNN.v2", **settings, "subword_features": True}
        shared = {"factory": "tok2vec", "model": {**cnn, "pretrained_vectors": None}}
        listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
    return {
        "sentencizer": {"factory": "sentencizer"},
        "before": {"factory": "entity_ruler"},
        "shared": shared,
        "tagger": {"factory": "tagger", "model": {**ONE_PASS, "tok2vec": listener}},
        "padellm_ner": {"factory": "padellm_ner", "model": FRESH},
        "after": {"factory": "entity_ruler"},
    }


def write_tagged(path: Path) -> None:
    nlp = spacy.blank("en")
    docs = []
    for text, ents in DATA:
        doc = nlp.make_doc(text)
        tags = ["NNP" if token.text[0].isupper() else "X" for token in doc]
        docs.append(Example.from_dict(doc, {"entities": ents, "tags": tags}).reference)
    DocBin(docs=docs).to_disk(path)


def rulers(folder: Path) -> dict[str, Any]:
    """Patterns for the rulers, read when the pipeline is initialised."""
    blocks = {}
    for name, pattern in {"before": "cinema", "after": "playing"}.items():
        path = folder / f"{name}.json"
        srsly.write_json(path, [{"label": name.upper(), "pattern": pattern}])
        blocks[name] = {"patterns": {"@readers": "srsly.read_json.v1", "path": str(path)}}
    return blocks


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*W036", "ignore:.*lookups-data", "ignore:.*W108")
@pytest.mark.parametrize(
    "transformer",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(find_spec("spacy_transformers") is None, reason="no spacy-transformers")
        ),
    ],
    ids=["tok2vec", "transformer"],
)
@pytest.mark.parametrize("frozen", ["nothing", "tagger", "padellm_ner"])
def test_with_others_in_one_pipeline(tmp_path: Path, transformer: bool, frozen: str):
    path = write_config(tmp_path, steps=2, components=neighbours(tmp_path, transformer=transformer))
    for name in ("train", "dev"):
        write_tagged(tmp_path / f"{name}.spacy")
    config = Config().from_disk(path)
    config["initialize"] = {"components": rulers(tmp_path)}
    config.to_disk(path)
    fill_config(path, path)
    train(path, tmp_path / "first")
    first = spacy.load(tmp_path / "first" / "model-last")
    assert first.pipe_names == ["sentencizer", "before", "shared", "tagger", "padellm_ner", "after"]
    if frozen == "nothing":
        check_together(first, evaluate(str(tmp_path / "first" / "model-last"), tmp_path / "dev.spacy"))
        return
    config = Config().from_disk(path)
    for name in first.pipe_names:
        config["components"][name] = {"source": str(tmp_path / "first" / "model-last")}
    config["initialize"]["components"] = {}
    config["training"]["frozen_components"] = [frozen, "before", "after", "sentencizer"]
    config.to_disk(path)
    train(path, tmp_path / "second")
    second = spacy.load(tmp_path / "second" / "model-last")
    assert same_weights(weights(first), weights(second)) == (frozen == "padellm_ner")
    taggers = [nlp.get_pipe("tagger").model.get_ref("softmax").to_bytes() for nlp in (first, second)]
    assert (taggers[0] == taggers[1]) == (frozen == "tagger")


def check_together(nlp: Language, found: dict[str, Any]) -> None:
    """Everyone's annotations are there, and those of before are kept."""
    (doc,) = nlp.pipe([TEXTS[0]])
    assert {ent.label_: ent.text for ent in doc.ents}["BEFORE"] == "cinema"
    assert all(token.tag_ for token in doc)
    assert len(list(doc.sents)) == 1
    assert "scores" in doc.spans["sc"].attrs
    assert {"tag_acc", "ents_f"} <= found.keys()


# Whole commands


def spacy_command(*arguments: object, folder: Path, path: Path | None = None) -> str:
    environment = {**os.environ, **OFFLINE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path or "")}
    command = [sys.executable, "-m", "spacy", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_commands_in_processes_of_their_own(tmp_path: Path):
    write_config(tmp_path)
    spacy_command("init", "fill-config", "config.cfg", "filled.cfg", folder=tmp_path)
    spacy_command("debug", "config", "filled.cfg", folder=tmp_path)
    spacy_command("init", "labels", "filled.cfg", "labels", folder=tmp_path)
    spacy_command("train", "filled.cfg", "--output", "out", folder=tmp_path)
    spacy_command("evaluate", "out/model-last", "dev.spacy", "--output", "scores.json", folder=tmp_path)
    assert "ents_f" in json.loads((tmp_path / "scores.json").read_text())
    speed = spacy_command(
        "benchmark", "speed", "out/model-last", "dev.spacy", "--batches", 30, "--warmup", 0, folder=tmp_path
    )
    assert "words/s" in speed


USE = "import json, {name}; nlp = {name}.load(); print(json.dumps([[e.text for e in nlp(t).ents] for t in {texts!r}]))"


@pytest.mark.slow
# spaCy's package command leaves files open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_package_installs_and_loads_without_a_network(trained: Any, tmp_path: Path):
    nlp = trained()
    nlp.meta.update(name="tiny", version="0.0.1")
    nlp.to_disk(tmp_path / "saved")
    package(tmp_path / "saved", tmp_path, create_sdist=False, force=True)
    (source,) = tmp_path.glob("en_tiny-0.0.1")
    requirements = srsly.read_json(source / "meta.json")["requirements"]
    assert any(requirement.startswith("spacy-padellm>=") for requirement in requirements)
    site = tmp_path / "site"
    pip = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *pip], check=True, timeout=300)
    code = USE.format(name="en_tiny", texts=TEXTS)
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    expected = [[ent.text for ent in doc.ents] for doc in nlp.pipe(TEXTS)]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
