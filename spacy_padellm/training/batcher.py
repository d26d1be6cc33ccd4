"""Examples into batches of bounded size, counted in the pieces of their trees."""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from spacy.training import Example

from spacy_padellm.errors import Warnings
from spacy_padellm.settings import check_number, check_whole


@dataclass(frozen=True)
class TreeSize:
    """An estimate of the pieces of an example's tree: a batcher knows neither tokenizer nor labels. What is left of the
    estimate's error costs no memory: the model's `max_row` counts pieces exactly.

    per_token (float): Pieces of a token of the text, or of a mention.
    per_doc (float): Pieces of the trunk's words, and of the questions and counts of all labels asked.
    per_mention (float): Pieces of a mention's marker.
    spans_key (str): Where gold mentions are, as the pipe has it; the entities where there is no such group.
    """

    per_token: float
    per_doc: float
    per_mention: float
    spans_key: str

    def __call__(self, example: Example) -> float:
        gold = example.reference
        mentions = gold.spans[self.spans_key] if self.spans_key in gold.spans else gold.ents
        tokens = len(gold) + sum(map(len, mentions))
        return self.per_doc + self.per_token * tokens + self.per_mention * len(mentions)


class PieceBatcher:
    """Batches of documents of like size, in random order.

    A batch holds as many documents as its pieces allow, so every update costs about the same; and since attention pads
    each document to the longest of its row, documents of like size waste little. To sort all documents would give every
    pass the same batches: they are sorted within a window, and the batches of a window are shuffled.

        window   3 9 1 4 8 2      sizes as they come
        sorted   1 2 3 4 8 9
        batches  [1 2 3] [4] [8] [9]    of at most 8; 9 is oversized
        shuffled [8] [1 2 3] [9] [4]

    size (int): The most pieces of a batch.
    window (int): Documents that are sorted together.
    discard_oversize (bool): Leave out documents that are larger than a batch, in place of a batch for each.
    seed (int): Of the order. The order goes on from one pass to the next.
    pieces (Callable[[Example], float]): The pieces of an example's tree.
    """

    def __init__(
        self, size: int, *, window: int, discard_oversize: bool, seed: int, pieces: Callable[[Example], float]
    ) -> None:
        self._size = size
        self._window = window
        self._discard_oversize = discard_oversize
        self._random = random.Random(seed)
        self._pieces = pieces
        self._warned = False

    def __call__(self, examples: Iterable[Example]) -> Iterator[list[Example]]:
        """RETURNS (Iterator[list[Example]]): The batches of one pass. W042 once if there are oversized documents."""
        stream = iter(examples)
        seen = 0
        while window := list(islice(stream, self._window)):
            seen += len(window)
            # Sorting is stable: shuffled first, documents of the same size meet others each time.
            self._random.shuffle(window)
            sized = sorted(((self._pieces(one), one) for one in window), key=lambda pair: pair[0])
            self._warn_of_oversize([pieces for pieces, _ in sized if pieces > self._size], seen)
            batches = self._cut(sized)
            self._random.shuffle(batches)
            yield from batches

    def _cut(self, sized: Sequence[tuple[float, Example]]) -> list[list[Example]]:
        batches: list[list[Example]] = []
        room = 0.0
        for pieces, example in sized:
            if pieces > self._size and self._discard_oversize:
                continue
            if pieces > room:
                batches.append([])
                room = self._size
            batches[-1].append(example)
            room -= pieces
        return batches

    def _warn_of_oversize(self, oversize: Sequence[float], seen: int) -> None:
        if oversize and not self._warned:
            self._warned = True
            treated = "are left out" if self._discard_oversize else "have a batch each"
            told = Warnings.W042.format(
                count=len(oversize), docs=seen, size=self._size, largest=round(max(oversize)), treated=treated
            )
            warnings.warn(told, stacklevel=3)


def build_batch_by_pieces_v1(
    *,
    size: int = 2048,
    window: int = 256,
    discard_oversize: bool = False,
    seed: int = 0,
    per_token: float = 1.75,
    per_doc: float = 40.0,
    per_mention: float = 7.0,
    spans_key: str = "sc",
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Batches under a budget of pieces, for `[training.batcher]`.

    size (int): The most pieces of a batch, by estimate; what is larger alone has a batch of its own.
    window (int): Documents that are sorted together by size. More of them pad less and mix less.
    discard_oversize (bool): Leave out documents that are larger than a batch.
    seed (int): Seed of the order of the batches of a window.
    per_token, per_doc, per_mention (float): The estimate: pieces of a token, of all labels' questions, of a marker.
        The defaults are of CoNLL03 with a vocabulary of 4,000 pieces; `python -m benchmarks.training` fits them.
    spans_key (str): As the pipe has it.
    RETURNS (Callable): From examples to batches.
    RAISES (ValueError): P001 for a number out of its range.
    """
    check_whole("size", size)
    check_whole("window", window)
    check_whole("seed", seed, least=0)
    for name, number in {"per_token": per_token, "per_doc": per_doc, "per_mention": per_mention}.items():
        check_number(name, number)
    pieces = TreeSize(per_token, per_doc, per_mention, spans_key)
    return PieceBatcher(size, window=window, discard_oversize=discard_oversize, seed=seed, pieces=pieces)
