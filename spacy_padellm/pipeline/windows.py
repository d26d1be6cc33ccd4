"""How much of a text is read at once, and texts that are longer in windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from spacy_padellm.backends.local import Text
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.options import Options
from spacy_padellm.spans.windows import Measured, cut
from spacy_padellm.types import Mention, Scheme, Words

_ANSWER_SHARE = 4
"""Of a small model's positions an answer gets one in so many, even if it may have more pieces."""

_MARKED = 2
"""How many times the text an answer may come to that repeats it with marks and escapes."""

_PROBE = "\ufdd0"
"""A text that no prompt holds: it shows where the text stands in a trunk."""


class Part(NamedTuple):
    """What is read at once of a document.

    text (Text | None): What is asked about; None for a document without words.
    place (tuple[int, int] | None): Where it stands in the document, in characters; None if it is all of it.
    is_last (bool): No other part of the document follows.
    """

    text: Text | None
    place: tuple[int, int] | None = None
    is_last: bool = True


@dataclass(frozen=True)
class Windowing:
    """How long texts are cut.

    pieces (Pieces): The tokenizer.
    limit (int | None): The most pieces of a text that are read at once; None not to look.
    overlap (int): The most pieces that a window shares with the one before it.
    strict (bool): Refuse longer texts.
    """

    pieces: Pieces
    limit: int | None
    overlap: int
    strict: bool

    @classmethod
    def of(
        cls, lm: LanguageModel | ServedModel, scheme: Scheme, words: Mapping[str, Words], options: Options
    ) -> Windowing:
        """What a model, a scheme's questions about some labels and the settings leave for a text."""
        if options.strict:
            return cls(lm.pieces, options.window, 0, strict=True)
        room = text_room(lm, scheme, words, max_answer=options.max_answer)
        # A model that has no room beside its questions says so itself, text by text (P023).
        limit = None if room < 1 else min(room, options.window or room)
        return cls(lm.pieces, limit, int((limit or 0) * options.window_overlap), strict=False)

    def parts(self, text: Text, sentences: Sequence[int]) -> Iterator[Part]:
        """A text as a whole if it fits, else its windows, each cut when it is asked for.

        text (Text): The text; it has one token at least.
        sentences (Sequence[int]): The characters at which sentences begin.
        YIELDS (Part): In text order.
        RAISES (ValueError): P181 if the text is too long and the windowing strict; P180 if a token is longer than a
            window.
        """
        limit = self.limit
        # A piece has a character at least, but for one in front of all, and only other letters change before they are
        # cut.
        if limit is None or (len(text.string) < limit and text.string.isascii()):
            yield Part(text)
            return
        (spelling,) = self.pieces.spell([text.string])
        if len(spelling.pieces) <= limit:
            yield Part(text)
            return
        if self.strict:
            got = len(spelling.pieces)
            raise ValueError(Errors.P181.format(got=got, limit=limit, text=text.string[:60]))
        measured = self._measured(text, sentences, spelling.ends)
        for window in cut(measured, limit=limit, overlap=self.overlap):
            start, end = text.borders[window.start][0], text.borders[window.stop - 1][1]
            borders = [(one - start, other - start) for one, other in text.borders[window.start : window.stop]]
            part = text._replace(string=text.string[start:end], borders=borders)
            yield Part(part, (start, end), is_last=window.stop == len(text.borders))

    def _measured(self, text: Text, sentences: Sequence[int], piece_ends: Sequence[int]) -> Measured:
        # A piece that ends inside a character has no end of its own: it counts with what comes in front of it.
        ends = np.maximum.accumulate(np.array(piece_ends))
        borders = np.array(text.borders)
        behind = np.minimum(np.searchsorted(ends, borders[:, 1], side="left") + 1, len(ends))
        firsts = np.flatnonzero(np.isin(borders[:, 0], np.array(sentences, dtype=np.int64)))
        return Measured(
            text.string,
            text.borders,
            firsts.tolist(),
            np.searchsorted(ends, borders[:, 0], side="right").tolist(),
            behind.tolist(),
            lambda string: len(self.pieces.encode([string])[0]),
        )


def text_room(lm: LanguageModel | ServedModel, scheme: Scheme, words: Mapping[str, Words], *, max_answer: int) -> int:
    """The pieces that a text may have if the longest question about it and what is answered behind it are to fit.

    An answer is given `max_answer` pieces, or a quarter of the model's positions if that is less. One with a form may
    repeat the text with marks, for which twice the text's pieces are left.

    RETURNS (int): Pieces, none or fewer if there is no room at all.
    """
    return room_for(lm.pieces, lm.max_positions, scheme, words, max_answer=max_answer)


def room_for(pieces: Pieces, max_positions: int, scheme: Scheme, words: Mapping[str, Words], *, max_answer: int) -> int:
    """The same of a model of which only the tokenizer and the positions are there."""
    trunk = scheme.trunk(_PROBE)
    free = max_positions - len(pieces.start) - len(pieces.closing)
    free -= sum(len(pieces.question(segment)) for segment in trunk if segment != _PROBE)
    copies, answer = trunk.count(_PROBE), min(max_answer, max_positions // _ANSWER_SHARE)
    room, branches = free, scheme.ask(words)
    questions = pieces.encode([branch.question for branch in branches])
    for branch, asked in zip(branches, map(len, questions), strict=True):
        if branch.form is not None:
            room = min(room, (free - asked) // (copies + _MARKED))
            continue
        # A count, and the question that it opens: of several digits, where the closer has the first one.
        opened = branch.limit + len(pieces.question(branch.closer)) + len(str(branch.limit)) if branch.closer else 0
        room = min(room, (free - asked - opened - answer) // copies)
    return room


class GoldParts(NamedTuple):
    """A training text as prediction would read it.

    parts (list[tuple[Text, list[Mention]]]): Each part with the gold mentions that lie in it as a whole.
    lost (list[Mention]): Those that lie in none.
    """

    parts: list[tuple[Text, list[Mention]]]
    lost: list[Mention]


def gold_parts(windowing: Windowing, text: Text, sentences: Sequence[int], gold: Sequence[Mention]) -> GoldParts:
    """Cut a training text, with its gold mentions, in text order, as `Windowing.parts` does."""
    parts: list[tuple[Text, list[Mention]]] = []
    held: set[int] = set()
    first = 0
    for part in windowing.parts(text, sentences):
        if part.text is None or part.place is None:
            return GoldParts([(text, list(gold))], [])
        start, end = part.place
        inside: list[Mention] = []
        while first < len(gold) and _start(gold[first]) < start:
            first += 1
        for number in range(first, len(gold)):
            at = _start(gold[number])
            if at >= end:
                break
            if at + len(gold[number].string) <= end:
                held.add(number)
                inside.append(replace(gold[number], start=at - start))
        parts.append((part.text, inside))
    return GoldParts(parts, [mention for number, mention in enumerate(gold) if number not in held])


def _start(mention: Mention) -> int:
    assert mention.start is not None, "gold mentions come from spans"
    return mention.start
