"""Which place each mention takes: predicted strings to spans, and spans to the part that does not overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spacy_padellm.errors import Errors
from spacy_padellm.spans.occurrences import Borders, occurrences
from spacy_padellm.types import Mention, Placed

Policy = Literal["ordered", "first", "all", "strict"]
"""How equal strings of one label are given their places. Figures are span micro-F (longest first where spans
overlap), measured on 3,453 predictions of a 7B model on CoNLL03 test.

strict (92.54): the k-th equal string takes the k-th occurrence, as mentions are predicted in text order.
ordered (92.71): as strict; then occurrences left over of a string that was predicted under one label only are
    filled in: a model that counts too low has still said what the string is.
first (92.06): every mention takes the first occurrence; equal strings become one span.
all (92.71): every occurrence of each predicted string, also of one predicted under several labels.
"""

POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True)
class Placement:
    """Where the mentions of one text stand, and which found no place. Each mention given to `place` takes exactly one
    place in `spans`, or is in `unplaced`, or is in `surplus`, so that nothing is lost without being counted.

    spans (tuple[Placed, ...]): In text order, the longer first at the same start; nested and overlapping ones too.
        No two have the same start, end and label.
    unplaced (tuple[Mention, ...]): Mentions whose string stands nowhere in the text on token borders, or not where
        they say.
    surplus (tuple[Mention, ...]): Repeats of a string beyond the occurrences it may take: all that the text
        has, or the first one only under the policy `first`.
    filled (int): Number of spans that are left-over occurrences filled in, not places of a mention's own.
    """

    spans: tuple[Placed, ...]
    unplaced: tuple[Mention, ...]
    surplus: tuple[Mention, ...]
    filled: int


def place(mentions: Sequence[Mention], text: str, borders: Borders, policy: Policy = "ordered") -> Placement:
    """Give the mentions of one text their places.

    A mention that says where it begins takes that place or none. The others take the occurrences that are left. Equal
    strings are counted per label, so two labels with the same string both begin at its first occurrence. A left-over
    occurrence that is filled in carries the best-scored mention of its label and string.

    mentions (Sequence[Mention]): In the order label asked, then ordinal, as a scheme reads them.
    text (str): The text that the mentions were predicted for.
    borders (Borders): The token borders of `text`.
    policy (Policy): How equal strings are given their places.
    RETURNS (Placement): The spans, and the mentions that have none.
    RAISES (ValueError): P130 if there is no such policy.
    """
    if policy not in POLICIES:
        raise ValueError(Errors.P130.format(policy=policy, policies=", ".join(POLICIES)))
    spans, unplaced, surplus = _place_located(mentions, text, borders)
    taken = {(span.mention.label, span.start, span.end) for span in spans}
    groups = _group(mention for mention in mentions if mention.start is None)
    labels_per_string = Counter(string for _, string in _group(mentions))
    filled = 0
    for (label, string), repeats in groups.items():
        everywhere = occurrences(text, borders, string)
        if not everywhere:
            unplaced.extend(repeats)
            continue
        places = [(start, end) for start, end in everywhere if (label, start, end) not in taken]
        if policy == "first":
            places = places[:1]
        spans.extend(Placed(mention, *place) for mention, place in zip(repeats, places, strict=False))
        surplus.extend(repeats[len(places) :])
        if policy == "all" or (policy == "ordered" and labels_per_string[string] == 1):
            left_over = places[len(repeats) :]
            best = max(repeats, key=lambda mention: mention.score)
            spans.extend(Placed(best, *place) for place in left_over)
            filled += len(left_over)
    spans.sort(key=lambda span: (span.start, -span.end))
    return Placement(spans=tuple(spans), unplaced=tuple(unplaced), surplus=tuple(surplus), filled=filled)


def _place_located(
    mentions: Iterable[Mention], text: str, borders: Borders
) -> tuple[list[Placed], list[Mention], list[Mention]]:
    """The mentions that say where they begin: placed, not on borders or not their string, and said twice."""
    spans: dict[tuple[int, int, str], Placed] = {}
    unplaced: list[Mention] = []
    surplus: list[Mention] = []
    for mention in mentions:
        start = mention.start
        if start is None:
            continue
        end = start + len(mention.string)
        found = start in borders.starts and end in borders.ends and text[start:end] == mention.string
        if not found or not mention.string or mention.string != mention.string.strip():
            unplaced.append(mention)
        elif (start, end, mention.label) in spans:
            surplus.append(mention)
        else:
            spans[start, end, mention.label] = Placed(mention, start, end)
    return list(spans.values()), unplaced, surplus


def flat(spans: Iterable[Placed]) -> tuple[Placed, ...]:
    """Choose the spans that do not overlap, as `doc.ents` needs them.

    The longest span wins, then the more probable one, then the earlier start, then the order given (from `place`: the
    order in which the labels were asked). How probable a span is, is the product of its mention's score and the score
    of the count under which it was asked for: where two labels claim one string, both copy it with ease, and only the
    counts tell which label the model believes in. Longest first was 0.17 F better than probability first, measured on
    3,453 predictions of a 7B model on CoNLL03 test.

    spans (Iterable[Placed]): Spans over one text.
    RETURNS (tuple[Placed, ...]): The chosen spans, in text order.
    """
    ranked = sorted(spans, key=lambda span: (span.start - span.end, -span.mention.joint_score, span.start))
    taken: set[int] = set()
    chosen = []
    for span in ranked:
        characters = range(span.start, span.end)
        if taken.isdisjoint(characters):
            taken.update(characters)
            chosen.append(span)
    return tuple(sorted(chosen, key=lambda span: span.start))


def one_label_per_string(mentions: Sequence[Mention]) -> tuple[tuple[Mention, ...], tuple[Mention, ...]]:
    """Keep one label for each string, as the PaDeLLM paper does: that of the string's best-scored mention, the
    label asked first among equals. All repeats under that label stay. Wrong where a string may truly carry two
    labels in one text.

    mentions (Sequence[Mention]): The mentions of one text.
    RETURNS (tuple[tuple[Mention, ...], tuple[Mention, ...]]): The mentions kept and the mentions dropped, both
        in the order given.
    """
    best: dict[str, Mention] = {}
    for mention in mentions:
        string = mention.string.strip()
        if string not in best or mention.score > best[string].score:
            best[string] = mention
    kept = tuple(mention for mention in mentions if mention.label == best[mention.string.strip()].label)
    dropped = tuple(mention for mention in mentions if mention.label != best[mention.string.strip()].label)
    return kept, dropped


def _group(mentions: Iterable[Mention]) -> dict[tuple[str, str], list[Mention]]:
    """Mentions by label and string, in the order given. Strings are trimmed as `occurrences` trims them: " Paris"
    and "Paris" are the same string."""
    groups: dict[tuple[str, str], list[Mention]] = {}
    for mention in mentions:
        groups.setdefault((mention.label, mention.string.strip()), []).append(mention)
    return groups
