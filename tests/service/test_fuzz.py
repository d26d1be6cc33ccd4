"""The service against its own description: whatever is sent, the answer is one that it promises and no failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from spacy_padellm.service.limits import Limits
from tests.service.conftest import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*W0[01]")
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_that_is_sent_makes_it_fail(serve: Callable[..., Running], mode: GenerationMode) -> None:
    running = serve(limits=Limits(labels=20))
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    asked = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        if mode is GenerationMode.NEGATIVE and not len(operation.body):
            continue  # nothing can be wrong about a request without a body
        send()
        asked.append(operation.label)
    assert "POST /annotate" in asked
    assert running.annotate(text="still here").status_code == 200
