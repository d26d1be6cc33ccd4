"""One HTML page of a test set, gold beside prediction, with scores. For any spaCy pipeline that finds spans.

    python project/scripts/visualize.py MODEL TEST.spacy PAGE.html

Everything that comes from data is escaped, labels too, which displaCy leaves to its caller.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import spacy
from spacy import displacy
from spacy.language import Language
from wasabi import msg

from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.metrics.pairs import Found, Key, Pair, labels_in
from spacy_padellm.metrics.prf import span_tally, total
from spacy_padellm.pipeline.colours import palette
from spacy_padellm.pipeline.outcomes import outcome_of

# displaCy gives `{label}` and `{text}`; `mark` and `score` come with each span.
ENTITY = """<mark class="entity {mark}" style="background: {bg}">{text}<span class="label">{label}{kb_link}</span>\
<span class="score">{score}</span></mark>"""

PAGE = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }}
table {{ border-collapse: collapse; width: 100%; table-layout: fixed }}
td, th {{ border-top: 1px solid #ddd; padding: .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }}
th:first-child, td:first-child {{ width: 3.5rem; color: #777 }}
tr.differs td:first-child {{ border-left: 4px solid #c33 }}
.entities {{ white-space: pre-wrap }}
.entity {{ padding: .2em .35em; border-radius: .35em }}
.entity .label {{ font-size: .7em; font-weight: bold; margin-left: .5em }}
.entity .score {{ font-size: .7em; margin-left: .4em }}
.wrong {{ outline: 2px solid #c33 }}
.missed {{ outline: 2px dashed #c33 }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<p>Outlined: predicted but not gold. Dashed: gold but not predicted. The numbers are the pipeline's scores.</p>
<table>
<thead><tr><th>text</th><th>gold</th><th>predicted</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def page(pairs: Sequence[Pair], *, title: str, lang: str = "en", chosen: Mapping[str, str] | None = None) -> str:
    """The whole page; the texts with a difference come first.

    pairs (Sequence[Pair]): Gold and predicted mentions of each text.
    title (str): The page's heading.
    lang (str): Language code of the texts.
    chosen (Mapping[str, str] | None): Colours of labels that have their own.
    RETURNS (str): HTML that needs nothing from elsewhere.
    """
    colors = escaped_colors(labels_in(pairs), chosen)
    numbered = sorted(enumerate(pairs, start=1), key=lambda item: not differs(item[1]))
    rows = [row(number, pair, colors) for number, pair in numbered]
    scores = total(map(span_tally, pairs)).figures()
    summary = (
        f"{len(pairs)} texts, {sum(map(differs, pairs))} with a difference (first). "
        f"Spans: P {scores['p']}, R {scores['r']}, F {scores['f']}."
    )
    return PAGE.format(lang=escape(lang), title=escape(title), summary=escape(summary), rows="\n".join(rows))


def differs(pair: Pair) -> bool:
    """Whether gold and predicted mentions are not the same."""
    return pair.gold_keys != pair.predicted_keys


def row(number: int, pair: Pair, colors: dict[str, str]) -> str:
    """A table row of one text."""
    left = render(pair.text, pair.gold, pair.predicted_keys, "missed", colors)
    right = render(pair.text, pair.predicted, pair.gold_keys, "wrong", colors)
    kind = "differs" if differs(pair) else "same"
    return f'<tr class="{kind}"><td>{number}</td><td>{left}</td><td>{right}</td></tr>'


def render(text: str, mentions: Sequence[Found], others: frozenset[Key], mark: str, colors: dict[str, str]) -> str:
    """displaCy's rendering of one text. It cannot draw overlaps in one line, so each layer of them gets its own."""
    drawn = []
    for layer in layers(mentions):
        ents: list[dict[str, Any]] = []
        for mention in layer:
            score = "" if mention.score is None else f"{mention.score:.2f}"
            params = {"mark": "" if mention.key in others else mark, "score": score}
            ents.append({"start": mention.start, "end": mention.end, "label": escape(mention.label), "params": params})
        drawn.append({"text": text, "ents": ents, "title": None})
    options = {"colors": colors, "template": ENTITY}
    return displacy.render(drawn, style="ent", manual=True, jupyter=False, page=False, options=options)


def layers(mentions: Sequence[Found]) -> list[list[Found]]:
    """The mentions in as few layers as first fit gives, so that within a layer none overlap; at least one layer."""
    found: list[list[Found]] = [[]]
    for mention in mentions:
        for layer in found:
            if not layer or layer[-1].end <= mention.start:
                layer.append(mention)
                break
        else:
            found.append([mention])
    return found


def escaped_colors(labels: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """The colour of each label, its own or a light one, by the label as it stands in the page."""
    colors = {**palette(sorted(labels)), **(chosen or {})}
    return {escape(label): color for label, color in colors.items()}


def chosen_colors(nlp: Language) -> dict[str, str]:
    """The colours that a pipeline's padellm_ner pipes give to their labels."""
    pipes = [nlp.get_pipe(name) for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == "padellm_ner"]
    return {label: color for pipe in pipes for label, color in pipe.displacy_options()["colors"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a test set, gold beside prediction.")
    parser.add_argument("model", help="folder or package name of the pipeline")
    parser.add_argument("test", type=Path, help="gold documents")
    parser.add_argument("output", type=Path, help="HTML file to write")
    parser.add_argument("--title", default="Gold and predicted entities")
    parser.add_argument("--spans-key", default="sc")
    parser.add_argument("--gpu-id", type=int, default=-1)
    options = parser.parse_args()
    if options.gpu_id >= 0:
        spacy.require_gpu(options.gpu_id)
    nlp = spacy.load(options.model)
    gold = list(read_docs(options.test, nlp.vocab))
    pairs = outcome_of(gold, nlp.pipe(doc.text for doc in gold), options.spans_key).spans
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        page(pairs, title=options.title, lang=nlp.lang, chosen=chosen_colors(nlp)), encoding="utf-8"
    )
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
