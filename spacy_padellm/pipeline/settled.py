"""Entries through a pipeline: each ends as a document or as a failure with its reason, and none is lost between."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.data.entries import Broken, Entry
from spacy_padellm.errors import Errors

ZONE = 10_000
"""Documents after which the words that they brought into the vocabulary are forgotten. The pipeline runs empty then."""

_CODE = re.compile(r"\[([A-Z]\d+)\]")
_SHOWN = 60
_REASON = 500


class Failure(NamedTuple):
    """Why an entry has no document.

    code (str): Code of the error; for one without a code, the name of its type.
    reason (str): What it says, 500 characters of it.
    text (str): How the text begins, empty where it could not be read.
    """

    code: str
    reason: str
    text: str


Settled = tuple[Entry | Broken, Doc | Failure]


def failure_of(error: Exception, entry: Entry | Broken) -> Failure:
    """What is told of an error."""
    said = str(error)
    match = _CODE.match(said)
    code = match.group(1) if match else type(error).__name__
    return Failure(code, said[:_REASON], text_of(entry)[:_SHOWN])


def text_of(entry: Entry | Broken) -> str:
    """An entry's text, empty for one that could not be read."""
    if isinstance(entry, Broken):
        return ""
    return entry.text if isinstance(entry.text, str) else entry.text.text


def settle(
    nlp: Language, entries: Iterable[Entry | Broken], *, batch_size: int | None = None, bounded: bool = True
) -> Iterator[Settled]:
    """Annotate entries.

    nlp (Language): The pipeline. Its error handlers are replaced.
    entries (Iterable[Entry | Broken]): Read as the pipeline asks for them.
    batch_size (int | None): Of `nlp.pipe`.
    bounded (bool): Forget the words of documents that are done, so that memory does not grow with the stream. A
        document must then not be used after the next one was asked for, and no entry may be a document itself.
    YIELDS (Settled): Every entry in order, with its document or the reason why there is none: it was broken, a pipe
        failed (whatever the pipe's error handler was told), it was left out (P188) or its text was changed (P153).
    RAISES (ValueError): P187 if a pipe gives back other documents than it got.
    """
    source = iter(entries)
    for first in source:
        with nlp.memory_zone() if bounded else nullcontext():
            yield from _Line(nlp).run(chain([first], islice(source, ZONE - 1)), batch_size)


class _Line:
    """The entries that went into a pipeline and did not come out yet."""

    def __init__(self, nlp: Language) -> None:
        self.nlp = nlp
        self.waiting: deque[tuple[int, Entry | Broken]] = deque()
        self.failed: dict[int, Exception] = {}
        nlp.set_error_handler(self._note)  # type: ignore[arg-type]  # spaCy thinks that every handler raises

    def run(self, entries: Iterable[Entry | Broken], batch_size: int | None) -> Iterator[Settled]:
        for doc, number in self.nlp.pipe(self._docs(entries), as_tuples=True, batch_size=batch_size):
            if number is None:
                raise ValueError(Errors.P187.format(text=doc.text[:_SHOWN]))
            yield from self._fail_before(number)
            _, entry = self.waiting.popleft()
            error = self.failed.pop(number, None)
            yield entry, failure_of(error, entry) if error else self._checked(entry, doc)
        yield from self._fail_before(None)

    def _docs(self, entries: Iterable[Entry | Broken]) -> Iterator[tuple[Doc, int]]:
        for number, entry in enumerate(entries):
            self.waiting.append((number, entry))
            if isinstance(entry, Broken):
                self.failed[number] = entry.error
                continue
            try:
                doc = self.nlp.make_doc(entry.text) if isinstance(entry.text, str) else entry.text
            except Exception as error:  # a tokenizer has no error handler
                self.failed[number] = error
            else:
                yield doc, number

    def _note(self, name: str, pipe: Callable[..., Any], docs: list[Doc], error: Exception) -> Doc:
        for doc in docs:
            self.failed[doc._context] = error.with_traceback(None)
        # spaCy's rulers hand on what their error handler gives back, as the document.
        return docs[0]

    def _fail_before(self, number: int | None) -> Iterator[Settled]:
        while self.waiting and self.waiting[0][0] != number:
            place, entry = self.waiting.popleft()
            error = self.failed.pop(place, None) or ValueError(Errors.P188.format())
            yield entry, failure_of(error, entry)

    def _checked(self, entry: Entry | Broken, doc: Doc) -> Doc | Failure:
        text = text_of(entry)
        if doc.text == text:
            return doc
        values = {"gold": text[:_SHOWN], "predicted": doc.text[:_SHOWN]}
        return failure_of(ValueError(Errors.P153.format(**values)), entry)
