"""A stream of documents as a stream of parts, and what was found in the parts as annotations of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from spacy.tokens import Doc

from spacy_padellm.backends.local import Text
from spacy_padellm.errors import Warnings
from spacy_padellm.pipeline.annotate import Annotation
from spacy_padellm.pipeline.examples import is_blank, sentence_starts, text_of
from spacy_padellm.pipeline.joined import join
from spacy_padellm.pipeline.windows import Part, Windowing
from spacy_padellm.types import Answered

Outcome = Annotation | Exception


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
    windows (list[tuple[int, int]]): Their places, if there are several.
    found (dict[int, Annotation]): What was found in them, by their number.
    """

    n_asked: int = 0
    is_whole: bool = False
    failed: bool = False
    windows: list[tuple[int, int]] = field(default_factory=list)
    found: dict[int, Annotation] = field(default_factory=dict)

    def annotation(self) -> Annotation:
        parts = [self.found[number] for number in range(self.n_asked)]
        return join(self.windows, parts) if self.windows else parts[0]


class Parts:
    """Hands out the parts of documents and puts together what comes back. A part is cut when it is asked for, so no
    more of a long document is on its way than the stream has room for.

    windowing (Windowing): How documents are cut.
    read (Callable): Turns the answers about a text into its annotation.
    tally (Tally): Counts the documents that are read in windows.
    """

    def __init__(
        self, windowing: Windowing, read: Callable[[Text, Sequence[Answered]], Annotation], tally: Tally
    ) -> None:
        self._windowing = windowing
        self._read = read
        self._tally = tally
        self._tally.limit = windowing.limit
        self._courses: dict[int, _Course] = {}
        self._asked: dict[int, tuple[int, int, Text | Exception | None]] = {}
        self._n_asked = 0

    def texts(self, docs: Iterable[Doc]) -> Iterator[Text | None]:
        """The texts to ask about, one part after the other; None where nothing is to be asked."""
        for number, doc in enumerate(docs):
            course = self._courses[number] = _Course()
            self._tally.seen += 1
            try:
                for part in self._parts(doc):
                    self._note(number, course, part)
                    yield part.text
                    if course.failed:
                        break  # what is left of it is of no use
            except Exception as error:
                self._note(number, course, Part(None), error)
                yield None

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
            self._tally.documents += bool(course.windows)
            self._tally.windows += len(course.windows)
            yield document, course.annotation()

    def _parts(self, doc: Doc) -> Iterator[Part]:
        if is_blank(doc):
            yield Part(None)
        else:
            yield from self._windowing.parts(text_of(doc), sentence_starts(doc))

    def _note(self, number: int, course: _Course, part: Part, error: Exception | None = None) -> None:
        self._asked[self._n_asked] = (number, course.n_asked, error or part.text)
        self._n_asked += 1
        course.n_asked += 1
        course.is_whole = part.is_last
        if part.place is not None:
            course.windows.append(part.place)

    def _found(self, text: Text | Exception | None, outcome: Sequence[Answered] | Exception) -> Outcome:
        if isinstance(outcome, Exception):
            return outcome
        if isinstance(text, Exception):
            return text
        try:
            return Annotation() if text is None else self._read(text, outcome)
        except Exception as error:
            return error
