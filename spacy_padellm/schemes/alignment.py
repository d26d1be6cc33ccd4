"""Which characters of a copied text are which of the text, where the copy may be damaged."""

from difflib import SequenceMatcher


class Alignment:
    """The characters of a copy on those of a text. White space is left aside: a copy may have more or less of it.

    copy (str): What was copied, marks taken out.
    text (str): The text.
    """

    def __init__(self, copy: str, text: str) -> None:
        self._places = [place for place, char in enumerate(text) if not char.isspace()]
        self._kept = [place for place, char in enumerate(copy) if not char.isspace()]
        own, other = [copy[place] for place in self._kept], [text[place] for place in self._places]
        self.whole = own == other
        self._of: dict[int, int] = {}
        if self.whole:
            self._of = {place: place for place in range(len(own))}
        else:
            for start, at, size in SequenceMatcher(None, own, other, autojunk=False).get_matching_blocks():
                self._of.update((start + step, at + step) for step in range(size))

    def find(self, start: int, end: int) -> tuple[int, int] | None:
        """Where a stretch of the copy stands in the text.

        start, end (int): The stretch, in characters of the copy; `end` is exclusive.
        RETURNS (tuple[int, int] | None): Its first character and the one behind its last, in the text; None unless the
            text has all its characters there and no other.
        """
        places = [self._of.get(place) for place, at in enumerate(self._kept) if start <= at < end]
        if not places or places[0] is None or places != list(range(places[0], places[0] + len(places))):
            return None
        return self._places[places[0]], self._places[places[0] + len(places) - 1] + 1
