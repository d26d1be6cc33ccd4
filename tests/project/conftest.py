"""A copy of the project, and a pipeline that stands in for a trained one."""

import shutil
import sys
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "project" / "scripts"


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy of the project without anything that it made."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "project.yml", folder)
    for name in ("assets", "configs", "scripts"):
        shutil.copytree(
            ROOT / "project" / name, folder / "project" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


@pytest.fixture
def scripts(monkeypatch):
    """Lets a test import the project's scripts as they import each other."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield SCRIPTS
    for path in SCRIPTS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@Language.component("test_find_capitals")
def find_capitals(doc: Doc) -> Doc:
    """Every capitalised token is a movie, every "cinema" a place; the two last tokens are a nested mention."""
    spans = [Span(doc, token.i, token.i + 1, "movie_name") for token in doc if token.is_title]
    spans += [Span(doc, token.i, token.i + 1, "object_location_type") for token in doc if token.text == "cinema"]
    doc.set_ents(spans)
    group = SpanGroup(doc, name="sc", spans=[*spans, doc[-2:]] if len(doc) > 1 else spans)
    group.attrs["scores"] = [0.25 + 0.5 * (index % 2) for index in range(len(group))]
    doc.spans["sc"] = group
    return doc


@pytest.fixture(scope="session")
def stand_in():
    """A pipeline that finds spans with scores, without a model."""
    nlp = spacy.blank("en")
    nlp.add_pipe("test_find_capitals")
    return nlp
