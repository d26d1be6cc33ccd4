"""One document while it is decoded: its tree, the answers that still grow, and those that are done."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from spacy_padellm.engine.constraint import Constraint, CopyConstraint
from spacy_padellm.engine.drafting import Choice, Drafting, Drafts
from spacy_padellm.engine.form import FormConstraint
from spacy_padellm.engine.growing import Given, Growing, ranked
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Stretch
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Answer, Answered, Branch, Course, Finish, Form


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


class Growth:
    """A document in the forest.

    request (Request): The document.
    pieces (Pieces): The tokenizer.
    slot (int): The document's K/V slot.
    max_positions (int): The most positions the model has.
    max_answer (int): The most pieces an answer may have.
    constrain (bool): Whether copied answers are held to the text.
    drafting (Drafting): What is fed before it is known to be wanted.
    at_once (int | None): How many of the first questions are asked at once, the next ones when these are answered with
        all they opened; None for all of them.
    record (bool): Whether answers say in which steps they grew.
    alone (bool): Whether it steps alone, so that a step costs more than a few pieces do.
    RAISES (ValueError): P023 if the text, a question or an answer needs more positions than the model has. A further
        answer that does, or what stands under it, is not followed; nor is a draft.
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
        drafting: Drafting,
        at_once: int | None = None,
        record: bool = False,
    ) -> None:
        self.slot = slot
        self.alone = True
        self.tree = Tree()
        self.fed = 0
        self.n_steps = 0
        self.drafts = Drafts()
        self._request = request
        self._pieces = pieces
        self._max_positions = max_positions
        self._max_answer = max_answer
        self._constrain = constrain
        self._drafting = drafting
        self._record = record
        self._constraints: dict[Form | None, Constraint] = {}
        self._growing: dict[int, list[Growing]] = {}
        self._drafted: dict[int, list[Growing]] = {}
        self._known: deque[tuple[Growing, Choice]] = deque()
        self._n_copying = 0
        trunk = sum(pieces.encode(request.trunk), start=pieces.start)
        check_length(len(trunk), max_positions, request.text)
        self._trunk = self.tree.add(ROOT, trunk)
        self._largest = 0
        self._at_once = at_once or max(1, len(request.branches))
        self._unasked = deque(request.branches)
        self._given: list[list[Given]] = []
        self._ask_next()
        # Those asked later are refused now, before anything is fed.
        for branch in self._unasked:
            self._fits(self._trunk, len(pieces.ask(branch)), optional=False)

    @property
    def done(self) -> bool:
        return not self._growing and not self._unasked

    @property
    def largest(self) -> int:
        """The most nodes the tree has had at once."""
        return max(self._largest, len(self.tree))

    def go_on(self) -> None:
        """Between two steps: if all that was asked is answered, take it back from the tree and ask the next questions
        under the trunk, whose keys and values are still there."""
        if self._growing or not self._unasked:
            return
        self._largest = self.largest
        self.drafts.settle(self.fed)
        self._drafted.clear()
        self.fed = self._trunk + 1
        self.tree.cut(self.fed)
        self._ask_next()

    def _ask_next(self) -> None:
        for _ in range(min(self._at_once, len(self._unasked))):
            self._given.append(self._plant(self._unasked.popleft(), self._trunk))

    def answered(self) -> list[Answered]:
        """The finished answers in the order asked, each followed by those it opened, whatever finished first. Of
        several answers to one question the model's own comes first, then the more probable."""
        order: list[Answered] = []
        waiting = ranked(self._given)
        while waiting:
            given = waiting.pop()
            order.append(given.answered)
            waiting += ranked(given.opened)
        return order

    def guess(self) -> None:
        """Draft the likeliest answers to the questions that are still to be fed, with the questions they open."""
        for growing in [growing for waiting in self._growing.values() for growing in waiting if not growing.pieces]:
            for guess in growing.branch.guesses:
                draft = self._draft_answer(growing, self._pieces.question(guess))
                if draft is not None:
                    self._draft_questions(draft)

    def prepare(self) -> None:
        """Make what copied answers will be held to, if answers may open questions for some, before any is asked for."""
        branches = self._request.branches
        if self._constrain and branches and branches[0].closer:
            self._constraint(branches[0])

    def stretch(self, budget: int) -> Stretch:
        """The next nodes to feed, at most `budget` of them."""
        return Stretch(self.tree, self.fed, min(len(self.tree), self.fed + budget), self.slot)

    def awaited(self, stretch: Stretch) -> list[Growing]:
        """The answers that the logits of these nodes bring forward, drafts first: they must be given to `take` one by
        one in this order, so that an answer that reaches a draft finds it known."""
        self.fed = stretch.stop
        self.n_steps += 1
        awaited: list[Growing] = []
        for waiting in (self._drafted, self._growing):
            for node in [node for node in waiting if node < stretch.stop]:
                awaited += waiting.pop(node)
        return awaited

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
        if growing.drafted:
            self.drafts.learn(growing, Choice(piece, log_probability, others))
            return
        # Drafts may be hundreds of pieces long, more than Python calls itself.
        self._known.append((growing, Choice(piece, log_probability, others)))
        while self._known:
            self._go_on(*self._known.popleft())

    def _go_on(self, growing: Growing, choice: Choice) -> None:
        piece, log_probability, others = choice
        if self._record and not growing.begun:
            growing.begun = self.n_steps
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
            growing.node = self.tree.add(growing.node, (piece,))
            if growing.copy is not None:
                growing.copy = self._constraint(growing.branch).advance(growing.copy, piece)
            full = len(growing.pieces) >= self._limit(growing) or self.tree.depths[growing.node] >= self._max_positions
            # A copied mention ends by itself, at the text's end at the latest.
            endless = growing.copy is None or growing.script is not None or growing.branch.form is not None
            if full and endless:
                self._finish(growing, Finish.LIMIT)
            elif self._fits(growing.node, 0, optional=growing.optional):
                self._await(growing)

    def _limit(self, growing: Growing) -> int:
        return growing.branch.limit or self._max_answer

    def _finish(self, growing: Growing, finish: Finish) -> None:
        if growing.branch.form and self._request.script and finish is Finish.END:
            text = self._request.script(growing.branch)
        elif growing.copy is not None and growing.script is None and growing.pieces:
            text = self._constraint(growing.branch).string(growing.copy)
        else:
            text = self._pieces.decode(growing.pieces)
        self._n_copying -= growing.branch.copies and growing.own
        course = Course(growing.begun, self.n_steps) if self._record else None
        answer = Answer(text, math.exp(growing.log_probability), finish, len(growing.pieces), course)
        follows = self._request.follow(growing.branch, text)
        opened = [self._plant(branch, growing.node, optional=growing.optional) for branch in follows]
        growing.given.append(Given(Answered(growing.branch, answer), growing.own, opened))

    def _plant(self, branch: Branch, parent: int, *, optional: bool = False) -> list[Given]:
        """Ask a question under a node. Its answers will be in the list, which stays empty if there is no room."""
        question = self._pieces.ask(branch)
        if not self._fits(parent, len(question), optional=optional):
            return []
        growing = self._ask(branch, self.tree.add(parent, question), optional=optional)
        self._n_copying += branch.copies
        self._await(growing)
        return growing.given

    def _ask(self, branch: Branch, node: int, *, optional: bool = False, script: bool = True) -> Growing:
        """The answer to a question whose last piece is a node, before its first piece.

        script (bool): Look into the script, where there is one, for what to answer.
        """
        growing = Growing(branch, node, optional=optional)
        if branch.closer:
            growing.closer = self._pieces.question(branch.closer)[0]
        if (branch.copies or branch.form) and self._constrain:
            growing.copy = self._constraint(branch).start
        if self._request.script is not None:
            growing.script = spell_answer(branch, self._request.script(branch), self._pieces) if script else ()
        elif branch.form is None:
            growing.further = branch.further
        return growing

    def _await(self, growing: Growing) -> None:
        """Wait for what the model puts behind a node, unless a draft has shown it."""
        choice, wanted = self.drafts.recall(growing), growing.node
        if choice is None and wanted < self.fed:
            # Fed before as a part of something else: once more, for its logits.
            growing.node = self.tree.chain(self.tree.parents[wanted], (self.tree.pieces[wanted],))
            wanted = self.tree.parents[wanted]
        self.drafts.confirm(self.tree, wanted)
        if choice is not None:
            self._known.append((growing, choice))
        else:
            self._growing.setdefault(growing.node, []).append(growing)
            self._draft(growing)

    def _draft(self, growing: Growing) -> None:
        """Feed with an answer what may come behind it."""
        drafting, guesses = self._drafting, growing.branch.guesses
        if drafting.questions and growing.branch.closer and growing.pieces:
            self._draft_questions(growing)
        elif drafting.questions and guesses and not growing.pieces:
            # What any count begins with: SentencePiece puts a piece of its own in front of digits.
            places = zip(*map(self._pieces.question, guesses), strict=False)
            self._draft_answer(growing, [pieces[0] for pieces in takewhile(lambda pieces: len({*pieces}) == 1, places)])
        elif drafting.copies != 0 and growing.copy is not None and (growing.pieces or growing.branch.form):
            self._draft_copies(growing, drafting.copies_for(growing.branch.form, self._n_copying, alone=self.alone))

    def _draft_questions(self, growing: Growing) -> None:
        """The questions that an answer opens if nothing comes behind it."""
        text, script = self._pieces.decode(growing.pieces), self._request.script
        right = script is None or script(growing.branch) == text
        for branch in self._request.follow(growing.branch, text):
            question = self._pieces.ask(branch)
            if self._fits(growing.node, len(question), optional=True):
                self._put(self._ask(branch, growing.node, script=right), question, [])

    def _draft_answer(self, growing: Growing, pieces: Sequence[int]) -> Growing | None:
        """An answer's first pieces. None if there is no room."""
        if len(pieces) >= self._limit(growing) or not self._fits(growing.node, len(pieces), optional=True):
            return None
        for piece in pieces:
            growing = self._put(growing, (piece,), [*growing.pieces, piece])
        return growing

    def _draft_copies(self, growing: Growing, budget: int) -> None:
        """What may come next in a copied string: of several continuations each gets one piece before any gets two."""
        constraint, waiting = self._constraint(growing.branch), deque([growing])
        while waiting:
            draft = waiting.popleft()
            full = len(draft.pieces) + 1 >= self._limit(growing) or not self._fits(draft.node, 1, optional=True)
            following = () if full else constraint.likely(draft.copy)
            for piece in following[:budget]:
                copy = constraint.advance(draft.copy, piece)
                waiting.append(self._put(draft, (piece,), [*draft.pieces, piece], copy))
            budget -= len(following[:budget])

    def _put(self, growing: Growing, segment: Sequence[int], pieces: list[int], copy: Any = None) -> Growing:
        """Put a segment under an answer's node, as a draft whose logits are wanted.

        pieces (list[int]): The answer's pieces then.
        copy (Any): The state of its constraint then; None for as it is.
        """
        first = len(self.tree)
        node = self.tree.add(growing.node, segment)
        self.drafts.offer(range(first, len(self.tree)))
        draft = growing.draft(node, pieces, growing.copy if copy is None else copy)
        # A node that was fed as a part of something else is no draft: an answer that comes to it feeds it once more.
        if node >= self.fed:
            waiting = self._drafted.setdefault(node, [])
            if node >= first or not any(map(draft.is_at, waiting)):
                waiting.append(draft)
        return draft

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


def spell_answer(branch: Branch, text: str, pieces: Pieces) -> tuple[int, ...]:
    """The pieces of a perfect answer: cut by its form where it has one."""
    return pieces.question(text) if branch.form is None else pieces.answer(branch.form.cut(text))


def check_length(length: int, max_positions: int, text: str) -> None:
    """Refuse a path longer than the model's positions, before anything is built for it.

    RAISES (ValueError): P023 if it is.
    """
    if length > max_positions:
        raise ValueError(Errors.P023.format(limit=max_positions, got=length, text=text[:60]))
