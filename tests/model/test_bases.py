"""One base model under several adapters: loaded once, kept once, and no pipe notices another."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from peft import LoraConfig, get_peft_model
from spacy.language import Language
from thinc.api import Adam
from torch import nn

from spacy_padellm.engine.checkpoint import Reference
from spacy_padellm.engine.compiled import CompiledLayers, layers_of
from spacy_padellm.engine.graphs import CapturedSteps
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention, prove
from spacy_padellm.errors import Errors
from spacy_padellm.model import bases, sources
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.bases import Bases, origin_of, with_modules_of_its_own
from tests.checkpoints import build_model, write_checkpoint
from tests.engine.recording import record
from tests.pipeline.makers import DATA, TEXTS, answers, blank, examples, ours, same_weights, spans, weights

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4, "alpha": 8.0}

FOUR = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
EIGHT = {"quant_method": "bitsandbytes", "load_in_8bit": True}

CPU = torch.device("cpu")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*W001"),
    pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning"),
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "initializer_range": 0.08, "tie_word_embeddings": True}
    return write_checkpoint(tmp_path / "published", family="qwen2", tokenizer="qwen", **sizes)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Bases:
    """A registry that knows nothing of other tests."""
    fresh = Bases()
    monkeypatch.setattr(sources, "BASES", fresh)
    return fresh


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were read from files, in order."""
    read: list[str] = []

    def counting(reference: Reference, **settings: Any) -> object:
        read.append(reference.name)
        return load(reference, **settings)

    load = bases.load_model
    monkeypatch.setattr(bases, "load_model", counting)
    return read


def causal_lm(folder: Path, **settings: Any) -> dict[str, Any]:
    lora = {"lora": LORA, **settings}
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", **lora}


def made(folder: Path, *, learn: int = 0, seed: int = 0, **settings: Any) -> Language:
    """A pipeline over a base model, its adapter at its first weights or trained for some updates."""
    torch.manual_seed(seed)
    nlp = blank(causal_lm(folder, **settings))
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.01)
    for _ in range(learn):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


def model_of(nlp: Language) -> nn.Module:
    return shim_of(ours(nlp).model).lm.model


def frozen(nlp: Language) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model_of(nlp).named_parameters() if ".lora_" not in name}


def adapted(nlp: Language) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model_of(nlp).named_parameters() if ".lora_" in name}


def n_bytes(*pipelines: Language) -> int:
    """Bytes of all weights and buffers, each storage once."""
    kept = [
        tensor for nlp in pipelines for tensor in (*model_of(nlp).parameters(), *model_of(nlp).buffers())
    ]  # fmt: skip
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in kept}.values())


def share(nlp: Language, other: Language) -> bool:
    """Whether two pipelines have the same base weights. All or none: anything between fails."""
    one, two = frozen(nlp), frozen(other)
    assert one.keys() == two.keys()
    shared = {one[name] is two[name] for name in one}
    assert len(shared) == 1
    return shared.pop()


# One base


def test_the_base_is_loaded_and_kept_once(base: Path, loads: list[str], registry: Bases):
    one, two = made(base), made(base)
    assert loads == [str(base)] and len(registry) == 1
    assert share(one, two)
    adapter = sum(weight.numel() * weight.element_size() for weight in adapted(one).values())
    assert n_bytes(one, two) == n_bytes(one) + adapter
    assert not any(adapted(one)[name] is adapted(two)[name] for name in adapted(one))
    # Tied embeddings stay tied.
    for nlp in (one, two):
        assert model_of(nlp).get_input_embeddings().weight is model_of(nlp).get_output_embeddings().weight


def test_the_base_proves_itself_once(base: Path, monkeypatch: pytest.MonkeyPatch):
    """An adapter does not change who sees whom. Models that are trained as a whole prove themselves each."""
    proofs: list[str] = []
    monkeypatch.setattr(sources, "prove", lambda lm: proofs.append(lm.name))
    pipelines = [made(base), made(base), made(base, dtype="bfloat16")]
    assert len(proofs) == 2
    pipelines += [made(base, lora=None), made(base, lora=None)]
    assert len(proofs) == 4 and len(pipelines) == 5


def test_a_base_that_failed_is_tried_again_p025(base: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(lm: LanguageModel) -> None:
        raise ValueError(Errors.P025.format(family=lm.family, name=lm.name, reason="on purpose"))

    monkeypatch.setattr(sources, "prove", fail)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"\[P025\].*on purpose"):
            made(base)


def test_two_pipes_of_one_pipeline_share_through_a_folder(base: Path, tmp_path: Path, loads: list[str]):
    nlp = blank(causal_lm(base), name="first", spans_key="one")
    nlp.add_pipe("padellm_ner", name="second", config={"model": causal_lm(base), "spans_key": "two"})
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.01)
    for _ in range(3):
        nlp.update(examples(nlp), sgd=optimizer)
    nlp.to_disk(tmp_path / "saved")
    del loads[:]
    loaded = spacy.load(tmp_path / "saved")
    assert len(loads) == 0  # the pipeline that was saved is still there
    models = {name: shim_of(ours(loaded, name).model).lm.model for name in ("first", "second")}
    assert models["first"].get_input_embeddings().weight is models["second"].get_input_embeddings().weight
    for name in models:
        assert same_weights(weights(loaded, name), weights(nlp, name))
    for doc, other in zip(loaded.pipe(TEXTS), nlp.pipe(TEXTS), strict=True):
        for key in ("one", "two"):
            assert spans(doc, key) == spans(other, key)
            assert doc.spans[key].attrs["counts"] == other.spans[key].attrs["counts"]


def test_answers_are_those_of_a_pipe_that_is_alone(base: Path, monkeypatch: pytest.MonkeyPatch):
    together = [made(base, learn=4, seed=seed) for seed in (1, 2)]
    assert share(*together)
    alone = []
    for seed in (1, 2):
        monkeypatch.setattr(sources, "BASES", Bases())
        alone.append(made(base, learn=4, seed=seed))
    assert not share(*alone)
    found = [answers(nlp) for nlp in together]
    assert found == [answers(nlp) for nlp in alone]
    assert found[0] != found[1]
    for one, two in zip(together, alone, strict=True):
        assert same_weights(weights(one), weights(two))


def test_training_one_leaves_the_other_as_it_is(base: Path):
    one, two = made(base, learn=2, seed=1), made(base, learn=2, seed=2)
    before, said = weights(two), answers(two)
    optimizer = Adam(0.01)
    for _ in range(3):
        one.update(examples(one), sgd=optimizer, drop=0.3)
    assert same_weights(weights(two), before)
    assert answers(two) == said
    assert not any(weight.grad is not None and weight.grad.any() for weight in adapted(two).values())


def test_both_are_trained_by_one_optimizer_as_each_alone(base: Path, monkeypatch: pytest.MonkeyPatch):
    """Pipes of one pipeline are updated in turn, and averaged weights are each pipe's own."""
    one, two = made(base, seed=1), made(base, seed=2)
    optimizer = Adam(0.01, use_averages=True)
    for _ in range(3):
        for nlp in (one, two):
            nlp.update(examples(nlp), sgd=optimizer)
    plain = [answers(nlp) for nlp in (one, two)]
    with ours(one).model.use_params(optimizer.averages):
        assert answers(one) != plain[0]
        assert answers(two) == plain[1]
    assert [answers(nlp) for nlp in (one, two)] == plain
    monkeypatch.setattr(sources, "BASES", Bases())
    assert answers(made(base, learn=3, seed=2)) == plain[1]


# What is set on modules and configs


def test_nothing_set_on_one_shows_in_the_other(base: Path):
    one = made(base)
    two = made(base, gradient_checkpointing=True, lora={**LORA, "dropout": 0.5})
    assert share(one, two)
    first, second = model_of(one), model_of(two)
    assert not {id(module) for module in first.modules()} & {id(module) for module in second.modules()}
    assert (first.is_gradient_checkpointing, second.is_gradient_checkpointing) == (False, True)
    configs = [{id(part.config) for part in model.modules() if hasattr(part, "config")} for model in (first, second)]
    assert not configs[0] & configs[1]
    with own_attention(shim_of(ours(one).model).lm):
        prove(shim_of(ours(two).model).lm)
    first.train()
    assert first.training and not any(module.training for module in second.modules())
    first.eval()
    rates = {module.p for model in (first,) for module in model.modules() if isinstance(module, nn.Dropout)}
    assert 0.5 not in rates


def test_hooks_of_one_do_not_run_in_the_other(base: Path):
    one, two = made(base), made(base)
    met: list[object] = []
    for module in model_of(one).modules():
        module.register_forward_hook(lambda module, *_: met.append(module))
    said = answers(two)
    assert met == []
    answers(one)
    assert met and answers(two) == said


def test_checkpointing_changes_no_gradient_of_the_other(base: Path):
    one, two = made(base, seed=1), made(base, seed=1, gradient_checkpointing=True)
    for nlp in (one, two):
        nlp.update(examples(nlp), sgd=False)
    for name, weight in adapted(one).items():
        assert weight.grad is not None and torch.allclose(weight.grad, adapted(two)[name].grad, atol=1e-6)


def test_captured_steps_are_each_pipes_own(base: Path):
    """What was captured for one pipe is neither replayed for another nor dropped because another was trained."""
    pipelines = [made(base, learn=4, seed=seed) for seed in (1, 2)]
    plain = [answers(nlp) for nlp in pipelines]
    assert plain[0] != plain[1]
    lms = [shim_of(ours(nlp).model).lm for nlp in pipelines]
    for lm in lms:
        lm.steps = CapturedSteps(lambda device: record, sightings=1)
    assert [answers(nlp) for nlp in pipelines] == plain
    assert all(lm.steps.replays and lm.steps.captures for lm in lms)
    captured = lms[1].steps.captures
    pipelines[0].update(examples(pipelines[0]), sgd=Adam(0.01))
    assert [answers(pipelines[1]) for _ in range(2)] == [plain[1]] * 2
    assert lms[1].steps.captures == captured
    assert answers(pipelines[0]) != plain[0]


def test_compiled_layers_are_each_pipes_own(base: Path):
    torch._dynamo.reset()
    pipelines = [made(base, learn=4, seed=seed) for seed in (1, 2)]
    plain = [answers(nlp, TEXTS[-1:]) for nlp in pipelines]
    assert plain[0] != plain[1]
    lm, other = (shim_of(ours(nlp).model).lm for nlp in pipelines)
    lm.layers = CompiledLayers("eager")
    with lm.layers.within(lm.model):
        assert all(layer._compiled_call_impl is not None for layer in layers_of(lm.model))
        assert all(layer._compiled_call_impl is None for layer in layers_of(other.model))
        assert [answers(nlp, TEXTS[-1:]) for nlp in pipelines] == plain


def test_hooks_in_place_of_forward_belong_to_the_copy():
    """accelerate, which places quantised models, puts a function that knows its module into every module."""
    model = build_model("llama", attention="eager")
    pieces = torch.arange(12)[None]
    with torch.no_grad():
        expected = model(pieces).logits
    for module in model.modules():
        add_hook_to_module(module, ModelHook())
    copied = with_modules_of_its_own(model)
    adapted = get_peft_model(copied, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    with torch.no_grad():
        assert torch.equal(model(pieces).logits, expected)
        assert not torch.allclose(adapted(pieces).logits, expected)
        with adapted.disable_adapter():
            assert torch.equal(adapted(pieces).logits, expected)


# What is not shared


def test_a_folder_that_was_written_anew_is_another_base(base: Path, loads: list[str]):
    one = made(base)
    write_checkpoint(base, family="qwen2", tokenizer="qwen", seed=1, hidden_size=64, intermediate_size=96)
    two = made(base)
    assert loads == [str(base), str(base)]
    assert not same_weights(frozen(one), {name: two_ for name, two_ in frozen(two).items() if name in frozen(one)})
    assert model_of(one).get_input_embeddings().weight is not model_of(two).get_input_embeddings().weight


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"quantization": FOUR}], ids=["dtype", "quantization"])
def test_a_base_that_is_kept_otherwise_is_another(base: Path, loads: list[str], settings: dict[str, Any]):
    one, two = made(base), made(base, **settings)
    assert len(loads) == 2
    assert not share(one, two)


def test_a_model_that_is_trained_as_a_whole_shares_nothing(base: Path, loads: list[str], registry: Bases):
    one, two, three = made(base), made(base, lora=None), made(base, lora=None)
    assert loads == [str(base)] and len(registry) == 1
    kept = [{id(weight) for weight in model_of(nlp).parameters()} for nlp in (one, two, three)]
    assert not kept[0] & kept[1] and not kept[1] & kept[2]


def test_origins(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reference = Reference(str(base))
    assert origin_of(reference) == origin_of(reference)
    (tmp_path / "link").symlink_to(base)
    assert origin_of(Reference(str(tmp_path / "link"))) == origin_of(reference)
    assert origin_of(Reference(str(base), trust_remote_code=True)) != origin_of(reference)
    before = origin_of(reference)
    os.utime(base / "config.json", ns=(1, 1))
    assert origin_of(reference) != before
    commits = {None: "a1", "main": "a1", "old": "b2"}
    monkeypatch.setattr(bases, "commit_of", lambda reference: commits[reference.revision])
    found = [origin_of(Reference("some/model", revision)) for revision in commits]
    assert len({*found}) == 3
    commits["main"] = "c3"
    assert origin_of(Reference("some/model", "main")) != found[1]


# What the same files elsewhere are


def test_the_same_weights_from_elsewhere_are_one_base(base: Path, tmp_path: Path, loads: list[str], registry: Bases):
    shutil.copytree(base, tmp_path / "copy")
    one, two = made(base), made(tmp_path / "copy")
    assert len(loads) == 2 and len(registry) == 1
    assert share(one, two)
    assert model_of(two).get_base_model().name_or_path == str(tmp_path / "copy")
    three = made(tmp_path / "copy")
    assert len(loads) == 2 and share(one, three)


@pytest.mark.parametrize("what", ["weight", "config"])
def test_almost_the_same_is_another_base(base: Path, tmp_path: Path, what: str):
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    if what == "config":
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.001}))
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(copy / "model.safetensors")
        tensors["model.norm.weight"][0] += 1e-6
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert not share(made(base), made(copy))


def test_self_contained_pipes_share_what_each_of_them_saved(base: Path, tmp_path: Path, registry: Bases):
    for seed in (1, 2):
        made(base, learn=2, seed=seed, self_contained=True).to_disk(tmp_path / f"saved{seed}")
    shutil.rmtree(base)
    gc.collect()
    one, two = spacy.load(tmp_path / "saved1"), spacy.load(tmp_path / "saved2")
    assert share(one, two) and len(registry) == 1
    assert answers(one) != answers(two)
    three = blank(causal_lm(base, self_contained=True)).from_bytes(two.to_bytes())
    assert share(one, three)
    assert answers(three) == answers(two)


# How long it is kept


def test_a_base_goes_with_the_last_pipe(base: Path, registry: Bases, loads: list[str]):
    one, two = made(base), made(base)
    kept = weakref.ref(shim_of(ours(one).model).lm.base)
    weight = weakref.ref(model_of(one).get_input_embeddings().weight)
    del one
    gc.collect()
    assert kept() is not None and len(registry) == 1
    assert made(base) and len(loads) == 1
    del two
    gc.collect()
    assert kept() is None and weight() is None and len(registry) == 0
    assert made(base) and len(loads) == 2


def test_a_pipe_is_initialised_anew_over_the_same_base(base: Path, loads: list[str]):
    one, two = made(base, learn=2, seed=1), made(base, seed=2)
    said = answers(two)
    one.initialize(lambda: examples(one))
    assert len(loads) == 1 and share(one, two)
    assert all(not weight.any() for name, weight in adapted(one).items() if ".lora_B." in name)
    assert answers(two) == said


# Threads and processes


def test_two_threads_annotate_with_two_pipes(base: Path):
    pipelines = [made(base, learn=4, seed=seed) for seed in (1, 2)]
    expected = [answers(nlp, TEXTS * 3) for nlp in pipelines]
    assert expected[0] != expected[1]
    found: list[list[Any]] = [[], []]
    start = threading.Barrier(2)

    def annotate(number: int) -> None:
        start.wait()
        found[number] += [answers(pipelines[number], TEXTS * 3) for _ in range(4)]

    threads = [threading.Thread(target=annotate, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[said] * 4 for said in expected]


def test_one_thread_trains_while_another_annotates(base: Path):
    trained, other, alone = made(base, seed=1), made(base, learn=4, seed=2), made(base, learn=6, seed=1)
    expected = answers(other)
    optimizer = Adam(0.01)

    def learn() -> None:
        for _ in range(6):
            trained.update(examples(trained), sgd=optimizer)

    thread = threading.Thread(target=learn)
    thread.start()
    while thread.is_alive():
        assert answers(other) == expected
    assert answers(trained) == answers(alone)


def test_threads_load_it_once(base: Path, loads: list[str], registry: Bases):
    borrowed: list[bases.Borrowed] = []

    def borrow() -> None:
        borrowed.append(registry.borrow(Reference(str(base)), dtype=torch.float32, device=CPU, quantization=None))

    threads = [threading.Thread(target=borrow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and len({id(one.base) for one in borrowed}) == 1 and len(borrowed) == 4


def test_forked_processes_annotate(base: Path):
    nlp = blank(causal_lm(base), name="first", spans_key="one")
    nlp.add_pipe("padellm_ner", name="second", config={"model": causal_lm(base), "spans_key": "two"})
    nlp.initialize(lambda: examples(nlp))
    nlp.update(examples(nlp), sgd=Adam(0.01))
    expected = [{key: doc.spans[key].attrs["counts"] for key in ("one", "two")} for doc in nlp.pipe(TEXTS)]
    found = [{key: doc.spans[key].attrs["counts"] for key in ("one", "two")} for doc in nlp.pipe(TEXTS, n_process=2)]
    assert found == expected


# Quantised bases


@pytest.mark.parametrize("quantization", [FOUR, EIGHT], ids=["4 bits", "8 bits"])
@pytest.mark.parametrize("used", [False, True], ids=["at once", "after a pipe was used"])
def test_a_quantised_base(
    base: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, quantization: dict[str, Any], used: bool
):
    settings = {"learn": 2, "quantization": quantization}
    if used:
        one = made(base, seed=1, **settings)
        answers(one)
        two = made(base, seed=2, **settings)
    else:
        one, two = (made(base, seed=seed, quantization=quantization) for seed in (1, 2))
        for nlp in (one, two):
            optimizer = Adam(0.01)
            for _ in range(2):
                nlp.update(examples(nlp), sgd=optimizer)
    assert len(loads) == 1 and share(one, two)
    for name, module in model_of(one).named_modules():
        other = model_of(two).get_submodule(name)
        if getattr(module, "quant_state", None) is not None:
            assert module.quant_state is other.quant_state
        if hasattr(module, "init_8bit_state"):
            assert module.state is not other.state
            assert module.state.CB.data_ptr() == other.state.CB.data_ptr()
            assert module.state.SCB is other.state.SCB
    alone = []
    for seed in (1, 2):
        monkeypatch.setattr(sources, "BASES", Bases())
        alone.append(made(base, seed=seed, **settings))
    assert [answers(nlp) for nlp in (one, two)] == [answers(nlp) for nlp in alone]


# Frozen models


def test_frozen_models_share_their_weights_and_save_none(base: Path, tmp_path: Path, loads: list[str]):
    one = made(base, lora=None, frozen=True, dtype="bfloat16")
    two = made(base, lora=None, frozen=True, dtype="bfloat16")
    assert len(loads) == 1 and share(one, two)
    assert {weight.dtype for weight in model_of(one).parameters()} == {torch.bfloat16}
    one.to_disk(tmp_path / "saved")
    assert not list((tmp_path / "saved").rglob("*.safetensors"))
    loaded = spacy.load(tmp_path / "saved")
    assert share(one, loaded) and answers(loaded) == answers(one)
    with pytest.raises(ValueError, match=r"\[P031\].*frozen"):
        one.update(examples(one), sgd=Adam(0.01))


def test_frozen_and_self_contained(base: Path, tmp_path: Path):
    nlp = made(base, lora=None, frozen=True, self_contained=True)
    nlp.to_disk(tmp_path / "saved")
    said = answers(nlp)
    shutil.rmtree(base)
    assert answers(spacy.load(tmp_path / "saved")) == said


def test_frozen_and_quantised(base: Path):
    nlp = made(base, lora=None, frozen=True, quantization=FOUR)
    assert torch.uint8 in {weight.dtype for weight in model_of(nlp).parameters()}
    assert len(answers(nlp)) == len(DATA)


# Models that cannot be copied, and models of the hub


def test_modules_that_cannot_be_copied_w012(base: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch):
    load = bases.load_model

    def with_a_lock(reference: Reference, **settings: Any) -> Any:
        model = load(reference, **settings)
        model.lock = threading.Lock()
        return model

    monkeypatch.setattr(bases, "load_model", with_a_lock)
    pipelines = []
    for seed in (1, 2):
        with pytest.warns(UserWarning, match=r"\[W012\].*published.*lock"):
            pipelines.append(made(base, learn=2, seed=seed))
    assert len(loads) == 2 and not share(*pipelines)
    assert answers(pipelines[0]) != answers(pipelines[1])


HUB = """
import json, pathlib, sys, torch
from spacy_padellm.engine.checkpoint import Reference, commit_of
from spacy_padellm.model.bases import Bases
cache = pathlib.Path(sys.argv[1])
def borrow(revision=None):
    return bases.borrow(Reference("some/model", revision), dtype=torch.float32, device=torch.device("cpu"),
                        quantization=None)
bases = Bases()
one, two, old = borrow(), borrow(), borrow("b" * 40)
commit = commit_of(Reference("some/model"))
(cache / "refs" / "main").write_text("b" * 40)
moved = borrow()
told = [commit, one.base is two.base, one.base is old.base, one.base is moved.base, old.base is moved.base]
print(json.dumps(told))
"""


@pytest.mark.slow
def test_models_of_the_hub_are_told_apart_by_their_commits(tmp_path: Path):
    """With a cache of the hub in place of the hub."""
    cache = tmp_path / "hub" / "models--some--model"
    for seed, commit in enumerate("ab"):
        write_checkpoint(cache / "snapshots" / (commit * 40), family="llama", tokenizer="qwen", seed=seed)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    surroundings = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUB, str(cache)], env=surroundings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["a" * 40, True, False, False, True]


def test_same_weights_would_notice(base: Path):
    """Or comparisons above would see nothing."""
    one = made(base)
    other = {name: weight.clone() for name, weight in weights(one).items()}
    next(iter(other.values())).view(-1)[0] += 1
    assert not same_weights(weights(one), other)
