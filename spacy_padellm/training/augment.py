"""Training texts with other mentions in them, so that a small model learns to find and copy and not to recite."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.settings import check_number, check_whole

_MOST_MENTIONS = 5000
"""Mentions remembered of a label, at most."""

_MOST_WORDS = 6
"""Words of a mention made of single words, at most."""


class Word(NamedTuple):
    """A token, and whether a blank follows it."""

    text: str
    blank: bool


@dataclass
class _Seen:
    """The mentions of one label so far, and how many of them were new when they came."""

    mentions: list[list[Word]] = field(default_factory=list)
    distinct: set[tuple[str, ...]] = field(default_factory=set)
    count: int = 0

    @property
    def openness(self) -> float:
        """Near 1 for labels that can be anything (titles), near 0 for a few fixed phrases."""
        return len(self.distinct) / self.count


class MentionSwapper:
    """An augmenter that puts other words in the place of mentions; labels, and most words around them, stay.

    Some mentions are swapped for another of the same label. The more open a label is, and the earlier in training, the
    more often its mentions are also made anew: from the head of one mention and the tail of another, or from single
    words, some of them made up.
    Texts with overlapping mentions, or without annotation, stay as they are. A changed text keeps its mentions and
    loses all other annotation (tags, categories), which was made for other words: do not use it where another pipe
    learns from the same corpus.

    share (float): Share of the mentions that are swapped at first.
    final_share (float): The same after `settle_after` examples; in between it falls steadily.
    settle_after (int): See above. From then on no mention is made anew.
    noise (float): Share of the words outside mentions that are replaced, and of all words whose case is changed.
    spans_key (str): The span group with the gold mentions; without it, the entities are taken.
    seed (int): Seed of all draws.
    """

    def __init__(
        self, *, share: float, final_share: float, settle_after: int, noise: float, spans_key: str, seed: int
    ) -> None:
        self._share = share
        self._final_share = final_share
        self._settle_after = settle_after
        self._noise = noise
        self._spans_key = spans_key
        self._draw = random.Random(seed)
        self._words: list[str] = []
        self._known: set[str] = set()
        self._seen: dict[str, _Seen] = {}
        self._counted: set[tuple[str, tuple[tuple[int, int, str], ...]]] = set()
        self._examples = 0

    def __call__(self, nlp: Language, example: Example) -> Iterator[Example]:
        spans = _flat_spans(example.reference, self._spans_key)
        if spans is None:
            yield example
            return
        self._remember(example.reference, spans)
        swapped = self._swap(example.reference, spans)
        self._examples += 1
        if swapped.text == example.reference.text:
            yield example
        else:
            yield Example(nlp.make_doc(swapped.text), swapped)

    @property
    def _settled(self) -> float:
        return min(1.0, self._examples / self._settle_after)

    def _chance(self) -> float:
        return self._share + (self._final_share - self._share) * self._settled

    def _remember(self, doc: Doc, spans: Sequence[Span]) -> None:
        # Every text counts once, however often training comes back to it: else every label looked closed in the end.
        annotated = (doc.text, tuple((span.start, span.end, span.label_) for span in spans))
        if annotated in self._counted:
            return
        self._counted.add(annotated)
        new = dict.fromkeys(token.text for token in doc if token.is_alpha and token.text not in self._known)
        self._words += new
        self._known.update(new)
        for span in spans:
            seen = self._seen.setdefault(span.label_, _Seen())
            words = [Word(token.text, bool(token.whitespace_)) for token in span]
            seen.count += 1
            seen.distinct.add(tuple(word.text for word in words))
            if len(seen.mentions) < _MOST_MENTIONS:
                seen.mentions.append(words)
            else:
                seen.mentions[self._draw.randrange(_MOST_MENTIONS)] = words

    def _swap(self, doc: Doc, spans: Sequence[Span]) -> Doc:
        words: list[str] = []
        blanks: list[bool] = []
        places: list[tuple[int, int, str]] = []
        done = 0
        for span in spans:
            self._copy_around(doc[done : span.start], words, blanks)
            start = len(words)
            if self._draw.random() < self._chance():
                new = self._other(self._seen[span.label_])
                words += [word.text for word in new]
                blanks += [*(word.blank for word in new[:-1]), bool(span[-1].whitespace_)]
            else:
                words += [token.text for token in span]
                blanks += [bool(token.whitespace_) for token in span]
            if self._draw.random() < self._noise:
                words[start:] = [word.lower() for word in words[start:]]
            places.append((start, len(words), span.label_))
            done = span.end
        self._copy_around(doc[done:], words, blanks)
        swapped = Doc(doc.vocab, words=words, spaces=blanks)
        made = [Span(swapped, start, end, label=label) for start, end, label in places]
        swapped.set_ents(made)
        if self._spans_key in doc.spans:
            swapped.spans[self._spans_key] = made
        return swapped

    def _copy_around(self, part: Span, words: list[str], blanks: list[bool]) -> None:
        for token in part:
            word, chance = token.text, self._draw.random()
            if token.is_alpha and chance < self._noise:
                word = self._draw.choice(self._words) if self._draw.random() < 0.5 else self._made_up()
            elif token.is_alpha and chance < 2 * self._noise:
                word = word.lower() if self._draw.random() < 0.5 else word.capitalize()
            words.append(word)
            blanks.append(bool(token.whitespace_))

    def _other(self, seen: _Seen) -> list[Word]:
        mention, kind = self._draw.choice(seen.mentions), self._draw.random()
        # New words teach that anything goes. That is only right where nearly every mention is new, hence the power of
        # the openness; and what is learnt last should be what real mentions look like, hence the power of the time.
        if self._draw.random() >= seen.openness**2 * (1 - self._settled) ** 3 or kind < 0.35:
            return list(mention)
        if kind < 0.65:
            count = min(1 + int(self._draw.expovariate(0.5)), _MOST_WORDS)
            return [self._single_word(seen) for _ in range(count)]
        other = self._draw.choice(seen.mentions)
        head = mention[: max(1, self._draw.randint(0, len(mention)))]
        spaced = any(word.blank for word in (*mention[:-1], *other[:-1]))
        head[-1] = head[-1]._replace(blank=spaced)
        return head + other[self._draw.randrange(len(other)) :]

    def _single_word(self, seen: _Seen) -> Word:
        if self._draw.random() < 0.4:
            return Word(self._draw.choice(self._draw.choice(seen.mentions)).text, True)
        return Word(self._made_up(), True)

    def _made_up(self) -> str:
        """A pronounceable word, a jumble of letters or a number, mostly capitalised."""
        draw = self._draw
        if draw.random() < 0.5:
            syllables = (draw.choice("bcdfghjklmnpqrstvwxyz") + draw.choice("aeiou") for _ in range(draw.randint(1, 3)))
            word = "".join(syllables) + (draw.choice("lmnrst") if draw.random() < 0.3 else "")
        else:
            word = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(1, 8)))
        case = draw.random()
        if case < 0.05:
            return str(draw.randint(0, 2100))
        return word.capitalize() if case < 0.5 else word.upper() if case < 0.55 else word


def _flat_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """The gold mentions in text order, None where they overlap or are not annotated."""
    if spans_key in doc.spans:
        spans = sorted(doc.spans[spans_key], key=lambda span: span.start)
    elif doc.has_annotation("ENT_IOB"):
        spans = list(doc.ents)
    else:
        return None
    overlap = any(first.end > second.start for first, second in itertools.pairwise(spans))
    return None if overlap else spans


def build_mention_swap_v1(
    *,
    share: float = 0.7,
    final_share: float = 0.2,
    settle_after: int = 30_000,
    noise: float = 0.03,
    spans_key: str = "sc",
    seed: int = 0,
) -> Callable[[Language, Example], Iterator[Example]]:
    """An augmenter for `[corpora.train.augmenter]` that swaps mentions; `MentionSwapper` says how.

    RETURNS (Callable[[Language, Example], Iterator[Example]]): The augmenter.
    RAISES (ValueError): P001 for a share outside [0, 1], or settle_after below 1.
    """
    for name, value in (("share", share), ("final_share", final_share), ("noise", noise)):
        check_number(name, value, most=1.0)
    check_whole("settle_after", settle_after)
    return MentionSwapper(
        share=share,
        final_share=final_share,
        settle_after=settle_after,
        noise=noise,
        spans_key=spans_key,
        seed=seed,
    )
