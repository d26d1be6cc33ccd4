"""Conversations about a text's mentions, as Pile-NER has them (Zhou et al., 2024): {"conversations": [{"from": "human",
"value": "Text: ..."}, {"from": "gpt", ...}, {"from": "human", "value": "What describes person in the text?"},
{"from": "gpt", "value": "[\\"Ann\\"]"}, ...]}, one a line or all in one list.

**Labels** are the words of the question. Conversations about one text that stand one after the other are one record.

**Places.** An answer lists strings, not places, so every occurrence of a string is a mention: those that begin and end
between words, or all of them where there are none such. A string that the text does not have is counted (`unplaced`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from spacy_padellm.data.converters.json_values import read_values
from spacy_padellm.data.converters.lines import broken
from spacy_padellm.data.records import Gold, OnError, Record, stop, whole_characters

EXPECTED = (
    '{"conversations": [{"from": "human", "value": "Text: ..."}, {"from": "gpt", ...}, {"from": "human", "value": '
    '"What describes LABEL in the text?"}, {"from": "gpt", "value": "[\\\\"mention\\\\", ...]"}, ...]}'
)
QUESTION = re.compile(r"What describes (.*\S.*) in the text\?", re.DOTALL)


def read_conversations(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one conversation at a time.

    path (Path): The file.
    on_error (OnError): What becomes of a broken conversation.
    YIELDS (Record): In the order of the file, one for each run of conversations about the same text.
    RAISES (ValueError): P113 for a broken conversation, P101 or P106 for a broken file, unless `on_error` lets it pass.
    """
    waiting: Record | None = None
    for number, value in read_values(path, on_error, EXPECTED):
        try:
            record = record_of(value)
        except ValueError as error:
            on_error(broken(path, number, error, EXPECTED))
            continue
        if waiting is not None and waiting.text == record.text:
            unplaced = waiting.unplaced + record.unplaced
            waiting = replace(waiting, spans=waiting.spans + record.spans, unplaced=unplaced)
            continue
        if waiting is not None:
            yield waiting
        waiting = record
    if waiting is not None:
        yield waiting


def record_of(value: object) -> Record:
    """One conversation's record.

    RAISES (ValueError): Saying what is wrong with it, without a code: the caller knows file and line.
    """
    first, *rest = _turns(value)
    if not first[0].startswith("Text: "):
        raise ValueError("it does not begin with 'Text: '")
    text = first[0].removeprefix("Text: ")
    spans: dict[Gold, None] = {}
    unplaced = 0
    for question, answer in rest:
        asked = QUESTION.fullmatch(question)
        if asked is None:
            raise ValueError(f"{question!r} is no question about a label")
        for string in dict.fromkeys(_strings(answer)):
            places = occurrences(string, text)
            unplaced += not places
            spans.update(dict.fromkeys(Gold(start, end, asked[1].strip()) for start, end in places))
    return Record(text, tuple(spans), unplaced=unplaced)


def occurrences(string: str, text: str) -> list[tuple[int, int]]:
    """Where a string stands in a text: between words, or anywhere if it nowhere does. A blank string stands nowhere."""
    if not string.strip():
        return []
    return _find(string, text, between_words=True) or _find(string, text, between_words=False)


def _find(string: str, text: str, *, between_words: bool) -> list[tuple[int, int]]:
    """The occurrences from the left, none over another. Compiling a pattern for each string takes ten times as long."""
    found: list[tuple[int, int]] = []
    start = text.find(string)
    while start >= 0:
        end = start + len(string)
        fits = not between_words or not (_in_word(text[start - 1 : start]) or _in_word(text[end : end + 1]))
        if fits:
            found.append((start, end))
        start = text.find(string, end if fits else start + 1)
    return found


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _turns(value: object) -> list[tuple[str, str]]:
    """What was asked and what was answered, in order."""
    match value:
        case {"conversations": [_, _, *_] as turns} if len(turns) % 2 == 0:
            pass
        case _:
            raise ValueError("it has no list 'conversations' of questions and answers")
    said: list[str] = []
    for number, turn in enumerate(turns):
        match turn:
            case {"from": str() as who, "value": str() as words} if who == ("human", "gpt")[number % 2]:
                said.append(whole_characters(words))
            case _:
                raise ValueError(f"turn {number + 1} is {turn!r}")
    return list(zip(said[::2], said[1::2], strict=True))


def _strings(answer: str) -> list[str]:
    try:
        strings = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer {answer!r} is not JSON: {error}") from error
    if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
        raise ValueError(f"the answer {answer!r} is no list of strings")
    return [whole_characters(string) for string in strings]
