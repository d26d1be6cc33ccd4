"""Compiled layers equal plain ones, and only steps that ask for them run them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.testing import assert_close

from spacy_padellm.engine.attention import run_row
from spacy_padellm.engine.compiled import CompiledLayers, layers_of
from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.graphs import CapturedSteps
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.tree.packing import Stretch
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from tests.checkpoints import GOLD, LABELS, MODELS, build_model, pieces_of, trained_lm
from tests.engine.recording import record

TEXTS = [text for text, _ in GOLD]
CPU = torch.device("cpu")


class Counting:
    """A backend that runs what torch traced as it is, and counts it."""

    def __init__(self) -> None:
        self.graphs = 0
        self.runs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        self.graphs += 1

        def run(*inputs: Any) -> Any:
            self.runs += 1
            return graph(*inputs)

        return run


@pytest.fixture
def counting():
    torch._dynamo.reset()
    yield Counting()
    torch._dynamo.reset()


def answers(lm: LanguageModel, *, within: float = 1e-4, **options: Any) -> list[list[tuple[str, float]]]:
    scheme = PaDeLLM(build_english_prompt_v1())
    requests = [Request(text, scheme.trunk(text), scheme.ask(LABELS, text), scheme.follow) for text in TEXTS]
    given = decode(lm, requests, Decoding(constrain=False, **options), Counters())
    return [[(answer.text, pytest.approx(answer.probability, rel=within)) for _, answer in doc] for doc in given]


def rows(lm: LanguageModel, sizes: list[int], *, compiled: bool) -> list[torch.Tensor]:
    """Logits of one document that is fed in stretches of these sizes."""
    tree, store, logits = Tree(), KVStore(1), []
    for size in sizes:
        start = len(tree)
        tree.add(start - 1 if start else ROOT, [number % 60 for number in range(start, start + size)])
        stretch = Stretch(tree, start, len(tree), 0)
        logits.append(lm.step([stretch], list(range(len(tree) - start)), store=store, compiled=compiled))
    return logits


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_logits_are_those_of_plain_layers(family: str, counting: Counting):
    assert family in MODELS
    lm = LanguageModel(build_model(family), pieces_of("llama"), CPU, family, layers=CompiledLayers(counting))
    plain = rows(lm, [9, 4, 5], compiled=False)
    assert counting.runs == 0
    for one, other in zip(rows(lm, [9, 4, 5], compiled=True), plain, strict=True):
        assert_close(one, other, rtol=0, atol=1e-5)
    # Once for all layers, whatever the number of pieces.
    graphs, runs = counting.graphs, counting.runs
    assert 0 < graphs <= 4 and len(layers_of(lm.model)) > 1
    rows(lm, [7, 3, 11, 2], compiled=True)
    assert counting.graphs == graphs and counting.runs > runs
    assert all(layer._compiled_call_impl is None for layer in layers_of(lm.model))
    runs = counting.runs
    rows(lm, [9], compiled=False)
    assert counting.runs == runs


def test_answers_are_those_of_plain_layers(counting: Counting):
    trained = trained_lm("gpt2")
    lm = LanguageModel(trained.model, trained.pieces, CPU, "trained", layers=CompiledLayers(counting))
    plain = answers(lm)
    assert counting.runs == 0
    assert answers(lm, compile_layers=True) == plain and counting.runs > 0


def test_under_an_adapter_and_not_in_training(counting: Counting):
    model = get_peft_model(build_model("llama"), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape) * 0.1
    lm = LanguageModel(model.eval(), pieces_of("llama"), CPU, "adapted", layers=CompiledLayers(counting))
    plain = rows(lm, [9, 4], compiled=False)
    for one, other in zip(rows(lm, [9, 4], compiled=True), plain, strict=True):
        assert_close(one, other, rtol=0, atol=1e-5)
    runs = counting.runs
    tree = Tree()
    tree.add(ROOT, range(9))
    run_row(model.train(), [Stretch(tree, 0, 9, 0)], store=None, device=CPU, logits_at=torch.arange(9)).sum().backward()
    assert counting.runs == runs


def test_a_compiled_step_is_captured_apart(counting: Counting):
    lm = trained_lm("gpt2")
    steps = CapturedSteps(lambda _: record)
    lm = LanguageModel(lm.model, lm.pieces, CPU, "trained", steps, CompiledLayers(counting))
    plain = [answers(lm) for _ in range(4)]
    captures, replays = steps.captures, steps.replays
    assert captures and replays
    for _ in range(4):
        assert answers(lm, compile_layers=True) == plain[0]
    assert steps.captures > captures and steps.replays > replays


def test_what_torch_cannot_compile_is_said():
    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()
    lm = LanguageModel(build_model("llama"), pieces_of("llama"), CPU, "llama", layers=CompiledLayers(broken))
    with pytest.raises(ValueError, match=r"P029.*no compiler here.*compile_layers"):
        rows(lm, [9], compiled=True)
    rows(lm, [9], compiled=False)


def test_a_copy_begins_without_anything_compiled():
    lm = LanguageModel(build_model("llama"), pieces_of("llama"), CPU, "llama", layers=CompiledLayers("eager"))
    with lm.layers.within(lm.model):
        pass
    assert lm.layers._compiled
    for other in (copy.deepcopy(lm.layers), pickle.loads(pickle.dumps(lm.layers))):
        assert not other._compiled and other._backend == "eager"


def test_the_longest_list_of_layers_of_one_class():
    model = nn.Module()
    model.few = nn.ModuleList([nn.Linear(1, 1)])
    model.many = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    model.mixed = nn.ModuleList([nn.Linear(1, 1), nn.ReLU(), nn.ReLU(), nn.ReLU()])
    assert layers_of(model) == list(model.many)
    # A mixture of experts: more of them than layers.
    for layer in model.many:
        layer.experts = nn.ModuleList([nn.Linear(1, 1) for _ in range(8)])
    assert layers_of(model) == list(model.many)
    assert layers_of(nn.Linear(1, 1)) == []


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_inductor_and_cuda_graphs_against_plain_steps():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    torch._dynamo.reset()
    trained = trained_lm("gpt2")
    lm = LanguageModel(copy.deepcopy(trained.model).to("cuda"), trained.pieces, torch.device("cuda"), "trained")
    plain = answers(lm, within=1e-3, cuda_graphs=False)
    for _ in range(4):
        assert answers(lm, within=1e-3, compile_layers=True) == plain
    assert lm.steps.replays
