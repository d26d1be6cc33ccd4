"""The grammar of a text's strings has these strings and no others."""

from __future__ import annotations

import re

import pytest

from spacy_padellm.backends.grammar import quoted, spelled, strings_grammar

TEXT = 'Ada  met "Hugo"\nin Paris.'
BORDERS = [match.span() for match in re.finditer(r"\w+|[^\w\s]", TEXT)]


def language(grammar: str) -> set[str]:
    """All strings of a grammar of the one form that is written: every rule is a token and perhaps what follows."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    literal = r'"((?:[^"\\]|\\.)*)"'

    def derived(name: str) -> set[str]:
        found = re.fullmatch(rf"{literal}(?: \({literal} (t\d+)\)\?| (t\d+)\?)?", rules[name])
        assert found, rules[name]
        here, gap, behind, beside = found.groups()
        following = behind or beside
        further = {_read(gap or "") + rest for rest in derived(following)} if following else set()
        return {_read(here), *(_read(here) + rest for rest in further)}

    root = rules["root"]
    blank = " " if root.startswith('" " (') else ""
    return {blank + string for name in re.findall(r"t\d+", root) for string in derived(name)}


def _read(literal: str) -> str:
    literal = re.sub(r"\\u(....)", lambda found: chr(int(found[1], 16)), literal)
    return re.sub(r"\\(.)", r"\1", literal)


@pytest.mark.parametrize("blank", [True, False])
def test_it_has_all_strings_from_token_to_token(blank: bool):
    expected = {TEXT[start:end] for start, _ in BORDERS for _, end in BORDERS if end > start}
    found = language(strings_grammar(TEXT, BORDERS, blank=blank))
    assert found == {f" {string}" if blank else string for string in expected}


def test_strings_with_nul_are_not_among_them():
    text, borders = "Ada\0 met Hugo\0 in Paris", [(0, 4), (5, 8), (9, 13), (15, 17), (18, 23)]
    found = language(strings_grammar(text, borders, blank=False))
    assert found == {"met", "met Hugo", "Hugo", "in", "in Paris", "Paris"}
    assert spelled(text, borders) == borders[1:]


def test_it_grows_with_the_text():
    def size(n_tokens: int) -> int:
        text = "ab " * n_tokens
        return len(strings_grammar(text, [(3 * place, 3 * place + 2) for place in range(n_tokens)], blank=True))

    assert size(400) < 2.2 * size(200)


@pytest.mark.parametrize(
    ("string", "literal"),
    [
        ('"a"', r'"\"a\""'),
        ("a\\b", r'"a\\b"'),
        ("\n\t", r'"\u000A\u0009"'),
        ("\x07a", r'"\u0007a"'),
        ("é北", '"é北"'),
        ("\ud800", '"\ufffd"'),
    ],
)
def test_quoted(string: str, literal: str):
    assert quoted(string) == literal
