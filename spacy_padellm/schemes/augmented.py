"""AutoRegAug: one question about all labels, answered by the text with its mentions marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spacy_padellm.errors import Errors
from spacy_padellm.prompts.template import Prompt
from spacy_padellm.schemes.alignment import Alignment
from spacy_padellm.schemes.marked import MARKS, MarkedForm, read_marks
from spacy_padellm.schemes.marks import distinct, escape, room
from spacy_padellm.settings import check_whole
from spacy_padellm.types import Answered, Branch, Mention, Reading, Words


def nest(gold: Sequence[Mention], most: int) -> tuple[list[Mention], list[Mention]]:
    """The mentions in the order their marks open, and those that cannot be marked: a mention that reaches over the end
    of one that begins before it, and one inside `most` others.

    RAISES (ValueError): P018 if a mention has no place.
    """
    inside: list[Mention] = []
    left_out: list[Mention] = []
    ends: list[int] = []
    for start, end, mention in sorted(map(_located, gold), key=lambda found: (found[0], -found[1])):
        while ends and ends[-1] <= start:
            ends.pop()
        if len(ends) >= most or (ends and end > ends[-1]):
            left_out.append(mention)
        else:
            inside.append(mention)
            ends.append(end)
    return inside, left_out


def _located(mention: Mention) -> tuple[int, int, Mention]:
    if mention.start is None:
        raise ValueError(Errors.P018.format(string=mention.string, label=mention.label))
    return mention.start, mention.start + len(mention.string), mention


@dataclass(frozen=True)
class AutoRegAug:
    """The scheme AutoRegAug of the PaDeLLM-NER paper (Lu et al., NeurIPS 2024): the text itself is answered, with marks
    around its mentions, nested ones too. So every mention has its place.

    Brackets, bars and backslashes of the text stand behind a backslash; white space at the text's edges is not
    repeated. A mention that reaches over the end of one that begins before it cannot be marked. A mention's score is
    the probability of the whole answer.

    prompt (Prompt): The words of the question.
    max_nesting (int): How many mentions may stand around one place.
    """

    prompt: Prompt
    max_nesting: int = 8

    def trunk(self, text: str) -> tuple[str, ...]:
        return self.prompt.trunk(text)

    def words(self, label: str) -> str:
        return self.prompt.words(label)

    def ask(self, labels: Mapping[str, Words], text: str = "") -> list[Branch]:
        if not labels:
            return []
        pairs = distinct(labels)
        form = MarkedForm(tuple(escape(words, MARKS) for _, words in pairs), self.max_nesting)
        question = self.prompt.ask_marked(labels.values())
        return [Branch(question, limit=room(text), form=form, labels=pairs, text=text)]

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        return []

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        words = dict(branch.labels)
        text, written = branch.text, ""
        place = len(text) - len(text.lstrip())
        opened: list[tuple[int, str]] = []
        inside, _ = nest([mention for mention in gold if mention.label in words], self.max_nesting)
        for start, end, mention in [*map(_located, inside), (len(text), len(text), None)]:
            while opened and opened[-1][0] <= start:
                behind, label = opened.pop()
                written += f"{escape(text[place:behind], MARKS)} | {escape(words[label], MARKS)}]"
                place = behind
            written += escape(text[place:start] if mention else text[place:].rstrip(), MARKS)
            place = start
            if mention:
                written += "["
                opened.append((end, mention.label))
        return written

    def read(self, answered: Sequence[Answered]) -> Reading:
        mentions: list[Mention] = []
        unreadable: list[tuple[str, str]] = []
        for branch, answer in answered:
            names = {words.strip(): label for label, words in branch.labels}
            found: dict[str, list[Mention]] = {label: [] for label in names.values()}
            copy, marked, broken = read_marks(answer.text)
            alignment = Alignment(copy, branch.text)
            for start, end, words in marked:
                if words not in names:
                    broken.append(f"{copy[start:end]} | {words}")
                    continue
                of_label = found[names[words]]
                place = alignment.find(start, end)
                string = branch.text[slice(*place)] if place else copy[start:end].strip()
                mention = Mention(names[words], string, len(of_label) + 1, answer.probability)
                of_label.append(replace(mention, start=place[0]) if place else mention)
            mentions += [mention for label in found for mention in found[label]]
            unreadable += [("", part) for part in broken]
            unreadable += [] if alignment.whole else [("", answer.text)]
        return Reading(tuple(mentions), unreadable=tuple(unreadable))

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        return nest(gold, self.max_nesting)[1]


def build_augmented_v1(*, prompt: Prompt, max_nesting: int = 8) -> AutoRegAug:
    """The AutoRegAug scheme as a config block.

    prompt (Prompt): A registered prompt, e.g. "spacy-padellm.EnglishPrompt.v1".
    max_nesting (int): How many mentions may stand around one place, at least 1; deeper ones are left out.
    RETURNS (AutoRegAug): The scheme.
    RAISES (ValueError): P001 if max_nesting is below 1.
    """
    check_whole("max_nesting", max_nesting)
    return AutoRegAug(prompt, max_nesting)
