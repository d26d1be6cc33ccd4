"""A model in parts makes the updates of a whole one, and is written as a whole one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spacy.language import Language
from spacy.training.loop import DIR_MODEL_BEST as BEST
from spacy.training.loop import DIR_MODEL_LAST as LAST
from thinc.api import Adam, Optimizer
from torch.distributed.fsdp import FSDPModule

from spacy_padellm.model import shim
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.sharding import Shards
from spacy_padellm.training import loss
from spacy_padellm.training.peers import ALONE, Peers
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import DATA, FRESH, answers, examples, ours, same_weights, weights
from tests.training.runs import Runs
from tests.training.test_devices import LONG, after, assert_close, joined, made, refused
from tests.training.test_loop import assert_same, lora
from tests.training.world import together

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


def weights_after(nlp: Language, peers: Peers, sgd: Optimizer, *, shard: bool = False) -> dict[str, np.ndarray]:
    team = joined(nlp, peers, shard=shard)
    for number in range(6):
        for size in (1, 2):
            ours(nlp).update(examples(nlp, [[*DATA, LONG][(number + place) % 5] for place in range(size)]))
        ours(nlp).finish_update(sgd)
    with team.whole():
        model = shim_of(ours(nlp).model).lm.model
        return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def stepping(**settings: Any) -> Any:
    return lambda: Adam(0.1, beta1=0.0, beta2=0.0, **{"grad_clip": 0.05, **settings})


@pytest.mark.parametrize(
    ("double", "step", "within"),
    [
        pytest.param(True, stepping(L2=0.01), 1e-9, id="clipped, decay"),
        pytest.param(True, stepping(L2=0.01, L2_is_weight_decay=False), 1e-9, id="clipped, L2"),
        pytest.param(False, lambda: Adam(0.001), 1e-4, id="Adam"),
    ],
)
def test_weights_are_those_of_one_process(double: bool, step: Any, within: float):
    """Sub-batches of one text, whose second process has nothing to do, and rows of unequal number."""
    model = {**FRESH, "max_row": 150}
    begun = shim_of(ours(made(model, double=double)).model).lm.model
    first = {name: weight.detach().numpy() for name, weight in begun.named_parameters()}
    want = weights_after(made(model, double=double), ALONE, step())
    one, two = together(lambda peers: weights_after(made(model, double=double), peers, step(), shard=True))
    for name, weight in want.items():
        assert np.array_equal(one[name], two[name]), name
        assert np.allclose(one[name], weight, rtol=0, atol=within), name
    assert max(np.abs(weight - want[name]).max() for name, weight in first.items()) > 20 * within


@pytest.mark.parametrize("kind", ["tied", "experts", pytest.param("checkpointing", marks=pytest.mark.slow)])
def test_weights_of_a_pretrained_model(tmp_path: Path, kind: str):
    """Whose output is its input's weights, which stand in the model twice; of whose experts each process asks others;
    whose layers are computed again."""
    experts = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 1} if kind == "experts" else {}
    path = write_checkpoint(tmp_path / "base", initializer_range=0.05, tie_word_embeddings=kind == "tied", **experts)
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(path), "device": "cpu"}
    model["gradient_checkpointing"] = kind == "checkpointing"
    tied = [name for name in shim_of(ours(made(model)).model).lm.model.state_dict() if "lm_head" in name]
    assert tied and ("lm_head.weight" in dict(shim_of(ours(made(model)).model).lm.model.named_parameters())) == (
        kind != "tied"
    )
    want = weights_after(made(model, double=True), ALONE, stepping()())
    one, two = together(lambda peers: weights_after(made(model, double=True), peers, stepping()(), shard=True))
    for name, weight in want.items():
        assert np.array_equal(one[name], two[name]), name
        assert np.allclose(one[name], weight, rtol=0, atol=1e-9), name


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_each_holds_a_part(count: int):
    """Of weights, gradients and moments; outside of training the model is there when it is asked for, as it was."""

    def job(peers: Peers) -> Any:
        nlp = made()
        before, found = weights(nlp), answers(nlp)
        team, adam, shim = joined(nlp, peers, shard=True), Adam(0.01), shim_of(ours(nlp).model)
        empty = sum(weight.numel() for weight in shim.lm.model.parameters())
        with team.whole():
            assert same_weights(before, weights(nlp)) and answers(nlp) == found
        ours(nlp).update(examples(nlp), sgd=adam)
        assert shim._shards is not None
        own = [weight.to_local() for weight in shim._shards.lm.model.parameters()]
        grads = [weight.grad.to_local() for weight in shim._shards.lm.model.parameters()]
        moments = [sum(array.size for array in kept.values()) for kept in (adam.mom1, adam.mom2, adam.averages)]
        sizes = [sum(part.numel() for part in own), sum(part.numel() for part in grads), *moments]
        with team.whole():
            return empty, sizes, sum(weight.numel() for weight in shim.lm.model.parameters())

    told = together(job, count=count)
    whole = told[0][2]
    assert [empty for empty, _, _ in told] == [0] * count
    for _, sizes, _ in told:
        assert len(set(sizes)) == 1 and sizes[0] < 1.1 * whole / count
    assert sum(sizes[0] for _, sizes, _ in told) == whole


def test_layers_of_the_same_number_are_left_alone():
    """thinc counts layers apart from what holds our model."""

    def job(peers: Peers) -> Any:
        nlp, adam = made(), Adam(0.01)
        team, number = joined(nlp, peers, shard=True), shim_of(ours(nlp).model).id
        ours(nlp).update(examples(nlp), sgd=adam)
        layer: Any = np.ones((2, 3), dtype=np.float32)
        adam.mom1[number, "E"] = layer
        own = {name: array.shape for (_, name), array in adam.mom1.items()}
        with team.whole(adam):
            together = {name: array.size for (_, name), array in adam.mom1.items()}
        assert {name: array.shape for (_, name), array in adam.mom1.items()} == own
        return adam.mom1[number, "E"] is layer, together

    (kept, sizes), (also, _) = together(job)
    whole = {name: weight.numel() for name, weight in shim_of(ours(made()).model).lm.model.named_parameters()}
    assert kept and also and sizes == {**whole, "E": 6}


# Whole trainings


def test_a_training_in_parts_ends_as_one_of_one(tmp_path: Path):
    """And what is written is whole: the pipelines, and the checkpoint, from which one process goes on, too."""
    runs = Runs(tmp_path, **{"training.max_steps": 8, "training.dropout": 0.0})
    runs.run("one")
    together(lambda peers: runs.run("two", peers=peers, shard=True))
    assert_close(runs, "one", "two", within=2e-3)
    for which in (BEST, LAST):
        assert runs.files("one", which).keys() == runs.files("two", which).keys()
    one, two = runs.arrays("one"), runs.arrays("two")
    assert one.keys() == two.keys() and any("averages" in name for name in one)
    assert all(one[name].shape == two[name].shape for name in one)
    assert all(np.allclose(one[name], two[name], rtol=0, atol=2e-3) for name in one)
    longer = {"training.max_steps": 12}
    runs.run("one", resume=True, **longer)
    runs.run("two", resume=True, **longer)
    assert_close(runs, "one", "two", within=2e-3)


@pytest.mark.parametrize("averages", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, averages: bool):
    """Bit by bit, after a signal at one of the two."""
    runs = Runs(tmp_path, **{"training.max_steps": 8, "training.optimizer.use_averages": averages})

    def cut(peers: Peers) -> Any:
        after(3, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        return runs.run("cut", peers=peers, shard=True).step

    together(lambda peers: runs.run("whole", peers=peers, shard=True))
    assert together(cut) == [3, 3]
    together(lambda peers: runs.run("cut", peers=peers, shard=True, resume=True))
    assert_same(runs, "whole", "cut")


# What is refused


def test_among_one(tmp_path: Path):
    with pytest.raises(ValueError, match="P056"):
        Runs(tmp_path).run("out", shard=True)


def test_an_adapter(tmp_path: Path):
    runs = Runs(tmp_path, **lora(tmp_path))
    assert refused(lambda peers: runs.run("out", peers=peers, shard=True)) == ["[P057]"] * 2


def test_a_torch_that_cannot(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(FSDPModule, "set_reduce_scatter_unused_params")
    with pytest.raises(ValueError, match=r"P057.*torch"):
        Shards(shim_of(ours(made()).model).lm, Peers(0, 2), number=1)
    monkeypatch.setitem(sys.modules, Shards.__module__, None)
    with pytest.raises(ValueError, match=r"P057.*no sharding"):
        shim_of(ours(made()).model).shard(Adam(0.01))


def test_a_model_that_annotates(tmp_path: Path):
    runs = Runs(tmp_path, **{"training.annotating_components": ["padellm_ner"]})
    assert refused(lambda peers: runs.run("out", peers=peers, shard=True)) == ["[P058]"] * 2


@pytest.mark.parametrize("shard", [False, True])
def test_a_loss_that_is_no_number(shard: bool):
    """At one process: all of them say so and none has changed its weights."""

    def job(peers: Peers) -> Any:
        nlp = made()
        team = joined(nlp, peers, shard=shard)
        with team.whole():
            before = weights(nlp)
        made_of = loss.row_loss

        def broken(lm: Any, row: Any) -> Any:
            return made_of(lm, row) * (float("nan") if peers.number == 1 else 1.0)

        shim.row_loss = broken  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="P028"):
            ours(nlp).update(examples(nlp), sgd=Adam(0.1))
        with team.whole():
            return same_weights(before, weights(nlp))

    assert together(job) == [True, True]
