"""The words around texts, labels and mentions. A prompt is text only: which question follows which is the scheme's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spacy_padellm.types import Wording, Words, plain_words


@dataclass(frozen=True)
class Prompt:
    """The segments of all formats in one language: a scheme takes those it needs.

    before_text (str): Segment in front of the text.
    after_text (str): Segment behind the text.
    before_label (str): Start of the question about a label, up to the label's words.
    after_label (str): Rest of that question; the count is answered behind it.
    before_ordinal (str): Start of the question about a mention, up to its ordinal.
    after_ordinal (str): Rest of that question; the mention is answered behind it.
    after_listed (str): In place of `after_label` where a list of mentions is answered behind it (OneStep).
    before_labels (str): Start of a question about all labels, up to their words.
    between_labels (str): What stands between the words of two labels.
    after_paired (str): Rest of that question where pairs of label and mention are answered behind it (AutoRegStruct).
    after_marked (str): Rest of that question where the marked text is answered behind it (AutoRegAug).
    label_words (Mapping[str, str]): Words in the prompt for label names; a label that is not listed stands for itself.
    repeat_text (int): How often the text stands in the trunk. A decoder reads from left to right, so only a second
        reading lets a word see what comes after it; every question shares the cost.
    before_description (str): What stands between the words of a label and its description, where it has one.
    before_examples, between_examples, after_examples (str): Around and between the examples of a label, where it has
        any; they follow the description.
    between_explained (str): In place of `between_labels` where a label has a description or examples, whose own commas
        would run into those between labels.
    """

    before_text: str
    after_text: str
    before_label: str
    after_label: str
    before_ordinal: str
    after_ordinal: str
    after_listed: str
    before_labels: str
    between_labels: str
    after_paired: str
    after_marked: str
    label_words: Mapping[str, str] = field(default_factory=dict)
    repeat_text: int = 1
    before_description: str = ": "
    before_examples: str = " (e.g. "
    between_examples: str = ", "
    after_examples: str = ")"
    between_explained: str = "\n"

    def trunk(self, text: str) -> tuple[str, ...]:
        """The segments in front of every question about `text`. The text is a segment of its own, so its pieces do
        not depend on the prompt."""
        return (self.before_text, text, self.after_text) * self.repeat_text

    def words(self, label: str) -> str:
        """The words that stand for a label's name in the prompt."""
        return self.label_words.get(label, label)

    def explain(self, words: Words) -> str:
        """The words of a label in a question, with its description and examples where it has any."""
        if not isinstance(words, Wording):
            return words
        described = f"{self.before_description}{words.description}" if words.description else ""
        examples = self.between_examples.join(words.examples)
        shown = f"{self.before_examples}{examples}{self.after_examples}" if examples else ""
        return f"{words.words}{described}{shown}"

    def _together(self, labels: Iterable[Words]) -> str:
        """The start of a question about all labels."""
        listed = list(labels)
        explained = [self.explain(words) for words in listed]
        plain = explained == [plain_words(words) for words in listed]
        return f"{self.before_labels}{(self.between_labels if plain else self.between_explained).join(explained)}"

    def ask_label(self, words: Words) -> str:
        return f"{self.before_label}{self.explain(words)}{self.after_label}"

    def ask_list(self, words: Words) -> str:
        return f"{self.before_label}{self.explain(words)}{self.after_listed}"

    def ask_pairs(self, words: Iterable[Words]) -> str:
        return f"{self._together(words)}{self.after_paired}"

    def ask_marked(self, words: Iterable[Words]) -> str:
        return f"{self._together(words)}{self.after_marked}"

    def ask_mention(self, ordinal: int) -> str:
        return f"{self.before_ordinal}{ordinal}{self.after_ordinal}"
