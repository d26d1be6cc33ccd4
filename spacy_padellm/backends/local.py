"""Answers from a model in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from spacy_padellm.engine.decoder import Counters, Decoding, decode, decode_stream
from spacy_padellm.engine.growth import Request
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.stream import Asked, Pause
from spacy_padellm.types import Answered, Branch, Scheme, Words


class Text(NamedTuple):
    """A text to be asked about.

    string (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token that is not blank, in characters.
    labels (Mapping[str, Words] | None): Name to words in the prompt of what this text is asked about; None for what
        all texts are asked about.
    """

    string: str
    borders: Sequence[tuple[int, int]]
    labels: Mapping[str, Words] | None = None


def answer_texts(
    lm: LanguageModel,
    scheme: Scheme,
    labels: Mapping[str, Words],
    texts: Sequence[Text],
    *,
    decoding: Decoding,
    counters: Counters,
    scripts: Sequence[Callable[[Branch], str] | None] | None = None,
) -> list[list[Answered]]:
    """Ask a scheme's questions about some texts, all in one forest.

    lm (LanguageModel): Who answers.
    scheme (Scheme): What is asked.
    labels (Mapping[str, Words]): Name to words in the prompt.
    texts (Sequence[Text]): The texts.
    decoding (Decoding): How answers are decoded.
    counters (Counters): Added to.
    scripts (Sequence | None): For each text the answers to give in place of the model's (see `backends.replay`).
    RETURNS (list[list[Answered]]): For each text its answered branches, in the order asked.
    """
    requests = [_request(scheme, labels, text, scripts[place] if scripts else None) for place, text in enumerate(texts)]
    return decode(lm, requests, decoding, counters)


def stream_texts(
    lm: LanguageModel,
    scheme: Scheme,
    labels: Mapping[str, Words],
    texts: Iterable[Text | Exception | Pause | None],
    *,
    decoding: Decoding,
    counters: Counters,
    in_flight: int,
) -> Iterator[tuple[int, list[Answered] | Exception]]:
    """Ask a scheme's questions about texts that come one by one.

    texts (Iterable[Text | Exception | Pause | None]): The texts; None where nothing is to be asked, an exception of a
        text that cannot be asked about, which is given back as it is, a pause where none has come yet.
    in_flight (int): The most texts at once; the rest as in `answer_texts`.
    YIELDS (tuple[int, list[Answered] | Exception]): As soon as a text is done its number, and its answered branches in
        the order asked or the exception that it alone raised.
    """

    def requests() -> Iterator[Asked]:
        for text in texts:
            try:
                asked: Asked = _request(scheme, labels, text, None) if isinstance(text, Text) else text
            except Exception as error:
                asked = error
            yield asked

    yield from decode_stream(lm, requests(), decoding, counters, in_flight=in_flight)


def _request(
    scheme: Scheme, labels: Mapping[str, Words], text: Text, script: Callable[[Branch], str] | None
) -> Request:
    return Request(
        text=text.string,
        trunk=scheme.trunk(text.string),
        branches=scheme.ask(labels if text.labels is None else text.labels, text.string),
        follow=scheme.follow,
        borders=text.borders,
        script=script,
    )
