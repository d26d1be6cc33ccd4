"""The copy constraint for answers that hold strings of the text among other things: lists, pairs, marked texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from spacy_padellm.engine.constraint import LONGEST_MENTION, Path, spell_paths
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.types import Form, Move, State


class _Track(NamedTuple):
    """One spelling of a move: a path of the text, or a literal as a path that ends once."""

    move: Move
    path: Path


class _Trace(NamedTuple):
    """One way to read an answer so far: segments that are complete, and `place` pieces of one that is not."""

    done: str
    track: _Track
    place: int


class _Joint(NamedTuple):
    """One way to read an answer so far that ends with a complete segment: how far it has come, and its string."""

    state: State
    done: str


class FormState(NamedTuple):
    """How far an answer has come.

    joints, traces (tuple[_Joint, ...], tuple[_Trace, ...]): All ways to read it that may go on.
    done (str): Its complete segments, as the first of these ways has them.
    ended (bool): It may end here.
    """

    joints: tuple[_Joint, ...]
    traces: tuple[_Trace, ...]
    done: str
    ended: bool


class FormConstraint:
    """The answers of one form about one text, as pieces: segments that the form allows, one after the other, each
    spelled as it is spelled alone.

    The text is escaped as a whole, and its strings are the paths of the escaped text, so what must not be cut in a
    mention of its own must not be cut here either.

    form (Form): The form.
    text (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token, in characters, blank tokens left out.
    pieces (Pieces): The tokenizer.
    """

    def __init__(self, form: Form, text: str, borders: Sequence[tuple[int, int]], pieces: Pieces) -> None:
        self._form = form
        self._pieces = pieces
        self._text, self._borders = _escaped(form, text, borders)
        edges = [0, *(edge for border in borders for edge in border), len(text)]
        self._gaps = [text[end:start] for end, start in zip(edges[::2], edges[1::2], strict=True)]
        self._paths: dict[int, dict[int, list[Path]]] = {}
        self._behind = {end: token + 1 for token, (_, end) in enumerate(self._borders)}
        # A text without tokens has no mentions, and not every form can say so.
        self.start = FormState((_Joint(form.start(), ""),) if borders else (), (), "", not borders)

    def allowed(self, state: FormState) -> tuple[list[int], bool]:
        """What may come next: the pieces, and whether the answer may end here."""
        following = dict.fromkeys(track.path.pieces[place] for _, track, place in state.traces)
        for joint in state.joints:
            for move in self._form.moves(joint.state, self._gaps):
                following |= dict.fromkeys(self._spell(move))
        return list(following), state.ended

    def likely(self, state: FormState) -> list[int]:
        """What goes on with a segment that has begun, or with the text where a token of it comes next."""
        following = dict.fromkeys(track.path.pieces[place] for _, track, place in state.traces)
        for joint in state.joints:
            for move in self._form.moves(joint.state, self._gaps):
                following |= dict.fromkeys(self._spell(move) if move.token >= 0 else ())
        return list(following)

    def advance(self, state: FormState, piece: int) -> FormState:
        """The state after one more piece."""
        going: list[_Trace] = []
        complete: dict[State, str] = {}
        for done, track, place in (*state.traces, *self._begin(state.joints, piece)):
            pieces, ends = track.path.pieces, track.path.ends
            if pieces[place] != piece:
                continue
            if place + 1 < len(pieces):
                going.append(_Trace(done, track, place + 1))
            if place + 1 in ends:
                string, reached = self._complete(track, ends[place + 1])
                # Two ways to one state are strings that are spelled alike: repeats, or one string normalised.
                complete.setdefault(reached, done + string)
        joints = [_Joint(*reached) for reached in complete.items()]
        ended = [joint for joint in joints if not self._form.moves(joint.state, self._gaps)]
        readings = [joint.done for joint in (*ended, *joints)] + [trace.done for trace in going]
        return FormState(tuple(joints), tuple(going), readings[0] if readings else state.done, bool(ended))

    def string(self, state: FormState) -> str:
        """The answer, in the text's own characters where it copies; a last segment that is not complete is left out."""
        return state.done

    def _begin(self, joints: Sequence[_Joint], piece: int) -> Iterator[_Trace]:
        """The segments that begin with a piece."""
        for state, done in joints:
            for move in self._form.moves(state, self._gaps):
                for path in self._spell(move).get(piece, ()):
                    yield _Trace(done, _Track(move, path), 0)

    def _spell(self, move: Move) -> Mapping[int, list[Path]]:
        """The spellings of a move by their first piece: most moves have many, and one piece leaves few of them."""
        if move.literal is not None:
            cut = self._pieces.literal(move.literal)
            return {cut[0]: [Path(0, cut, {len(cut): 0})]}
        if move.token not in self._paths:
            anywhere = move.token < 0
            paths = spell_paths(
                self._text,
                self._borders,
                self._pieces,
                tokens=None if anywhere else [move.token],
                longest=LONGEST_MENTION if anywhere else len(self._borders),
                reserved=self._form.reserved(),
            )
            by_first = self._paths[move.token] = {}
            for path in paths:
                by_first.setdefault(path.pieces[0], []).append(path)
        return self._paths[move.token]

    def _complete(self, track: _Track, end: int) -> tuple[str, State]:
        """The segment that a track spells up to a character, and the form's state behind it."""
        move = track.move
        if move.literal is not None:
            return move.literal, move.state
        string = self._text[track.path.start : end]
        string = self._form.reserved().get(string, string)
        return string, move.state if move.token < 0 else (*move.state, self._behind[end])


def _escaped(form: Form, text: str, borders: Sequence[tuple[int, int]]) -> tuple[str, Sequence[tuple[int, int]]]:
    """The text as the form writes it, and where its tokens stand then."""
    if form.escape(text) == text:
        return text, borders
    written = [form.escape(char) for char in text]
    places = [0, *itertools.accumulate(len(char) for char in written)]
    return "".join(written), [(places[start], places[end]) for start, end in borders]
