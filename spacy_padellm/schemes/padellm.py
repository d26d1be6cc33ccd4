"""PaDeLLM: per label a count, then every mention in a branch of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.errors import Errors
from spacy_padellm.prompts.template import Prompt
from spacy_padellm.settings import check_whole
from spacy_padellm.types import Answered, Branch, Mention, Reading

_LONGEST_COUNT = 9
"""Digits beyond which an answer is not read as a number at all."""


def read_count(answer: str) -> int | None:
    """The number an answer writes, None where it is not exactly one number without leading zeros."""
    if len(answer) > _LONGEST_COUNT or not (answer.isascii() and answer.isdigit()):
        return None
    count = int(answer)
    return count if str(count) == answer else None


@dataclass(frozen=True)
class PaDeLLM:
    """The scheme of PaDeLLM-NER (Lu et al., NeurIPS 2024).

    Every label is asked for its count (repeats of the same string count, absent labels answer 0); a count of n opens n
    mention questions, which do not see each other.

    prompt (Prompt): The words of the questions.
    max_mentions (int): The highest count that opens questions; a higher one is reported and opens none.
    """

    prompt: Prompt
    max_mentions: int = 99

    def trunk(self, text: str) -> tuple[str, ...]:
        return self.prompt.trunk(text)

    def words(self, label: str) -> str:
        return self.prompt.words(label)

    def ask(self, labels: Mapping[str, str], text: str = "") -> list[Branch]:
        closer = self.prompt.ask_mention(1)
        # A model that has not learnt to count may write digits for ever; two pieces more than the highest count has
        # digits leave room for a blank in front and still show that the count is too high.
        limit = len(str(self.max_mentions)) + 2
        return [
            Branch(self.prompt.ask_label(words), label, closer=closer, limit=limit) for label, words in labels.items()
        ]

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        count = None if branch.ordinal else read_count(answer)
        if count is None or count > self.max_mentions:
            return []
        return [
            Branch(self.prompt.ask_mention(ordinal), branch.label, ordinal, parent=branch, copies=True)
            for ordinal in range(1, count + 1)
        ]

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        strings = [mention.string for mention in gold if mention.label == branch.label]
        return strings[branch.ordinal - 1] if branch.ordinal else str(len(strings))

    def read(self, answered: Sequence[Answered]) -> Reading:
        counts: dict[str, int] = {}
        count_scores: dict[str, float] = {}
        unreadable: list[tuple[str, str]] = []
        over_limit: list[tuple[str, int]] = []
        for branch, answer in answered:
            if branch.ordinal:
                continue
            count = read_count(answer.text)
            if count is None:
                unreadable.append((branch.label, answer.text))
                continue
            counts[branch.label] = count
            count_scores[branch.label] = answer.probability
            if count > self.max_mentions:
                over_limit.append((branch.label, count))
        mentions = [
            Mention(branch.label, answer.text, branch.ordinal, answer.probability, count_scores[branch.label])
            for branch, answer in answered
            if branch.ordinal
        ]
        order = {label: place for place, label in enumerate(counts)}
        mentions.sort(key=lambda mention: (order[mention.label], mention.ordinal))
        return Reading(tuple(mentions), counts, tuple(unreadable), tuple(over_limit))

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        return []


def build_padellm_v1(*, prompt: Prompt, max_mentions: int = 99) -> PaDeLLM:
    """The PaDeLLM scheme as a config block.

    prompt (Prompt): A registered prompt, e.g. "spacy-padellm.EnglishPrompt.v1".
    max_mentions (int): The highest count that opens mention questions, at least 1.
    RETURNS (PaDeLLM): The scheme.
    RAISES (ValueError): P001 if the prompt is none or max_mentions is below 1.
    """
    if not isinstance(prompt, Prompt):
        expected = 'a prompt, as "spacy-padellm.EnglishPrompt.v1"'
        raise ValueError(Errors.P001.format(name="prompt", expected=expected, got=prompt))
    check_whole("max_mentions", max_mentions)
    return PaDeLLM(prompt, max_mentions)
