"""How well each policy of `spacy_padellm.spans` turns predicted strings into spans.

    python -m benchmarks.mapping --predictions FILE.jsonl [--lang xx] [--nested] [--one-label]

Each line of FILE is {"text": str, "pred": {label: [[string, probability], ...]}, "gold": [[start, end, label], ...]},
with "tokens": [str, ...] if the tokens are known; otherwise spaCy's blank tokenizer gives the token borders. Gold
offsets are characters, the end exclusive, and never give borders. Blank lines are skipped. Figures are micro averages
in percent. `--gold FILE` takes the gold mentions of any file that `spacy padellm convert` reads for predictions: what
placing alone loses where a model is right. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spacy

from benchmarks.documents import read_documents
from benchmarks.results import Cell, table, write_results
from benchmarks.surroundings import surroundings
from spacy_padellm.errors import Errors
from spacy_padellm.metrics.prf import PRF, Tally
from spacy_padellm.spans.occurrences import Borders
from spacy_padellm.spans.resolve import POLICIES, Policy, flat, one_label_per_string, place
from spacy_padellm.types import Mention

Offsets = list[tuple[int, int]]
COLUMNS = ("span_p", "span_r", "span_f", "string_set_f", "unplaced", "surplus", "filled")


@dataclass(frozen=True)
class Prediction:
    """One line of the file: what a model said about a text, beside the gold spans (start, end, label)."""

    text: str
    borders: Borders
    mentions: tuple[Mention, ...]
    gold: frozenset[tuple[int, int, str]]


@dataclass
class Score:
    """The figures of one policy over all texts.

    spans (Tally): Exact (start, end, label).
    strings (Tally): Distinct (label, string) of each text as predicted, placed or not: the figure of the PaDeLLM
        paper. It is the same under every policy.
    """

    spans: Tally = field(default_factory=Tally)
    strings: Tally = field(default_factory=Tally)
    docs: int = 0
    unplaced: int = 0
    surplus: int = 0
    filled: int = 0

    def add(self, prediction: Prediction, policy: Policy, *, nested: bool) -> None:
        placement = place(prediction.mentions, prediction.text, prediction.borders, policy)
        spans = placement.spans if nested else flat(placement.spans)
        self.spans += Tally.of({(span.start, span.end, span.mention.label) for span in spans}, prediction.gold)
        self.strings += Tally.of(
            {(mention.label, mention.string) for mention in prediction.mentions},
            {(label, prediction.text[start:end]) for start, end, label in prediction.gold},
        )
        self.docs += 1
        self.unplaced += len(placement.unplaced)
        self.surplus += len(placement.surplus)
        self.filled += placement.filled

    def to_json(self) -> dict[str, float]:
        counts = {"docs": self.docs, "gold": self.spans.gold, "predicted": self.spans.predicted}
        losses = {"unplaced": self.unplaced, "surplus": self.surplus, "filled": self.filled}
        shares = {
            f"{name}_{figure}": tally.figures(digits=4)[figure]
            for name, tally in (("span", self.spans), ("string_set", self.strings))
            for figure in PRF
        }
        return {**shares, **counts, **losses}


def read_predictions(path: Path, tokenize: Callable[[str], Offsets]) -> Iterator[Prediction]:
    """Read a file of predictions.

    path (Path): The file.
    tokenize (Callable[[str], Offsets]): Start and end of each token of a text that comes without tokens.
    YIELDS (Prediction): One for each line that is not blank.
    RAISES (ValueError): P131 for a line that cannot be read.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _parse(json.loads(line), tokenize)
            except (ValueError, TypeError, KeyError, AttributeError) as err:
                problem = f"no {err}" if isinstance(err, KeyError) else str(err)
                raise ValueError(Errors.P131.format(path=path, line=number, problem=problem)) from err


def gold_predictions(path: Path, language: str) -> Iterator[Prediction]:
    """What a perfect model says of the documents of a file: the strings of the gold mentions, in text order.

    language (str): Of the blank tokenizer for texts that come without tokens.
    """
    for document in read_documents(path, language=language):
        text, gold = document.text, document.gold
        ordinals: Counter[str] = Counter()
        mentions = []
        for mention in gold:
            ordinals[mention.label] += 1
            mentions.append(Mention(mention.label, mention.string, ordinals[mention.label]))
        spans = frozenset((one.start or 0, (one.start or 0) + len(one.string), one.label) for one in gold)
        yield Prediction(text.string, Borders.from_tokens(text.string, text.borders), tuple(mentions), spans)


def token_offsets(text: str, tokens: Sequence[str]) -> Offsets:
    """Place the given tokens in their text; a ValueError says where they stop to spell it. White space may stand
    between tokens or be a token itself."""
    offsets = []
    end = 0
    for token in tokens:
        if not token.strip():
            continue
        start = text.find(token, end)
        if start == -1 or text[end:start].strip():
            raise ValueError(f"the token {token!r} does not follow at character {end} of the text")
        end = start + len(token)
        offsets.append((start, end))
    if text[end:].strip():
        raise ValueError(f"the tokens end at character {end}, before the text does")
    return offsets


def score_policies(
    predictions: Iterable[Prediction], *, nested: bool = False, one_label: bool = False
) -> dict[str, dict[str, float]]:
    """Place every prediction under every policy.

    nested (bool): Score all spans, not only the part that does not overlap.
    one_label (bool): First keep one label for each string of a text.
    RETURNS (dict[str, dict[str, float]]): The figures of each policy.
    """
    scores: dict[Policy, Score] = {policy: Score() for policy in POLICIES}
    for prediction in predictions:
        if one_label:
            kept, _ = one_label_per_string(prediction.mentions)
            prediction = Prediction(prediction.text, prediction.borders, kept, prediction.gold)
        for policy, score in scores.items():
            score.add(prediction, policy, nested=nested)
    return {policy: score.to_json() for policy, score in scores.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Raises P131 for a line that cannot be read, P132 for a file without predictions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description="Score the placing policies.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--predictions", type=Path, help="file of predictions, one JSON object a line")
    source.add_argument("--gold", type=Path, help="file of documents, whose gold mentions are the predictions")
    parser.add_argument("--lang", default="xx", help='language of the blank tokenizer for lines without "tokens"')
    parser.add_argument("--nested", action="store_true", help="score all spans, also those that overlap")
    parser.add_argument("--one-label", action="store_true", help="keep one label for each string of a text first")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args(argv)
    measured_on = surroundings()
    figures = score_policies(_predictions(args), nested=args.nested, one_label=args.one_label)
    if not figures["ordered"]["docs"]:
        raise ValueError(Errors.P132.format(path=args.predictions or args.gold))
    docs, gold = figures["ordered"]["docs"], figures["ordered"]["gold"]
    heading = f"{docs} texts, {gold} gold spans, {'all spans' if args.nested else 'spans that do not overlap'}"
    print(f"{heading}\n\n{'policy':<10}" + "".join(f"{column:>14}" for column in COLUMNS))
    for policy, row in figures.items():
        cells = (f"{row[c]:>14.2f}" if isinstance(row[c], float) else f"{row[c]:>14}" for c in COLUMNS)
        print(f"{policy:<10}" + "".join(cells))
    if args.output:
        rows: list[list[Cell]] = [[policy, *(row[column] for column in COLUMNS)] for policy, row in figures.items()]
        write_results(args.output, {"policies": figures, **measured_on}, [heading, table(["policy", *COLUMNS], rows)])
    print(json.dumps(figures))


def _predictions(args: argparse.Namespace) -> Iterator[Prediction]:
    if args.gold:
        return gold_predictions(args.gold, args.lang)
    nlp = spacy.blank(args.lang)

    def tokenize(text: str) -> Offsets:
        return [(token.idx, token.idx + len(token)) for token in nlp.make_doc(text)]

    return read_predictions(args.predictions, tokenize)


def _parse(line: dict[str, Any], tokenize: Callable[[str], Offsets]) -> Prediction:
    """One line of the file, checked: a wrong offset would silently score as a miss."""
    text = line["text"]
    if not isinstance(text, str):
        raise ValueError(f'"text" is {text!r}, not a string')
    offsets = token_offsets(text, line["tokens"]) if "tokens" in line else tokenize(text)
    mentions = []
    for label, answers in line["pred"].items():
        for ordinal, (string, probability) in enumerate(answers, start=1):
            if not (isinstance(string, str) and 0 <= probability <= 1):
                raise ValueError(f'"pred" of {label!r} has {[string, probability]}, no string with its probability')
            mentions.append(Mention(label, string, ordinal, score=float(probability)))
    gold = frozenset((start, end, label) for start, end, label in line["gold"])
    for start, end, label in gold:
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
            raise ValueError(f'"gold" has {[start, end, label]}, which is no span of the text')
    return Prediction(text, Borders.from_tokens(text, offsets), tuple(mentions), gold)


if __name__ == "__main__":
    main()
