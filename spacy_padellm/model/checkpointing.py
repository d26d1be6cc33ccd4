"""Gradient checkpointing: layers are computed again on the way back in place of keeping all they computed."""

from __future__ import annotations

from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors

_HOW = {"use_reentrant": False}
"""The reentrant form computes no gradient where no input needs one, and under an adapter none does."""


def set_checkpointing(lm: LanguageModel, on: bool) -> None:
    """Switch it on or off. It has an effect in training mode only.

    lm (LanguageModel): The model, with or without an adapter.
    on (bool): Whether layers are computed again.
    RAISES (ValueError): P001 to switch it on for a model that cannot do it.
    """
    model = lm.model
    if on and not model.supports_gradient_checkpointing:
        expected = f"false for a model of the family '{lm.family}', which cannot do it"
        raise ValueError(Errors.P001.format(name="gradient_checkpointing", expected=expected, got=True))
    # Later releases of transformers 5 have another name for it and warn of the old one.
    if hasattr(model, "activation_checkpointing_enable"):
        if on:
            model.activation_checkpointing_enable(_HOW)
        else:
            model.activation_checkpointing_disable()
    elif on:
        model.gradient_checkpointing_enable(_HOW)
    else:
        model.gradient_checkpointing_disable()
