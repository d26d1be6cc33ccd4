"""Where a pipeline's causal LM comes from, and how it goes to and from a pipeline's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from spacy_padellm.engine.checkpoint import (
    WRITER,
    Reference,
    choose_device,
    is_quantized,
    load_model,
    load_pieces,
    on_device,
    save_model,
    save_pieces,
)
from spacy_padellm.engine.fresh import FreshShape, build_decoder, train_tokenizer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import prove
from spacy_padellm.errors import Errors
from spacy_padellm.model.bases import BASES, Borrowed
from spacy_padellm.model.chat import ChatTemplate, check_turns
from spacy_padellm.model.identity import RECORD, check_identity, keep_identity
from spacy_padellm.model.lora import LoRA

# Where bitsandbytes is installed, peft imports it, and it torch's compiler: seconds that a pipeline without an adapter
# can do without, so peft is imported where an adapter is at hand.
if TYPE_CHECKING:
    from peft import PeftModel


class Source(Protocol):
    """Makes, saves and loads one kind of causal LM."""

    def create(self, texts: Sequence[str], questions: Sequence[str]) -> LanguageModel:
        """The model at the start of training. `questions` are the segments of the prompt."""
        ...

    def save(self, lm: LanguageModel, folder: Path) -> None: ...

    def load(self, folder: Path) -> LanguageModel: ...

    def set_dropout(self, lm: LanguageModel, rate: float) -> None:
        """Take over the rate of `training.dropout`."""
        ...


@dataclass(frozen=True)
class FreshSource:
    """A decoder that is built from the config and saved whole.

    shape (FreshShape): Its shape.
    device (str): "auto", "cpu", "cuda" or "cuda:1" and so on.
    seed (int): Seed of its first weights.
    """

    shape: FreshShape
    device: str
    seed: int

    def create(self, texts: Sequence[str], questions: Sequence[str]) -> LanguageModel:
        tokenizer = train_tokenizer(texts, questions, self.shape.vocab_size)
        model = build_decoder(self.shape, tokenizer, seed=self.seed)
        name = "fresh decoder"
        return _proved(model, Pieces(tokenizer, leading_blank=True, name=name), self.device, name)

    def save(self, lm: LanguageModel, folder: Path) -> None:
        save_model(lm.model, lm.pieces, folder)

    def load(self, folder: Path) -> LanguageModel:
        device = choose_device(self.device)
        reference = Reference(str(folder))
        model, pieces = load_model(reference, dtype=torch.float32, device=device), load_pieces(reference)
        if not pieces.leading_blank:
            reason = f"{WRITER} beside it is missing or incomplete, so its texts would be cut wrongly"
            raise ValueError(Errors.P027.format(what="tokenizer", name=folder, reason=reason))
        return _proved(model, pieces, self.device, str(folder))

    def set_dropout(self, lm: LanguageModel, rate: float) -> None:
        _set_attention_dropout(lm.model, rate)


@dataclass(frozen=True)
class PretrainedSource:
    """A pretrained causal LM with an adapter, or fine-tuned as a whole.

    In a pipeline's folder: `adapter/` (none if frozen), `tokenizer/`, and what the base model was (`base.json`) beside
    a reference to it in the config; or, if self-contained or fine-tuned as a whole, `base/` (with its tokenizer), and
    `adapter/` if there is one.

    Weights that are not trained, under an adapter or because the model is frozen, are shared with all pipes of the
    process that use the same (`model/bases.py`).

    reference (Reference): The base model.
    lora (LoRA | None): The adapter; None to train all weights.
    dtype (torch.dtype): Of the base model's weights; adapters are float32.
    quantization (Mapping[str, Any] | None): How the base model's weights are quantised when they are loaded.
    device (str): "auto", "cpu", "cuda" or "cuda:1" and so on.
    self_contained (bool): Save the base model, too.
    frozen (bool): Without an adapter: the weights are not trained.
    chat (ChatTemplate | None): The chat template that questions are asked in; None to ask in plain text.
    """

    reference: Reference
    lora: LoRA | None
    dtype: torch.dtype
    device: str
    self_contained: bool
    quantization: Mapping[str, Any] | None = None
    frozen: bool = False
    chat: ChatTemplate | None = None

    def create(self, texts: Sequence[str], questions: Sequence[str]) -> LanguageModel:
        model, base = self._base(self.reference)
        if self.lora is None and not self.frozen and is_quantized(model):
            expected = "an adapter or a frozen model, because quantised weights cannot be trained"
            raise ValueError(Errors.P001.format(name="lora", expected=expected, got=self.lora))
        if self.lora is not None:
            from spacy_padellm.model.adapters import add_adapter

            model = add_adapter(model, self.lora, self.reference.name)
        pieces = load_pieces(self.reference)
        pieces = self.chat.pieces(pieces) if self.chat else pieces
        check_turns(pieces, self.chat, self.reference.name)
        return _proved(model, pieces, self.device, self.reference.name, base=base)

    def save(self, lm: LanguageModel, folder: Path) -> None:
        from peft import PeftModel

        from spacy_padellm.model.adapters import save_adapter

        folder.mkdir(parents=True, exist_ok=True)
        for part in ("base", "adapter", "tokenizer"):  # of another kind of model that was saved here before
            shutil.rmtree(folder / part, ignore_errors=True)
        adapted = isinstance(lm.model, PeftModel)
        if adapted:
            save_adapter(lm.model, folder / "adapter")
        (folder / RECORD).unlink(missing_ok=True)
        if (adapted or self.frozen) and not self.self_contained:
            save_pieces(lm.pieces, folder / "tokenizer")
            keep_identity(lm.model.get_base_model() if adapted else lm.model, folder)
        elif adapted:
            save_bare_base(lm.model, lm.pieces, folder / "base")
        else:
            save_model(lm.model, lm.pieces, folder / "base")

    def load(self, folder: Path) -> LanguageModel:
        whole = (folder / "base").is_dir()
        model, base = self._base(Reference(str(folder / "base")) if whole else self.reference)
        pieces = load_pieces(Reference(str(folder / ("base" if whole else "tokenizer"))))
        check_turns(pieces, self.chat, str(folder))
        check_identity(model, folder, self.reference.name)
        if (folder / "adapter").is_dir():
            from spacy_padellm.model.adapters import load_adapter

            model = load_adapter(model, folder / "adapter")
        elif self.lora is not None:
            reason = "there is no such folder"
            raise ValueError(Errors.P027.format(what="adapter", name=folder / "adapter", reason=reason))
        return _proved(model, pieces, self.device, self.reference.name, base=base)

    def set_dropout(self, lm: LanguageModel, rate: float) -> None:
        if self.lora is None:
            _set_attention_dropout(lm.model, rate)
            return
        if self.lora.dropout is not None:
            return
        for name, module in lm.model.named_modules():
            if isinstance(module, nn.Dropout) and ".lora_dropout." in name:
                module.p = rate

    def _base(self, reference: Reference) -> Borrowed:
        device = choose_device(self.device)
        if self.lora is None and not self.frozen:
            return Borrowed(
                load_model(reference, dtype=self.dtype, device=device, quantization=self.quantization), None
            )
        return BASES.borrow(reference, dtype=self.dtype, device=device, quantization=self.quantization)


def save_bare_base(model: PeftModel, pieces: Pieces, folder: Path) -> None:
    """Write the base model under an adapter, without the adapter.

    peft has put its layers around the base model's: their names lose `.base_layer`, and the adapters' weights are
    left out.
    """
    state = {
        name.replace(".base_layer.", "."): weight
        for name, weight in model.get_base_model().state_dict().items()
        if ".lora_" not in name
    }
    save_model(model.get_base_model(), pieces, folder, state=state)


def _set_attention_dropout(model: PreTrainedModel, rate: float) -> None:
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = rate


def _proved(
    model: PreTrainedModel, pieces: Pieces, device: str, name: str, *, base: nn.Module | None = None
) -> LanguageModel:
    chosen = choose_device(device)
    n_rows = model.get_input_embeddings().weight.shape[0]
    if len(pieces) > n_rows:
        reason = f"it has {len(pieces)} pieces, but the model has embeddings for {n_rows}"
        raise ValueError(Errors.P027.format(what="tokenizer", name=name, reason=reason))
    lm = LanguageModel(on_device(model, chosen).eval(), pieces, chosen, name, base=base)
    if base is None or base not in BASES.proved:
        prove(lm)
        if base is not None:
            BASES.proved.add(base)
    return lm
