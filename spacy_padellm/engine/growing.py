"""Answers of one document: those that still grow, and those that are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spacy_padellm.types import Answered, Branch


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
    drafted (bool): It is a draft: only what the model puts behind it is wanted.
    begun (int): The step of its document that gave its first piece, where courses are recorded; 0 before.
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
    drafted: bool = False
    begun: int = 0

    def draft(self, node: int, pieces: list[int], copy: Any) -> Growing:
        """What it would be once it had come to a node with these pieces."""
        # Thousands are made a second, and `dataclasses.replace` takes three times as long.
        return Growing(
            self.branch,
            node,
            pieces=pieces,
            closer=self.closer,
            copy=copy,
            script=self.script,
            further=self.further,
            drafted=True,
        )

    def is_at(self, other: Growing) -> bool:
        """Whether it has come as far in the same answer as another one at its node."""
        return len(self.pieces) == len(other.pieces) and self.branch == other.branch


def ranked(given: Sequence[Sequence[Given]]) -> list[Given]:
    """The answers to some questions, each text once: the last question first, and the best answer to it last."""
    order: list[Given] = []
    for answers in given:
        best: dict[str, Given] = {}
        complete = (one for one in answers if _is_complete(one))
        for one in sorted(complete, key=lambda one: (not one.own, -one.answered.answer.probability)):
            # The same answer may be spelled with other pieces.
            best.setdefault(one.answered.answer.text, one)
        order += best.values()
    return order[::-1]


def _is_complete(given: Given) -> bool:
    """Whether every question that an answer opened has the model's own answer. Under a further answer there may have
    been no room for one."""
    return all(any(one.own and _is_complete(one) for one in answers) for answers in given.opened)
