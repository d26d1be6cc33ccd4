"""The card of a repository: what it holds, how good it is, and how it is loaded. No figure that no file gave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from spacy_padellm.pipeline.markdown import block, code, plain, table
from spacy_padellm.sharing.facts import Facts, PipeFacts
from spacy_padellm.sharing.figures import Figures, Row
from spacy_padellm.sharing.forms import ADAPTER, AS_IS, MERGED, PIPELINE
from spacy_padellm.sharing.loading import loading_code

TAGS = ("spacy", "token-classification", "padellm")

LIBRARIES = {PIPELINE: "spacy", AS_IS: "spacy", ADAPTER: "peft", MERGED: "transformers"}

_WHAT = {
    PIPELINE: "A spaCy pipeline that holds its model whole",
    AS_IS: "A spaCy pipeline",
    ADAPTER: "A LoRA adapter of PEFT for the causal language model {base}",
    MERGED: "A causal language model in the form of transformers",
}

PADELLM = "spacy-padellm.PaDeLLM.v1"

_PADELLM = (
    ", for each label how many mentions it has, then for all of these at once (PaDeLLM-NER, Lu et al., NeurIPS 2024)"
)

_METRICS = {"p": ("precision", "Precision"), "r": ("recall", "Recall"), "f": ("f1", "F")}

_LOADS = {
    PIPELINE: "The repository is a pipeline's folder. It needs spacy-padellm {version} or later, and no other model:",
    AS_IS: "The repository is a pipeline's folder. It needs spacy-padellm {version} or later{base}:",
    ADAPTER: "With spacy-padellm {version} or later, which loads the base model, too:",
    MERGED: "With spacy-padellm {version} or later:",
}


@dataclass(frozen=True)
class Said:
    """What the person who pushes says.

    repo (str): Owner and name of the repository.
    licence (str): As the hub names it.
    languages (tuple[str, ...]): Codes; none for the pipeline's.
    data_text (str): About the data, in words; empty for nothing.
    datasets (tuple[str, ...]): Ids of data sets of the hub.
    branch (str | None): None for the main one.
    """

    repo: str
    licence: str
    languages: tuple[str, ...] = ()
    data_text: str = ""
    datasets: tuple[str, ...] = ()
    branch: str | None = None


def hub_card(
    facts: Facts,
    said: Said,
    form: str,
    *,
    figures: Figures | None = None,
    size: int = 0,
    dtype: str | None = None,
    asking: str | None = None,
) -> str:
    """The README.md of a repository, with the hub's metadata in front.

    form (str): One of `forms.FORMS`.
    figures (Figures | None): Of an evaluation; without them the card says that there are none.
    size (int): Bytes of all other files.
    dtype (str | None): Of the weights of a merged model.
    asking (str | None): The README of the export, which says how the model is asked without this package.
    """
    parts = [
        f"# {plain(said.repo.split('/')[-1])}",
        _introduction(facts, form),
        _overview(facts, said, size),
        "## How to load it",
        _loading(facts, form),
        block(loading_code(facts, form, said.repo, branch=said.branch, dtype=dtype), "python"),
        *_labels(facts),
        "## Data",
        *_about_data(said),
        "## Figures",
        *(_figures(figures) if figures else ["No figures were given when this was pushed."]),
        "## Versions",
        "What wrote the files:",
        table(("", "version"), [(plain(name), plain(version)) for name, version in facts.versions.items()]),
        *([_section(asking)] if asking else []),
    ]
    return f"---\n{metadata(facts, said, form, figures).to_yaml().rstrip()}\n---\n\n" + "\n\n".join(parts) + "\n"


def metadata(facts: Facts, said: Said, form: str, figures: Figures | None) -> ModelCardData:
    """What the hub finds the repository by."""
    bases = list(dict.fromkeys(pipe.base for pipe in facts.pipes if pipe.base))
    languages = list(said.languages) or ["multilingual" if facts.lang == "xx" else facts.lang]
    return ModelCardData(
        language=languages,
        license=said.licence,
        library_name=LIBRARIES[form],
        pipeline_tag="token-classification" if form in (PIPELINE, AS_IS) else "text-generation",
        tags=list(TAGS),
        base_model=bases[0] if len(bases) == 1 else bases or None,
        datasets=list(said.datasets) or None,
        model_name=said.repo.split("/")[-1] if figures else None,
        eval_results=list(_results(said, figures)) if figures else None,
    )


def _results(said: Said, figures: Figures) -> Iterator[EvalResult]:
    """Shares, not percent, as spaCy's own cards have them."""
    documents = figures.documents or "gold documents"
    for row, of in ((figures.spans, "all mentions"), (figures.ents, "doc.ents")):
        for key, (kind, name) in _METRICS.items():
            yield EvalResult(
                task_type="token-classification",
                task_name="NER",
                dataset_type=said.datasets[0] if said.datasets else documents,
                dataset_name=documents,
                metric_type=kind,
                metric_name=f"{name}, {of}",
                metric_value=round(getattr(row, key) / 100, 4),
            )


def _introduction(facts: Facts, form: str) -> str:
    base = code(facts.pipes[0].base) if form == ADAPTER else ""
    told = _WHAT[form].format(base=base)
    lead = f"{plain(facts.description)}\n\n" if facts.description else ""
    how = _PADELLM if all(pipe.scheme == PADELLM for pipe in facts.pipes) else ""
    asked = "A causal language model is asked about the named entities of a text"
    return f"{lead}{told}. {asked}{how}. Made with spacy-padellm."


def _overview(facts: Facts, said: Said, size: int) -> str:
    rows = [("pipeline", f"{code(facts.name)} {plain(facts.version)}"), ("licence", plain(said.licence))]
    for pipe in facts.pipes:
        rows += [(f"model of {code(pipe.name)}", _model(pipe)), ("scheme", code(pipe.scheme))]
    if facts.others:
        rows.append(("other components of the pipeline", ", ".join(map(code, facts.others))))
    rows += [("size of the files", _bytes(size)), ("author", plain(facts.author)), ("more", plain(facts.url))]
    return table(("", ""), [row for row in rows if row[1]])


def _model(pipe: PipeFacts) -> str:
    told = f"{pipe.parameters:,} parameters"
    if pipe.adapter_rank is not None:
        told += f", {pipe.adapter_parameters:,} more in a LoRA adapter of rank {pipe.adapter_rank}"
    if pipe.base:
        revision = f" at {code(pipe.revision)}" if pipe.revision else ""
        told += f"; trained from {code(pipe.base)}{revision}"
    return told


def _bytes(size: int) -> str:
    return f"{size:,} bytes" if size < 10_000_000 else f"{size / 1_000_000:,.0f} MB"


def _loading(facts: Facts, form: str) -> str:
    bases = ", ".join(dict.fromkeys(code(pipe.base) for pipe in facts.pipes if pipe.base))
    base = f", and fetches its base model {bases}" if bases and form == AS_IS else ""
    return _LOADS[form].format(version=plain(facts.versions["spacy-padellm"]), base=base)


def _labels(facts: Facts) -> Iterator[str]:
    yield "## Labels"
    for pipe in facts.pipes:
        if len(facts.pipes) > 1:
            yield f"Of the component {code(pipe.name)}:"
        told = any(one.description or one.examples for one in pipe.labels)
        rows = [
            (code(one.label), plain(one.words), plain(one.description), ", ".join(map(plain, one.examples)))
            for one in pipe.labels
        ]
        header = ("label", "words in the prompt", "description", "examples")
        width = 4 if told else 2
        yield table(header[:width], [row[:width] for row in rows])


def _about_data(said: Said) -> Iterator[str]:
    if said.data_text:
        yield plain(said.data_text)
    if said.datasets:
        yield "Data sets of the hub: " + ", ".join(map(code, said.datasets)) + "."
    if not said.data_text and not said.datasets:
        yield "Nothing was said about the data when this was pushed."


def _figures(figures: Figures) -> Iterator[str]:
    of = f" of {code(figures.documents)}" if figures.documents else ""
    yield f"Measured with `padellm evaluate` on {figures.docs:,} documents{of}, in percent:"
    interval = f"interval of F ({figures.confidence:g} %)" if figures.confidence else "interval of F"
    whole = [("all mentions", figures.spans), ("`doc.ents`, without overlaps", figures.ents)]
    labels = [(code(label), row) for label, row in figures.labels.items()]
    for title, rows in (("", whole), ("label", labels)):
        has_intervals = any(row.interval for _, row in rows)
        header = [title, "P", "R", "F", *([interval] if has_intervals else []), "predicted", "gold"]
        yield table(header, [[name, *_cells(row, has_intervals)] for name, row in rows], numbers_from=1)
    if figures.counts is not None:
        yield f"Counts right, of labels that a text has mentions of: {figures.counts:.2f} %."
    if figures.speed:
        docs, machine = figures.speed.docs, plain(figures.speed.machine)
        yield f"Speed: {figures.speed.docs_per_second:,.2f} documents a second ({docs:,} documents; {machine})."


def _cells(row: Row, has_intervals: bool) -> Iterator[str]:
    for share in (row.p, row.r, row.f):
        yield f"{share:.2f}"
    if has_intervals:
        yield "{:.2f} to {:.2f}".format(*row.interval) if row.interval else ""
    yield f"{row.predicted:,}"
    yield f"{row.gold:,}"


def _section(readme: str) -> str:
    """Another README as a section of this one: its headings go one level down, its title goes."""
    _, _, rest = readme.partition("\n")
    return "## Without this package\n" + re.sub(r"^(#+ )", r"#\1", rest, flags=re.MULTILINE).rstrip()
