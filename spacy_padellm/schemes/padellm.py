"""PaDeLLM: per label a count, then every mention in a branch of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.errors import Errors
from spacy_padellm.prompts.template import Prompt
from spacy_padellm.schemes.distinct import distinct
from spacy_padellm.schemes.second_look import Candidate, choose, surplus
from spacy_padellm.settings import check_number, check_whole
from spacy_padellm.types import Answered, Branch, Mention, Reading, Words

_GUESSES = ("0", "1", "2")
"""The counts that most labels of most texts have."""

_LONGEST_COUNT = 9
"""Digits beyond which an answer is not read as a number at all."""


def read_count(answer: str) -> int | None:
    """The number an answer writes, None where it is not exactly one number without leading zeros."""
    if len(answer) > _LONGEST_COUNT or not (answer.isascii() and answer.isdigit()):
        return None
    count = int(answer)
    return count if str(count) == answer else None


def _by_label(answered: Sequence[Answered]) -> dict[str, list[Answered]]:
    """The answers about each label, in the order given: labels in the order asked, a count before its mentions."""
    given: dict[str, list[Answered]] = {}
    for one in answered:
        given.setdefault(one.branch.label, []).append(one)
    return given


@dataclass(frozen=True)
class PaDeLLM:
    """The scheme of PaDeLLM-NER (Lu et al., NeurIPS 2024).

    Every label is asked for its count (repeats of the same string count, absent labels answer 0); a count of n opens n
    mention questions, which do not see each other.

    prompt (Prompt): The words of the questions.
    max_mentions (int): The highest count that opens questions; a higher one is reported and opens none.
    second_look (int): How many further counts of a label are followed beside the likeliest; the one is kept that is
        most probable together with its mentions.
    look_floor (float): How probable a further count must be relative to the likeliest.
    look_weight (float): What the mentions weigh beside their count in that choice.
    look_absent (float): What stands there for the probability of the mentions of a count of 0.
    drop_surplus (bool): Lower a count by the mentions that repeat a string more often than the text has it.
    mention_choices (int): How many further answers are followed to each of several mention questions of a label; a
        mention that repeats another one beyond the text's occurrences takes the likeliest of them that does not.
    choice_floor (float): How probable such an answer must be where it leaves the likeliest, relative to it.
    """

    prompt: Prompt
    max_mentions: int = 99
    second_look: int = 0
    look_floor: float = 0.3
    look_weight: float = 1.0
    look_absent: float = 0.5
    drop_surplus: bool = False
    mention_choices: int = 0
    choice_floor: float = 0.05

    def trunk(self, text: str) -> tuple[str, ...]:
        return self.prompt.trunk(text)

    def words(self, label: str) -> str:
        return self.prompt.words(label)

    def ask(self, labels: Mapping[str, Words], text: str = "") -> list[Branch]:
        closer = self.prompt.ask_mention(1)
        # A model that has not learnt to count may write digits for ever; two pieces more than the highest count has
        # digits leave room for a blank in front and still show that the count is too high.
        limit = len(str(self.max_mentions)) + 2
        text = text if self.second_look or self.drop_surplus or self.mention_choices else ""
        return [
            Branch(
                self.prompt.ask_label(words),
                label,
                closer=closer,
                limit=limit,
                text=text,
                further=self.second_look,
                floor=self.look_floor if self.second_look else 0.0,
                guesses=_GUESSES,
            )
            for label, words in labels.items()
        ]

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        count = None if branch.ordinal else read_count(answer)
        if count is None or count > self.max_mentions:
            return []
        # A mention that is alone repeats none.
        further = self.mention_choices if count > 1 else 0
        return [
            Branch(
                self.prompt.ask_mention(ordinal),
                branch.label,
                ordinal,
                parent=branch,
                copies=True,
                further=further,
                floor=self.choice_floor if further else 0.0,
                under=answer if self.second_look else "",
            )
            for ordinal in range(1, count + 1)
        ]

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        strings = [mention.string for mention in gold if mention.label == branch.label]
        return strings[branch.ordinal - 1] if branch.ordinal else str(len(strings))

    def read(self, answered: Sequence[Answered]) -> Reading:
        mentions: list[Mention] = []
        counts: dict[str, int] = {}
        unreadable: list[tuple[str, str]] = []
        over_limit: list[tuple[str, int]] = []
        kept: set[Answered] = set()
        for label, given in _by_label(answered).items():
            chosen = self._choose(given)
            if chosen is None:
                kept.add(given[0])
                unreadable.append((label, given[0].answer.text))
                continue
            kept.update((chosen.answered, *chosen.mentions))
            dropped = surplus(chosen.mentions, chosen.answered.branch.text) if self.drop_surplus else 0
            counts[label] = chosen.count - dropped
            if chosen.count > self.max_mentions:
                over_limit.append((label, chosen.count))
            count_score = chosen.answered.answer.probability
            mentions += [
                Mention(label, answer.text, branch.ordinal, answer.probability, count_score)
                for branch, answer in chosen.mentions
            ]
        passed_over = [one for one in answered if one not in kept]
        return Reading(tuple(mentions), counts, tuple(unreadable), tuple(over_limit), tuple(passed_over))

    def _choose(self, given: Sequence[Answered]) -> Candidate | None:
        """The count that is kept of those answered for one label, with its mentions; None where none is readable."""
        candidates = []
        for one in given:
            count = None if one.branch.ordinal else read_count(one.answer.text)
            if count is not None:
                # Without a second look there is one count, and its mentions do not say which one they are under.
                under = (
                    found for found in given if found.branch.ordinal and found.branch.under in ("", one.answer.text)
                )
                options: dict[int, list[Answered]] = {}
                for found in under:
                    options.setdefault(found.branch.ordinal, []).append(found)
                candidates.append(Candidate(count, one, distinct(options, one.branch.text)))
        within = [candidate for candidate in candidates if candidate.count <= self.max_mentions] or candidates[:1]
        if len(within) < 2:
            return within[0] if within else None
        text = given[0].branch.text
        return choose(within, text, weight=self.look_weight, absent=self.look_absent)

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        return []


def build_padellm_v1(
    *,
    prompt: Prompt,
    max_mentions: int = 99,
    second_look: int = 0,
    look_floor: float = 0.3,
    look_weight: float = 1.0,
    look_absent: float = 0.5,
    drop_surplus: bool = False,
    mention_choices: int = 0,
    choice_floor: float = 0.05,
) -> PaDeLLM:
    """The PaDeLLM scheme as a config block.

    prompt (Prompt): A registered prompt, e.g. "spacy-padellm.EnglishPrompt.v1".
    max_mentions (int): The highest count that opens mention questions, at least 1.
    second_look (int): How many further counts of a label are followed beside the likeliest. Of all of them the one is
        kept that is most probable together with its mentions.
    look_floor (float): How probable a further count must be relative to the likeliest, between 0 and 1.
    look_weight (float): What the mentions weigh in that choice, the count weighs 1: their mean logarithm of probability
        is multiplied by it. 0 chooses by the counts alone, and by whether the text has the repeats.
    look_absent (float): What stands there for the probability of the mentions of a count of 0, between 0 and 1.
    drop_surplus (bool): Lower a count by the mentions that repeat a string more often than the text has it. They get no
        span in any case.
    mention_choices (int): How many further answers are followed to each mention question where a label has several
        mentions. The questions do not see each other's answers: a mention that repeats another one more often than the
        text has it takes the likeliest of its further answers that stands elsewhere.
    choice_floor (float): How probable such an answer must be where it leaves the likeliest one, relative to it, between
        0 and 1.
    RETURNS (PaDeLLM): The scheme.
    RAISES (ValueError): P001 if the prompt is none or a number is out of its range.
    """
    if not isinstance(prompt, Prompt):
        expected = 'a prompt, as "spacy-padellm.EnglishPrompt.v1"'
        raise ValueError(Errors.P001.format(name="prompt", expected=expected, got=prompt))
    check_whole("max_mentions", max_mentions)
    check_whole("second_look", second_look, least=0)
    check_number("look_floor", look_floor, most=1.0)
    check_number("look_weight", look_weight)
    check_number("look_absent", look_absent, most=1.0)
    check_whole("mention_choices", mention_choices, least=0)
    check_number("choice_floor", choice_floor, most=1.0)
    return PaDeLLM(
        prompt,
        max_mentions,
        second_look,
        look_floor,
        look_weight,
        look_absent,
        drop_surplus,
        mention_choices,
        choice_floor,
    )
