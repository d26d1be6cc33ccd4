"""Answers from a model in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from spacy_padellm.engine.decoder import Counters, Decoding, decode
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.types import Answered, Branch, Scheme


class Text(NamedTuple):
    """A text to be asked about.

    string (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token that is not blank, in characters.
    """

    string: str
    borders: Sequence[tuple[int, int]]


def answer_texts(
    lm: LanguageModel,
    scheme: Scheme,
    labels: Mapping[str, str],
    texts: Sequence[Text],
    *,
    decoding: Decoding,
    counters: Counters,
    scripts: Sequence[Callable[[Branch], str] | None] | None = None,
) -> list[list[Answered]]:
    """Ask a scheme's questions about some texts, all in one forest.

    lm (LanguageModel): Who answers.
    scheme (Scheme): What is asked.
    labels (Mapping[str, str]): Name to words in the prompt.
    texts (Sequence[Text]): The texts.
    decoding (Decoding): How answers are decoded.
    counters (Counters): Added to.
    scripts (Sequence | None): For each text the answers to give in place of the model's (see `backends.replay`).
    RETURNS (list[list[Answered]]): For each text its answered branches, in the order asked.
    """
    requests = [
        Request(
            text=text.string,
            trunk=scheme.trunk(text.string),
            branches=scheme.ask(labels, text.string),
            follow=scheme.follow,
            borders=text.borders,
            script=scripts[place] if scripts else None,
        )
        for place, text in enumerate(texts)
    ]
    return decode(lm, requests, decoding, counters)
