"""What labels cost, by prompt: pieces of a label and of a mention, and a text with many labels.

    python -m benchmarks.prompts --tokenizer FOLDER --model 8m --labels 10 50 100 200 500 --at-once 50 --output F.json

The labels are made up of two words each, so that any number of them can be asked about. One short text is decoded, with
gold answers in place of the model's: two labels have mentions. A fresh tokenizer is trained for each prompt, as that of
a fresh decoder is; `--tokenizer` (a hub id, a folder or a tokenizer.json) is measured beside it. Beside the JSON file a
table is written (.md). The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.arguments import whole
from benchmarks.arms import CLOCKS
from benchmarks.models import make_model, read_tokenizer
from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.backends.local import Text
from spacy_padellm.backends.replay import replay_texts
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.segments import prompt_segments
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Mention

SCHEMES: Mapping[str, PaDeLLM] = MappingProxyType(
    {
        "English": PaDeLLM(build_english_prompt_v1()),
        "Chinese": PaDeLLM(build_chinese_prompt_v1()),
        "Compact": PaDeLLM(build_compact_prompt_v1()),
    }
)

FIRST = (
    "old new famous small large local foreign ancient modern public private sacred rare common legal medical social "
    "royal chemical digital northern southern urban rural early late"
)
SECOND = (
    "person place club film song city street country river animal plant drug gene cell dish book event ship planet tool"
)
LAST = "", " name", " part", " type"
"""Made-up labels are a word of each, the last one left out at first."""

TEXT = "Japan began the defence of their Asian Cup title with a lucky win against Syria"
GOLD = ((0, "Japan"), (0, "Syria"), (1, "Asian Cup"))
"""The number of the label, and the mention."""


def make_labels(number: int) -> dict[str, str]:
    """So many labels with their words, no two the same; neighbours have no word in common.

    RAISES (ValueError): If there are not so many.
    """
    firsts, seconds = FIRST.split(), SECOND.split()
    words = []
    for last, step in itertools.product(LAST, range(len(seconds))):
        words += [f"{first} {seconds[(place + step) % len(seconds)]}{last}" for place, first in enumerate(firsts)]
    if number > len(words):
        raise ValueError(f"there are {len(words)} labels at the most, got {number}")
    return {f"L{place}": found for place, found in enumerate(words[:number])}


def count_pieces(scheme: PaDeLLM, pieces: Pieces) -> dict[str, float]:
    """Mean pieces of a label and of a mention: its question as a whole, what of that are not its words or its ordinal,
    and what it adds to a tree of 100 labels, or 9 mentions, where questions share what they begin with."""
    labels = make_labels(100)
    questions = [scheme.prompt.ask_label(words) for words in labels.values()]
    mentions = [scheme.prompt.ask_mention(ordinal) for ordinal in range(1, 10)]
    words = sum(len(pieces.question(words)) for words in labels.values()) / len(labels)
    figures: dict[str, float] = {"words": words}
    for name, segments in (("label", questions), ("mention", mentions)):
        cuts, tree = [pieces.question(segment) for segment in segments], Tree()
        for cut in cuts:
            tree.add(ROOT, cut)
        figures[name] = sum(map(len, cuts)) / len(cuts)
        figures[f"{name}_in_tree"] = len(tree) / len(cuts)
    return figures


def fresh_model(scheme: PaDeLLM, arguments: argparse.Namespace) -> LanguageModel:
    segments = prompt_segments(scheme, make_labels(200))
    return make_model(arguments.model, [TEXT], segments, device="cpu", dtype="float32")


def measure_labels(lm: LanguageModel, scheme: PaDeLLM, number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Decode the text with so many labels several times, after a warm-up, all labels at once and in groups."""
    labels = make_labels(number)
    names = list(labels)
    gold = [Mention(names[place], string) for place, string in GOLD]
    borders, place = [], 0
    for word in TEXT.split():
        borders.append((place, place + len(word)))
        place += len(word) + 1
    clock, found = CLOCKS[arguments.clock], {}
    for at_once in (None, *(size for size in arguments.at_once if size < number)):
        decoding, seconds = Decoding(labels_at_once=at_once), []
        for _ in range(arguments.runs + 1):
            counters, start = Counters(), clock()
            replay_texts(lm, scheme, labels, [Text(TEXT, borders)], [gold], decoding=decoding, counters=counters)
            seconds.append(clock() - start)
        cost = {"pieces": counters.pieces, "steps": counters.steps, "kv_pieces": counters.peak_kv_pieces}
        found[str(at_once or "all")] = {"ms": 1000 * min(seconds[1:]), **cost}
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    given = read_tokenizer(arguments.tokenizer) if arguments.tokenizer else None
    pieces: dict[str, Any] = {}
    decoding: dict[str, Any] = {}
    for name, scheme in SCHEMES.items():
        lm = fresh_model(scheme, arguments)
        pieces[name] = {"fresh": count_pieces(scheme, lm.pieces)}
        if given is not None:
            pieces[name]["tokenizer"] = count_pieces(scheme, given)
        decoding[name] = {str(number): measure_labels(lm, scheme, number, arguments) for number in arguments.labels}
    asked = {"model": arguments.model, "clock": arguments.clock, "runs": arguments.runs}
    tokenizer = Path(arguments.tokenizer).name if arguments.tokenizer else None
    return {**asked, "tokenizer": tokenizer, "pieces": pieces, "decoding": decoding, **surroundings()}


def tables(figures: dict[str, Any]) -> list[str]:
    head = ["prompt", "tokenizer", "words of a label", "label", "label in a tree", "mention", "mention in a tree"]
    names = ("words", "label", "label_in_tree", "mention", "mention_in_tree")
    rows = [
        [prompt, cut if cut == "fresh" else figures["tokenizer"], *(float(found[name]) for name in names)]
        for prompt, cuts in figures["pieces"].items()
        for cut, found in cuts.items()
    ]
    costs = [
        [prompt, number, at_once, found["pieces"], found["steps"], found["kv_pieces"], found["ms"]]
        for prompt, numbers in figures["decoding"].items()
        for number, groups in numbers.items()
        for at_once, found in groups.items()
    ]
    of_labels = ["prompt", "labels", "at once", "pieces", "steps", "K/V places", f"ms ({figures['clock']})"]
    return [table(head, rows), table(of_labels, costs)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What labels cost, by prompt.")
    parser.add_argument("--tokenizer", help="measured beside a fresh one: a hub id, a folder or a tokenizer.json")
    parser.add_argument("--model", default="tiny", help="a shape of benchmarks/models.py")
    parser.add_argument("--labels", type=whole, nargs="+", default=[10, 50, 100, 200, 500])
    parser.add_argument("--at-once", type=whole, nargs="*", default=[50], help="labels asked about at once, beside all")
    parser.add_argument("--runs", type=whole, default=5, help="the fastest counts")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine")
    parser.add_argument("--output", type=Path, help="JSON file to write; a table (.md) goes beside it")
    arguments = parser.parse_args(argv)
    with coded_errors():
        figures = measure(arguments)
    tell(figures, tables(figures), arguments.output)


if __name__ == "__main__":
    main()
