"""Training texts with other mentions in them, so that a small model learns to copy and not to recite."""

import random
from collections.abc import Callable, Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.errors import Errors

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_REMEMBERED = 5000
"""Words and mentions a swapper draws from, at most of each kind."""


class MentionSwapper:
    """An augmenter that puts other words in the place of mentions; labels and the words around them stay.

    A swapped mention becomes, with equal chances: a mention of the same label that was seen before, some words that
    were seen before, or as many made-up words.

    level (float): Share of the documents in which mentions are swapped.
    share (float): Share of the mentions swapped in such a document.
    max_words (int): The most words of a mention made of single words.
    spans_key (str): The span group with the gold mentions; without it, the entities are taken.
    seed (int): Seed of all draws.
    """

    def __init__(self, *, level: float, share: float, max_words: int, spans_key: str, seed: int) -> None:
        self._level = level
        self._share = share
        self._max_words = max_words
        self._spans_key = spans_key
        self._draw = random.Random(seed)
        self._words: list[str] = []
        self._mentions: dict[str, list[list[str]]] = {}

    def __call__(self, nlp: Language, example: Example) -> Iterator[Example]:
        doc = example.reference
        spans = _flat_spans(doc, self._spans_key)
        if spans is None:
            yield example
            return
        self._remember(doc, spans)
        if self._draw.random() >= self._level:
            yield example
            return
        swapped = self._swap(doc, spans)
        yield Example(nlp.make_doc(swapped.text), swapped)

    def _remember(self, doc: Doc, spans: Sequence[Span]) -> None:
        for word in (token.text for token in doc if token.is_alpha):
            self._keep(self._words, word)
        for span in spans:
            self._keep(self._mentions.setdefault(span.label_, []), [token.text for token in span])

    def _keep(self, store: list, item: object) -> None:  # type: ignore[type-arg]
        if len(store) < _REMEMBERED:
            store.append(item)
        else:
            store[self._draw.randrange(_REMEMBERED)] = item

    def _swap(self, doc: Doc, spans: Sequence[Span]) -> Doc:
        words: list[str] = []
        blanks: list[bool] = []
        places: list[tuple[int, int, str]] = []
        done = 0
        for span in spans:
            _copy(doc, done, span.start, words, blanks)
            start = len(words)
            if self._draw.random() < self._share:
                new = self._other(span)
                words += new
                blanks += [True] * (len(new) - 1) + [bool(span[-1].whitespace_)]
            else:
                _copy(doc, span.start, span.end, words, blanks)
            places.append((start, len(words), span.label_))
            done = span.end
        _copy(doc, done, len(doc), words, blanks)
        swapped = Doc(doc.vocab, words=words, spaces=blanks)
        made = [Span(swapped, start, end, label=label) for start, end, label in places]
        swapped.set_ents(made)
        if self._spans_key in doc.spans:
            swapped.spans[self._spans_key] = made
        return swapped

    def _other(self, span: Span) -> list[str]:
        kind = self._draw.randrange(3)
        if kind == 0:
            return list(self._draw.choice(self._mentions[span.label_]))
        count = self._draw.randint(1, self._max_words)
        if kind == 1 and self._words:
            return [self._draw.choice(self._words) for _ in range(count)]
        return [self._made_up() for _ in range(count)]

    def _made_up(self) -> str:
        word = "".join(self._draw.choices(_LETTERS, k=self._draw.randint(2, 8)))
        return word.title() if self._draw.random() < 0.7 else word


def _flat_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """The gold mentions in text order, None where they overlap or are not annotated: those texts stay as they are."""
    if spans_key in doc.spans:
        spans = sorted(doc.spans[spans_key], key=lambda span: span.start)
    elif doc.has_annotation("ENT_IOB"):
        spans = list(doc.ents)
    else:
        return None
    overlap = any(first.end > second.start for first, second in zip(spans, spans[1:], strict=False))
    return None if overlap else spans


def _copy(doc: Doc, start: int, end: int, words: list[str], blanks: list[bool]) -> None:
    words += [token.text for token in doc[start:end]]
    blanks += [bool(token.whitespace_) for token in doc[start:end]]


def build_mention_swap_v1(
    *, level: float = 0.5, share: float = 1.0, max_words: int = 5, spans_key: str = "sc", seed: int = 0
) -> Callable[[Language, Example], Iterator[Example]]:
    """An augmenter for `[corpora.train.augmenter]` that swaps mentions; see `MentionSwapper`.

    RAISES (ValueError): P001 for a share or level outside [0, 1] or max_words below 1.
    """
    for name, value in (("level", level), ("share", share)):
        if not 0 <= value <= 1:
            raise ValueError(Errors.P001.format(name=name, expected="between 0 and 1", got=value))
    if max_words < 1:
        raise ValueError(Errors.P001.format(name="max_words", expected="at least 1", got=max_words))
    return MentionSwapper(level=level, share=share, max_words=max_words, spans_key=spans_key, seed=seed)
