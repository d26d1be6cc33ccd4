"""Settings of the models, and what training does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from spacy.language import Language
from spacy.util import registry
from thinc.api import Adam, Optimizer
from torch import nn

from spacy_padellm.model.architectures import build_causal_lm_v1, build_fresh_causal_lm_v1, shim_of
from spacy_padellm.model.lora import build_lora_v1
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import FRESH, blank, examples, ours, same_weights, weights

# P001: settings that make no model


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hidden_size", 193),
        ("hidden_size", 6),
        ("n_heads", 0),
        ("n_layers", 0),
        ("intermediate_size", 0),
        ("vocab_size", 256),
        ("max_positions", 0),
        ("max_row", 0),
        ("device", "tpu"),
        ("rope_theta", 0.0),
    ],
)
def test_fresh_model_refuses_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=r"\[P001\] Setting '") as caught:
        build_fresh_causal_lm_v1(**{setting: value})
    assert repr(value) in str(caught.value) or setting == "n_heads"


@pytest.mark.parametrize(
    ("setting", "value"), [("max_row", 0), ("dtype", "bfloat16"), ("device", "gpu:0"), ("lora", "rank 8")]
)
def test_pretrained_model_refuses_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'.*{value}"):
        build_causal_lm_v1(name="somewhere", **{setting: value})


def test_a_frozen_model_has_no_adapter_and_any_dtype_p001():
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'frozen': expected false with an adapter"):
        build_causal_lm_v1(name="somewhere", frozen=True, lora=build_lora_v1())
    assert build_causal_lm_v1(name="somewhere", frozen=True, dtype="bfloat16")


@pytest.mark.parametrize(("setting", "value"), [("rank", 0), ("dropout", 1.0), ("dropout", -0.1)])
def test_adapter_refuses_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting 'lora\.{setting}'.*{value}"):
        build_lora_v1(**{setting: value})


def test_adapter_for_layers_that_are_not_there_p001(tmp_path: Path):
    base = write_checkpoint(tmp_path / "published")
    lora = {"@misc": "spacy-padellm.LoRA.v1", "target_modules": ["nowhere_proj"]}
    nlp = blank({"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "lora": lora, "device": "cpu"})
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'lora\.target_modules'.*nowhere_proj"):
        nlp.initialize(lambda: examples(nlp))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_gpu_that_is_not_there_p026():
    nlp = blank({**FRESH, "device": "cuda"})
    with pytest.raises(ValueError, match=r"\[P026\].*'cuda'"):
        nlp.initialize(lambda: examples(nlp))


# What settings do


def built(**settings: Any) -> Language:
    nlp = blank({**FRESH, **settings})
    nlp.initialize(lambda: examples(nlp))
    return nlp


@pytest.mark.parametrize(
    ("setting", "value", "attribute"),
    [
        ("hidden_size", 48, "hidden_size"),
        ("n_layers", 3, "num_hidden_layers"),
        ("n_heads", 4, "num_attention_heads"),
        ("intermediate_size", 80, "intermediate_size"),
        ("vocab_size", 290, "vocab_size"),
        ("max_positions", 300, "max_position_embeddings"),
    ],
)
def test_shape_is_the_config_s(setting: str, value: int, attribute: str):
    assert FRESH.get(setting) != value
    assert getattr(shim_of(ours(built(**{setting: value})).model).lm.config, attribute) == value


def test_rotary_base_is_the_config_s():
    def base_of(nlp: Language) -> float:
        config = shim_of(ours(nlp).model).lm.config
        return float(getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"])

    assert base_of(built()) == 1000.0
    assert base_of(built(rope_theta=500.0)) == 500.0


def test_seed_makes_the_first_weights():
    assert same_weights(weights(built(seed=1)), weights(built(seed=1)))
    assert not same_weights(weights(built(seed=1)), weights(built(seed=2)))


def test_creating_a_model_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    built(seed=1)
    assert torch.equal(torch.rand(2), expected)


def test_no_weights_before_they_are_needed():
    nlp = blank({"@architectures": "spacy-padellm.CausalLM.v1", "name": "no/such-model"})
    assert not shim_of(ours(nlp).model).loaded


def gradients(nlp: Language) -> dict[str, torch.Tensor]:
    nlp.update(examples(nlp), sgd=False)
    found = {
        name: weight.grad.clone()
        for name, weight in shim_of(ours(nlp).model).lm.model.named_parameters()
        if weight.grad is not None
    }
    assert found
    return found


def test_max_row_bounds_a_pass_and_changes_no_gradient(monkeypatch: pytest.MonkeyPatch):
    from spacy_padellm.model import shim

    rows: list[int] = []
    original = shim.row_loss

    def spy(lm: Any, trees: Any) -> Any:
        rows.append(len(trees))
        return original(lm, trees)

    monkeypatch.setattr(shim, "row_loss", spy)
    whole = gradients(built())
    assert rows == [4]
    rows.clear()
    cut = gradients(built(max_row=1))
    assert rows == [1, 1, 1, 1]
    for name, gradient in whole.items():
        assert torch.allclose(gradient, cut[name], atol=1e-5), name


# Dropout


def adapted(tmp_path: Path, **lora: Any) -> Language:
    base = write_checkpoint(tmp_path / "published")
    model = {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": str(base),
        "lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": 4, **lora},
        "device": "cpu",
    }
    nlp = blank(model)
    nlp.initialize(lambda: examples(nlp))
    return nlp


@contextmanager
def dropping(kind: type[nn.Module]) -> Iterator[set[float]]:
    """Collects the rates at which modules of a kind drop in training mode."""
    rates: set[float] = set()

    def look(module: nn.Module, _: object, __: object = None) -> None:
        if isinstance(module, kind) and module.training:
            rates.add(module.p if isinstance(module, nn.Dropout) else module.attention_dropout)  # type: ignore[arg-type]

    hook = nn.modules.module.register_module_forward_hook(look)
    try:
        yield rates
    finally:
        hook.remove()


def test_training_dropout_reaches_the_adapter(tmp_path: Path):
    nlp = adapted(tmp_path)
    with dropping(nn.Dropout) as rates:
        nlp.update(examples(nlp), drop=0.25, sgd=False)
    assert rates == {0.25}


def test_adapter_s_own_dropout_stays(tmp_path: Path):
    nlp = adapted(tmp_path, dropout=0.4)
    with dropping(nn.Dropout) as rates:
        nlp.update(examples(nlp), drop=0.25, sgd=False)
    assert rates == {0.4}


def test_training_dropout_reaches_the_attention():
    def loss(nlp: Language, drop: float) -> float:
        torch.manual_seed(0)
        return nlp.update(examples(nlp), drop=drop, sgd=False)["padellm_ner"]

    nlp = built()
    assert loss(nlp, 0.0) == pytest.approx(loss(nlp, 0.0))
    assert abs(loss(nlp, 0.5) - loss(nlp, 0.0)) > 1e-3


def test_training_dropout_reaches_a_model_that_is_trained_whole(tmp_path: Path):
    def loss(drop: float) -> float:
        torch.manual_seed(0)
        return nlp.update(examples(nlp), drop=drop, sgd=False)["padellm_ner"]

    base = write_checkpoint(tmp_path / "published")
    nlp = blank({"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu"})
    nlp.initialize(lambda: examples(nlp))
    assert loss(0.0) == pytest.approx(loss(0.0))
    assert abs(loss(0.5) - loss(0.0)) > 1e-3


def test_a_loss_that_is_no_number_p028():
    nlp = built()
    before = weights(nlp)
    with torch.no_grad():
        shim_of(ours(nlp).model).lm.model.model.norm.weight[0] = torch.inf
    ruined = weights(nlp)
    with pytest.raises(ValueError, match=r"\[P028\].*nan"):
        nlp.update(examples(nlp), sgd=Adam(0.1))
    assert same_weights(ruined, weights(nlp))
    assert not same_weights(before, ruined)


def test_initialising_again_starts_anew():
    nlp = built(seed=1)
    first = weights(nlp)
    nlp.update(examples(nlp), sgd=Adam(0.1))
    assert not same_weights(first, weights(nlp))
    nlp.initialize(lambda: examples(nlp))
    assert same_weights(first, weights(nlp))


def test_no_dropout_outside_training():
    nlp = built()
    nlp.update(examples(nlp), drop=0.5, sgd=False)
    model = shim_of(ours(nlp).model).lm.model
    assert not any(module.training for module in model.modules())


# Averages


def averaging() -> Optimizer:
    return Adam(0.05, use_averages=True)


def test_averages_are_used_inside_and_gone_outside():
    nlp = built()
    optimizer = averaging()
    for _ in range(4):
        nlp.update(examples(nlp), sgd=optimizer)
    last = weights(nlp)
    averages = {key[1]: value for key, value in optimizer.averages.items()}
    with nlp.use_params(optimizer.averages):
        inside = weights(nlp)
        saved = nlp.to_bytes()
    assert averages
    for name, value in averages.items():
        assert torch.allclose(inside[name], torch.from_numpy(value)), name
    assert not same_weights(inside, last)
    assert same_weights(weights(nlp), last)
    other = blank()
    other.from_bytes(saved)
    assert same_weights(weights(other), inside)


def test_averages_are_gone_after_an_error():
    nlp = built()
    optimizer = averaging()
    for _ in range(2):
        nlp.update(examples(nlp), sgd=optimizer)
    last = weights(nlp)
    with pytest.raises(KeyError), nlp.use_params(optimizer.averages):
        assert not same_weights(weights(nlp), last)
        raise KeyError
    assert same_weights(weights(nlp), last)


def test_averages_change_nothing_that_they_do_not_name():
    nlp = built()
    before = weights(nlp)
    with nlp.use_params({("another model", "weight"): None}):
        assert same_weights(weights(nlp), before)


def test_training_goes_on_from_the_last_weights_after_averages():
    plain, averaged = built(), built()
    doc = averaged.make_doc("Show me Jaws in Paris")
    first, second = averaging(), averaging()
    for _ in range(3):
        plain.update(examples(plain), sgd=first)
    for _ in range(3):
        averaged.update(examples(averaged), sgd=second)
        with averaged.use_params(second.averages):
            ours(averaged).predict([doc])
    assert same_weights(weights(plain), weights(averaged))


# GPU without cupy


def test_training_on_a_gpu_without_cupy_p012(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    from spacy_padellm.model import shim

    nlp = trained()
    monkeypatch.setattr(shim, "has_cupy_gpu", False)
    monkeypatch.setattr(shim_of(ours(nlp).model).lm, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match=r"\[P012\].*cupy"):
        ours(nlp).finish_update(Adam(0.1))


def test_updating_a_pipe_without_weights_does_nothing():
    nlp = blank()
    ours(nlp).finish_update(Adam(0.1))
    assert not shim_of(ours(nlp).model).loaded


@pytest.mark.parametrize("name", ["spacy-padellm.FreshCausalLM.v1", "spacy-padellm.CausalLM.v1"])
def test_architectures_take_no_unknown_setting(name: str):
    from confection import ConfigValidationError

    with pytest.raises(ConfigValidationError, match="unheard_of"):
        registry.resolve({"model": {"@architectures": name, "name": "x", "unheard_of": 1}})
