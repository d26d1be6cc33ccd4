"""A stream of documents as a stream of parts, and what was found in the parts as annotations of documents."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from spacy.tokens import Doc

from spacy_padellm.backends.local import Text
from spacy_padellm.engine.stream import Pause
from spacy_padellm.errors import Warnings
from spacy_padellm.pipeline.annotate import Annotation, judged
from spacy_padellm.pipeline.asking import Asking
from spacy_padellm.pipeline.confidence import Bar
from spacy_padellm.pipeline.examples import sentence_starts
from spacy_padellm.pipeline.joined import join
from spacy_padellm.pipeline.windows import Part, Windowing
from spacy_padellm.types import Answered, Words

Outcome = Annotation | Exception


class Unwanted(Exception):
    """Nobody waits for this document any more."""


@dataclass
class Tally:
    """The documents that were read in windows, counted until it is reported.

    seen (int): Documents.
    documents (int): Those read in windows.
    windows (int): Their windows.
    limit (int | None): The most pieces of a window.
    """

    seen: int = 0
    documents: int = 0
    windows: int = 0
    limit: int | None = None

    def report(self, spans_key: str) -> str | None:
        """The warning that says how many there were since the last report, None for none; counting starts anew."""
        told = Warnings.W010.format(**asdict(self), spans_key=spans_key)
        found = self.documents
        self.seen = self.documents = self.windows = 0
        return told if found else None


@dataclass
class _Course:
    """A document that is on its way.

    n_asked (int): Parts that were handed out.
    is_whole (bool): There are no others.
    failed (bool): One of them failed.
    thresholds (Mapping[str, float]): Of its labels that have their own.
    windows (list[tuple[int, int]]): Their places, if there are several.
    found (dict[int, Annotation]): What was found in them, by their number.
    """

    n_asked: int = 0
    is_whole: bool = False
    failed: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    windows: list[tuple[int, int]] = field(default_factory=list)
    found: dict[int, Annotation] = field(default_factory=dict)

    @property
    def n_out(self) -> int:
        """Parts that are on their way. Of a document that has failed none is waited for."""
        return 0 if self.failed else self.n_asked - len(self.found)

    def annotation(self) -> Annotation:
        parts = [self.found[number] for number in range(self.n_asked)]
        return join(self.windows, parts) if self.windows else parts[0]


@dataclass(eq=False)
class _Opened:
    """A document that is being cut.

    number (int): Its place in the stream.
    doc (Doc): The document.
    course (_Course): What is on its way of it.
    parts (Iterator[Part]): Its parts, each cut when it is asked for.
    """

    number: int
    doc: Doc
    course: _Course
    parts: Iterator[Part]


class Parts:
    """Hands out the parts of documents and puts together what comes back. A part is cut when it is asked for, so no
    more of a long document is on its way than the stream has room for.

    asking (Asking): What each document is asked about.
    windowing_for (Callable): How documents are cut that are asked about some labels.
    read (Callable): Turns the answers about a text into its annotation.
    bar (Bar): What mentions must reach.
    tally (Tally): Counts the documents that are read in windows.
    is_wanted (Callable[[Doc], bool] | None): Whether there is still somebody who waits for a document; of one for which
        nobody does no further part is cut. None if all are wanted.
    """

    def __init__(
        self,
        asking: Asking,
        windowing_for: Callable[[Mapping[str, Words]], Windowing],
        read: Callable[[Text, Sequence[Answered]], Annotation],
        *,
        bar: Bar,
        tally: Tally,
        is_wanted: Callable[[Doc], bool] | None = None,
    ) -> None:
        self._is_wanted = is_wanted
        self._asking = asking
        self._windowing_for = windowing_for
        self._read = read
        self._bar = bar
        self._tally = tally
        self._courses: dict[int, _Course] = {}
        self._asked: dict[int, tuple[int, int, Text | None]] = {}
        self._n_asked = 0

    def texts(
        self, docs: Iterable[Doc | Pause], *, share: int | None = None, room: int = 1
    ) -> Iterator[Text | Exception | Pause | None]:
        """The texts to ask about, part by part; None where nothing is to be asked, an exception where it cannot be
        asked.

        docs (Iterable[Doc | Pause]): The documents; a pause is passed on if there is nothing else.
        share (int | None): The most parts of one document that are on their way at once. Documents take turns then, so
            that a short one that comes behind a long one is asked about next. None for one document after the other.
        room (int): The most documents that take turns. While there are as many, no other is read.
        """
        source, numbers, ended = iter(docs), itertools.count(), False
        opened: deque[_Opened] = deque()
        while opened or not ended:
            paused = False
            if not ended and len(opened) < (1 if share is None else room):
                doc = next(source, None)
                if doc is None:
                    ended = True
                elif isinstance(doc, Pause):
                    paused = True
                else:
                    opened.append(self._open(next(numbers), doc))
            document = next((one for one in opened if share is None or one.course.n_out < share), None)
            if document is not None:
                opened.remove(document)
                yield from self._next_part(document)
                if not document.course.is_whole:
                    opened.append(document)
            elif opened or paused:
                yield Pause.NOTHING_YET

    def take(self, number: int, outcome: Sequence[Answered] | Exception) -> Iterator[tuple[int, Outcome]]:
        """Take what came of a part.

        number (int): Which part it is, in the order in which they were handed out.
        outcome (Sequence[Answered] | Exception): Its answers, or what it raised.
        YIELDS (tuple[int, Annotation | Exception]): The document's number and its annotation if it was the last part
            missing, or what it raised if it is the first part to fail; else nothing.
        """
        document, place, text = self._asked.pop(number)
        course = self._courses.get(document)
        if course is None:
            return
        found = self._found(text, outcome)
        if isinstance(found, Exception):
            course.failed = True
            del self._courses[document]
            yield document, found
            return
        course.found[place] = found
        if course.is_whole and len(course.found) == course.n_asked:
            del self._courses[document]
            # A text that is too long only by blanks at its edges has one window: nothing of it is read apart.
            if len(course.windows) > 1:
                self._tally.documents += 1
                self._tally.windows += len(course.windows)
            yield document, self._judged(course)

    def _judged(self, course: _Course) -> Outcome:
        try:
            return judged(course.annotation(), self._bar.for_labels(course.thresholds))
        except Exception as error:
            return error

    def _open(self, number: int, doc: Doc) -> _Opened:
        course = self._courses[number] = _Course()
        self._tally.seen += 1
        return _Opened(number, doc, course, self._parts(doc, course))

    def _next_part(self, document: _Opened) -> Iterator[Text | Exception | None]:
        """One text, or the reason why there is none; nothing if the document has failed meanwhile."""
        course = document.course
        if course.failed:  # what is left of it is of no use
            course.is_whole = True
            return
        try:
            if self._is_wanted is not None and not self._is_wanted(document.doc):
                raise Unwanted
            part = next(document.parts)
        except Exception as error:
            self._note(document.number, course, Part(None))
            yield error
        else:
            self._note(document.number, course, part)
            yield part.text

    def _parts(self, doc: Doc, course: _Course) -> Iterator[Part]:
        asked = self._asking.asked(doc)
        if asked is None:
            yield Part(None)
            return
        course.thresholds = asked.labels.thresholds
        windowing = self._windowing_for(asked.labels.words)
        self._tally.limit = windowing.limit
        yield from windowing.parts(asked.text, sentence_starts(doc))

    def _note(self, number: int, course: _Course, part: Part) -> None:
        self._asked[self._n_asked] = (number, course.n_asked, part.text)
        self._n_asked += 1
        course.n_asked += 1
        course.is_whole = part.is_last
        if part.place is not None:
            course.windows.append(part.place)

    def _found(self, text: Text | None, outcome: Sequence[Answered] | Exception) -> Outcome:
        if isinstance(outcome, Exception):
            return outcome
        try:
            return Annotation() if text is None else self._read(text, outcome)
        except Exception as error:
            return error
