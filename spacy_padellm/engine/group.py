"""Documents that step together: one K/V store, one forward pass a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.engine.growth import Growth, Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.tree.packing import Stretch

PADDED = 2
"""K/V places of a group for each place that is no padding, at the most, when a document joins. Joining a group
under way that has no more places than a row has pieces may cost more: its steps, shared, are worth it."""

APART = 8
"""How many times as long as another document of its group a document may be: so a text of a thousand words steps apart
from sentences, even where one of them would add little padding."""

PLACES = 8
"""K/V places of a group when a document joins, at the most, in multiples of the most pieces in a row."""


@dataclass
class Member:
    """A document on its way.

    number (int): Its number in the stream.
    request (Request): What is asked, to begin anew with if need be.
    growth (Growth): How far it is.
    last_fed (int): The turn in which it was last fed, -1 before the first.
    """

    number: int
    request: Request
    growth: Growth
    last_fed: int = -1
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.growth.tree)

    @property
    def growth_rate(self) -> float:
        """How many times as large as at its start the tree has been."""
        return self.growth.largest / self.size


class Group:
    """Documents of similar size, because attention and the K/V store pad all to the longest.

    open (bool): Whether others may join.
    members (list[Member]): The document of each slot.
    store (KVStore): Their keys and values; empty at first.
    """

    def __init__(self, store: KVStore, members: Sequence[Member] = (), *, is_open: bool = True) -> None:
        self.open = is_open
        self.members: list[Member] = []
        self.store = store
        for member in members:
            self.join(member)

    @property
    def longest(self) -> int:
        """Nodes of the largest tree."""
        return max((len(member.growth.tree) for member in self.members), default=0)

    @property
    def places(self) -> int:
        """K/V places that the next step will hold."""
        return self.store.places_for(len(self.members), self.longest)

    def places_with(self, member: Member, headroom: float) -> int:
        """K/V places that the group would come to hold with one more document.

        headroom (float): How many times as large as now the trees may become.
        """
        longest = max(self.longest, len(member.growth.tree))
        return self.store.places_for(len(self.members) + 1, int(longest * headroom))

    def suits(self, member: Member, max_row: int) -> bool:
        """Whether a document may join: few of the places are padding then."""
        sizes = [len(other.growth.tree) for other in (*self.members, member)]
        places = max(sizes) * len(sizes)
        return (
            self.open
            and places <= max(PADDED * sum(sizes), max_row if self.store.n_pieces else 0)
            and places <= PLACES * max_row
            and max(sizes) <= APART * min(sizes)
        )

    def join(self, member: Member) -> None:
        member.growth.slot = self.store.join()
        self.members.append(member)

    def leave(self, leaving: Sequence[Member]) -> None:
        """Free the slots of some documents."""
        before = self.store.leave([member.growth.slot for member in leaving])
        self.members = [self.members[slot] for slot in before]
        for slot, member in enumerate(self.members):
            member.growth.slot = slot

    def guess(self, spare: float) -> None:
        """Draft counts if a row of all documents has no more than so many pieces, even where drafts double it."""
        if 2 * sum(len(member.growth.tree) - member.growth.fed for member in self.members) <= spare:
            for member in self.members:
                member.growth.guess()

    def fill_row(self, max_row: int, turn: int) -> tuple[list[Stretch], list[Growth]]:
        """Stretches of as many documents as the row holds, in the order of their slots; what does not fit waits for the
        next step. Where less than half of the documents are new they step alone: their whole texts beside a few pieces
        of each of the others would make most of the attention padding."""
        # Whoever has waited longest comes first, so a full row starves nobody; of those who have waited as long,
        # neighbours: they are of like size, and the K/V of consecutive slots is read in place.
        waiting = sorted(self.members, key=lambda member: (member.last_fed, member.growth.slot))
        new = [member for member in waiting if member.last_fed < 0]
        alone = 0 < len(new) < len(waiting) / 2
        chosen: list[tuple[Stretch, Member]] = []
        for member in new if alone else waiting:
            if max_row < 1:
                break
            stretch = member.growth.stretch(max_row)
            if stretch.stop > stretch.start:
                chosen.append((stretch, member))
                max_row -= stretch.stop - stretch.start
        chosen.sort(key=lambda pair: pair[0].slot)
        for _, member in chosen:
            member.last_fed = turn
            member.growth.alone = len(chosen) == 1
        return [stretch for stretch, _ in chosen], [member.growth for _, member in chosen]
