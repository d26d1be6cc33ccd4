"""What the schemes that write their answers with marks share: escapes, room, and labels told apart by their words."""

import re
from collections.abc import Mapping

from spacy_padellm.errors import Errors
from spacy_padellm.types import Words, plain_words

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def escape(string: str, marks: str) -> str:
    """The string with a backslash before each mark and each backslash."""
    return re.sub(rf"[\\{re.escape(marks)}]", r"\\\g<0>", string)


def unescape(written: str) -> str:
    """The string without the backslashes that `escape`, or a model, put in; one at the very end stays."""
    return _ESCAPED.sub(r"\1", written)


def distinct(labels: Mapping[str, Words]) -> tuple[tuple[str, str], ...]:
    """Name and plain words of each label, where an answer names labels by their words.

    RAISES (ValueError): P017 if two labels have the same words, white space at the edges aside.
    """
    names: dict[str, str] = {}
    pairs = tuple((name, plain_words(words)) for name, words in labels.items())
    for name, words in pairs:
        first = names.setdefault(words.strip(), name)
        if first != name:
            raise ValueError(Errors.P017.format(first=first, second=name, words=words))
    return pairs


def room(*strings: str) -> int:
    """The most pieces of an answer that repeats these strings, marks included: two for each byte, so that it only stops
    a model that would go on for ever."""
    return 64 + 2 * sum(len(string.encode("utf8", "surrogatepass")) for string in strings)
