"""Train, save, load into a pipeline with other first weights, and compare weights and answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
from safetensors.torch import load_file, save_file
from spacy.language import Language
from thinc.api import Adam
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from spacy_padellm.model import shim
from spacy_padellm.model.architectures import shim_of
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import (
    DATA,
    FRESH,
    TEXTS,
    Gold,
    answers,
    blank,
    entities,
    examples,
    ours,
    same_weights,
    train,
    weights,
)

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 8, "alpha": 16.0}

LABELS = {"city": "movie", "movie": "city"}

GENTLE = {"initializer_range": 0.08}
"""The checkpoints' own first weights are too wild to learn from within seconds."""


def causal_lm(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", **settings}


def learnt(nlp: Language, *, steps: int = 5, rate: float = 0.01) -> Language:
    """Train for some updates: long enough that weights and answers differ from those at the start."""
    optimizer = Adam(rate)
    nlp.initialize(lambda: examples(nlp))
    before = weights(nlp)
    first = nlp.update(examples(nlp), sgd=optimizer)["padellm_ner"]
    for _ in range(steps):
        last = nlp.update(examples(nlp), sgd=optimizer)["padellm_ner"]
    assert last < 0.9 * first
    assert not same_weights(before, weights(nlp))
    return nlp


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# A fresh decoder


def test_fresh_model_through_a_folder(trained: Callable[..., Language], tmp_path: Path):
    nlp = trained()
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert ours(loaded).labels == ("city", "movie")
    assert same_weights(weights(nlp), weights(loaded))
    assert answers(loaded) == answers(nlp)
    assert [entities(doc) for doc in loaded.pipe(TEXTS)] == [ents for _, ents in DATA]


@pytest.mark.parametrize("whole", [True, False], ids=["pipeline", "pipe"])
def test_fresh_model_through_bytes_into_other_weights(trained: Callable[..., Language], whole: bool):
    nlp = trained()
    other = blank({**FRESH, "seed": 5})
    other.initialize(lambda: examples(other, [("Rome wins", [(0, 4, "team")])]))
    assert not same_weights(weights(nlp), weights(other))
    if whole:
        other.from_bytes(nlp.to_bytes())
    else:
        ours(other).from_bytes(ours(nlp).to_bytes())
    assert same_weights(weights(nlp), weights(other))
    lm = shim_of(ours(other).model).lm
    assert lm.pieces.encode(TEXTS) == shim_of(ours(nlp).model).lm.pieces.encode(TEXTS)


def test_loaded_labels_replace_those_of_before(trained: Callable[..., Language]):
    other = blank()
    ours(other).add_label("team")
    ours(other).from_bytes(ours(trained()).to_bytes())
    assert ours(other).labels == ("city", "movie")


def test_loading_again_keeps_what_was_loaded(trained: Callable[..., Language], tmp_path: Path):
    nlp = trained()
    before = answers(nlp)
    nlp.to_disk(tmp_path)
    nlp.from_disk(tmp_path)
    assert answers(nlp) == before


def test_loaded_model_goes_on_learning(trained: Callable[..., Language]):
    nlp = trained()
    before = weights(nlp)
    optimizer = nlp.resume_training()
    new: list[Gold] = [("Rome and Casablanca", [(0, 4, "city"), (9, 19, "movie")])]
    first = nlp.update(examples(nlp, new), sgd=optimizer)["padellm_ner"]
    for _ in range(15):
        last = nlp.update(examples(nlp, new), sgd=optimizer)["padellm_ner"]
    assert last < 0.9 * first
    assert not same_weights(before, weights(nlp))


def test_settings_can_be_given_at_load(trained: Callable[..., Language], tmp_path: Path):
    trained().to_disk(tmp_path)
    loaded = spacy.load(tmp_path, config={"components.padellm_ner.placing": "first"})
    assert ours(loaded).options.placing == "first"
    assert spacy.load(tmp_path).get_pipe("padellm_ner").options.placing == "ordered"


def test_saved_files_are_readable_by_others(trained: Callable[..., Language], tmp_path: Path):
    trained().to_disk(tmp_path)
    weights_files = list(tmp_path.rglob("*.safetensors"))
    assert weights_files
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in weights_files)


def test_nothing_is_pickled(trained: Callable[..., Language], tmp_path: Path):
    trained().to_disk(tmp_path)
    suffixes = {Path(name).suffix for name in files(tmp_path / "padellm_ner" / "model")}
    assert suffixes <= {".json", ".safetensors"}


def test_file_too_large_for_a_message_p014(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    monkeypatch.setattr(shim, "_MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"\[P014\].*model\.safetensors.*to_disk"):
        nlp.to_bytes()


def test_message_cannot_write_elsewhere_p027(trained: Callable[..., Language]):
    message = srsly.msgpack_dumps({"../outside.json": b"{}"})
    with pytest.raises(ValueError, match=r"\[P027\].*outside"):
        shim_of(ours(trained()).model).from_bytes(message)


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_saving_before_there_are_weights_p010(tmp_path: Path, way: str):
    nlp = blank()
    with pytest.raises(ValueError, match=r"\[P010\]"):
        nlp.to_disk(tmp_path) if way == "disk" else nlp.to_bytes()


# A pretrained model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "published", family="qwen2", tokenizer="qwen", **GENTLE)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that has learnt the sentences, as it was saved by a pipeline that trained all of it."""
    folder = tmp_path_factory.mktemp("taught")
    base = write_checkpoint(folder / "published", family="qwen2", tokenizer="qwen", **GENTLE)
    train(blank(causal_lm(base)), rate=0.01).to_disk(folder / "saved")
    shutil.rmtree(base)
    return folder / "saved"


@pytest.mark.parametrize(("family", "tokenizer"), [("llama", "llama"), ("qwen2", "qwen"), ("qwen3", "qwen")])
def test_adapter_alone(tmp_path: Path, family: str, tokenizer: str):
    base = write_checkpoint(tmp_path / "published", family=family, tokenizer=tokenizer, **GENTLE)
    nlp = learnt(blank(causal_lm(base, lora=LORA)))
    nlp.to_disk(tmp_path / "saved")
    saved = files(tmp_path / "saved" / "padellm_ner" / "model")
    assert {name for name in saved if name.endswith(".safetensors")} == {"adapter/adapter_model.safetensors"}
    assert {name.split("/")[0] for name in saved} == {"adapter", "base.json", "tokenizer"}
    loaded = spacy.load(tmp_path / "saved")
    assert same_weights(weights(nlp), weights(loaded))
    assert answers(loaded) == answers(nlp)
    kept = shim_of(ours(loaded).model).lm.pieces
    assert kept.encode(TEXTS) == shim_of(ours(nlp).model).lm.pieces.encode(TEXTS)
    assert (kept.start, kept.end) == (
        shim_of(ours(nlp).model).lm.pieces.start,
        shim_of(ours(nlp).model).lm.pieces.end,
    )


def test_a_pipeline_with_an_adapter_is_as_large_as_the_adapter(base: Path, tmp_path: Path):
    """Of the base model there is its name, its tokenizer, and not one weight."""
    nlp = learnt(blank(causal_lm(base, lora=LORA)))
    nlp.to_disk(tmp_path / "saved")
    (weights_file,) = (tmp_path / "saved").rglob("*.safetensors")
    model = shim_of(ours(nlp).model).lm.model
    # A matrix of m rows and n columns gets one of (rank, n) and one of (m, rank).
    expected = {}
    for name, module in model.named_modules():
        if name.endswith(".base_layer"):
            rows, columns = module.weight.shape
            layer = name.removesuffix(".base_layer")
            expected |= {f"{layer}.lora_A.weight": (8, columns), f"{layer}.lora_B.weight": (rows, 8)}
    saved = {name: tuple(weight.shape) for name, weight in load_file(weights_file).items()}
    assert saved == expected and len(saved) == 2 * 2 * 7
    size = 4 * sum(rows * columns for rows, columns in expected.values())
    assert size < weights_file.stat().st_size < size + 8000  # names and shapes
    others = {
        path.relative_to(tmp_path / "saved").as_posix(): path.stat().st_size
        for path in (tmp_path / "saved").rglob("*")
        if path.is_file() and path != weights_file
    }
    kept = ("tokenizer", "vocab/", "padellm_ner/model/tokenizer/")
    rest = {name: size for name, size in others.items() if not name.startswith(kept)}
    assert set(rest) >= {"config.cfg", "meta.json", "padellm_ner/cfg", "padellm_ner/model/adapter/adapter_config.json"}
    assert sum(rest.values()) < 20_000
    published = sum(path.stat().st_size for path in base.glob("tokenizer*"))
    assert sum(size for name, size in others.items() if name.startswith(kept[2])) < 1.1 * published + 2000


def test_adapter_through_bytes_into_another(base: Path):
    nlp = learnt(blank(causal_lm(base, lora=LORA)))
    other = learnt(blank(causal_lm(base, lora=LORA)), rate=0.02)
    assert not same_weights(weights(nlp), weights(other))
    other.from_bytes(nlp.to_bytes())
    assert same_weights(weights(nlp), weights(other))
    assert answers(other) == answers(nlp)


OTHER_WAY: list[Gold] = [(text, [(*place, LABELS[label]) for *place, label in ents]) for text, ents in DATA]


def test_adapter_learns_by_heart(taught: Path, tmp_path: Path):
    """A base that finds cities and movies learns, by its adapter alone, to find each under the other's name."""
    base = taught / "padellm_ner" / "model" / "base"
    nlp = train(blank(causal_lm(base, lora={**LORA, "rank": 16, "alpha": 32.0})), OTHER_WAY, rate=0.01)
    nlp.to_disk(tmp_path)
    assert [entities(doc) for doc in spacy.load(tmp_path).pipe(TEXTS)] == [ents for _, ents in OTHER_WAY]


def test_sentencepiece_model_learns_by_heart(tmp_path: Path):
    """Its mention markers begin with the same piece as its counts."""
    base = write_checkpoint(tmp_path / "published", family="llama", tokenizer="llama", **GENTLE)
    train(blank(causal_lm(base)), rate=0.01)


def test_only_the_adapter_is_trained(base: Path):
    nlp = learnt(blank(causal_lm(base, lora=LORA)))
    named = dict(shim_of(ours(nlp).model).lm.model.named_parameters())
    assert {name for name, weight in named.items() if weight.requires_grad} == {
        name for name in named if ".lora_" in name
    }
    untrained = blank(causal_lm(base, lora=LORA))
    untrained.initialize(lambda: examples(untrained))
    now, then = weights(nlp), weights(untrained)
    for name in now:
        if ".lora_" not in name:
            assert torch.equal(now[name], then[name]), name


def test_self_contained_needs_no_base(base: Path, tmp_path: Path):
    nlp = learnt(blank(causal_lm(base, lora=LORA, self_contained=True)))
    before = answers(nlp)
    nlp.to_disk(tmp_path / "saved")
    shutil.rmtree(base)
    loaded = spacy.load(tmp_path / "saved")
    assert same_weights(weights(nlp), weights(loaded))
    assert answers(loaded) == before
    # What was loaded from a pipeline's own folder can be saved and loaded again.
    loaded.to_disk(tmp_path / "again")
    shutil.rmtree(tmp_path / "saved")
    assert answers(spacy.load(tmp_path / "again")) == before


def test_not_self_contained_needs_its_base_p027(base: Path, tmp_path: Path):
    learnt(blank(causal_lm(base, lora=LORA))).to_disk(tmp_path / "saved")
    shutil.rmtree(base)
    with pytest.raises(ValueError, match=r"\[P027\].*published"):
        spacy.load(tmp_path / "saved")


def test_whole_model_is_fine_tuned_and_saved(taught: Path, base: Path):
    loaded = spacy.load(taught)
    assert [entities(doc) for doc in loaded.pipe(TEXTS)] == [ents for _, ents in DATA]
    other = blank(causal_lm(base))
    other.initialize(lambda: examples(other))
    assert not same_weights(weights(loaded), weights(other))
    ours(other).from_disk(taught / "padellm_ner", exclude=["vocab"])
    assert same_weights(weights(loaded), weights(other))
    assert answers(other) == answers(loaded)


def test_half_precision_base_with_full_precision_adapter(base: Path, tmp_path: Path):
    nlp = learnt(blank(causal_lm(base, lora=LORA, dtype="bfloat16")))
    kinds = {name: weight.dtype for name, weight in shim_of(ours(nlp).model).lm.model.named_parameters()}
    assert {kind for name, kind in kinds.items() if ".lora_" in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if ".lora_" not in name} == {torch.bfloat16}
    nlp.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    assert same_weights(weights(nlp), weights(loaded))
    assert answers(loaded) == answers(nlp)


@pytest.mark.parametrize("first_is_whole", [True, False], ids=["whole-then-adapter", "adapter-then-whole"])
def test_saving_over_another_kind_leaves_nothing_of_it(base: Path, tmp_path: Path, first_is_whole: bool):
    kinds = [causal_lm(base), causal_lm(base, lora=LORA)]
    first, second = kinds if first_is_whole else kinds[::-1]
    learnt(blank(first)).to_disk(tmp_path / "saved")
    nlp = learnt(blank(second))
    nlp.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    assert same_weights(weights(nlp), weights(loaded))
    assert answers(loaded) == answers(nlp)


def test_adapter_folder_missing_p027(base: Path, tmp_path: Path):
    learnt(blank(causal_lm(base, lora=LORA))).to_disk(tmp_path / "saved")
    shutil.rmtree(tmp_path / "saved" / "padellm_ner" / "model" / "adapter")
    with pytest.raises(ValueError, match=r"\[P027\].*adapter"):
        spacy.load(tmp_path / "saved")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_adapter_broken_p027(base: Path, tmp_path: Path, name: str):
    learnt(blank(causal_lm(base, lora=LORA))).to_disk(tmp_path / "saved")
    path = tmp_path / "saved" / "padellm_ner" / "model" / "adapter" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"\[P027\].*adapter"):
        spacy.load(tmp_path / "saved")


def drop_weights(path: Path, part: str) -> str:
    """Leave the weights with `part` in their names out of a file. RETURNS one of their names."""
    found = load_file(path)
    dropped = [name for name in found if part in name]
    save_file({name: weight for name, weight in found.items() if name not in dropped}, path, metadata={"format": "pt"})
    return dropped[0]


def test_adapter_that_lacks_weights_p027(base: Path, tmp_path: Path):
    learnt(blank(causal_lm(base, lora=LORA))).to_disk(tmp_path / "saved")
    drop_weights(tmp_path / "saved" / "padellm_ner" / "model" / "adapter" / "adapter_model.safetensors", "layers.1")
    with pytest.raises(ValueError, match=r"\[P027\].*adapter.*layers\.1"):
        spacy.load(tmp_path / "saved")


def test_model_that_lacks_weights_p027(trained: Callable[..., Language], tmp_path: Path):
    trained().to_disk(tmp_path / "saved")
    name = drop_weights(tmp_path / "saved" / "padellm_ner" / "model" / "model.safetensors", "layers.0.self_attn.q_proj")
    with pytest.raises(ValueError, match=rf"\[P027\].*lack the weights {name}"):
        spacy.load(tmp_path / "saved")


@pytest.mark.parametrize("record", [None, "{}", '{"specials": {"eos_token": "</s>"}}', "{"])
def test_fresh_model_without_its_record_p027(trained: Callable[..., Language], tmp_path: Path, record: str | None):
    trained().to_disk(tmp_path / "saved")
    path = tmp_path / "saved" / "padellm_ner" / "model" / "spacy_padellm.json"
    path.unlink()
    if record is not None:
        path.write_text(record)
    with pytest.raises(ValueError, match=r"\[P027\].*spacy_padellm\.json"):
        spacy.load(tmp_path / "saved")


# Folders that cannot be loaded, through the config


def test_base_with_fewer_layers_than_it_says_p027(base: Path):
    drop_weights(base / "model.safetensors", "layers.1")
    with pytest.raises(ValueError, match=r"\[P027\].*layers\.1.* and \d+ more"):
        initialize(base)


def test_tokenizer_with_more_pieces_than_embeddings_p027(base: Path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["more"])
    tokenizer.save_pretrained(base)
    with pytest.raises(ValueError, match=r"\[P027\].*tokenizer.*pieces, but the model has embeddings for"):
        initialize(base)


@pytest.mark.parametrize("content", ["[]", '"llama"', "{}"])
def test_config_that_is_none_p027(base: Path, content: str):
    (base / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"\[P027\]"):
        initialize(base)


def initialize(folder: Path) -> None:
    nlp = blank(causal_lm(folder))
    nlp.initialize(lambda: examples(nlp))


def test_missing_folder_p027(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P027\].*nowhere"):
        initialize(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("config.json", "missing"),
        ("config.json", "cut"),
        ("model.safetensors", "missing"),
        ("model.safetensors", "cut"),
        ("tokenizer.json", "missing"),
        ("tokenizer.json", "cut"),
    ],
)
def test_broken_folder_p027(base: Path, name: str, how: str):
    path = base / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"\[P027\]"):
        initialize(base)


def test_pickled_weights_are_refused_p027(base: Path):
    (base / "model.safetensors").unlink()
    torch.save({}, base / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"\[P027\]"):
        initialize(base)


@pytest.mark.filterwarnings("ignore:`position_ids` have no functionality:FutureWarning")
@pytest.mark.usefixtures("proved")
def test_family_that_cannot_be_used_p025(base: Path):
    size = json.loads((base / "config.json").read_text())["vocab_size"]
    config = AutoConfig.for_model("bloom", vocab_size=size, hidden_size=32, n_layer=2, n_head=4)
    (base / "model.safetensors").unlink()
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    with pytest.raises(ValueError, match=r"\[P025\].*'bloom'"):
        initialize(base)
