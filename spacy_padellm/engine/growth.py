"""One document while it is decoded: its tree, the answers that still grow, and those that are done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from spacy_padellm.engine.constraint import Constraint, CopyConstraint
from spacy_padellm.engine.form import FormConstraint
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Stretch
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Answer, Answered, Branch, Finish, Form


@dataclass(frozen=True)
class Request:
    """What the decoder needs to know of one document.

    text (str): The text the mentions stand in.
    trunk (tuple[str, ...]): The segments every question stands under.
    branches (Sequence[Branch]): The first questions.
    follow (Callable[[Branch, str], list[Branch]]): The questions an answer opens.
    borders (Sequence[tuple[int, int]]): Start and end of each token in characters, blank tokens left out.
    script (Callable[[Branch], str] | None): Answers to give in place of the model's, which is then only paid for.
    """

    text: str
    trunk: tuple[str, ...]
    branches: Sequence[Branch]
    follow: Callable[[Branch, str], list[Branch]]
    borders: Sequence[tuple[int, int]] = ()
    script: Callable[[Branch], str] | None = None


class Given(NamedTuple):
    """A finished answer.

    answered (Answered): The answer with its question.
    own (bool): It is the model's own answer, not one that left it.
    opened (list[list[Given]]): For each question that it opened the answers to it.
    """

    answered: Answered
    own: bool
    opened: list[list[Given]]


@dataclass
class Growing:
    """An answer that is not finished.

    branch (Branch): Its question.
    node (int): The node whose next piece is wanted.
    pieces (list[int]): The answer so far.
    log_probability (float): Natural logarithm of the product of the pieces' probabilities.
    closer (int | None): The piece that, like the end piece, ends the answer.
    copy (Any): The state of the constraint: where the answer stands in the text; None for a free answer.
    script (tuple[int, ...] | None): Pieces to give in place of the model's.
    further (int): How many answers may still leave this one and go on beside it.
    own (bool): It is the model's own answer and has left no other.
    optional (bool): It is a further answer or stands under one: it is left out where the model has no room for it.
    given (list[Given]): Where it goes once it is finished, beside the other answers to the question.
    """

    branch: Branch
    node: int
    pieces: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    closer: int | None = None
    copy: Any = None
    script: tuple[int, ...] | None = None
    further: int = 0
    own: bool = True
    optional: bool = False
    given: list[Given] = field(default_factory=list)


class Growth:
    """A document in the forest.

    request (Request): The document.
    pieces (Pieces): The tokenizer.
    slot (int): The document's K/V slot.
    max_positions (int): The most positions the model has.
    max_answer (int): The most pieces an answer may have.
    constrain (bool): Whether copied answers are held to the text.
    RAISES (ValueError): P023 if the text, a question or an answer needs more positions than the model has. A further
        answer that does, or what stands under it, is not followed.
    """

    def __init__(
        self,
        request: Request,
        pieces: Pieces,
        *,
        slot: int,
        max_positions: int,
        max_answer: int,
        constrain: bool,
    ) -> None:
        self.slot = slot
        self.tree = Tree()
        self.fed = 0
        self.n_steps = 0
        self._request = request
        self._pieces = pieces
        self._max_positions = max_positions
        self._max_answer = max_answer
        self._constrain = constrain
        self._constraints: dict[Form | None, Constraint] = {}
        self._growing: dict[int, list[Growing]] = {}
        trunk = sum(pieces.encode(request.trunk), start=pieces.start)
        check_length(len(trunk), max_positions, request.text)
        self._trunk = self.tree.add(ROOT, trunk)
        self._given = [self._plant(branch, self._trunk) for branch in request.branches]

    @property
    def done(self) -> bool:
        return not self._growing

    def answered(self) -> list[Answered]:
        """The finished answers in the order asked, each followed by those it opened, whatever finished first. Of
        several answers to one question the model's own comes first, then the more probable."""
        order: list[Answered] = []
        waiting = _ranked(self._given)
        while waiting:
            given = waiting.pop()
            order.append(given.answered)
            waiting += _ranked(given.opened)
        return order

    def stretch(self, budget: int) -> Stretch:
        """The next nodes to feed, at most `budget` of them."""
        return Stretch(self.tree, self.fed, min(len(self.tree), self.fed + budget), self.slot)

    def awaited(self, stretch: Stretch) -> list[Growing]:
        """The answers that the logits of these nodes bring forward; they must be given to `take` one by one."""
        self.fed = stretch.stop
        self.n_steps += 1
        nodes = [node for node in self._growing if node < stretch.stop]
        return [growing for node in nodes for growing in self._growing.pop(node)]

    def allowed(self, growing: Growing) -> list[int] | None:
        """The pieces that may come next, the end piece among them where the answer may end; None for any piece."""
        if growing.copy is None or growing.script is not None:
            return None
        pieces, may_end = self._constraint(growing.branch).allowed(growing.copy)
        # A text without tokens has no mentions: only the empty answer is left.
        return [*pieces, self._pieces.end] if may_end or not pieces else pieces

    def scripted(self, growing: Growing) -> int | None:
        """The piece the script gives next; None without a script."""
        if growing.script is None:
            return None
        place = len(growing.pieces)
        return growing.script[place] if place < len(growing.script) else self._pieces.end

    def take(
        self, growing: Growing, piece: int, log_probability: float, others: Sequence[tuple[int, float]] = ()
    ) -> None:
        """Put the next piece of an answer in place.

        others (Sequence[tuple[int, float]]): The likeliest pieces with their log-probabilities, best first, where
            further answers may be followed.
        """
        left = self._leave(growing, piece, log_probability, others) if others else []
        self._advance(growing, piece, log_probability)
        for other, its_piece, its_log_probability in left:
            self._advance(other, its_piece, its_log_probability)

    def _leave(
        self, growing: Growing, piece: int, log_probability: float, others: Sequence[tuple[int, float]]
    ) -> list[tuple[Growing, int, float]]:
        """The answers that go on with another piece than this one, each with its piece. The pieces that end an answer
        are one way to go on: with either of them it is the same answer."""
        ends = {self._pieces.end, growing.closer} if growing.pieces else {self._pieces.end}
        taken = {piece} | (ends if piece in ends else set())
        left: list[tuple[Growing, int, float]] = []
        choices = [(other, its) for other, its in others if other not in taken and its > -math.inf]
        for other, its_log_probability in choices:
            if other in taken:
                continue
            if not growing.further or math.exp(its_log_probability - log_probability) < growing.branch.floor:
                break
            taken |= ends if other in ends else {other}
            growing.further -= 1
            leaves = replace(growing, pieces=[*growing.pieces], further=0, own=False, optional=True)
            left.append((leaves, other, its_log_probability))
        if growing.branch.copies and choices:
            # Another mention begins otherwise: what leaves later is another end of the same one.
            growing.further = 0
        return left

    def _advance(self, growing: Growing, piece: int, log_probability: float) -> None:
        if piece == self._pieces.end:
            self._finish(growing, Finish.END)
        elif piece == growing.closer and growing.pieces:
            # Behind no piece yet it is no end: SentencePiece puts the same "▁" in front of counts and questions.
            self._finish(growing, Finish.FOLLOWED)
        else:
            growing.pieces.append(piece)
            growing.log_probability += log_probability
            growing.node = self._grow(growing.node, (piece,))
            if growing.copy is not None:
                growing.copy = self._constraint(growing.branch).advance(growing.copy, piece)
            limit = growing.branch.limit or self._max_answer
            full = len(growing.pieces) >= limit or self.tree.depths[growing.node] >= self._max_positions
            # A copied mention ends by itself, at the text's end at the latest.
            endless = growing.copy is None or growing.script is not None or growing.branch.form is not None
            if full and endless:
                self._finish(growing, Finish.LIMIT)
            elif self._fits(growing.node, 0, optional=growing.optional):
                self._growing.setdefault(growing.node, []).append(growing)

    def _finish(self, growing: Growing, finish: Finish) -> None:
        if growing.branch.form and self._request.script and finish is Finish.END:
            text = self._request.script(growing.branch)
        elif growing.copy is not None and growing.script is None and growing.pieces:
            text = self._constraint(growing.branch).string(growing.copy)
        else:
            text = self._pieces.decode(growing.pieces)
        answer = Answer(text, math.exp(growing.log_probability), finish, len(growing.pieces))
        follows = self._request.follow(growing.branch, text)
        opened = [self._plant(branch, growing.node, optional=growing.optional) for branch in follows]
        growing.given.append(Given(Answered(growing.branch, answer), growing.own, opened))

    def _plant(self, branch: Branch, parent: int, *, optional: bool = False) -> list[Given]:
        """Ask a question under a node. Its answers will be in the list, which stays empty if there is no room."""
        question = self._pieces.question(branch.question)
        if not self._fits(parent, len(question), optional=optional):
            return []
        growing = Growing(branch, self._grow(parent, question), optional=optional)
        if branch.closer:
            growing.closer = self._pieces.question(branch.closer)[0]
        if (branch.copies or branch.form) and self._constrain:
            growing.copy = self._constraint(branch).start
        if self._request.script is not None:
            growing.script = spell_answer(branch, self._request.script(branch), self._pieces)
        elif branch.form is None:
            growing.further = branch.further
        self._growing.setdefault(growing.node, []).append(growing)
        return growing.given

    def _grow(self, parent: int, segment: Sequence[int]) -> int:
        """Put a segment under a node so that its last node is still to be fed: its logits are wanted."""
        node = self.tree.add(parent, segment)
        if node < self.fed:
            node = self.tree.chain(self.tree.parents[node], (self.tree.pieces[node],))
        return node

    def _constraint(self, branch: Branch) -> Constraint:
        # Built when the first mention is asked for: most documents have labels without mentions, some have none at all.
        form, text, borders = branch.form, self._request.text, self._request.borders
        if form not in self._constraints:
            self._constraints[form] = (
                CopyConstraint(text, borders, self._pieces)
                if form is None
                else FormConstraint(form, text, borders, self._pieces)
            )
        return self._constraints[form]

    def _fits(self, node: int, more: int, *, optional: bool) -> bool:
        """Whether the model has positions for so many pieces under a node. What is not optional must fit.

        RAISES (ValueError): P023 if it does not.
        """
        length = more + (self.tree.depths[node] + 1 if node != ROOT else 0)
        if optional and length > self._max_positions:
            return False
        check_length(length, self._max_positions, self._request.text)
        return True


def _ranked(given: Sequence[Sequence[Given]]) -> list[Given]:
    """The answers to some questions, each text once: the last question first, and the best answer to it last."""
    ranked: list[Given] = []
    for answers in given:
        best: dict[str, Given] = {}
        complete = (one for one in answers if _is_complete(one))
        for one in sorted(complete, key=lambda one: (not one.own, -one.answered.answer.probability)):
            # The same answer may be spelled with other pieces.
            best.setdefault(one.answered.answer.text, one)
        ranked += best.values()
    return ranked[::-1]


def _is_complete(given: Given) -> bool:
    """Whether every question that an answer opened has the model's own answer. Under a further answer there may have
    been no room for one."""
    return all(any(one.own and _is_complete(one) for one in answers) for answers in given.opened)


def spell_answer(branch: Branch, text: str, pieces: Pieces) -> tuple[int, ...]:
    """The pieces of a perfect answer: cut by its form where it has one."""
    return pieces.question(text) if branch.form is None else pieces.answer(branch.form.cut(text))


def check_length(length: int, max_positions: int, text: str) -> None:
    """Refuse a path longer than the model's positions, before anything is built for it.

    RAISES (ValueError): P023 if it is.
    """
    if length > max_positions:
        raise ValueError(Errors.P023.format(limit=max_positions, got=length, text=text[:60]))
