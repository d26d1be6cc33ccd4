"""Pipelines that many tests share, trained once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from spacy.language import Language

from spacy_padellm.engine.proof import prove
from spacy_padellm.model import sources
from tests.pipeline.makers import blank, block, ours, train


@pytest.fixture(scope="session", autouse=True)
def unproved() -> Iterator[None]:
    """Leaves out the check of every model at load, which tests/engine tests; it would take most of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "prove", lambda lm: None)
        yield


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts that check back."""
    monkeypatch.setattr(sources, "prove", prove)


@pytest.fixture(scope="session")
def trained_bytes() -> bytes:
    """A trained pipe. It has learnt `DATA`."""
    return ours(train(blank())).to_bytes()


@pytest.fixture
def trained(trained_bytes: bytes) -> Callable[..., Language]:
    """Makes a pipeline with the trained pipe and other settings, so that no test can change another's."""

    def make(**settings: Any) -> Language:
        nlp = blank(**settings)
        ours(nlp).from_bytes(trained_bytes)
        return nlp

    return make


@pytest.fixture(scope="session")
def learnt() -> Callable[..., Language]:
    """Makes a pipeline that has learnt `DATA` in one of the schemes, with other settings than it was trained with."""

    @functools.cache
    def trained_bytes(name: str) -> bytes:
        return ours(train(blank(scheme=block(name)))).to_bytes()

    def make(name: str, **settings: Any) -> Language:
        nlp = blank(scheme=block(name), **settings)
        ours(nlp).from_bytes(trained_bytes(name))
        return nlp

    return make
