"""A model is used only if it proves that a packed tree equals its paths run alone."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spacy_padellm.engine import proof
from spacy_padellm.engine.attention import FOREST, ForestRow
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import prove
from tests.checkpoints import MODELS, build_lm, build_model, pieces_of

SIZES = {"hidden_size": 32, "vocab_size": 64, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def lm_of(**settings) -> LanguageModel:
    """A model of any family, with weights large enough that a wrong mask shows."""
    config = AutoConfig.for_model(**{**SIZES, "initializer_range": 0.3, **settings})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=FOREST).eval()
    return LanguageModel(model, pieces_of("gpt2"), torch.device("cpu"), "my model")


@pytest.mark.parametrize("family", MODELS)
def test_the_families_we_vouch_for_pass(family):
    lm = build_lm(family, pieces_of("gpt2"))
    prove(lm)
    assert lm.config._attn_implementation == FOREST
    assert lm.family == lm.config.model_type
    assert lm.max_positions == 512


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes(dtype):
    lm = build_lm("llama", pieces_of("gpt2"), initializer_range=0.1)
    lm.model.to(dtype)
    prove(lm)


@pytest.mark.filterwarnings("ignore:`position_ids` have no functionality in BLOOM:FutureWarning")
def test_a_model_with_alibi_is_refused():
    lm = lm_of(model_type="bloom", n_layer=2, n_head=4)
    with pytest.raises(ValueError, match=r"P025.*'bloom'.*'my model'"):
        prove(lm)


def test_a_model_with_soft_capping_is_refused():
    lm = lm_of(model_type="gemma2", head_dim=8, num_key_value_heads=2, **LAYERS)
    with pytest.raises(ValueError, match=r"P025.*'gemma2'.*soft-capping"):
        prove(lm)
    assert lm.config._attn_implementation == FOREST


def test_a_model_that_cannot_take_a_forest_is_refused():
    lm = lm_of(model_type="gpt_neox", **LAYERS)
    lm.model.forward = lambda input_ids: None
    with pytest.raises(ValueError, match=r"P025.*'gpt_neox'"):
        prove(lm)


def test_a_model_that_leaves_the_forest_out_is_refused():
    lm = build_lm("llama", pieces_of("gpt2"))
    own = build_model("llama", vocab_size=len(lm.pieces), attention="eager")
    lm.model.forward = lambda forest=None, **inputs: own(**inputs)
    with pytest.raises(ValueError, match=r"P025.*0 of 2 layers use"):
        prove(lm)


def test_a_layer_that_leaves_the_forest_out_is_refused():
    lm = build_lm("llama", pieces_of("gpt2"))
    lm.model.model.layers = lm.model.model.layers[:1]
    with pytest.raises(ValueError, match=r"P025.*1 of 2 layers use"):
        prove(lm)


def test_weights_that_are_not_numbers_are_refused():
    lm = build_lm("llama", pieces_of("gpt2"))
    with torch.no_grad():
        lm.model.lm_head.weight[3, 3] = torch.nan
    with pytest.raises(ValueError, match=r"P025.*differ by nan"):
        prove(lm)


def everything_seen(row: ForestRow) -> None:
    row.mask[:] = True


def shifted(row: ForestRow) -> None:
    row.positions[0, -3:] += 1


def documents_mixed_up(row: ForestRow) -> None:
    row.gather = row.gather.flip(0)


def one_key_hidden(row: ForestRow) -> None:
    row.mask[0, 0, -1, 1] = False


@pytest.mark.parametrize("spoil", [everything_seen, shifted, documents_mixed_up, one_key_hidden])
def test_a_row_that_is_wrong_is_noticed(monkeypatch, spoil):
    class Spoilt(ForestRow):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            spoil(self)

    monkeypatch.setattr(proof, "ForestRow", Spoilt)
    with pytest.raises(ValueError, match=r"P025.*'llama'.*logits differ by"):
        prove(build_lm("llama", pieces_of("gpt2")))


def test_a_model_without_a_limit_has_room():
    lm = build_lm("llama", pieces_of("gpt2"))
    lm.model.config = AutoConfig.for_model("bloom")
    assert lm.max_positions > 10**9
