"""What the settings about counts change in one trained pipeline: second looks and surplus repeats.

    python -m benchmarks.counts --model FOLDER --docs FILE.spacy|FILE.jsonl [--limit 500] \
        [--setting "two looks: scheme.second_look=2 scheme.look_floor=0.05" ...]

Every setting is compared with the pipeline without any ("plain") on the same documents, by paired bootstrap. A setting
has a name and, behind the colon, what is changed of [components.padellm_ner] when the pipeline is loaded. The last line
printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.tokens import Doc

from benchmarks.surroundings import surroundings
from spacy_padellm.cli.evaluate import read_gold
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.converters.jsonl import read_jsonl
from spacy_padellm.data.docs import to_docs
from spacy_padellm.engine.decoder import Counters
from spacy_padellm.errors import Errors
from spacy_padellm.metrics.pairs import labels_in
from spacy_padellm.metrics.report import Outcome, difference, report
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.outcomes import outcome_of

PLAIN = "plain: scheme.second_look=0 scheme.drop_surplus=false"
"""What the settings are compared with."""

SETTINGS = (
    "surplus dropped: scheme.drop_surplus=true",
    "one look: scheme.second_look=1",
    "two looks: scheme.second_look=2",
    "two looks, surplus dropped: scheme.second_look=2 scheme.drop_surplus=true",
)
"""What is tried unless other settings are given."""


class Trial(NamedTuple):
    """What a pipeline did under one setting."""

    outcome: Outcome
    counters: Counters
    labels: tuple[str, ...]
    seconds: float


def read_setting(setting: str) -> tuple[str, dict[str, Any]]:
    """A setting's name and its changes: "name: scheme.second_look=2" is ("name", {"scheme.second_look": 2})."""
    name, _, changes = setting.partition(":")
    pairs = [change.partition("=") for change in changes.split()]
    return name.strip(), {path: json.loads(value) for path, _, value in pairs}


def read_documents(path: Path, lang: str, limit: int) -> list[Doc]:
    """Gold documents of a .spacy or a .jsonl file; of the latter with the tokens of `lang`.

    RAISES (ValueError): P135 if there is none with a token.
    """
    if path.suffix != ".jsonl":
        return read_gold(path, spans_key="sc", limit=limit)
    docs = list(to_docs(read_jsonl(path), spacy.blank(lang)))
    if not any(doc.text.strip() for doc in docs):
        raise ValueError(Errors.P135.format(path=path))
    return docs[:limit] if limit else docs


def run(model: str, docs: Sequence[Doc], changes: dict[str, Any]) -> Trial:
    """Load a pipeline with some changes and have it annotate the texts of gold documents."""
    config = {f"components.padellm_ner.{path}": value for path, value in changes.items()}
    nlp = spacy.load(model, config=config)
    pipe = nlp.get_pipe("padellm_ner")
    assert isinstance(pipe, PaDeLLMNER)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[W001\]")  # what was lost is among the figures
        predicted = list(nlp.pipe(doc.text for doc in docs))
    seconds = time.perf_counter() - start
    outcome = outcome_of(docs, predicted, pipe.options.spans_key)
    # Gold may have labels that the pipe does not know: its mentions are missed.
    labels = tuple(dict.fromkeys((*pipe.labels, *sorted(labels_in(outcome.spans) | labels_in(outcome.ents)))))
    return Trial(outcome, pipe.counters, labels, seconds)


def figures_of(trial: Trial, plain: Trial, *, samples: int) -> dict[str, Any]:
    """The figures of a setting, and how they differ from those without it.

    RETURNS (dict[str, Any]): Figures in percent; pieces and steps a document, with their ratio to plain; `difference`
        with intervals and p, of span F and of count accuracy.
    """
    n_docs, counters = len(trial.outcome.spans), trial.counters
    found = report(trial.outcome, trial.labels)
    change = difference(trial.outcome, plain.outcome, trial.labels, samples=samples, seed=0)
    return {
        "spans": {name: found["spans"][name] for name in ("p", "r", "f")},
        "counts": found["counts"],
        "lost": found["lost"],
        "pieces_per_doc": round(counters.pieces / n_docs, 2),
        "steps_per_doc": round(counters.document_steps / n_docs, 2),
        "answers_per_doc": round(counters.answers / n_docs, 2),
        "pieces_ratio": round(counters.pieces / plain.counters.pieces, 4),
        "steps_ratio": round(counters.document_steps / plain.counters.document_steps, 4),
        "seconds": round(trial.seconds, 2),
        "difference": {
            "span_f": change["spans"]["f"],
            **{f"counts_{name}": change["counts"][name] for name in ("all", "nonzero")},
        },
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the pipeline plain and under every setting, and print a line for each.

    RAISES (ValueError): P135 if there is no document.
    """
    docs = read_documents(arguments.docs, arguments.lang, arguments.limit)
    plain = run(arguments.model, docs, read_setting(PLAIN)[1])
    found: dict[str, Any] = {}
    for name, changes in map(read_setting, (PLAIN, *(arguments.setting or SETTINGS))):
        trial = plain if name == "plain" else run(arguments.model, docs, changes)
        found[name] = {"changes": changes, **figures_of(trial, plain, samples=arguments.samples)}
        print(line_of(name, found[name]), flush=True)
    return {
        "model": arguments.model,
        "data": str(arguments.docs),
        "docs": len(docs),
        "settings": found,
        **surroundings(),
    }


def line_of(name: str, figures: dict[str, Any]) -> str:
    """The figures of one setting as a line."""
    change = figures["difference"]["span_f"]
    return (
        f"{name:<30} F {figures['spans']['f']:6.2f} ({change['difference']:+.2f}, p {change['p']:.3f})  "
        f"counts {figures['counts']['all']:6.2f}, above 0 {figures['counts']['nonzero'] or 0:6.2f}  "
        f"pieces x{figures['pieces_ratio']:.3f}  steps x{figures['steps_ratio']:.3f}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a pipeline's folder or package")
    parser.add_argument("--docs", type=Path, required=True, help="gold documents: .spacy or .jsonl")
    parser.add_argument("--lang", default="en", help="language of the tokens of a .jsonl file")
    parser.add_argument("--limit", type=int, default=0, help="the first documents only")
    parser.add_argument("--samples", type=int, default=1000, help="resamples of the bootstrap")
    parser.add_argument("--setting", action="append", help='"name: path=value ...", for each to be tried')
    print(json.dumps(measure(parser.parse_args(argv))))


if __name__ == "__main__":
    with coded_errors():
        main()
