"""What reading in windows costs in quality: long documents in windows beside their sentences, each read alone.

    python -m benchmarks.windows --model FOLDER --docs test.spacy [--train train.spacy --updates 150] \
        [--windows 64 128 256] [--sentences 50]

The texts of `--docs`, sentences or queries, are put together to long documents of so many each. The pipeline reads them
one by one, and then the long documents, in windows of each size: cut at the ends of the texts, and cut as if nobody
knew where they end. The gold is the same in all of it. A model that was trained on single texts has never seen several
at once, so with `--train` it then learns from documents of one to `--most` texts, and all is measured again. The last
line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam

from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.evaluate import read_gold
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.decoder import Counters
from spacy_padellm.metrics.report import report
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.outcomes import outcome_of

HEAD = ("texts read", "windows", "P", "R", "F", "loss of F", "pieces a text", "processor ms a text")

QUIET = r"\[W0(01|10|11)\]"
"""What was lost and what was read in windows is among the figures."""


def joined(docs: Sequence[Doc], *, with_sentences: bool = True) -> Doc:
    """One document of several, with their gold mentions; it knows where each begins unless it is not to."""
    whole = Doc.from_docs([doc for doc in docs if len(doc)], ensure_whitespace=True)
    starts = {0}
    for doc in docs:
        starts.add(max(starts) + len(doc))
    for token in whole:
        token.is_sent_start = token.i in starts if with_sentences else None
    return whole


def in_groups(docs: Sequence[Doc], size: int, *, with_sentences: bool = True) -> list[Doc]:
    """The documents put together, so many at a time."""
    return [joined(docs[n : n + size], with_sentences=with_sentences) for n in range(0, len(docs), size)]


def bare(nlp: Language, doc: Doc) -> Doc:
    """A document's words and sentences without its annotation."""
    starts: list[bool | int | None] | None = (
        [token.is_sent_start for token in doc] if doc.has_annotation("SENT_START") else None
    )
    spaces = [bool(token.whitespace_) for token in doc]
    return Doc(nlp.vocab, words=[token.text for token in doc], spaces=spaces, sent_starts=starts)


def batches(docs: Sequence[Doc], *, updates: int, size: int, most: int, seed: int) -> Iterator[list[Doc]]:
    """Training documents: one to `most` texts each, drawn anew for every batch."""
    draw = random.Random(seed)
    for _ in range(updates):
        yield [joined(draw.sample(docs, draw.randint(1, min(most, len(docs))))) for _ in range(size)]


def train_on(nlp: Language, docs: Sequence[Doc], arguments: argparse.Namespace) -> None:
    """Train a pipeline further on texts that are put together."""
    optimizer = Adam(arguments.rate, L2=0.05, L2_is_weight_decay=True, beta2=0.98, grad_clip=1.0)
    taken = batches(docs, updates=arguments.updates, size=arguments.batch, most=arguments.most, seed=arguments.seed)
    for update, batch in enumerate(taken):
        optimizer.learn_rate = arguments.rate * (1 - update / arguments.updates)
        loss = nlp.update([Example(bare(nlp, doc), doc) for doc in batch], sgd=optimizer)
        if update % 25 == 0:
            print(f"update {update}: loss {loss['padellm_ner']:.3f}", flush=True)


def measure_one(nlp: Language, gold: Sequence[Doc], *, window: int | None, n_texts: int) -> dict[str, Any]:
    """The figures of some documents read with a window. Processor time is of the whole pipe, per text of `--docs`."""
    pipe = nlp.get_pipe("padellm_ner")
    assert isinstance(pipe, PaDeLLMNER)
    pipe.options = replace(pipe.options, window=window)
    pipe.counters = Counters()
    docs = [bare(nlp, doc) for doc in gold]
    began = time.process_time()
    found = list(pipe.pipe(docs, batch_size=32))
    spent = time.process_time() - began
    figures = report(outcome_of(gold, found, pipe.options.spans_key), pipe.labels)["spans"]
    windows = sum(len(doc.spans[pipe.options.spans_key].attrs.get("windows", ())) for doc in found)
    return {
        "documents": len(docs),
        "windows": windows,
        **{name: figures[name] for name in ("p", "r", "f", "right", "predicted", "gold")},
        "pieces_per_text": round(pipe.counters.pieces / n_texts, 1),
        "cpu_ms_per_text": round(1000 * spent / n_texts, 1),
    }


def measure_all(nlp: Language, docs: Sequence[Doc], windows: Sequence[int], size: int) -> dict[str, dict[str, Any]]:
    """The figures of every way to read some texts: one by one, and put together in windows."""
    alone = measure_one(nlp, docs, window=None, n_texts=len(docs))
    found = {"one by one": alone}
    for with_sentences in (True, False):
        gold = in_groups(docs, size, with_sentences=with_sentences)
        for window in windows:
            name = f"windows of {window}, cut at {'text ends' if with_sentences else 'tokens'}"
            found[name] = measure_one(nlp, gold, window=window, n_texts=len(docs))
            found[name]["loss_of_f"] = round(alone["f"] - found[name]["f"], 2)
            print(f"{name}: F {found[name]['f']}", flush=True)
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read everything in every way; if asked to, train and do so again."""
    docs = read_gold(arguments.docs, spans_key="sc", limit=arguments.limit)
    nlp = spacy.load(arguments.model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=QUIET)
        found = {"as it came": measure_all(nlp, docs, arguments.windows, arguments.sentences)}
        if arguments.train is not None:
            train_on(nlp, read_gold(arguments.train, spans_key="sc"), arguments)
            found["trained on texts put together"] = measure_all(nlp, docs, arguments.windows, arguments.sentences)
    names = ("model", "docs", "train")
    files = {name: Path(value).name for name in names if (value := getattr(arguments, name)) is not None}
    settings = {name: getattr(arguments, name) for name in ("updates", "batch", "most", "rate", "seed", "sentences")}
    return {**files, **settings, "texts": len(docs), "models": found, **surroundings()}


def as_rows(ways: dict[str, dict[str, Any]]) -> str:
    """The figures of one model as a table."""
    return table(
        HEAD,
        [
            [
                name,
                way["windows"],
                *(float(way[one]) for one in ("p", "r", "f")),
                way.get("loss_of_f"),
                way["pieces_per_text"],
                way["cpu_ms_per_text"],
            ]
            for name, way in ways.items()
        ],
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a pipeline's folder or package")
    parser.add_argument("--docs", type=Path, required=True, help="gold texts: .spacy")
    parser.add_argument("--limit", type=int, default=0, help="the first texts only")
    parser.add_argument("--windows", type=int, nargs="+", default=[64, 128, 256], help="pieces of a window")
    parser.add_argument("--sentences", type=int, default=50, help="texts of a long document")
    parser.add_argument("--train", type=Path, help="train further on these, put together: .spacy")
    parser.add_argument("--updates", type=int, default=150, help="updates of that training")
    parser.add_argument("--batch", type=int, default=8, help="documents of an update")
    parser.add_argument("--most", type=int, default=8, help="texts of a training document, at most")
    parser.add_argument("--rate", type=float, default=0.001, help="first learning rate, falling to 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file to write; a table goes beside it")
    figures = measure(arguments := parser.parse_args(argv))
    tables = [f"{name}\n\n{as_rows(ways)}" for name, ways in figures["models"].items()]
    tell(figures, tables, arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
