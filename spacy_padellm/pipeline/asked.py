"""The pipes of a pipeline that can be asked about other labels."""

from __future__ import annotations

from typing import Any

from spacy.language import Language

from spacy_padellm.errors import Errors


def asked_pipes(nlp: Language) -> list[Any]:
    """A pipeline's padellm_ner pipes: what can be asked about any labels."""
    return [nlp.get_pipe(name) for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == "padellm_ner"]


def ask_about(nlp: Language, labels: Any) -> None:
    """Replace the labels of a pipeline's padellm_ner pipes.

    labels (Any): Names, or names with their words in the prompt or with all that is said about them.
    RAISES (ValueError): P155 if it has none; P011, P015 to P017 or P190 for labels that are none.
    """
    pipes = asked_pipes(nlp)
    if not pipes:
        raise ValueError(Errors.P155.format(pipes=", ".join(nlp.pipe_names) or "nothing"))
    for pipe in pipes:
        pipe.set_labels(labels)
