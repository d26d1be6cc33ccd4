"""AutoRegStruct: one question about all labels, answered by pairs of a label and a mention."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.schemes.marks import distinct, escape, room, unescape
from spacy_padellm.types import Answered, Branch, Mention, Move, Reading, Segment, State, Words

NONE = "NULL"
"""Stands for the mentions of a label that has none."""

_MARKS = "()"
_INSIDE = r"((?:[^()\\]|\\.)*)"
_PAIR = re.compile(rf"\({_INSIDE}\)\s*:\s*\({_INSIDE}\)", re.DOTALL)
_ITEM = re.compile(rf"\s*{_PAIR.pattern}\s*(,|\)|$)", re.DOTALL)


def read_pairs(answer: str) -> tuple[list[tuple[str, str]], bool]:
    """The pairs of an answer as they are written, without white space at their edges.

    answer (str): What should be "((words): (mention), ...)" and nothing else.
    RETURNS (tuple[list[tuple[str, str]], bool]): The pairs up to the first thing that does not belong there, and
        whether there was no such thing.
    """
    pairs: list[tuple[str, str]] = []
    opened = re.match(r"\s*\(", answer)
    place = opened.end() if opened else len(answer)
    while item := _ITEM.match(answer, place):
        pairs.append((item[1].strip(), item[2].strip()))
        place = item.end()
        if item[3] != ",":
            return pairs, item[3] == ")" and not answer[place:].strip()
    return pairs, False


@dataclass(frozen=True)
class PairsForm:
    """Pairs, label by label: `((PER): (Cuttitta), (MISC): (1995 World Cup), (ORG): (NULL))`.

    words (tuple[str, ...]): The words of the labels in the order asked, escaped.
    """

    words: tuple[str, ...]

    def escape(self, string: str) -> str:
        return escape(string, _MARKS)

    def reserved(self) -> Mapping[str, str]:
        return {NONE: rf"\{NONE}"}

    def cut(self, answer: str) -> list[Segment]:
        segments: list[Segment] = []
        place = 0
        for pair in _PAIR.finditer(answer):
            segments += [Segment(answer[place : pair.start(2)]), Segment(pair[2], copied=pair[2] != NONE)]
            place = pair.end(2)
        segments.append(Segment(answer[place:]))
        return [segment for segment in segments if segment.text]

    def start(self) -> State:
        return ()

    def moves(self, state: State, gaps: Sequence[str]) -> list[Move]:
        # () nothing yet; (label, 0) its first mention, or none, comes; (label, 1) another mention of it comes;
        # (label, 2) a mention is done; (label, 3) there is none; (-1,) the end.
        if not state:
            return [Move((0, 0), f"(({self.words[0]}): (")]
        label = state[0]
        if label < 0:
            return []
        if state[1] == 0:
            return [Move((label, 2)), Move((label, 3), NONE)]
        if state[1] == 1:
            return [Move((label, 2))]
        more = [Move((label, 1), f"), ({self.words[label]}): (")] if state[1] == 2 else []
        if label + 1 == len(self.words):
            return [*more, Move((-1,), "))")]
        return [*more, Move((label + 1, 0), f"), ({self.words[label + 1]}): (")]


@dataclass(frozen=True)
class AutoRegStruct:
    """The scheme AutoRegStruct of the PaDeLLM-NER paper (Lu et al., NeurIPS 2024): one answer for all labels, a pair
    for each mention, label by label in the order asked, and NULL for a label without mentions.

    Parentheses and backslashes of a mention stand behind a backslash; a mention "NULL" is written "\\NULL". A mention's
    score is the probability of the whole answer. White space at a mention's edges is not kept.

    prompt (Prompt): The words of the question.
    """

    prompt: Prompt

    def trunk(self, text: str) -> tuple[str, ...]:
        return self.prompt.trunk(text)

    def words(self, label: str) -> str:
        return self.prompt.words(label)

    def ask(self, labels: Mapping[str, Words], text: str = "") -> list[Branch]:
        if not labels:
            return []
        pairs = distinct(labels)
        form = PairsForm(tuple(escape(words, _MARKS) for _, words in pairs))
        question = self.prompt.ask_pairs(labels.values())
        return [Branch(question, limit=room(text, *(words for _, words in pairs)), form=form, labels=pairs)]

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        return []

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        form = branch.form
        assert isinstance(form, PairsForm)
        pairs = []
        for (label, _), words in zip(branch.labels, form.words, strict=True):
            strings = [form.escape(mention.string) for mention in gold if mention.label == label]
            written = [form.reserved().get(string, string) for string in strings]
            pairs += [f"({words}): ({string})" for string in written or [NONE]]
        return f"({', '.join(pairs)})"

    def read(self, answered: Sequence[Answered]) -> Reading:
        mentions: list[Mention] = []
        unreadable: list[tuple[str, str]] = []
        for branch, answer in answered:
            found: dict[str, list[Mention]] = {label: [] for label, _ in branch.labels}
            names = {words.strip(): label for label, words in branch.labels}
            pairs, sound = read_pairs(answer.text)
            for words, string in pairs:
                label = names.get(unescape(words))
                if label is None:
                    unreadable.append(("", f"({words}): ({string})"))
                elif string != NONE:
                    ordinal = len(found[label]) + 1
                    found[label].append(Mention(label, unescape(string), ordinal, answer.probability))
            mentions += [mention for label in found for mention in found[label]]
            unreadable += [] if sound else [("", answer.text)]
        return Reading(tuple(mentions), unreadable=tuple(unreadable))

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        return []


def build_structured_v1(*, prompt: Prompt) -> AutoRegStruct:
    """The AutoRegStruct scheme as a config block.

    prompt (Prompt): A registered prompt, e.g. "spacy-padellm.EnglishPrompt.v1".
    RETURNS (AutoRegStruct): The scheme.
    """
    return AutoRegStruct(prompt)
