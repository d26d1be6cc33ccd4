"""The pipelines of tests/pipeline, for the tests of models."""

from tests.pipeline.conftest import proved, trained, trained_bytes, unproved

__all__ = ["proved", "trained", "trained_bytes", "unproved"]
