"""How many pieces each scheme has a model generate. No model is needed.

    python -m benchmarks.lengths --docs conll03/test.jsonl genia/test.jsonl --tokenizer FOLDER --output lengths.json

The answers are those of a perfect model; a length is that of an answer without its end, which is one piece more in
every scheme. Beside the JSON file a table is written (.md). The last line printed is one JSON object.

`--tokenizer` is a hub id, a folder with a tokenizer, or a tokenizer.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.arguments import whole
from benchmarks.corpora import Corpus, Language, Words, read_corpus
from benchmarks.models import read_tokenizer
from benchmarks.paper import LENGTHS
from benchmarks.results import table, write_results
from benchmarks.schemes import SCHEMES
from benchmarks.sequences import DEFINITIONS, Cut, Ruler, answer_lengths, padellm_paths
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.types import Scheme

CUTS: tuple[Cut, ...] = get_args(Cut)


def spread(lengths: Sequence[int]) -> dict[str, float | int]:
    """How some lengths are distributed; percentiles between two lengths are interpolated."""
    if not lengths:
        return {"n": 0, "mean": 0.0, "median": 0.0, "p90": 0.0, "max": 0}
    median, p90 = np.percentile(lengths, [50, 90])
    return {
        "n": len(lengths),
        "mean": float(np.mean(lengths)),
        "median": float(median),
        "p90": float(p90),
        "max": max(lengths),
    }


def measure_scheme(scheme: Scheme, corpus: Corpus, ruler: Ruler) -> dict[str, Any]:
    """The lengths of a scheme's answers, each by itself and all of a document together."""
    documents = [answer_lengths(scheme, corpus.labels, document, ruler) for document in corpus.documents]
    left_out = sum(len(scheme.left_out(document.gold)) for document in corpus.documents)
    return {
        "sequence": spread([length for lengths in documents for length in lengths]),
        "document": spread([sum(lengths) for lengths in documents]),
        "left_out": left_out,
    }


def measure_definitions(corpus: Corpus, ruler: Ruler) -> dict[str, dict[str, float]]:
    """PaDeLLM's mean length under each definition of a sequence, without and with the end pieces."""
    scheme = SCHEMES["padellm"](corpus.prompt)
    documents = [padellm_paths(scheme, corpus.labels, document, ruler) for document in corpus.documents]
    means: dict[str, dict[str, float]] = {}
    for name, counted in DEFINITIONS.items():
        lengths = [[length for document in documents for length in counted(document, end)] for end in (0, 1)]
        without, within = (float(np.mean(found)) if found else 0.0 for found in lengths)
        means[name] = {"n": len(lengths[0]), "without_end": without, "with_end": within}
    return means


def nearest(definitions: dict[Cut, dict[str, dict[str, float]]], published: float) -> dict[str, Any]:
    """The definition whose mean is nearest to a published one."""
    every = [
        {"definition": name, "cut": cut, "ends": ends, "mean": means[ends]}
        for cut, named in definitions.items()
        for name, means in named.items()
        for ends in ("without_end", "with_end")
    ]
    return min(every, key=lambda one: abs(one["mean"] - published))


def measure_corpus(corpus: Corpus, pieces: Pieces) -> dict[str, Any]:
    """All figures of one data set."""
    rulers = {cut: Ruler(pieces, cut) for cut in CUTS}
    published = {name: row[corpus.name] for name, row in LENGTHS.items() if corpus.name in row}
    definitions = {cut: measure_definitions(corpus, ruler) for cut, ruler in rulers.items()}
    return {
        "docs": len(corpus.documents),
        "labels": corpus.labels,
        "language": corpus.language,
        "schemes": {
            cut: {name: measure_scheme(make(corpus.prompt), corpus, ruler) for name, make in SCHEMES.items()}
            for cut, ruler in rulers.items()
        },
        "padellm_definitions": definitions,
        "paper": published,
        "padellm_nearest": nearest(definitions, published["padellm"]) if published else None,
    }


def tables(corpora: dict[str, dict[str, Any]]) -> Iterable[str]:
    """What people read: one table of all sets, and one for each way that PaDeLLM's sequences may be counted."""
    head = ["data set", "scheme", "cut", "sequences", "mean", "median", "p90", "max", "mean a document", "paper"]
    rows = []
    for name, found in corpora.items():
        for scheme in SCHEMES:
            for cut in CUTS:
                figures = found["schemes"][cut][scheme]
                each = figures["sequence"]
                told = [each[key] for key in ("n", "mean", "median", "p90", "max")]
                rows.append([name, scheme, cut, *told, figures["document"]["mean"], found["paper"].get(scheme)])
    yield table(head, rows)
    ways = [(cut, ends) for cut in CUTS for ends in ("without_end", "with_end")]
    for name, found in corpora.items():
        yield f"PaDeLLM's sequences of {name}, mean length; the paper has {found['paper'].get('padellm', 'none')}:"
        yield table(
            ["a sequence is", "sequences", *(f"{cut}, {ends.replace('_', ' ')}" for cut, ends in ways)],
            [
                [one, means["n"], *(found["padellm_definitions"][cut][one][ends] for cut, ends in ways)]
                for one, means in found["padellm_definitions"]["segments"].items()
            ],
        )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    measured_on = surroundings()
    pieces = read_tokenizer(arguments.tokenizer)
    corpora = {}
    for path in arguments.docs:
        corpus = read_corpus(path, limit=arguments.limit, language=arguments.language, words=arguments.words)
        corpora[corpus.name] = measure_corpus(corpus, pieces)
    told = {"tokenizer": arguments.tokenizer_name or arguments.tokenizer, "words": arguments.words}
    return {**told, "vocabulary": len(pieces), "sets": corpora, **measured_on}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--tokenizer-name", help="what to call it in the results")
    parser.add_argument("--words", choices=get_args(Words), default="catalogue", help="what stands for a label")
    parser.add_argument("--language", choices=get_args(Language), help="of the prompt; by default the data set's")
    parser.add_argument("--limit", type=whole, help="the first documents only")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    if arguments.output:
        write_results(arguments.output, figures, list(tables(figures["sets"])))
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    with coded_errors():
        main()
