"""Several processes make the update that one makes: the same gradients, weights, files, and a way on after a break."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training.loop import DIR_MODEL_BEST as BEST
from spacy.training.loop import DIR_MODEL_LAST as LAST
from thinc.api import Adam, Linear, Optimizer, PyTorchWrapper

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.training import gradients as gradients_module
from spacy_padellm.training import peers as peers_module
from spacy_padellm.training.checkpoint import FOLDER
from spacy_padellm.training.gradients import add_up, average_gradients
from spacy_padellm.training.loop import Training
from spacy_padellm.training.peers import ALONE, Peers, join
from spacy_padellm.training.shares import shares_of
from spacy_padellm.training.team import Team
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import DATA, FRESH, blank, examples, ours
from tests.training.runs import Runs, meta
from tests.training.test_loop import assert_same, lora
from tests.training.world import lives, together

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4}
LONG = (" ".join(f"{text} and then" for text, _ in DATA) + " the end", [(3, 12, "movie")])


def made(model: dict[str, Any] | None = None, *, double: bool = False, **settings: Any) -> Language:
    """A pipeline with its first weights, always the same."""
    nlp = blank(model or FRESH, **settings)
    torch.manual_seed(0)
    random.seed(0)
    nlp.initialize(lambda: examples(nlp, [*DATA, LONG]))
    if double:
        shim_of(ours(nlp).model).lm.model.double()
    return nlp


def adapted(folder: Path, **settings: Any) -> dict[str, Any]:
    path = folder if folder.exists() else write_checkpoint(folder, initializer_range=0.05)
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(path), "lora": LORA, "device": "cpu", **settings}


def joined(nlp: Language, peers: Peers, *, shard: bool = False) -> Team:
    team = Team(nlp, peers, shard=shard)
    team.begin(Adam(0.0))
    return team


def gradients(nlp: Language, batches: Sequence[Sequence[int]], peers: Peers = ALONE) -> tuple[dict[str, Any], float]:
    """The gradients of one update of several sub-batches, named by numbers of documents, and its loss."""
    seen: dict[str, Any] = {}

    def onlooker(key: tuple[int, str], weight: Any, gradient: Any) -> tuple[Any, Any]:
        seen[key[1]] = gradient.copy()
        return weight, gradient

    joined(nlp, peers)
    losses: dict[str, float] = {}
    for batch in batches:
        ours(nlp).update(examples(nlp, [[*DATA, LONG][number] for number in batch]), losses=losses)
    ours(nlp).finish_update(onlooker)  # type: ignore[arg-type]
    return seen, losses["padellm_ner"]


# One update


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_gradients_are_those_of_the_joint_batch(tmp_path: Path, kind: str):
    """In float64, to 1e-9: shares of other numbers of targets, one that is empty, sub-batches, rows of their own."""
    model = {**FRESH, "max_row": 150} if kind == "whole" else adapted(tmp_path / "base")
    cuts = ([[0, 1, 2, 3, 4]], [[4, 3]], [[0]], [[0, 1], [2, 3, 4]], [[4], [0], [1, 2, 3]])
    alone = [gradients(made(model, double=True), cut) for cut in cuts]

    def job(peers: Peers) -> Any:
        return [gradients(made(model, double=True), cut, peers) for cut in cuts]

    first, second = together(job)
    for (want, loss), (one, his), (two, hers), cut in zip(alone, first, second, cuts, strict=True):
        largest = max(np.abs(gradient).max() for gradient in want.values())
        assert largest > 0.01 and want.keys() == one.keys() == two.keys()
        for name, gradient in want.items():
            assert gradient.dtype == np.float64 and np.array_equal(one[name], two[name])
            assert np.allclose(one[name], gradient, rtol=0, atol=1e-9 * largest), (cut, name)
        assert his == hers == pytest.approx(loss, rel=1e-9)


def test_a_weight_without_a_gradient_has_none_in_any_process():
    """Or decay would move it."""
    model = {**FRESH}

    def job(peers: Peers) -> Any:
        nlp = made(model)
        shim_of(ours(nlp).model).lm.model.model.layers[1].self_attn.q_proj.register_parameter(
            "unused", torch.nn.Parameter(torch.ones(2))
        )
        return sorted(gradients(nlp, [[0, 1]], peers)[0])

    names = together(job)[0]
    assert len(names) > 10 and not [name for name in names if "unused" in name]


def test_gradients_are_added_up_in_groups(monkeypatch: pytest.MonkeyPatch):
    """Of one kind and so many bytes; what is larger goes alone, what is not contiguous comes back in its place."""

    def job(peers: Peers) -> Any:
        torch.manual_seed(peers.number)
        tensors = [torch.randn(3), torch.randn(2, 40), torch.randn(4, 2).T, torch.randn(5).double(), torch.randn(())]
        before = [tensor.numpy().copy() for tensor in tensors]
        add_up(tensors, peers)
        return before, [tensor.numpy() for tensor in tensors], peers.added

    for room in (1, 24, 2**20):
        monkeypatch.setattr(gradients_module, "_TOGETHER", room)
        (one, summed, added), (two, also, _) = together(job)
        for here, there, total, same in zip(one, two, summed, also, strict=True):
            assert np.array_equal(here + there, total) and np.array_equal(total, same)
        assert added == 4 * (3 + 80 + 8 + 1) + 8 * 5


def test_gradients_of_other_components_are_averaged():
    def job(peers: Peers) -> Any:
        layer = Linear(2, 3).initialize()
        layer.set_grad("W", np.full((2, 3), peers.number + 1.0, dtype=np.float32))
        module = torch.nn.Linear(1, 2, bias=False)
        module.weight.grad = torch.full((2, 1), 4.0 * peers.number)
        wrapped, pipe = PyTorchWrapper(module), made()
        joined(pipe, peers)
        own = shim_of(ours(pipe).model).lm.model.lm_head.weight
        own.grad = torch.full_like(own, peers.number)
        for model in (layer, wrapped, ours(pipe).model):
            average_gradients(model, peers)
        return layer.get_grad("W").tolist(), module.weight.grad.tolist(), own.grad.unique().tolist()

    even = [[1.5] * 3] * 2, [[2.0]] * 2
    assert together(job) == [(*even, [0.0]), (*even, [1.0])]


def test_shares():
    """Of about as many pieces, every tree in one of them, the same whoever asks."""
    trees = ours(made())._trees(examples(made(), [*DATA, LONG] * 3))
    for count in (1, 2, 3, 20):
        shares = shares_of(trees, count)
        assert len(shares) == count and sum(map(len, shares)) == len(trees)
        assert {id(tree) for share in shares for tree in share} == set(map(id, trees))
        pieces = [sum(len(tree.tree) for tree in share) for share in shares]
        assert max(pieces) - min(pieces) <= max(len(tree.tree) for tree in trees)
    assert [len(tree.tree) for tree in shares_of(trees, 20)[0]] == [max(len(tree.tree) for tree in trees)]


# Several updates


def weights_after(nlp: Language, peers: Peers, sgd: Optimizer) -> dict[str, np.ndarray]:
    joined(nlp, peers)
    for number in range(6):
        ours(nlp).update(examples(nlp, [[*DATA, LONG][(number + place) % 5] for place in range(3)]))
        ours(nlp).finish_update(sgd)
    model = shim_of(ours(nlp).model).lm.model
    return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def plain() -> Optimizer:
    """Steps along the gradients, which float64 can take, too."""
    return Adam(0.1, beta1=0.0, beta2=0.0, grad_clip=0.05, L2=0.01)


@pytest.mark.parametrize(
    ("kind", "double", "step", "within"),
    [
        pytest.param("whole", True, plain, 1e-9, id="whole"),
        pytest.param("adapter", False, lambda: Adam(0.001), 1e-4, id="adapter, Adam"),
        pytest.param("adapter", True, plain, 1e-9, id="adapter", marks=pytest.mark.slow),
        pytest.param("whole", False, lambda: Adam(0.001), 1e-4, id="whole, Adam", marks=pytest.mark.slow),
    ],
)
def test_weights_are_those_of_one_process(tmp_path: Path, kind: str, double: bool, step: Any, within: float):
    """After six updates with clipping and decay, labels drawn and copies asked for."""
    draw = {"@misc": "spacy-padellm.LabelDraw.v1", "absent": 1, "dropout": 0.3, "shuffle": True}
    settings = {"label_draw": draw, "copy_share": 0.5, "double": double}
    model = FRESH if kind == "whole" else adapted(tmp_path / "base")
    begun = shim_of(ours(made(model, **settings)).model).lm.model
    first = {name: weight.detach().numpy() for name, weight in begun.named_parameters() if weight.requires_grad}
    want = weights_after(made(model, **settings), ALONE, step())
    one, two = together(lambda peers: weights_after(made(model, **settings), peers, step()))
    for name, weight in want.items():
        assert np.array_equal(one[name], two[name]), name
        assert np.allclose(one[name], weight, rtol=0, atol=within), name
    assert max(np.abs(weight - want[name]).max() for name, weight in first.items()) > 20 * within


def test_dropout_is_drawn_apart_and_leaves_all_in_one_state(tmp_path: Path):
    """Two processes drop other things, or a batch of twice the same text would have the gradient of one."""
    model = adapted(tmp_path / "base")

    def job(peers: Peers) -> Any:
        nlp = made(model)
        joined(nlp, peers)
        adam = Adam(0.05)
        for _ in range(2):  # An adapter's first update moves one of its two matrices only.
            ours(nlp).update(examples(nlp, [DATA[0]] * 2), drop=0.5)
            lm = shim_of(ours(nlp).model).lm
            own = {name: weight.grad.clone() for name, weight in lm.model.named_parameters() if weight.grad is not None}
            ours(nlp).finish_update(adam)
        return {name: gradient.numpy() for name, gradient in own.items()}, torch.rand(3).tolist()

    (one, drawn), (two, also) = together(job)
    assert drawn == also
    assert one.keys() == two.keys() and any(not np.allclose(one[name], two[name]) for name in one)


# Whole trainings


def after(step: int, number: int, act: Any) -> Any:
    """A job's own patch: the process `number` does something behind its update `step`. Forks do not share it."""
    made = Training._update

    def update(self: Training, batch: Any) -> None:
        made(self, batch)
        if self.peers.number == number and self.progress.step == step:
            act()

    Training._update = update  # type: ignore[method-assign]


def assert_close(runs: Runs, one: str, two: str, *, within: float) -> None:
    """All weights of both pipelines."""
    first, second = (spacy.load(runs.folder / name / LAST) for name in (one, two))
    for name in first.pipe_names:
        arrays, others = (_arrays(nlp, name) for nlp in (first, second))
        assert arrays.keys() == others.keys()
        assert all(np.allclose(arrays[key], others[key], rtol=0, atol=within) for key in arrays), name


def _arrays(nlp: Language, name: str) -> dict[str, np.ndarray]:
    model: Any = nlp.get_pipe(name).model  # type: ignore[attr-defined]
    if name == "padellm_ner":
        return {key: weight.detach().numpy() for key, weight in shim_of(model).lm.model.named_parameters()}
    return {
        f"{place}/{key}": node.get_param(key)
        for place, node in enumerate(model.walk())
        for key in node.param_names
        if node.has_param(key)
    }


def test_a_training_of_two_ends_as_one_of_one(tmp_path: Path):
    """With other components beside it, epochs, an augmenter, sub-batches, averages; what is written, loads."""
    runs = Runs(tmp_path, **{"training.max_steps": 8, "training.dropout": 0.0})
    runs.run("one")
    outcomes = together(lambda peers: runs.run("two", peers=peers))
    assert [outcome.step for outcome in outcomes] == [8, 8]
    assert_close(runs, "one", "two", within=2e-3)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [FOLDER, BEST, LAST]
    scores = [meta(tmp_path / name / LAST)["performance"] for name in ("one", "two")]
    assert scores[0].keys() == scores[1].keys()
    nlp = spacy.load(tmp_path / "two" / LAST)
    assert nlp("Ada lives in Paris.").cats.keys() == {"question", "statement"}


@pytest.mark.parametrize("kind", ["adapter", pytest.param("averages", marks=pytest.mark.slow)])
def test_a_signal_at_one_of_two_stops_both(tmp_path: Path, kind: str):
    """At the same update; and they go on as if nothing had happened, bit by bit, dropout included."""
    runs = Runs(tmp_path, **{"training.max_steps": 8, **(lora(tmp_path) if kind == "adapter" else {})})

    def cut(peers: Peers) -> Any:
        after(3, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        outcome = runs.run("cut", peers=peers)
        return outcome.step, outcome.signal

    together(lambda peers: runs.run("whole", peers=peers))
    assert together(cut) == [(3, 15), (3, 15)]
    assert [outcome.step for outcome in together(lambda peers: runs.run("cut", peers=peers, resume=True))] == [8, 8]
    assert_same(runs, "whole", "cut")


@pytest.mark.parametrize("shard", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_of_two_is_killed(tmp_path: Path, shard: bool):
    """The other one meets an error in its next update; both go on from the last checkpoint, to the same end."""
    runs = Runs(tmp_path, **{"training.max_steps": 8})

    def cut(peers: Peers) -> None:
        after(5, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
        runs.run("cut", peers=peers, every=2, shard=shard)

    together(lambda peers: runs.run("whole", peers=peers, shard=shard))
    (met, _), (silence, _) = lives(cut)
    assert "Error" in met and "ended without a word" in silence
    assert runs.begin("cut", resume=True).checkpoint.progress.step == 3  # type: ignore[union-attr]
    together(lambda peers: runs.run("cut", peers=peers, resume=True, shard=shard))
    assert_same(runs, "whole", "cut")


@pytest.mark.slow
def test_a_training_of_one_goes_on_with_two(tmp_path: Path):
    runs = Runs(tmp_path, **{"training.max_steps": 8, "training.dropout": 0.0})
    runs.run("whole")
    runs.stopped("cut", 4)
    together(lambda peers: runs.run("cut", peers=peers, resume=True))
    assert_close(runs, "whole", "cut", within=2e-3)


def test_without_a_seed_all_have_the_same(tmp_path: Path):
    runs = Runs(tmp_path, **{"training.seed": None, "training.max_steps": 1})
    assert [outcome.step for outcome in together(lambda peers: runs.run("out", peers=peers))] == [1, 1]


# What is refused


def refused(job: Any) -> list[str]:
    """What each process says that it refuses."""

    def act(peers: Peers) -> str:
        with pytest.raises(ValueError, match=r"\[P0\d\d\]") as error:
            job(peers)
        return str(error.value)[:6]

    return together(act)


def test_other_batches(tmp_path: Path):
    runs = Runs(tmp_path, **{"corpora.train.augmenter": {"@augmenters": "tests.Unseeded.v1"}})
    assert refused(lambda peers: runs.run("out", peers=peers)) == ["[P055]"] * 2


def test_other_weights(tmp_path: Path):
    runs = Runs(tmp_path)

    def job(peers: Peers) -> Any:
        runs.run("out", peers=peers, **{"components.padellm_ner.model.seed": peers.number})

    assert refused(job) == ["[P054]"] * 2


def test_a_gpu_of_another_process():
    shim = shim_of(ours(made()).model)
    shim.lm.device = torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"P053.*cuda:1.*cuda:0"):
        shim.join(Peers(0, 2, device=0))
    shim.join(Peers(1, 2, device=1))


def launched(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    usual = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**usual, **changes}.items():
        monkeypatch.setenv(name, value)


def test_nobody_to_join(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() is ALONE
    launched(monkeypatch, WORLD_SIZE="1")
    assert join() is ALONE
    launched(monkeypatch)
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(ValueError, match=r"P051.*2 processes.*MASTER_ADDR"):
        join()


def test_without_accelerate(monkeypatch: pytest.MonkeyPatch):
    launched(monkeypatch)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ValueError, match=r"P050.*spacy-padellm\[devices\]"):
        join()


def test_each_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Gradients are added up on the GPUs, what is told beside them on the CPU."""
    launched(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    asked: dict[str, Any] = {}

    def state(**settings: Any) -> SimpleNamespace:
        asked.update(settings)
        return SimpleNamespace(process_index=1, num_processes=2)

    active: list[int] = []
    monkeypatch.setattr(accelerate, "PartialState", state)
    monkeypatch.setattr(peers_module, "has_cupy_gpu", True)
    monkeypatch.setattr(peers_module, "set_active_gpu", active.append)
    peers = join()
    assert (peers.number, peers.count, peers.device) == (1, 2, 1) and active == [1]
    assert asked["backend"] == "cuda:nccl,cpu:gloo" and not asked["cpu"] and asked["timeout"].total_seconds() > 3600


def test_fewer_gpus_than_processes(monkeypatch: pytest.MonkeyPatch):
    launched(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"P052.*number 2.*1 GPUs"):
        join()
