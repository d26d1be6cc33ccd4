"""The pipelines of tests/pipeline, for the tests of models."""

from tests.pipeline.conftest import trained, trained_bytes

__all__ = ["trained", "trained_bytes"]
