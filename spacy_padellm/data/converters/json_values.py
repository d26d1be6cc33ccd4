"""Files of many JSON values: one a line, or all of them in one list. Neither is ever held in memory as a whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from spacy_padellm.data.converters.lines import broken, read_lines
from spacy_padellm.data.readable import Readable
from spacy_padellm.data.records import OnError, whole_characters
from spacy_padellm.errors import Errors

CHUNK = 1 << 16
BLANK = " \t\r\n"
# A value that the buffer's end cuts off shows its fault here at the earliest: "-Infinity" is the longest word of JSON.
CUT_OFF = 10


def read_values(path: Readable, on_error: OnError, expected: str) -> Iterator[tuple[int, object]]:
    """Read one value at a time.

    A broken line is one broken record. In a list nothing behind broken JSON can be trusted, so the rest of the file
    counts as one.

    path (Readable): A file of objects, one a line, or of one list of objects.
    on_error (OnError): What becomes of broken JSON.
    expected (str): The form of a record, for the message.
    YIELDS (tuple[int, object]): The number of the line a value begins on, from 1, and the value.
    RAISES (ValueError): P113 for a broken line, P101 for a broken list, P106 for what is not UTF-8, unless `on_error`
        lets it pass.
    """
    with path.open("rb") as file:
        if _begins_list(file):
            yield from _list_items(path, file, on_error)
            return
    for number, line in read_lines(path, on_error):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            on_error(broken(path, number, f"not JSON: {error}", expected))
            continue
        yield number, value


def _begins_list(file: BinaryIO) -> bool:
    """Whether the first mark that is not blank opens a list. The file is left behind its byte order mark, if any."""
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    start = file.tell()
    while (mark := file.read(1)) and mark.isspace():
        pass
    file.seek(start)
    return mark == b"["


def _list_items(path: Readable, file: BinaryIO, on_error: OnError) -> Iterator[tuple[int, object]]:
    source = _Source(path, file)
    try:
        source.take("[")
        if source.ahead() == "]":
            source.take("]")
        else:
            while True:
                source.ahead()
                yield source.line, source.value()
                if source.ahead() != ",":
                    break
                source.take(",")
            source.take("]")
        if source.ahead():
            raise source.fault("more text behind the list")
    except _Fault as error:
        on_error(error)


class _Fault(ValueError):
    """An error of the file: told apart from one that whoever takes the values raises."""


class _Source:
    """A part of the file as text, and the line it begins on."""

    def __init__(self, path: Readable, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.line = 1
        self.text = ""
        self.ended = False
        self._json = json.JSONDecoder()

    def ahead(self) -> str:
        """The next character that is not blank; "" at the end of the file."""
        while True:
            blanks = len(self.text) - len(self.text.lstrip(BLANK))
            self._drop(blanks)
            if self.text or self.ended:
                return self.text[:1]
            self._more()

    def take(self, mark: str) -> None:
        """Pass over a mark.

        RAISES (_Fault): P101 if something else stands there.
        """
        if self.ahead() != mark:
            raise self.fault(f"expected {mark!r}")
        self._drop(1)

    def value(self) -> object:
        """Pass over a value.

        RAISES (_Fault): P101 if there is none.
        """
        while True:
            try:
                value, end = self._json.raw_decode(self.text)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - CUT_OFF
                if self.ended or not cut_off:
                    raise self.fault(error.msg, error.pos) from error
            except RecursionError as error:
                raise self.fault("brackets within brackets without end") from error
            else:
                # A number that the buffer's end cuts off, 1 or 1e of 1e5, goes on behind it.
                if self.ended or self.text[end : end + 1] not in ("", *"+-.eE0123456789"):
                    self._drop(end)
                    return value
            self._more()

    def fault(self, problem: str, at: int = 0) -> _Fault:
        before = self.text[:at]
        line = self.line + before.count("\n")
        column = at - (before.rfind("\n") + 1) + 1
        return _Fault(Errors.P101.format(path=self.path, line=line, column=column, problem=problem))

    def _drop(self, length: int) -> None:
        self.line += self.text.count("\n", 0, length)
        self.text = self.text[length:]

    def _more(self) -> None:
        # As much again as there is: a value of any length is tried only so often as its length has doubled.
        raw = self.file.read(max(CHUNK, len(self.text)))
        self.ended = not raw
        # On to an ASCII character, so that no other one is cut in two.
        while raw[-1:] >= b"\x80" and (more := self.file.read(1)):
            raw += more
        try:
            self.text += whole_characters(raw.decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n") + raw[: error.start].count(b"\n")
            raise _Fault(Errors.P106.format(path=self.path, line=line, problem=error)) from error
