"""Pipelines that many tests share, trained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from spacy.language import Language

from tests.pipeline.makers import blank, ours, train


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
