"""What `evaluate` prints: a report as tables, and how two pipelines differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wasabi import msg

from spacy_padellm.metrics.mistakes import CATEGORIES, FORMS

Figures = Mapping[str, Any]

AVERAGES = {
    "spans": ("spans",),
    "spans, mean of labels": ("spans", "macro"),
    "doc.ents": ("ents",),
    "doc.ents, mean of labels": ("ents", "macro"),
    "strings, distinct": ("strings", "set"),
    "strings, all": ("strings", "multiset"),
}
"""Rows of the first table, and where in a report their figures stand."""

MEANINGS = {
    "count_over": "the count is too high",
    "count_under": "the count is too low",
    "mention": "another mention, or none",
    "boundary": "the boundary is wrong",
    "label": "the label is wrong",
    "place": "the string is right, the occurrence is not",
    "unplaced": "the string does not stand in the text",
    "overlap": "lost to an overlap",
    "threshold": "below the threshold",
    "filled": "an occurrence filled in",
}


def print_report(found: Figures) -> None:
    """Print the figures of one pipeline."""
    msg.divider(found["model"])
    msg.info(f"{found['docs']} documents, {found['spans']['gold']} gold mentions")
    rows = [(name, *_cells(_at(found, path), "prf")) for name, path in AVERAGES.items()]
    _table(rows, ("", "P", "R", "F", "interval of F"))
    rows = [(label, *_cells(row, "prf"), row["gold"]) for label, row in found["spans"]["per_label"].items()]
    _table(rows, ("spans", "P", "R", "F", "interval of F", "gold"))
    _print_counts(found["counts"])
    _print_mistakes(found)
    of = next((name for name in ("confidence", "score") if found["reliability"][name]), None)
    if of is not None:
        print_reliability(of, found["reliability"][of])


def _print_counts(counts: Figures) -> None:
    averages = (("all", "all", counts["pairs"]), ("with mentions", "nonzero", counts["nonzero_pairs"]))
    rows = [(name, *_cells(counts, [key]), pairs) for name, key, pairs in averages]
    rows += [
        (f"{name} in gold", _number(one["accuracy"]), "", one["pairs"])
        for name, one in counts["by_gold"].items()
        if one["pairs"]
    ]
    _table(rows, ("counts", "right", "interval", "of"))


def _print_mistakes(found: Figures) -> None:
    """Every mistake once, then again without the categories of the count."""
    sides = [found[view]["mistakes"][side] for view in ("spans", "ents") for side in ("missed", "false")]
    columns = ("missed", "false", "missed in doc.ents", "false in doc.ents")
    for title, kind, names in (("mistakes", "categories", CATEGORIES), ("whatever the count", "forms", FORMS)):
        rows: list[tuple[Any, ...]] = [
            (MEANINGS[name], *(side[kind][name] for side in sides))
            for name in names
            if any(side[kind][name] for side in sides)
        ]
        _table([*rows, ("all", *(side["total"] for side in sides))], (title, *columns))
    lost = {
        "strings that do not stand in the text": found["lost"]["unplaced"],
        "repeats beyond the text's": found["lost"]["surplus"],
        "occurrences filled in": found["lost"]["filled"],
        "mentions below their threshold": found["lost"]["below_threshold"],
    }
    if any(lost.values()):
        _table([(name, number) for name, number in lost.items() if number], ("answered", ""))


def print_reliability(title: str, curve: Figures) -> None:
    """How often mentions are right beside how sure the pipeline was."""
    rows: list[tuple[Any, ...]] = [
        (f"{one['from']:.1f} to {one['to']:.1f}", _number(one["said"]), _number(one["right"]), one["mentions"])
        for one in curve["curve"]
    ]
    apart = ("expected calibration error", _number(curve["error"]), "", curve["mentions"])
    _table([*rows, apart], (title, "said", "right", "of"))


def print_difference(found: Figures) -> None:
    """Print how much better the first pipeline is than the other one."""
    msg.divider(f"{found['model']} against {found['against']['model']}")
    paths = {f"{name}: F": (*path, "f") for name, path in AVERAGES.items()}
    paths |= {"counts": ("counts", "all"), "counts, with mentions": ("counts", "nonzero")}
    paths |= {f"spans, {label}: F": ("spans", "per_label", label, "f") for label in found["spans"]["per_label"]}
    rows = []
    for name, path in paths.items():
        one, other, delta = (_at(block, path) for block in (found, found["against"], found["difference"]))
        if delta:
            values = (_number(one), _number(other), _number(delta["difference"], signed=True))
            rows.append((name, *values, _interval(delta["interval"], signed=True), f"{delta['p']:.3f}"))
    _table(rows, ("", "this", "other", "difference", "interval", "p"))


def _at(block: Figures, path: Iterable[str]) -> Any:
    """What stands at a path, empty where nothing does."""
    for name in path:
        block = block.get(name, {})
    return block


def _cells(figures: Figures, names: Iterable[str]) -> list[str]:
    """Some figures, and the interval of the last one."""
    numbers = [(name, _number(figures[name])) for name in names]
    last = numbers[-1][0]
    return [*(number for _, number in numbers), _interval(figures.get("interval", {}).get(last))]


def _number(value: float | None, *, signed: bool = False) -> str:
    # A report without the label that another one has.
    if value is None or value == {}:
        return "-"
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def _interval(edges: list[float | None] | None, *, signed: bool = False) -> str:
    return "" if edges is None else " to ".join(_number(edge, signed=signed) for edge in edges)


def _table(rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> None:
    msg.table(rows, header=header, divider=True, aligns=("l", *("r" * (len(header) - 1))))
