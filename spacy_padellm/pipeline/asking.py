"""What one document is asked about: the labels it brings along, or those of the pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spacy.tokens import Doc

from spacy_padellm.backends.local import Text
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.examples import is_blank, text_of
from spacy_padellm.pipeline.label_spec import Kept
from spacy_padellm.pipeline.labels import check_labels, thresholds_of, words_of
from spacy_padellm.types import Scheme, Words

ATTRIBUTE = "padellm_labels"
"""`doc._.padellm_labels`: the document's own labels, as `set_labels` takes them; None for those of the pipe."""

if not Doc.has_extension(ATTRIBUTE):
    Doc.set_extension(ATTRIBUTE, default=None)


@dataclass(frozen=True)
class LabelSet:
    """Labels as one scheme asks about them, and how sure their mentions must be.

    words (Mapping[str, Words]): Name to words in the prompt, in the order asked.
    thresholds (Mapping[str, float]): Of the labels that have their own.
    """

    words: Mapping[str, Words]
    thresholds: Mapping[str, float]

    @classmethod
    def of(cls, labels: Mapping[str, Kept], scheme: Scheme) -> LabelSet:
        return cls(words_of(labels, scheme), thresholds_of(labels))


class Asked(NamedTuple):
    """A text that is being asked about, and its labels."""

    text: Text
    labels: LabelSet


def labels_of_doc(doc: Doc, known: Mapping[str, Kept], *, context_key: str | None) -> dict[str, Kept] | None:
    """The labels that a document brings along.

    doc (Doc): Its attribute `doc._.padellm_labels` counts first, then its context in `nlp.pipe(as_tuples=True)`.
    known (Mapping[str, Kept]): Labels with what is known about them: a name that is given without anything is asked
        about as it is here, any other name by its own words.
    context_key (str | None): The key under which a context has labels; None not to look there.
    RETURNS (dict[str, Kept] | None): The labels; none at all if the document is to be asked about nothing; None if it
        brings none along.
    RAISES (ValueError): P191 for a context that has no keys; P015, P016 or P190 for labels that are none.
    """
    given = doc._.get(ATTRIBUTE)
    if given is None and context_key is not None and doc._context is not None:
        if not isinstance(doc._context, Mapping):
            raise ValueError(Errors.P191.format(key=context_key, got=type(doc._context).__name__))
        given = doc._context.get(context_key)
    if given is None:
        return None
    return {label: known.get(label) if kept is None else kept for label, kept in check_labels(given).items()}


class Asking:
    """Finds out what documents are asked about.

    name (str): The pipe's name.
    scheme (Scheme): Who asks.
    cfg (Mapping[str, Any]): The pipe's `labels` and `train_labels`.
    context_key (str | None): As in `labels_of_doc`.
    """

    def __init__(self, name: str, scheme: Scheme, cfg: Mapping[str, Any], context_key: str | None) -> None:
        self.own = LabelSet.of(cfg["labels"], scheme)
        self._name = name
        self._scheme = scheme
        # A document may ask about what only training asked about, and then in the words that were trained.
        self._known: dict[str, Kept] = {**(cfg["train_labels"] or {}), **cfg["labels"]}
        self._context_key = context_key

    def asked(self, doc: Doc) -> Asked | None:
        """What a document is asked about; None for one without words, or one that is asked about nothing.

        RAISES (ValueError): P011 if neither it nor the pipe has labels; the rest as in `labels_of_doc`.
        """
        if is_blank(doc):
            return None
        labels = labels_of_doc(doc, self._known, context_key=self._context_key)
        if labels is None:
            if not self.own.words:
                raise ValueError(Errors.P011.format(name=self._name))
            return Asked(text_of(doc), self.own)
        of_doc = LabelSet.of(labels, self._scheme)
        return Asked(text_of(doc)._replace(labels=of_doc.words), of_doc) if labels else None
