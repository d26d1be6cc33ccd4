"""Models to and from folders: the same values come back, on every supported transformers version."""

import json
import shutil
import stat

import pytest
import torch

from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.checkpoint import (
    WRITER,
    Reference,
    choose_device,
    load_model,
    load_pieces,
    save_model,
)
from spacy_padellm.engine.fresh import FreshShape, build_decoder
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import prove
from tests.checkpoints import MODELS, TOKENIZERS, build_model, pieces_of, write_checkpoint

CPU = torch.device("cpu")
IDS = torch.arange(3, 23)[None]


def load(folder, **settings):
    return load_model(Reference(str(folder)), dtype=settings.get("dtype", torch.float32), device=CPU)


@torch.inference_mode()
def own_logits(model) -> torch.Tensor:
    """Logits of a sequence through the model's own attention; they show rotary settings as well as weights."""
    model.config._attn_implementation = "eager"
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("family", MODELS)
def test_round_trip(tmp_path, family):
    pieces = pieces_of("llama")
    model = build_model(family, vocab_size=len(pieces), seed=4)
    save_model(model, pieces, tmp_path / "deep" / "folder")
    again = load(tmp_path / "deep" / "folder")
    assert again.config._attn_implementation == FOREST
    assert not again.training
    weights = again.state_dict()
    assert weights.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(weights[name], weight)
    assert torch.equal(own_logits(again), own_logits(model))


@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 4.0}], ids=["plain", "scaled"])
@pytest.mark.parametrize("read", ["both", "4.53", "5"])
def test_rotary_settings_survive(tmp_path, read, scaling):
    """transformers 4.53 writes and reads `rope_theta` and `rope_scaling`, 5 `rope_parameters`: a folder has both, and
    one that has either (written by transformers itself) is read right."""
    pieces = pieces_of("llama")
    # transformers 5 writes into the dictionary it is given.
    settings = {"rope_theta": 50.0, "rope_scaling": dict(scaling) if scaling else None}
    model = build_model("llama", vocab_size=len(pieces), **settings)
    expected = own_logits(model)
    save_model(model, pieces, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rope_theta"] == 50.0
    assert (config.get("rope_scaling") or {}).get("factor") == (scaling or {}).get("factor")
    if read == "4.53":
        config.pop("rope_parameters", None)
    if read == "5":
        config.pop("rope_theta"), config.pop("rope_scaling", None)
        config["rope_parameters"] = {"rope_type": "default", **(scaling or {}), "rope_theta": 50.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.allclose(own_logits(load(tmp_path)), expected, atol=1e-5)
    for other in ({"rope_theta": 50.0}, {"rope_scaling": dict(scaling)}) if scaling else ({},):
        usual = build_model("llama", vocab_size=len(pieces), **other)
        assert not torch.allclose(own_logits(usual), expected, atol=1e-2)


def test_the_rotary_base_of_a_fresh_decoder():
    shape = FreshShape(32, 2, 4, 48, 300, 64, rope_theta=100.0)
    model = build_decoder(shape, pieces_of("fresh").tokenizer, seed=0)
    expected = 100.0 ** -(torch.arange(0, 8, 2) / 8)
    assert torch.allclose(model.model.rotary_emb.inv_freq, expected)


def test_a_fresh_decoder_has_the_shape_it_was_asked_for_and_the_weights_of_its_seed():
    shape = FreshShape(32, 3, 4, 48, 300, 64, rope_theta=100.0)
    tokenizer = pieces_of("fresh").tokenizer
    state = torch.get_rng_state()
    model, same, other = (build_decoder(shape, tokenizer, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 3, 4)
    assert (config.intermediate_size, config.max_position_embeddings) == (48, 64)
    assert config.vocab_size == len(tokenizer)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert not model.training and model.dtype == torch.float32
    prove(LanguageModel(model, Pieces(tokenizer, leading_blank=True), CPU, "fresh decoder"))
    for name, weight in model.named_parameters():
        assert torch.equal(weight, same.get_parameter(name))
    assert not torch.equal(own_logits(model), own_logits(other))


@pytest.mark.parametrize("family", TOKENIZERS)
def test_the_tokenizer_comes_back(tmp_path, family):
    pieces = pieces_of(family)
    save_model(build_model("llama", vocab_size=len(pieces)), pieces, tmp_path)
    again = load_pieces(Reference(str(tmp_path)))
    texts = ["Japan didn't </s><|im_end|>", "\n<mention 12>", "北京市 é"]
    assert again.encode(texts) == pieces.encode(texts)
    assert [again.decode(cut) for cut in again.encode(texts)] == [pieces.decode(cut) for cut in pieces.encode(texts)]
    assert again.leading_blank == pieces.leading_blank
    assert (again.start, again.end, len(again)) == (pieces.start, pieces.end, len(pieces))


def test_a_folder_as_the_hub_has_it(tmp_path):
    """Saved by transformers itself, without our notes beside it."""
    write_checkpoint(tmp_path, seed=4)
    assert not (tmp_path / WRITER).exists()
    model = build_model("llama", vocab_size=len(pieces_of("llama")), seed=4)
    assert torch.equal(own_logits(load(tmp_path)), own_logits(model))
    again = load_pieces(Reference(str(tmp_path)))
    assert again.encode(["Japan won 2"]) == pieces_of("llama").encode(["Japan won 2"])
    assert again.start == (1,)


def test_who_wrote_a_folder_is_noted(tmp_path):
    import transformers

    pieces = pieces_of("llama")
    save_model(build_model("llama", vocab_size=len(pieces)), pieces, tmp_path)
    note = json.loads((tmp_path / WRITER).read_text())
    assert note["transformers"] == transformers.__version__
    assert note["specials"] == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def test_others_may_read_the_weights(tmp_path):
    pieces = pieces_of("llama")
    save_model(build_model("llama", vocab_size=len(pieces)), pieces, tmp_path)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o644


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_is_the_one_asked_for(tmp_path, dtype):
    assert load(write_checkpoint(tmp_path), dtype=dtype).dtype == dtype


def test_the_state_may_be_given(tmp_path):
    pieces = pieces_of("llama")
    model = build_model("llama", vocab_size=len(pieces))
    state = {name: weight + 1 for name, weight in model.state_dict().items()}
    save_model(model, pieces, tmp_path, state=dict(state))
    for name, weight in load(tmp_path).state_dict().items():
        assert torch.equal(weight, state[name])


def test_no_such_folder(tmp_path):
    with pytest.raises(ValueError, match=r"P027.*model.*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"P027.*tokenizer.*nowhere"):
        load_pieces(Reference(str(tmp_path / "nowhere")))


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("content", [None, b"", b"{not json or tensors"], ids=["missing", "empty", "garbage"])
def test_a_broken_model(tmp_path, broken, content):
    write_checkpoint(tmp_path)
    (tmp_path / broken).unlink()
    if content is not None:
        (tmp_path / broken).write_bytes(content)
    with pytest.raises(ValueError, match=r"P027.*model"):
        load(tmp_path)


def test_a_cut_off_model(tmp_path):
    path = write_checkpoint(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"P027.*model"):
        load(tmp_path)


def test_pickled_weights_are_not_read(tmp_path):
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(build_model("llama", vocab_size=len(pieces_of("llama"))).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"P027.*model"):
        load(tmp_path)


@pytest.mark.parametrize("ours", [False, True], ids=["hub", "ours"])
@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["missing", "garbage", "empty"])
def test_a_broken_tokenizer(tmp_path, ours, content):
    pieces = pieces_of("llama")
    if ours:
        save_model(build_model("llama", vocab_size=len(pieces)), pieces, tmp_path)
    else:
        write_checkpoint(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"P027.*tokenizer"):
        load_pieces(Reference(str(tmp_path)))


def test_a_folder_without_a_tokenizer(tmp_path):
    write_checkpoint(tmp_path / "all")
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tmp_path / "all" / name, tmp_path / "bare" / name)
    with pytest.raises(ValueError, match=r"P027.*tokenizer"):
        load_pieces(Reference(str(tmp_path / "bare")))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match=rf"P026.*'{device}'"):
            choose_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
