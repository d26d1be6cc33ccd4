"""Documents that come, are decoded beside each other, and leave as soon as they are done.

Which documents step together, and who may join when, is decided here; what a step does is not.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from spacy_padellm.engine.group import Group, Member
from spacy_padellm.engine.growth import Growth, Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.memory import is_out_of_memory
from spacy_padellm.errors import Warnings
from spacy_padellm.tree.packing import Stretch


class Pause(Enum):
    """What a source gives in place of a document where it has none yet, and documents are on their way: they go on, and
    it is asked again after their step. While nothing is on its way it had better wait for one."""

    NOTHING_YET = "nothing yet"


Asked = Request | Exception | Pause | None
"""A document: None if nothing is asked about it, an exception if it could not even be asked about. Or none yet."""

Ended = Growth | Exception | None
"""What became of a document: its finished growth, what it raised, or None where nothing was asked."""

AHEAD = 4
"""How many documents may be taken from the first one that is not done on, in multiples of those in flight."""

_HEADROOM = 1.5
"""How much larger than at its start a tree is expected to become, until one has become larger."""


@dataclass(frozen=True)
class Bounds:
    """What a stream may use.

    documents (int): Documents in flight.
    row (int): Pieces in one step.
    spare (float): Pieces in one step with drafted counts.
    places (Callable[[], int]): K/V places, all groups together. Asked for once a second document is to join; a document
        that needs more is decoded alone.
    """

    documents: int
    row: int
    places: Callable[[], int]
    spare: float = 0


class Stream:
    """Decodes documents as they come.

    New documents join once half of the places in flight are free, several at a time: a text is many pieces and an
    answer's step is few, so joining one by one would make most of the attention padding. Of a document that fails, and
    of those that were in the step with it, nothing is kept: they begin anew, in halves, until the one that fails is
    alone.

    grow (Callable[[Request], Growth]): Begins a document.
    step (Callable[[KVStore, list[Stretch], list[Growth]], None]): Feeds stretches and takes the answers' next pieces.
    make_store (Callable[[], KVStore]): Makes the store of a group.
    forget (Callable[[], None]): Called after memory ran out, once what was held is free.
    bounds (Bounds): What may be used.
    """

    def __init__(
        self,
        grow: Callable[[Request], Growth],
        step: Callable[[KVStore, list[Stretch], list[Growth]], None],
        *,
        make_store: Callable[[], KVStore],
        forget: Callable[[], None],
        bounds: Bounds,
    ) -> None:
        self._grow = grow
        self._step = step
        self._make_store = make_store
        self._forget = forget
        self._row = bounds.row
        self._spare = min(bounds.spare, bounds.row)
        self._documents = bounds.documents
        self._ahead = AHEAD * bounds.documents
        self._derive_places = bounds.places
        self._places: int | None = None
        self._headroom = _HEADROOM
        self._groups: list[Group] = []
        self._waiting: list[Member] = []
        self._taken = 0
        self._ended = False
        self._turn = 0
        self._warned = False

    def run(self, documents: Iterable[Asked]) -> Iterator[tuple[int, Ended]]:
        """Decode documents.

        documents (Iterable[Asked]): Read as places become free, and no further than `AHEAD` times the documents in
            flight from the first one that is not done.
        YIELDS (tuple[int, Ended]): Each document's number and what became of it, as soon as it is done. After an
            exception the stream goes on with the others.
        """
        source = iter(documents)
        try:
            while True:
                yield from self._take(source)
                self._seat()
                if not self._groups:
                    if self._ended:
                        return
                    continue
                self._turn += 1
                for group in [*self._groups]:
                    yield from self._advance(group)
        finally:
            for group in self._groups:
                group.store.close()

    @property
    def n_places(self) -> int:
        """K/V places held now, all groups together."""
        return sum(group.store.n_pieces for group in self._groups)

    # Coming

    def _take(self, source: Iterator[Asked]) -> Iterator[tuple[int, Ended]]:
        """Read documents if half of the places in flight are free; those that are done at once are handed on."""
        if self._in_flight() > self._documents // 2:
            return
        while self._in_flight() + len(self._waiting) < self._documents and self._may_read():
            try:
                asked = next(source)
            except StopIteration:
                self._ended = True
                return
            if isinstance(asked, Pause):
                return
            number = self._taken
            self._taken += 1
            if isinstance(asked, Request):
                yield from self._line_up(number, asked)
            else:
                yield number, asked

    def _may_read(self) -> bool:
        on_their_way = [member.number for group in self._groups for member in group.members]
        on_their_way += [member.number for member in self._waiting]
        return self._taken - min(on_their_way, default=self._taken) < self._ahead

    def _line_up(self, number: int, request: Request) -> Iterator[tuple[int, Ended]]:
        """Put a document in line, unless it is done as soon as it is begun."""
        try:
            growth = self._grow(request)
        except Exception as error:
            yield number, _without_frames(error)
            return
        if growth.done:
            yield number, growth
        else:
            self._waiting.append(Member(number, request, growth))

    def _seat(self) -> None:
        """Let those in line join, the longest first, so that each group is of similar sizes. Who finds no room waits;
        what is in flight drains then, since nothing is read too far ahead."""
        self._waiting.sort(key=lambda member: member.number)
        free = max(0, self._documents - self._in_flight())
        for member in sorted(self._waiting[:free], key=lambda member: (-member.size, member.number)):
            group = self._group_for(member)
            if group is not None:
                group.join(member)
                self._waiting.remove(member)

    def _group_for(self, member: Member) -> Group | None:
        """The group of the nearest size that has room, else a new one; None if there is no memory for either."""
        if not self._groups:
            self._groups.append(Group(self._make_store()))
            return self._groups[-1]
        if self._places is None:
            self._places = self._derive_places()
        held = self._held()
        suiting = [group for group in self._groups if group.suits(member, self._row)]
        for group in sorted(suiting, key=lambda group: group.longest):
            if held - group.places + group.places_with(member, self._headroom) <= self._places:
                return group
        group = Group(self._make_store())
        if held + group.places_with(member, self._headroom) > self._places:
            return None
        self._groups.append(group)
        return group

    # On the way

    def _in_flight(self) -> int:
        return sum(len(group.members) for group in self._groups)

    def _advance(self, group: Group) -> list[tuple[int, Ended]]:
        """One step of one group, and what came of it."""
        if group not in self._groups:
            return []
        try:
            # What is given back is copied first, and a machine without memory may have none for that.
            group.store.fit(group.longest, slack=2)
        except Exception as error:
            return self._begin_anew(group, _without_frames(error))
        self._make_room()
        if not group.members:
            return []
        try:
            if self._in_flight() == len(group.members):
                group.guess(self._spare)
            self._step(group.store, *group.fill_row(self._row, self._turn))
        except Exception as error:
            failure = _without_frames(error)
        else:
            done = [member for member in group.members if member.growth.done]
            self._part(group, done)
            return [(member.number, member.growth) for member in done]
        return self._begin_anew(group, failure)

    def _part(self, group: Group, leaving: Sequence[Member]) -> None:
        if leaving:
            self._headroom = max(self._headroom, *(member.growth_rate for member in leaving))
            group.leave(leaving)
            if not group.members:
                self._groups.remove(group)
                group.store.close()

    def _make_room(self) -> None:
        """Send the documents that came last back into line while the next step would hold too many K/V places. The
        first one of all never goes back, so there is always one that gets on."""
        sent = []
        while self._places is not None and self._in_flight() > 1 and self._held() > self._places:
            last, group = max(
                ((member, group) for group in self._groups for member in group.members),
                key=lambda pair: pair[0].number,
            )
            self._part(group, [last])
            group.store.fit(group.longest)
            sent.append(last)
        for member in sent:
            self._restart(member)

    def _held(self) -> int:
        return sum(group.places for group in self._groups)

    # Failing

    def _begin_anew(self, group: Group, failure: Exception) -> list[tuple[int, Ended]]:
        """A step failed. Its documents are in an unknown state, and so are their keys and values: all of it is
        dropped."""
        in_flight, held = self._in_flight(), self._held()
        members = sorted(group.members, key=lambda member: member.number)
        self._groups.remove(group)
        group.members = []
        group.store.close()
        out_of_memory = is_out_of_memory(failure)
        if out_of_memory:
            self._forget()
        if len(members) == 1 and (in_flight == 1 or not out_of_memory):
            return [(members[0].number, failure)]
        if out_of_memory:
            for member in members:
                self._restart(member)
            self._halve(in_flight, held)
        else:
            half = len(members) // 2
            for part in (members[:half], members[half:]):
                anew = [Member(member.number, member.request, self._grow(member.request)) for member in part]
                self._groups.append(Group(self._make_store(), anew, is_open=False))
        return []

    def _restart(self, member: Member) -> None:
        self._waiting.append(Member(member.number, member.request, self._grow(member.request)))

    def _halve(self, in_flight: int, held: int) -> None:
        """Go on with half of what was too much."""
        self._documents = max(1, in_flight // 2)
        # Those who join are judged by what they will need, so what was held is, too.
        self._places = int(held * self._headroom) // 2
        if not self._warned:
            self._warned = True
            warnings.warn(Warnings.W005.format(documents=in_flight, limit=self._documents), stacklevel=2)


def _without_frames(error: Exception) -> Exception:
    """An exception that does not keep alive what the functions it came through had in hand: a whole step's tensors."""
    met = error.__traceback__
    traceback.clear_frames(met)
    # The first frame is the one that caught it, which still runs and keeps what it holds.
    return error.with_traceback(met.tb_next if met else None)
