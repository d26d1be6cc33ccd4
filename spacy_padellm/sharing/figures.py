"""The figures of an evaluation as its file has them, checked, for a card."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from spacy_padellm.errors import Errors

PRF = ("p", "r", "f")


class Row(NamedTuple):
    """Figures of some mentions, in percent, and numbers.

    interval (tuple[float, float] | None): Of F; None where the file has none.
    """

    p: float
    r: float
    f: float
    predicted: int
    gold: int
    interval: tuple[float, float] | None


class Speed(NamedTuple):
    """How fast documents were annotated.

    docs (int): How many there were.
    machine (str): On what, as the file says.
    """

    docs_per_second: float
    docs: int
    machine: str


@dataclass(frozen=True)
class Figures:
    """What a card says about how good a pipeline is.

    documents (str | None): Name of the file or folder of gold documents, without its place.
    docs (int): How many documents.
    spans (Row), ents (Row): All mentions, and those of doc.ents.
    labels (Mapping[str, Row]): All mentions, by label.
    counts (float | None): How many (text, label) pairs with gold mentions have the right count, in percent.
    confidence (float | None): Of the intervals, in percent.
    speed (Speed | None): Only files of the project have it.
    """

    documents: str | None
    docs: int
    spans: Row
    ents: Row
    labels: Mapping[str, Row]
    counts: float | None
    confidence: float | None
    speed: Speed | None


def read_figures(path: Path, labels: Collection[str]) -> Figures:
    """Read what `padellm evaluate --output` or the project's `evaluate` wrote.

    labels (Collection[str]): The labels of the pipeline that the figures are to be of.
    RAISES (ValueError): P066 for a file that is not there, or is of another form; P067 for figures about other labels.
    """
    found = _read(path)
    try:
        figures = _figures(found)
    except _Wrong as wrong:
        raise ValueError(Errors.P066.format(path=path, problem=wrong)) from wrong
    _check_labels(path, found.get("labels"), figures, labels)
    return figures


class _Wrong(Exception):
    """What a file has in place of what it should have."""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise ValueError(Errors.P066.format(path=path, problem=error.strerror)) from error
    except ValueError as error:
        raise ValueError(Errors.P066.format(path=path, problem=f"it is no JSON ({error})")) from error
    if not isinstance(found, dict):
        raise ValueError(Errors.P066.format(path=path, problem="it holds no figures"))
    return found


def _figures(found: dict[str, Any]) -> Figures:
    spans, counts = _block(found, "spans"), _block(found, "counts")
    by_label = _block(spans, "per_label")
    share = found.get("bootstrap", {}).get("confidence") if isinstance(found.get("bootstrap", {}), dict) else None
    speed = _block(found, "speed") if "speed" in found else None
    return Figures(
        documents=re.split(r"[/\\]", str(found["data"]).rstrip("/\\"))[-1] if "data" in found else None,
        docs=_whole(found, "docs"),
        spans=_row(spans, "spans"),
        ents=_row(_block(found, "ents"), "ents"),
        labels={label: _row(_block(by_label, label), label) for label in by_label},
        counts=None if counts.get("nonzero") is None else _number(counts, "nonzero", most=100),
        confidence=None if share is None else _number({"confidence": share}, "confidence", most=100),
        speed=_speed(speed) if speed and speed.get("docs_per_second") is not None else None,
    )


def _row(block: dict[str, Any], where: str) -> Row:
    try:
        p, r, f = (_number(block, name, most=100) for name in PRF)
        edges = block.get("interval", {}).get("f") if isinstance(block.get("interval", {}), dict) else None
        interval = None
        if isinstance(edges, list) and len(edges) == 2 and None not in edges:
            low, high = (_number({"interval": edge}, "interval", most=100) for edge in edges)
            interval = low, high
        return Row(p, r, f, _whole(block, "predicted"), _whole(block, "gold"), interval)
    except _Wrong as wrong:
        raise _Wrong(f"{where}: {wrong}") from wrong


def _speed(block: dict[str, Any]) -> Speed:
    machine = re.sub(r"\s+", " ", str(block.get("machine") or "a machine that is not named"))
    return Speed(_number(block, "docs_per_second"), _whole(block, "docs"), machine)


def _block(of: dict[str, Any], name: str) -> dict[str, Any]:
    found = of.get(name)
    if not isinstance(found, dict):
        raise _Wrong(f"{name!r} is missing" if found is None else f"{name!r} is {found!r}")
    return found


def _number(of: dict[str, Any], name: str, *, most: float | None = None) -> float:
    found = of.get(name)
    if isinstance(found, (int, float)) and not isinstance(found, bool) and isfinite(found):
        if 0 <= found and (most is None or found <= most):
            return float(found)
    raise _Wrong(f"{name!r} is missing" if found is None else f"{name!r} is {found!r}")


def _whole(of: dict[str, Any], name: str) -> int:
    found = _number(of, name)
    if found != int(found):
        raise _Wrong(f"{name!r} is {found!r}")
    return int(found)


def _check_labels(path: Path, asked: object, figures: Figures, labels: Collection[str]) -> None:
    """Figures are about what was asked and what gold has. The project's files do not say what was asked."""
    if isinstance(asked, list):
        strange = sorted(set(labels) - {str(label) for label in asked})
        problem = "they say nothing about the labels {}"
    else:
        strange = [] if not figures.labels or set(labels) & set(figures.labels) else sorted(labels)
        problem = "they are about none of the labels {}"
    if strange:
        more = f" and {len(strange) - 10} more" if len(strange) > 10 else ""
        told = problem.format(", ".join(map(repr, strange[:10])) + more)
        raise ValueError(Errors.P067.format(path=path, problem=told))
