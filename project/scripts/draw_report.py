"""One HTML page of everything that was compared: tables, plots, and texts with their entities.

    python project/scripts/draw_report.py project/metrics report.html

The folder is searched for compare.json files, as compare.py writes them. The page needs nothing from elsewhere; the
plots lie beside it as SVG files, too.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import spacy
import srsly
from plots import Bar, draw_bars
from train_schemes import SCHEMES
from visualize import escaped_colors, render
from wasabi import msg

from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.metrics.pairs import Pair, labels_in
from spacy_padellm.pipeline.outcomes import outcome_of

TITLES = {**SCHEMES, "ner": "spaCy ner"}

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; color: #222; background: #fff }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border-top: 1px solid #ddd; padding: .3rem .6rem; text-align: right; vertical-align: top }}
td:first-child, th:first-child {{ text-align: left }}
.texts td {{ text-align: left }}
.entities {{ white-space: pre-wrap }}
.entity {{ padding: .2em .35em; border-radius: .35em }}
.entity .label {{ font-size: .7em; font-weight: bold; margin-left: .5em }}
.entity .score {{ font-size: .7em; margin-left: .4em }}
.wrong {{ outline: 2px solid #c33 }}
.missed {{ outline: 2px dashed #c33 }}
.small {{ color: #666; font-size: .85rem; overflow-wrap: anywhere }}
svg {{ max-width: 100%; height: auto }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""

COLUMNS = {
    "span F": ("quality", "spans", "f"),
    "string F": ("quality", "strings", "set", "f"),
    "counts right, %": ("quality", "counts", "all"),
    "where gold has some, %": ("quality", "counts", "nonzero"),
    "training, CPU s": ("training", "cpu_seconds"),
    "ms alone": ("speed", "ms_per_doc", "1"),
    "ms at 16": ("speed", "ms_per_doc", "16"),
    "steps": ("speed", "steps_per_doc"),
    "pieces": ("speed", "pieces_per_doc"),
}
"""Columns of the tables, and where the figures stand."""

PLOTS = {
    "span-f": ("F of spans, with 95 % intervals of the test set", "F", COLUMNS["span F"], False),
    "string-f": ("F of distinct strings, as the paper counts", "F", COLUMNS["string F"], False),
    "ms-alone": ("Latency, one document at a time", "ms a document", COLUMNS["ms alone"], True),
    "ms-batch": ("Time a document in batches of 16", "ms a document", COLUMNS["ms at 16"], True),
}
"""File name to title, unit, figure, and whether the axis is logarithmic."""

Row = Mapping[str, Any]


def read_comparison(path: Path) -> Row:
    """What compare.py wrote. A file that is something else ends the script."""
    try:
        told: Row = srsly.read_json(path)
    except ValueError as error:
        msg.fail(f"{path} is not JSON ({error}): run compare.py again", exits=1)
    parts = ("data_set", "test", "pipelines", "surroundings")
    if not isinstance(told, dict) or not told.keys() >= set(parts):
        msg.fail(f"{path} has not {', '.join(parts)}, as compare.py writes them: run it again", exits=1)
    return told


def by_name(comparison: Row) -> dict[str, list[Row]]:
    """The rows of each pipeline, one a seed."""
    found: dict[str, list[Row]] = {}
    for row in comparison["pipelines"]:
        found.setdefault(TITLES.get(row["name"], row["name"]), []).append(row)
    return found


def figure_of(row: Row, path: Sequence[str]) -> Any:
    """What stands at a path; None where nothing does."""
    found: Any = row
    for name in path:
        found = found.get(name) if found else None
    return found


def bar_of(rows: Sequence[Row], path: Sequence[str]) -> Bar | None:
    """The mean over seeds, with the interval of the only seed or the range of several."""
    values = [value for value in (figure_of(row, path) for row in rows) if value is not None]
    if not values:
        return None
    if len(values) > 1:
        return Bar(statistics.fmean(values), min(values), max(values))
    edges = figure_of(rows[0], (*path[:-1], "interval", path[-1])) or (None, None)
    return Bar(values[0], *edges)


def plots(comparisons: Sequence[Row]) -> dict[str, str]:
    """Each plot's file name and SVG."""
    drawn = {}
    for name, (title, unit, path, logarithmic) in PLOTS.items():
        found = {
            one["data_set"]: {title: bar for title, rows in by_name(one).items() if (bar := bar_of(rows, path))}
            for one in comparisons
        }
        drawn[name] = draw_bars(found, title=title, unit=unit, logarithmic=logarithmic)
    return drawn


def table(comparison: Row) -> str:
    """The figures of one data set, means over seeds."""
    lines = []
    for name, rows in by_name(comparison).items():
        bars = [bar_of(rows, path) for path in COLUMNS.values()]
        cells = ["-" if bar is None else f"{bar.value:,.1f}" for bar in bars]
        lines.append("".join(f"<td>{escape(cell)}</td>" for cell in (name, str(len(rows)), *cells)))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "seeds", *COLUMNS))
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def texts(comparison: Row, limit: int) -> str:
    """Texts with gold and what each pipeline found, those first on which most pipelines are wrong somewhere."""
    vocab = spacy.blank("xx").vocab
    try:
        gold = list(read_docs(Path(comparison["test"]), vocab))
    except (ValueError, OSError):
        return "<p>The test documents are not there any more.</p>"
    pairs: dict[str, Sequence[Pair]] = {}
    for name, rows in by_name(comparison).items():
        kept = Path(rows[0]["path"]).parent / "found.spacy"
        docs = list(read_docs(kept, vocab)) if kept.is_file() else []
        # The documents may have changed since, and a pipeline from elsewhere may have been asked about others.
        if gold and [doc.text for doc in docs] == [doc.text for doc in gold]:
            pairs[name] = outcome_of(gold, docs).spans
    colors = escaped_colors(set().union(*map(labels_in, pairs.values())))
    wrong = [
        sum(of[place].gold_keys != of[place].predicted_keys for of in pairs.values()) for place in range(len(gold))
    ]
    lines = []
    for place in sorted(range(len(gold)), key=lambda place: -wrong[place])[:limit] if pairs else []:
        first = next(iter(pairs.values()))[place]
        lines.append(("gold", render(first.text, first.gold, first.gold_keys, "", colors)))
        for name, of in pairs.items():
            pair = of[place]
            if pair.gold_keys != pair.predicted_keys:
                lines.append((name, render(pair.text, pair.predicted, pair.gold_keys, "wrong", colors)))
    cells = (f"<tr><td>{escape(name)}</td><td>{drawn}</td></tr>" for name, drawn in lines)
    return f'<table class="texts">{"".join(cells)}</table>'


def page(comparisons: Sequence[Row], drawn: Mapping[str, str], *, title: str, n_texts: Mapping[str, int]) -> str:
    """The whole page.

    n_texts (Mapping[str, int]): How many texts of each data set to show; none of one that is not named.
    """
    parts = list(drawn.values())
    for one in comparisons:
        about = one["surroundings"]
        made = f"{about['machine']}, {about['threads']} threads, commit {about['commit']}, {about['versions']}"
        parts += [
            f"<h2>{escape(one['data_set'])}</h2>",
            table(one),
            f'<p class="small">{escape(about["command"])}<br>{escape(made)}</p>',
        ]
        if n_texts.get(one["data_set"]):
            parts.append("<p>Gold, and each pipeline that differs from it (outlined: not in gold).</p>")
            parts.append(texts(one, n_texts[one["data_set"]]))
    return PAGE.format(title=escape(title), body="\n".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what was compared on one HTML page.")
    parser.add_argument("folder", type=Path, help="searched for compare.json files")
    parser.add_argument("output", type=Path, help="HTML file to write")
    parser.add_argument("--title", default="Four ways to ask a language model for entities")
    parser.add_argument("--texts", type=int, default=8, help="texts of each data set")
    parser.add_argument("--texts-of", nargs="*", help="show texts of these data sets only: not all may be passed on")
    options = parser.parse_args()
    comparisons = [read_comparison(path) for path in sorted(options.folder.rglob("compare.json"))]
    if not comparisons:
        msg.fail(f"No compare.json in {options.folder}: run compare.py first", exits=1)
    drawn = plots(comparisons)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn.items():
        options.output.with_name(f"{name}.svg").write_text(svg, encoding="utf-8")
    shown = [one["data_set"] for one in comparisons] if options.texts_of is None else options.texts_of
    written = page(comparisons, drawn, title=options.title, n_texts=dict.fromkeys(shown, options.texts))
    options.output.write_text(written, encoding="utf-8")
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
