"""The strings of a text as a grammar: what a server's guided decoding holds a mention to."""

from __future__ import annotations

from collections.abc import Sequence

_NUL = "\0"


def strings_grammar(text: str, borders: Sequence[tuple[int, int]], *, blank: bool) -> str:
    """A GBNF grammar of all strings from a token's start to a token's end.

    It has one rule a token, "this token and perhaps what follows", so it grows with the text and not with its strings.
    Strings with NUL are not among them: it ends a string in llama.cpp, and a rule that asks for it is a dead end there.

    text (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token in characters; one at least of those
        that can be spelled.
    blank (bool): Whether a blank stands in front of the string, as in models whose words begin with one.
    RETURNS (str): The grammar.
    """
    borders = spelled(text, borders)
    starts = " | ".join(f"t{number}" for number in range(len(borders)))
    rules = [f'root ::= " " ({starts})' if blank else f"root ::= {starts}"]
    for number, (start, end) in enumerate(borders):
        rule = f"t{number} ::= {quoted(text[start:end])}"
        if number + 1 < len(borders):
            gap = text[end : borders[number + 1][0]]
            if _NUL not in gap:
                rule += f" ({quoted(gap)} t{number + 1})?" if gap else f" t{number + 1}?"
        rules.append(rule)
    return "\n".join(rules) + "\n"


def spelled(text: str, borders: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The borders of those tokens that a grammar can spell."""
    return [(start, end) for start, end in borders if _NUL not in text[start:end]]


def quoted(string: str) -> str:
    """A string as a literal of GBNF."""
    return '"' + "".join(_written(char) for char in string) + '"'


def _written(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    code = ord(char)
    # Not "\\x", of which xgrammar (vLLM, SGLang) takes all hexadecimal digits that follow.
    if code < 0x20 or code == 0x7F:
        return f"\\u{code:04X}"
    return "\ufffd" if "\ud800" <= char <= "\udfff" else char
