"""What kinds of completions servers take beyond the common form, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spacy_padellm.errors import Errors


@dataclass(frozen=True)
class Dialect:
    """What one kind of server takes.

    name (str): What a config calls it.
    owner (str): What the server calls itself in `owned_by` of its models.
    always (Mapping[str, Any]): What every request has besides the common form. Servers take what a request does not say
        from the model's own `generation_config.json`, and a penalty there changes greedy answers, too.
    stop_pieces (bool): `stop_token_ids` holds numbers of pieces that end an answer.
    stop_strings (bool): `stop` holds strings that end an answer.
    guide (Callable[[str], Mapping[str, Any]] | None): What holds an answer to a GBNF grammar; None if nothing does.
    keeps_prefixes (bool): What prompts have in common is computed once if one of them was computed before.
    at_once (int | None): Questions about one text that are best asked at a time; None for all of them. llama.cpp keeps
        a prefix in the slot that computed it, which answers one question at a time.
    """

    name: str
    owner: str = ""
    always: Mapping[str, Any] = field(default_factory=dict)
    stop_pieces: bool = False
    stop_strings: bool = False
    guide: Callable[[str], Mapping[str, Any]] | None = None
    keeps_prefixes: bool = False
    at_once: int | None = None


DIALECTS: Mapping[str, Dialect] = {
    one.name: one
    for one in (
        Dialect(
            "vllm",
            owner="vllm",
            always={"return_token_ids": True, "repetition_penalty": 1.0},
            stop_pieces=True,
            guide=lambda grammar: {"structured_outputs": {"grammar": grammar}},
            keeps_prefixes=True,
        ),
        Dialect(
            "sglang",
            owner="sglang",
            always={"return_token_ids": True, "repetition_penalty": 1.0},
            stop_pieces=True,
            guide=lambda grammar: {"ebnf": grammar},
            keeps_prefixes=True,
        ),
        Dialect(
            "llama.cpp",
            owner="llamacpp",
            always={"cache_prompt": True, "samplers": ["temperature"]},
            stop_strings=True,
            guide=lambda grammar: {"grammar": grammar},
            keeps_prefixes=True,
            at_once=1,
        ),
        Dialect("plain"),
    )
}
"""By name. "plain" is any other server: nothing is asked of it that is not in the common form."""


def dialect_of(owner: str) -> Dialect:
    """The dialect of a server by what it calls itself."""
    return next((one for one in DIALECTS.values() if one.owner and one.owner == owner), DIALECTS["plain"])


class Unit(NamedTuple):
    """A piece of an answer.

    piece (int | None): Its number; None if the server does not say.
    text (str): What it spells.
    log_probability (float | None): Among all pieces of the vocabulary; None if the server does not say.
    """

    piece: int | None
    text: str
    log_probability: float | None


class Completion(NamedTuple):
    """What a server answered.

    text (str): The answer.
    units (tuple[Unit, ...] | None): Its pieces; None if the server tells none.
    is_full (bool): It has as many pieces as it might have.
    model (str): Which model answered.
    n_prompt (int | None): Pieces of the prompt, as the server counts them.
    n_cached (int): Those of them that it had computed before.
    n_pieces (int): Pieces of the answer.
    n_untold (int): Those of them that are not among `units`: llama.cpp tells a character of several pieces as its last
        one.
    """

    text: str
    units: tuple[Unit, ...] | None
    is_full: bool
    model: str
    n_prompt: int | None
    n_cached: int
    n_pieces: int
    n_untold: int = 0


def read_completion(told: Any) -> Completion:
    """What stands in the JSON of a completion, whichever kind of server wrote it.

    RAISES (ValueError): P074 if it is no completion.
    """
    try:
        (choice, *_), usage = told["choices"], told.get("usage") or {}
        units = _units(choice)
        n_pieces = usage.get("completion_tokens") or len(units or ())
        found = Completion(
            text=choice["text"],
            units=units,
            is_full=choice.get("finish_reason") == "length",
            model=told.get("model") or "",
            n_prompt=usage.get("prompt_tokens"),
            n_cached=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            n_pieces=n_pieces,
            n_untold=_untold(choice, n_pieces),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(Errors.P074.format(got=f"{str(told)[:200]!r}")) from error
    if not isinstance(found.text, str):
        raise ValueError(Errors.P074.format(got=f"{str(told)[:200]!r}"))
    return found


def _untold(choice: Mapping[str, Any], n_pieces: int) -> int:
    """How many pieces of an answer in llama.cpp's form are not told.

    Of a character of several pieces the last one is told, with all that they spell. An answer of ASCII may have more
    pieces than are told, too: those that ended it.
    """
    content = (choice.get("logprobs") or {}).get("content")
    if not isinstance(content, list):
        return 0
    told = b"".join(bytes(one.get("bytes") or one["token"].encode()) for one in content)
    n_missing = n_pieces - len(content)
    if told != choice["text"].encode():
        return max(1, n_missing)
    return 0 if told.isascii() else max(0, n_missing)


def _units(choice: Mapping[str, Any]) -> tuple[Unit, ...] | None:
    told = choice.get("logprobs") or {}
    numbers: list[int] = choice.get("token_ids") or []
    if isinstance(told.get("content"), list):
        return tuple(Unit(one.get("id"), one["token"], one.get("logprob")) for one in told["content"])
    texts, scores = told.get("tokens") or [], told.get("token_logprobs") or []
    n_units = len(numbers) or len(texts)
    if not n_units:
        # An answer without a piece has none to tell.
        return () if "logprobs" in choice and choice["logprobs"] is not None else None
    return tuple(
        Unit(
            numbers[place] if numbers else None,
            texts[place] if place < len(texts) else "",
            scores[place] if place < len(scores) else None,
        )
        for place in range(n_units)
    )
