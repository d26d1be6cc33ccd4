"""Which labels are asked about a training text: some of those it has, some of those it has not."""

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from spacy_padellm.errors import Errors
from spacy_padellm.settings import check_number, check_whole
from spacy_padellm.types import Words

Sampling = Literal["frequency", "uniform"]


class LabelPool:
    """The labels that training may ask about. Drawing from it costs as much as what is drawn, whatever its size: a
    corpus of open types has thousands of labels.

    words (Mapping[str, Words]): Name to words in the prompt, in the order asked.
    weights (Mapping[str, int]): What a label weighs when absent ones are drawn; one that is not named, or weighs
        nothing, weighs 1.
    """

    def __init__(self, words: Mapping[str, Words], weights: Mapping[str, int]) -> None:
        self.words = dict(words)
        self._names = list(self.words)
        self._places = {name: place for place, name in enumerate(self._names)}
        # _ends[place] is the sum of the weights up to the label at that place, itself included.
        self._ends = list(accumulate(max(1, weights.get(name, 1)) for name in self._names))

    def ordered(self, labels: Iterable[str]) -> list[str]:
        """Some labels, each once, in the pool's order, without those that are not in the pool."""
        return [self._names[place] for place in sorted({self._places[name] for name in labels if name in self._places})]

    def sample(self, number: int, *, without: Iterable[str]) -> list[str]:
        """Draw labels one after the other, each as likely as its weight among those that are left.

        number (int): How many; where fewer are left, all of these.
        without (Iterable[str]): Labels that are not drawn.
        RETURNS (list[str]): The labels in the order drawn.
        """
        taken = sorted({self._places[name] for name in without if name in self._places})
        drawn: list[str] = []
        for _ in range(min(number, len(self._names) - len(taken))):
            place = self._draw(taken)
            taken = sorted((*taken, place))
            drawn.append(self._names[place])
        return drawn

    def _draw(self, taken: list[int]) -> int:
        """The place of a label that is not taken. `taken` is sorted."""
        left = self._ends[-1] - sum(map(self._weight, taken))
        point = random.randrange(left)
        # The weights of the others lie end to end: whatever is taken before the point is stepped over.
        for place in taken:
            if point < self._ends[place] - self._weight(place):
                break
            point += self._weight(place)
        return bisect_right(self._ends, point)

    def _weight(self, place: int) -> int:
        return self._ends[place] - (self._ends[place - 1] if place else 0)


@dataclass(frozen=True)
class LabelDraw:
    """How the labels that are asked about a training text are drawn, anew each time, with Python's global random state.

    A model that is always asked about the same labels learns their names by heart. One that meets many labels, each
    present in some texts and absent in others, has to read what it is asked about, and can be asked about labels that
    it has never seen. Fewer labels also make smaller trees. The price: prediction asks every label, so a model that was
    rarely asked about absent ones leans to counts above 0.

    absent (int): At least so many labels that the text has not are asked about, as far as there are any.
    ratio (float): So many absent labels for each present one that is asked about, rounded up, where that is more.
    sampling (str): Which absent labels. "frequency": each as likely as training texts have it, so that a label alone
        does not tell whether it is present. "uniform": all alike.
    dropout (float): Probability that a label of the text is not asked about. Its mentions are then left out.
    shuffle (bool): Ask in random order instead of the pipe's. It matters to the schemes with one answer for all labels.
    """

    absent: int = 2
    ratio: float = 0.0
    sampling: Sampling = "frequency"
    dropout: float = 0.0
    shuffle: bool = False

    def __post_init__(self) -> None:
        check_whole("absent", self.absent, least=0)
        check_number("ratio", self.ratio)
        check_number("dropout", self.dropout, most=1.0)
        if self.sampling not in ("frequency", "uniform"):
            expected = '"frequency" or "uniform"'
            raise ValueError(Errors.P001.format(name="sampling", expected=expected, got=self.sampling))

    def pool(self, words: Mapping[str, Words], frequencies: Mapping[str, int]) -> LabelPool:
        """What this draws from.

        words (Mapping[str, Words]): Name to words in the prompt, in the order asked.
        frequencies (Mapping[str, int]): How many training texts have a label.
        """
        return LabelPool(words, frequencies if self.sampling == "frequency" else {})

    def draw(self, labels: Iterable[str], pool: LabelPool) -> dict[str, Words]:
        """Draw what is asked about one text.

        labels (Iterable[str]): The labels that the text has; those that are not in the pool are never asked about.
        pool (LabelPool): What is drawn from.
        RETURNS (dict[str, Words]): Name to words of each label, in the order asked.
        """
        present = pool.ordered(labels)
        asked = [label for label in present if random.random() >= self.dropout]
        absent = max(self.absent, math.ceil(self.ratio * len(asked)))
        asked = pool.ordered([*asked, *pool.sample(absent, without=present)])
        if self.shuffle:
            random.shuffle(asked)
        return {label: pool.words[label] for label in asked}


def build_label_draw_v1(
    *,
    absent: int = 2,
    ratio: float = 0.0,
    sampling: Sampling = "frequency",
    dropout: float = 0.0,
    shuffle: bool = False,
) -> LabelDraw:
    """A label draw as a config block; `LabelDraw` says what each setting does.

    RETURNS (LabelDraw): The draw.
    RAISES (ValueError): P001 for a number out of its range.
    """
    return LabelDraw(absent=absent, ratio=ratio, sampling=sampling, dropout=dropout, shuffle=shuffle)
