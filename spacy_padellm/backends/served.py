"""A model that a completions server holds, and what the server was found to be able to do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spacy_padellm.backends.dialects import DIALECTS, Completion, Dialect, dialect_of
from spacy_padellm.backends.server import Access, NoAnswer, Refused, Server
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.errors import Errors, Warnings

_PROBE = ("a", "b", " a b")
"""What is asked to see how a server answers."""


@dataclass(frozen=True)
class Terms:
    """How a server is asked, as it was found when it was first asked.

    model (str): What the server calls the model in requests.
    answers_as (str): What it calls it in answers.
    dialect (Dialect): What it takes.
    in_pieces (bool): Prompts are numbers of pieces, not text.
    is_scored (bool): It tells log-probabilities.
    max_positions (int): The most pieces of prompt and answer.
    """

    model: str
    answers_as: str
    dialect: Dialect
    in_pieces: bool
    is_scored: bool
    max_positions: int


class ServedModel:
    """A causal LM on a server, with its tokenizer here.

    pieces (Pieces): The tokenizer.
    access (Access): How the server is reached.
    name (str): What to call the model in messages.
    served_name (str | None): What the server calls it; None for the only one it has.
    dialect (str): A name of `DIALECTS`, or "auto" for what the server says it is.
    max_positions (int): The model's positions, as far as they are known here.
    RAISES (ValueError): P070 without httpx or tenacity.
    """

    def __init__(
        self,
        pieces: Pieces,
        access: Access,
        *,
        name: str,
        served_name: str | None = None,
        dialect: str = "auto",
        max_positions: int,
    ) -> None:
        self.pieces = pieces
        self.access = access
        self.name = name
        self._served_name = served_name
        self._dialect = dialect
        self._max_positions = max_positions
        self._server = Server(access)
        self._terms: Terms | None = None

    @property
    def server(self) -> Server:
        """The server, for this process."""
        if not self._server.is_ours:
            self._server = Server(self.access)
        return self._server

    @property
    def terms(self) -> Terms:
        """How the server is asked, found out by asking it once.

        RAISES (ValueError): P072 if it cannot be reached, has no such model, or completes nothing; P075 if it has
            another tokenizer; P076 without the key; P079 if it refuses.
        """
        if self._terms is None:
            self._terms = self._find_terms()
            self._warn_of_what_it_lacks(self._terms)
        return self._terms

    @property
    def max_positions(self) -> int:
        """RAISES (ValueError): As `terms` does."""
        return self.terms.max_positions

    @property
    def known_positions(self) -> int:
        """The model's positions as far as they are known without the server."""
        return self._max_positions

    def prompt(self, terms: Terms, pieces: Sequence[int]) -> list[int] | str:
        """A prompt as the server takes it."""
        if terms.in_pieces:
            return list(pieces)
        tokenizer = self.pieces.tokenizer
        # A server puts the piece that sequences begin with in front of a text itself.
        begins = self.pieces.start[:1] == (tokenizer.bos_token_id,)
        text: str = tokenizer.decode(
            list(pieces[begins:]), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _find_terms(self) -> Terms:
        models = self.server.models()
        told = self._served_name or (models[0].get("id", "") if len(models) == 1 else None)
        known = [str(one.get("id")) for one in models]
        if told is None:
            reason = f"it has {len(models)} models ({', '.join(known[:5])}), and 'served_name' says none"
            raise ValueError(Errors.P072.format(url=self.access.base_url, reason=reason))
        found = next((one for one in models if one.get("id") == told), {})
        owner = str((found or (models[0] if models else {})).get("owned_by", ""))
        dialect = dialect_of(owner) if self._dialect == "auto" else DIALECTS[self._dialect]
        if dialect.owner and not found:
            reason = f"it has no model '{told}', but {', '.join(known[:5]) or 'none'}"
            raise ValueError(Errors.P072.format(url=self.access.base_url, reason=reason))
        self._check_vocabulary(found)
        return self._probe(told, dialect, self._positions(found))

    def _positions(self, found: Mapping[str, object]) -> int:
        meta = found.get("meta")
        told = [found.get("max_model_len"), *((meta.get("n_ctx"),) if isinstance(meta, Mapping) else ())]
        return min([self._max_positions, *(one for one in told if isinstance(one, int) and one > 0)])

    def _check_vocabulary(self, found: Mapping[str, object]) -> None:
        meta = found.get("meta")
        n_rows = meta.get("n_vocab") if isinstance(meta, Mapping) else None
        if isinstance(n_rows, int) and n_rows < len(self.pieces):
            problem = f"its model has {n_rows} pieces, the tokenizer here {len(self.pieces)}"
            raise ValueError(Errors.P075.format(url=self.access.base_url, problem=problem))

    def _probe(self, model: str, dialect: Dialect, max_positions: int) -> Terms:
        """Ask once, with numbers of pieces if they are taken, else with text."""
        asked = [*self.pieces.start, *(piece for part in _PROBE for piece in self.pieces.question(part))]
        refused: ValueError | None = None
        for in_pieces in (True, False):
            terms = Terms(model, "", dialect, in_pieces, False, max_positions)
            try:
                completion = self.server.complete(self.body(terms, asked, most=1))
            except (NoAnswer, Refused) as error:
                refused = refused or error
                continue
            if in_pieces and completion.n_prompt not in (None, len(asked)):
                problem = f"a prompt of {len(asked)} pieces is {completion.n_prompt} there"
                raise ValueError(Errors.P075.format(url=self.access.base_url, problem=problem))
            self._check_pieces(completion)
            units = completion.units or ()
            is_scored = bool(units) and all(unit.log_probability is not None for unit in units)
            return replace(terms, answers_as=completion.model, is_scored=is_scored)
        assert refused is not None, "a loop that ends was refused"
        raise ValueError(Errors.P072.format(url=self.access.base_url, reason=refused)) from refused

    def _check_pieces(self, completion: Completion) -> None:
        """Whether the numbers that a server tells mean here what it says they spell."""
        for unit in completion.units or ():
            if unit.piece is None or not unit.text.strip() or not unit.text.isascii():
                continue
            ours = self.pieces.tokenizer.decode([unit.piece]) if unit.piece < len(self.pieces) else ""
            if unit.text.strip() != ours.strip() and not unit.text.startswith("token_id:"):
                problem = f"piece {unit.piece} is {unit.text!r} there and {ours!r} here"
                raise ValueError(Errors.P075.format(url=self.access.base_url, problem=problem))

    def _warn_of_what_it_lacks(self, terms: Terms) -> None:
        lacks = []
        if not terms.in_pieces:
            lacks.append("takes no numbers of pieces, so that it may cut prompts otherwise than they were trained")
        if not terms.is_scored:
            lacks.append("tells no probabilities, so that spans have no scores")
        if terms.dialect.guide is None:
            lacks.append("cannot hold mentions to the text, so that those that are not in it are lost (W001 counts)")
        if lacks:
            warnings.warn(Warnings.W081.format(url=self.access.base_url, lacks="; ".join(lacks)), stacklevel=2)

    def body(self, terms: Terms, prompt: Sequence[int], *, most: int, stop: int | None = None) -> dict[str, object]:
        """A request.

        prompt (Sequence[int]): Its pieces.
        most (int): The most pieces of the answer.
        stop (int | None): A piece that ends the answer beside the end piece.
        """
        body: dict[str, object] = {
            "model": terms.model,
            "prompt": self.prompt(terms, prompt),
            "max_tokens": most,
            "temperature": 0,
            "logprobs": 1,
            **terms.dialect.always,
        }
        if terms.dialect.stop_pieces:
            body["stop_token_ids"] = [self.pieces.end, *(() if stop is None else (stop,))]
        elif terms.dialect.stop_strings and stop is not None:
            string = self.pieces.tokenizer.decode([stop])
            # A blank, as SentencePiece puts in front of words, would end an answer before it begins.
            if string.strip(" "):
                body["stop"] = [string]
        return body
