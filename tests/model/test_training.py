"""What an update computes: the same gradients however the trees are cut, in the memory that its settings allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaPreTrainedModel

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.training.batching import rows_of
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.targets import TargetTree
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import DATA, FRESH, answers, blank, examples, ours, same_weights, weights

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4}


class Onlooker:
    """An optimizer that changes nothing and notes the gradients it is given."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.Tensor] = {}

    def __call__(self, key: tuple[int, str], weight: Any, gradient: Any) -> tuple[Any, Any]:
        self.seen[key[1]] = torch.from_numpy(gradient.copy())
        return weight, gradient


def made(model: dict[str, Any]) -> Language:
    """A pipeline with its first weights, those of an adapter always the same."""
    nlp = blank(model)
    torch.manual_seed(0)
    nlp.initialize(lambda: examples(nlp))
    return nlp


def adapted(folder: Path, **settings: Any) -> dict[str, Any]:
    """A pretrained model with an adapter, as a block of the config."""
    path = folder if folder.exists() else write_checkpoint(folder, initializer_range=0.05)
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(path), "lora": LORA, "device": "cpu", **settings}


def updated(nlp: Language, batches: Sequence[list[Example]]) -> dict[str, torch.Tensor]:
    """The gradients of one update of several sub-batches."""
    onlooker, pipe = Onlooker(), ours(nlp)
    for batch in batches:
        pipe.update(batch, sgd=None)
    pipe.finish_update(onlooker)  # type: ignore[arg-type]
    return onlooker.seen


# One update, however it is cut


def test_rows_and_sub_batches_make_the_update_of_one_large_row():
    """In float64, to 1e-9: the texts have from 14 to 23 targets, so a mean of means would be another one."""
    found = {}
    for max_row in (8192, 150, 1):
        nlp = made({**FRESH, "max_row": max_row})
        shim_of(ours(nlp).model).lm.model.double()
        data = examples(nlp)
        targets = [tree.weight for tree in ours(nlp)._trees(data)]
        assert len(set(targets)) > 1
        for parts in ([4], [2, 2], [1, 3], [1, 1, 1, 1]):
            ends = [sum(parts[: place + 1]) for place in range(len(parts))]
            batches = [data[end - part : end] for part, end in zip(parts, ends, strict=True)]
            found[max_row, tuple(parts)] = updated(nlp, batches)
    whole = found[8192, (4,)]
    largest = max(gradient.abs().max().item() for gradient in whole.values())
    assert largest > 0.01
    for cut, gradients in found.items():
        assert gradients.keys() == whole.keys()
        for name, gradient in gradients.items():
            assert gradient.dtype == torch.float64
            assert torch.allclose(gradient, whole[name], rtol=0, atol=1e-9 * largest), (cut, name)


def test_an_update_is_of_the_mean_over_all_targets():
    nlp = made(FRESH)
    lm, trees = shim_of(ours(nlp).model).lm, ours(nlp)._trees(examples(nlp))
    got = updated(nlp, [examples(nlp)])
    (row_loss(lm, trees) / sum(tree.weight for tree in trees)).backward()
    for name, parameter in lm.model.named_parameters():
        assert torch.allclose(got[name], parameter.grad, atol=1e-5), name


def test_the_next_update_starts_anew():
    """Neither gradients nor the number of targets are left over."""
    nlp = made(FRESH)
    first = updated(nlp, [examples(nlp)])
    updated(nlp, [examples(nlp), examples(nlp)])
    again = updated(nlp, [examples(nlp)])
    nlp.initialize(lambda: examples(nlp))
    ours(nlp).update(examples(nlp), sgd=None)
    nlp.initialize(lambda: examples(nlp))
    anew = updated(nlp, [examples(nlp)])
    for name, gradient in first.items():
        assert torch.allclose(gradient, again[name], atol=1e-5), name
        assert torch.allclose(gradient, anew[name], atol=1e-5), name


def test_logits_are_computed_only_in_front_of_targets():
    nlp = made(FRESH)
    lm, trees = shim_of(ours(nlp).model).lm, ours(nlp)._trees(examples(nlp))
    rows: list[int] = []
    hook = lm.model.lm_head.register_forward_hook(lambda _, given, out: rows.append(out.shape[-2]))
    row_loss(lm, trees)
    hook.remove()
    assert rows == [sum(len(set(tree.nodes.tolist())) for tree in trees)]
    assert rows[0] < sum(len(tree.tree) for tree in trees) / 2


# Gradient checkpointing


def kept_bytes(nlp: Language, trees: Sequence[TargetTree]) -> int:
    """What one row of an update keeps for the way back, as autograd is told, weights left out."""
    lm = shim_of(ours(nlp).model).lm
    own = {weight.untyped_storage().data_ptr() for weight in lm.model.parameters()}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    lm.model.train()
    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = row_loss(lm, trees)
    lm.model.eval()
    del loss
    return sum(found.values())


def trees_of(nlp: Language, times: int = 1) -> list[TargetTree]:
    return ours(nlp)._trees(examples(nlp, DATA * times))


@pytest.mark.parametrize("kind", ["fresh", "adapter", "half"])
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(tmp_path: Path, kind: str):
    block = {**FRESH, "n_layers": 4} if kind == "fresh" else adapted(tmp_path / "base")
    block |= {"dtype": "bfloat16"} if kind == "half" else {}
    plain, again = (made({**block, "gradient_checkpointing": switch}) for switch in (False, True))
    assert same_weights(weights(plain), weights(again))
    assert kept_bytes(again, trees_of(again)) < kept_bytes(plain, trees_of(plain)) / 2
    wanted, got = (updated(nlp, [examples(nlp)]) for nlp in (plain, again))
    assert wanted.keys() == got.keys() and any(gradient.any() for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert torch.allclose(gradient, got[name], rtol=1e-4, atol=1e-6), name
    assert answers(plain) == answers(again)


def test_gradient_checkpointing_drops_the_same_twice():
    """With dropout the second computation draws what the first one drew."""
    found = []
    for switch in (False, True):
        nlp, onlooker = made({**FRESH, "gradient_checkpointing": switch}), Onlooker()
        torch.manual_seed(0)
        ours(nlp).update(examples(nlp), drop=0.3, sgd=None)
        ours(nlp).finish_update(onlooker)  # type: ignore[arg-type]
        found.append(onlooker.seen)
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-5), name


def test_gradient_checkpointing_can_be_given_at_load(tmp_path: Path):
    nlp = made({**FRESH, "n_layers": 4})
    other = blank({**FRESH, "n_layers": 4, "gradient_checkpointing": True})
    ours(other).from_bytes(ours(nlp).to_bytes())
    assert kept_bytes(other, trees_of(nlp)) < kept_bytes(nlp, trees_of(nlp)) / 2


def test_a_model_that_cannot_be_checkpointed_p001(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LlamaPreTrainedModel, "supports_gradient_checkpointing", False)
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'gradient_checkpointing'.*'llama'"):
        made({**FRESH, "gradient_checkpointing": True})


# Half precision under an adapter


@pytest.mark.parametrize("again", [False, True], ids=["kept", "again"])
def test_half_precision_base_learns_through_its_full_precision_adapter(tmp_path: Path, again: bool):
    nlp = made(adapted(tmp_path / "base", dtype="bfloat16", gradient_checkpointing=again))
    model = shim_of(ours(nlp).model).lm.model
    before, optimizer = weights(nlp), Adam(0.01)
    losses = [nlp.update(examples(nlp, DATA[:2]), sgd=optimizer)["padellm_ner"] for _ in range(12)]
    assert losses[-1] < losses[0] - 0.5
    now = weights(nlp)
    assert {now[name].dtype for name in now if ".lora_" in name} == {torch.float32}
    assert {now[name].dtype for name in now if ".lora_" not in name} == {torch.bfloat16}
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert changed and all(".lora_" in name for name in changed)
    given = {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None}
    assert given == {torch.float32}


# Memory is bounded by the row


def test_what_is_kept_grows_with_the_row_and_not_with_the_batch():
    """Eight times the documents in rows of the same size keep no more at a time."""
    nlp = made(FRESH)
    few, many = trees_of(nlp), trees_of(nlp, 8)
    bound = max(len(tree.tree) for tree in few) * len(few)
    one, bounded, free = (
        max(kept_bytes(nlp, row) for row in rows_of(trees, max_row))
        for trees, max_row in ((few, bound), (many, bound), (many, 8 * bound))
    )
    assert bounded < 1.3 * one
    assert free > 4 * one
