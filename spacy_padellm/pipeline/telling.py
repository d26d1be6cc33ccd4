"""From what was seen of a document while it was annotated to its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from spacy.tokens import Doc

from spacy_padellm.backends.local import Text
from spacy_padellm.engine.counters import Counters
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.stream import Pause
from spacy_padellm.pipeline.annotate import Annotation, Lost
from spacy_padellm.pipeline.confidence import Bar
from spacy_padellm.pipeline.options import Options
from spacy_padellm.pipeline.parts import Tally
from spacy_padellm.pipeline.trace import FATES, Fate, Found, Grown, Kind, Limb, Place, Trace
from spacy_padellm.types import Answered, Branch, Course, Mention, Reading, Scheme

Read = Callable[[Text, Sequence[Answered]], Annotation]

Spot = tuple[int, int, str]
"""Start, end and label."""

_RANKS = list(FATES)


@dataclass
class Witness:
    """Looks on while one document is annotated.

    counters, lost, tally: What the pipe would count, counted apart.
    parts (list[Text]): What was asked about, in text order.
    read (dict[int, Annotation]): What was found in each, by the identity of its text.
    """

    counters: Counters = field(default_factory=Counters)
    lost: Lost = field(default_factory=Lost)
    tally: Tally = field(default_factory=Tally)
    parts: list[Text] = field(default_factory=list)
    read: dict[int, Annotation] = field(default_factory=dict)

    def texts(self, texts: Iterable[Text | Exception | Pause | None]) -> Iterator[Text | Exception | Pause | None]:
        """The same texts."""
        for text in texts:
            if isinstance(text, Text):
                self.parts.append(text)
            yield text

    def reading(self, read: Read) -> Read:
        """The same reading of answers."""

        def seen(text: Text, answered: Sequence[Answered]) -> Annotation:
            self.read[id(text)] = annotation = read(text, answered)
            return annotation

        return seen


@dataclass(frozen=True)
class Verdict:
    """What a document's annotation says about places.

    spans (frozenset[Spot]): Those in `doc.spans`.
    ents (frozenset[Spot]): Those of them in `doc.ents`.
    below (frozenset[Spot]): Those below their threshold.
    """

    spans: frozenset[Spot]
    ents: frozenset[Spot]
    below: frozenset[Spot]

    @classmethod
    def of(cls, doc: Doc, annotation: Annotation, *, overwrite_ents: bool) -> Verdict:
        flat = {(one.start, one.end, one.mention.label) for one in annotation.flat}
        present = {(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents} - flat
        taken = {place for start, end, _ in present for place in range(start, end)}
        ents = flat if overwrite_ents else {spot for spot in flat if taken.isdisjoint(range(*spot[:2]))}
        return cls(
            frozenset((one.start, one.end, one.mention.label) for one in annotation.spans),
            frozenset(ents),
            frozenset((one.start, one.end, one.mention.label) for one, _ in annotation.below),
        )

    def fate(self, spot: Spot) -> Fate:
        if spot in self.ents:
            return "entity"
        if spot in self.spans:
            return "overlapped"
        return "below" if spot in self.below else "elsewhere"


@dataclass(frozen=True)
class Telling:
    """Makes traces of what a pipe did.

    scheme (Scheme): What it asks.
    bar (Bar): Gives confidences.
    pieces (Pieces): The model's tokenizer.
    options (Options): The pipe's settings.
    """

    scheme: Scheme
    bar: Bar
    pieces: Pieces
    options: Options

    def trace(self, doc: Doc, annotation: Annotation, witness: Witness, *, seconds: float) -> Trace:
        """The trace of a document.

        annotation (Annotation): Of the whole document.
        witness (Witness): What was seen of its parts.
        """
        verdict = Verdict.of(doc, annotation, overwrite_ents=self.options.overwrite_ents)
        places = annotation.windows or [(0, len(doc.text))] * len(witness.parts)
        trees = tuple(
            self._tree(text, start, witness.read[id(text)], verdict)
            for text, (start, _) in zip(witness.parts, places, strict=True)
        )
        counters = witness.counters
        return Trace(
            doc.text,
            type(self.scheme).__name__,
            trees,
            counters.steps,
            counters.pieces,
            sum(limb.shared_pieces for tree in trees for limb in tree.walk()),
            counters.drafts,
            counters.drafts_accepted,
            seconds,
        )

    def _tree(self, text: Text, start: int, part: Annotation, verdict: Verdict) -> Grown:
        reading = self.scheme.read(part.answered)
        passed_over = frozenset(reading.passed_over)
        found = self._found(start, part, reading, verdict)
        sources = _sources(found, part.answered, passed_over)
        limbs = tuple(
            self._limb(node, shared, reading, passed_over, sources)
            for group in self._groups(part.answered)
            for node, shared in zip(group, self._shared(group), strict=True)
        )
        trunk = sum(self.pieces.encode(self.scheme.trunk(text.string)), start=self.pieces.start)
        steps = max((_course(one).ended for one in part.answered), default=0)
        return Grown(start, start + len(text.string), text.string, len(trunk), steps, limbs)

    def _found(self, start: int, part: Annotation, reading: Reading, verdict: Verdict) -> list[Found]:
        """Every mention that was read, with what became of it."""
        placed: dict[Mention, list[Place]] = {}
        for one in part.spans:
            spot = (one.start + start, one.end + start, one.mention.label)
            placed.setdefault(one.mention, []).append(Place(*spot[:2], verdict.fate(spot)))
        unplaced, surplus = set(part.unplaced), set(part.surplus)
        found = []
        for mention in reading.mentions:
            places = tuple(placed.get(mention, ()))
            lost: Fate = "unplaced" if mention in unplaced else "surplus" if mention in surplus else "outvoted"
            fate = min((place.fate for place in places), key=_RANKS.index, default=lost)
            confidence = self.bar.confidence(mention)
            found.append(Found(mention.label, mention.string, mention.ordinal, mention.score, confidence, fate, places))
        return found

    def _groups(self, answered: Sequence[Answered]) -> list[list[_Node]]:
        """The first questions with all that stands under them, in the groups in which they were asked."""
        roots: list[_Node] = []
        path: list[_Node] = []
        for one in answered:
            while path and path[-1].answered.branch != one.branch.parent:
                path.pop()
            node = _Node(one)
            (path[-1].opened if path else roots).append(node)
            path.append(node)
        # Further answers to one question do not ask it again.
        order = {branch: place for place, branch in enumerate(dict.fromkeys(node.answered.branch for node in roots))}
        size = self.options.labels_at_once or max(1, len(order))
        groups: dict[int, list[_Node]] = {}
        for node in roots:
            groups.setdefault(order[node.answered.branch] // size, []).append(node)
        return list(groups.values())

    def _shared(self, siblings: Sequence[_Node]) -> list[int]:
        """How many pieces of each question one before it begins with, too. A further answer asks nothing again."""
        begins: set[tuple[int, ...]] = set()
        asked: set[Branch] = set()
        shared = []
        for branch in (node.answered.branch for node in siblings):
            question = () if branch in asked else self.pieces.ask(branch)
            lengths = range(1, len(question) + 1)
            shared.append(max((length for length in lengths if question[:length] in begins), default=0))
            begins.update(question[:length] for length in lengths)
            asked.add(branch)
        return shared

    def _limb(
        self,
        node: _Node,
        shared: int,
        reading: Reading,
        passed_over: frozenset[Answered],
        sources: Mapping[int, list[Found]],
    ) -> Limb:
        branch, answer = node.answered
        kind, passed, course = _kind(branch), node.answered in passed_over, _course(node.answered)
        opened = zip(node.opened, self._shared(node.opened), strict=True)
        asks_for_more = kind != "mention" and not passed
        return Limb(
            kind,
            branch.label,
            branch.ordinal,
            branch.question,
            answer.text,
            answer.probability,
            answer.finish.value,
            reading.counts.get(branch.label) if kind == "count" and not passed else None,
            course.begun,
            course.ended,
            len(self.pieces.ask(branch)),
            shared,
            answer.n_pieces,
            passed,
            tuple(written for label, written in reading.unreadable if asks_for_more and label == branch.label),
            tuple(sources.get(id(node.answered), ())),
            tuple(self._limb(one, of_it, reading, passed_over, sources) for one, of_it in opened),
        )


@dataclass
class _Node:
    answered: Answered
    opened: list[_Node] = field(default_factory=list)


def _kind(branch: Branch) -> Kind:
    if branch.ordinal:
        return "mention"
    return "count" if branch.closer else "answer"


def _course(answered: Answered) -> Course:
    course = answered.answer.course
    assert course is not None, "a witness has courses recorded"
    return course


def _sources(
    found: Sequence[Found], answered: Sequence[Answered], passed_over: frozenset[Answered]
) -> dict[int, list[Found]]:
    """The mentions that were read from each answer, by the answer's identity."""
    kept: dict[tuple[str, int], int] = {}
    for one in answered:
        if one not in passed_over and _kind(one.branch) != "count":
            kept.setdefault((one.branch.label, one.branch.ordinal), id(one))
    sources: dict[int, list[Found]] = {}
    for mention in found:
        # A question about one mention, about one label, or about all of them.
        places = ((mention.label, mention.ordinal), (mention.label, 0), ("", 0))
        source = next(kept[place] for place in places if place in kept)
        sources.setdefault(source, []).append(mention)
    return sources
