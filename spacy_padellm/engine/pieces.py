"""Segments to pieces and back. Every segment is tokenised alone and as plain text, by this one class, everywhere."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from spacy_padellm.engine.turns import Turns
from spacy_padellm.errors import Errors
from spacy_padellm.types import Branch, Segment

_CACHED_SEGMENTS = 4096

_CACHED_WORD = 32
"""Characters of a word that is kept, at most."""

_FEW = 4
"""Pieces of a string that is kept, at most."""

_BLANK, _SPACE = "Ġ▁ ", "Ġ▁ Ċĉč\n\t\r"
"""How vocabularies write a blank, and white space: byte-level ones, SentencePiece's, and plainly."""

HAN = r"\p{Han}"
"""What the package's own tokenizer sets apart first: every Chinese character."""


class Spelling(NamedTuple):
    """A string as pieces.

    pieces (tuple[int, ...]): Vocabulary ids.
    ends (tuple[int, ...]): For each piece the character behind it, or -1 where the piece ends inside a character.
    """

    pieces: tuple[int, ...]
    ends: tuple[int, ...]


def without_surrogates(text: str) -> str:
    """The text with each lone surrogate, which no tokenizer can read, replaced by U+FFFD. Offsets stay as they are."""
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


class Pieces:
    """A tokenizer seen as a function from segments to pieces.

    Special tokens of the model that stand in a segment are read as plain text, and none are added but those that a
    chat template has.

    tokenizer (PreTrainedTokenizerFast): The model's tokenizer.
    leading_blank (bool): Read every segment as if a blank stood in front of it, so that a word is cut the same way at
        the start of an answer and inside a text. Segments that begin with a newline are left as they are.
    name (str): What to call it in messages.
    sets_han_apart (bool): No piece holds a Chinese character and anything beside it, so that a text is cut in front of
        and behind each of them, whatever stands around.
    cuts_at_blanks (bool): No piece holds a blank behind anything but white space, so that what stands in front of a
        blank and what stands from it on are cut each for itself.
    turns (Turns | None): What a chat template puts around questions and answers; None to ask in plain text.
    end (int): The piece that ends an answer: the end-of-sequence piece, or what ends a turn.
    start (tuple[int, ...]): Pieces the model's sequences begin with: a beginning-of-sequence piece, or none; with turns
        all that stands in front of a text.
    closing (tuple[int, ...]): Pieces between a question about a text and its answer: where the model's turn begins.
    RAISES (ValueError): P020 if the tokenizer is not a fast one or has no end-of-sequence piece.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        leading_blank: bool = False,
        name: str = "tokenizer",
        turns: Turns | None = None,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False) or tokenizer.eos_token_id is None:
            raise ValueError(Errors.P020.format(name=name, kind=type(tokenizer).__name__, end=tokenizer.eos_token))
        self.tokenizer = tokenizer
        self.name = name
        self.leading_blank = leading_blank
        self.sets_han_apart = _sets_han_apart(tokenizer)
        self.cuts_at_blanks = _cuts_at_blanks(tokenizer)
        self.turns = turns
        self.end: int = tokenizer.eos_token_id
        self.closing: tuple[int, ...] = ()
        if turns is None:
            with_specials: list[int] = tokenizer("").input_ids
            self.start: tuple[int, ...] = tuple(piece for piece in with_specials if piece == tokenizer.bos_token_id)
        else:
            self.start, self.closing, ending = map(self._of_template, turns)
            if ending and ending[0] in tokenizer.added_tokens_decoder:
                self.end = ending[0]
        self._cache: dict[tuple[str, bool], tuple[int, ...]] = {}
        self._spelled: dict[str, Spelling] = {}
        self._decoded: dict[tuple[int, ...], str] = {}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, segments: Sequence[str]) -> list[tuple[int, ...]]:
        """Each segment's pieces, tokenised alone."""
        return [spelling.pieces for spelling in self._cut(segments, ends=False)]

    def question(self, segment: str) -> tuple[int, ...]:
        """The pieces of a segment that comes back often: prompts and counts."""
        return self._cached(segment, blank=True)

    def ask(self, branch: Branch) -> tuple[int, ...]:
        """The pieces of a question. Behind one about the text itself the model's turn begins; what an answer opens is
        asked within that turn."""
        question = self.question(branch.question)
        return question + self.closing if branch.parent is None else question

    def literal(self, segment: str) -> tuple[int, ...]:
        """The pieces of a segment that belongs to an answer's form: no blank stands in front of it."""
        return self._cached(segment, blank=False)

    def answer(self, segments: Iterable[Segment]) -> tuple[int, ...]:
        """The pieces of an answer that is cut into segments."""
        cuts = (self.question(text) if copied else self.literal(text) for text, copied in segments)
        return tuple(piece for cut in cuts for piece in cut)

    def _cached(self, segment: str, *, blank: bool) -> tuple[int, ...]:
        pieces = self._cache.get((segment, blank))
        if pieces is None:
            if len(self._cache) >= _CACHED_SEGMENTS:
                self._cache.clear()
            pieces = self._cut([segment], ends=False, blank=blank)[0].pieces
            self._cache[segment, blank] = pieces
        return pieces

    def spell(self, strings: Sequence[str]) -> list[Spelling]:
        """Each string's pieces, tokenised alone, with the characters they end at."""
        return self._cut(strings, ends=True)

    def spell_within(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Spelling]:
        """What `spell` gives for parts of a text, in time that grows with the text and not with the parts together.

        A part is its first word, spelled alone, and behind the first blank what the text itself is cut into; unless it
        begins or ends with white space or within a word, where it is spelled alone.

        spans (Sequence[tuple[int, int]]): Start and end (exclusive) of each part, in characters; none is empty.
        """
        if not self.cuts_at_blanks:
            return self.spell([text[start:stop] for start, stop in spans])
        (whole,) = self.spell([text])
        # A piece without a character of its own has the end of the one before it, and belongs to what follows.
        places: dict[int, int] = {}
        for place, behind in enumerate(whole.ends, 1):
            if behind > 0:
                places.setdefault(behind, place)
        cuts: list[tuple[str, int, int]] = []
        for start, stop in spans:
            blank = text.find(" ", start, stop)
            end = len(whole.pieces) if stop == len(text) else places.get(stop) if text[stop] == " " else None
            inked = not (text[start].isspace() or text[stop - 1].isspace())
            if inked and end is not None and blank in places:
                cuts.append((text[start:blank], places[blank], end))
            else:
                cuts.append((text[start:stop], 0, 0))
        spelled = self._spell_words([word for word, _, _ in cuts])
        return [
            Spelling(
                spelled[word].pieces + whole.pieces[begin:end],
                spelled[word].ends + tuple(at - start if at > 0 else at for at in whole.ends[begin:end]),
            )
            for (start, _), (word, begin, end) in zip(spans, cuts, strict=True)
        ]

    def _spell_words(self, words: Sequence[str]) -> dict[str, Spelling]:
        # Another thread may empty the cache at any time.
        known = {word: kept for word in words if (kept := self._spelled.get(word)) is not None}
        unknown = [word for word in dict.fromkeys(words) if word not in known]
        known |= zip(unknown, self.spell(unknown), strict=True)
        if len(self._spelled) + len(unknown) > _CACHED_SEGMENTS:
            self._spelled.clear()
        self._spelled |= {word: known[word] for word in unknown if len(word) <= _CACHED_WORD}
        return known

    def _of_template(self, part: str) -> tuple[int, ...]:
        """The pieces of what a template wrote: the one place where special tokens are not plain text."""
        return tuple(self.tokenizer(part, add_special_tokens=False, split_special_tokens=False).input_ids)

    def _cut(self, segments: Sequence[str], *, ends: bool, blank: bool = True) -> list[Spelling]:
        if not segments:
            return []
        shifts = [int(blank and self.leading_blank and not segment.startswith("\n")) for segment in segments]
        batch = self.tokenizer(
            [" " * shift + without_surrogates(segment) for shift, segment in zip(shifts, segments, strict=True)],
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_offsets_mapping=ends,
            verbose=False,
        )
        if not ends:
            return [Spelling(tuple(pieces), ()) for pieces in batch["input_ids"]]
        return [
            Spelling(tuple(pieces), tuple(_whole_ends(offsets, len(segment), shift)))
            for pieces, offsets, segment, shift in zip(
                batch["input_ids"], batch["offset_mapping"], segments, shifts, strict=True
            )
        ]

    def decode(self, pieces: Sequence[int]) -> str:
        """The string that the pieces of one segment spell."""
        if len(pieces) > _FEW:
            return self._decode(pieces)
        # Counts come again and again, and half of the time of so short a call is spent on the way to the tokenizer.
        key = tuple(pieces)
        text = self._decoded.get(key)
        if text is None:
            if len(self._decoded) >= _CACHED_SEGMENTS:
                self._decoded.clear()
            text = self._decoded[key] = self._decode(pieces)
        return text

    def _decode(self, pieces: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(pieces), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text[1:] if self.leading_blank and text.startswith(" ") else text


def _sets_han_apart(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the first thing a tokenizer does is to isolate Chinese characters, as the fresh decoder's does."""
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None or backend.pre_tokenizer is None:
        return False
    try:
        told = json.loads(backend.pre_tokenizer.__getstate__())
    except (TypeError, ValueError):  # one that is written in Python tells nothing of itself
        return False
    first = told.get("pretokenizers", [told])[0]
    return bool(first.get("pattern") == {"Regex": HAN} and first.get("behavior") == "Isolated")


def _cuts_at_blanks(tokenizer: PreTrainedTokenizerFast) -> bool:
    return not any(
        after in _BLANK and before not in _SPACE
        for piece in tokenizer.get_vocab()
        if not piece.isalnum()
        for before, after in itertools.pairwise(piece)
    )


def _whole_ends(offsets: Sequence[tuple[int, int]], length: int, shift: int) -> Iterable[int]:
    """Where each piece ends; -1 for a piece whose last character goes on in the next piece (byte pieces)."""
    for place, (_, end) in enumerate(offsets):
        following = offsets[place + 1][0] if place + 1 < len(offsets) else length + shift
        yield end - shift if following >= end else -1
