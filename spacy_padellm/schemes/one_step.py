"""OneStep: per label one question, answered by a JSON list of the label's mentions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.schemes.marks import room
from spacy_padellm.types import Answered, Branch, Mention, Move, Reading, Segment, State, Words

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)

_ITEM = re.compile(rf"\s*({_STRING.pattern})\s*(,|\]|$)", re.DOTALL)


def read_list(answer: str) -> tuple[list[str], bool]:
    """The strings of a JSON list, without white space at their edges.

    answer (str): What should be a JSON list of strings and nothing else.
    RETURNS (tuple[list[str], bool]): The strings up to the first thing that does not belong there, and whether there
        was no such thing.
    """
    if re.fullmatch(r"\s*\[\s*\]\s*", answer):
        return [], True
    strings: list[str] = []
    opened = re.match(r"\s*\[", answer)
    place = opened.end() if opened else len(answer)
    while item := _ITEM.match(answer, place):
        try:
            strings.append(json.loads(item[1], strict=False).strip())
        except ValueError:  # a backslash before a character that JSON does not escape
            break
        place = item.end()
        if item[3] != ",":
            return strings, item[3] == "]" and not answer[place:].strip()
    return strings, False


@dataclass(frozen=True)
class ListForm:
    """A JSON list of strings: `["Japan", "Syria"]`, or `[]`."""

    def escape(self, string: str) -> str:
        return json.dumps(string, ensure_ascii=False)[1:-1]

    def reserved(self) -> Mapping[str, str]:
        return {}

    def cut(self, answer: str) -> list[Segment]:
        segments: list[Segment] = []
        place = 0
        for item in _STRING.finditer(answer):
            segments += [Segment(answer[place : item.start(1)]), Segment(item[1], copied=True)]
            place = item.end(1)
        segments.append(Segment(answer[place:]))
        return [segment for segment in segments if segment.text]

    def start(self) -> State:
        return (0,)

    def moves(self, state: State, gaps: Sequence[str]) -> list[Move]:
        # 0: nothing yet; 1: a mention comes; 2: a mention is done; 3: the end.
        return [
            [Move((3,), "[]"), Move((1,), '["')],
            [Move((2,))],
            [Move((1,), '", "'), Move((3,), '"]')],
            [],
        ][state[0]]


@dataclass(frozen=True)
class OneStep:
    """The scheme OneStep of the PaDeLLM-NER paper (Lu et al., NeurIPS 2024): as PaDeLLM, but the mentions of a label
    are one answer, a JSON list in text order.

    A mention's score is the probability of the whole list. White space at a mention's edges is not kept.

    prompt (Prompt): The words of the questions.
    """

    prompt: Prompt

    def trunk(self, text: str) -> tuple[str, ...]:
        return self.prompt.trunk(text)

    def words(self, label: str) -> str:
        return self.prompt.words(label)

    def ask(self, labels: Mapping[str, Words], text: str = "") -> list[Branch]:
        limit = room(text)
        return [
            Branch(self.prompt.ask_list(words), label, limit=limit, form=ListForm()) for label, words in labels.items()
        ]

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        return []

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        strings = [mention.string for mention in gold if mention.label == branch.label]
        return json.dumps(strings, ensure_ascii=False)

    def read(self, answered: Sequence[Answered]) -> Reading:
        mentions: list[Mention] = []
        counts: dict[str, int] = {}
        unreadable: list[tuple[str, str]] = []
        for branch, answer in answered:
            strings, sound = read_list(answer.text)
            mentions += [
                Mention(branch.label, string, ordinal, answer.probability) for ordinal, string in enumerate(strings, 1)
            ]
            if sound:
                counts[branch.label] = len(strings)
            else:
                unreadable.append((branch.label, answer.text))
        return Reading(tuple(mentions), counts, tuple(unreadable))

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        return []


def build_one_step_v1(*, prompt: Prompt) -> OneStep:
    """The OneStep scheme as a config block.

    prompt (Prompt): A registered prompt, e.g. "spacy-padellm.EnglishPrompt.v1".
    RETURNS (OneStep): The scheme.
    """
    return OneStep(prompt)
