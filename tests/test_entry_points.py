"""Every name the installed package registers leads to something, and spaCy finds it."""

import re
from importlib.metadata import EntryPoint, distribution
from importlib.resources import files

import pytest
import spacy
from spacy.util import registry

import spacy_padellm

INSTALLED = distribution("spacy-padellm")
POINTS = [point for point in INSTALLED.entry_points if point.group.startswith("spacy_")]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.group}:{point.name}")
def test_entry_point_loads(point: EntryPoint):
    assert callable(point.load())


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.group}:{point.name}")
def test_spacy_finds_entry_point(point: EntryPoint):
    kind = point.group.removeprefix("spacy_")
    assert spacy.blank("en").has_factory(point.name) if kind == "factories" else registry.has(kind, point.name)


def test_names_follow_the_convention():
    named = [point for point in POINTS if point.group not in ("spacy_factories", "spacy_cli")]
    assert named
    for point in named:
        assert re.fullmatch(r"spacy-padellm\.\w+\.v\d+", point.name), point.name
        assert point.value.endswith("_" + point.name.rsplit(".", 1)[1]), point


def test_version_is_the_installed_one():
    assert INSTALLED.version == spacy_padellm.__version__


def test_package_is_marked_as_typed():
    assert files("spacy_padellm").joinpath("py.typed").is_file()
