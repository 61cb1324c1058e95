"""The document, and an exchange that has been served on any wire."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
from accounting.attempts import begun

from app.api.inference_openapi import inference_document
from app.api.understanding import Call, Wire
from app.domain.keys.principal import Principal
from app.pipeline.exchange import Exchange
from app.routing.table import Route
from providers.types import Usage

Serve = Callable[[Wire, Mapping[str, Any], Call], Exchange]


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return json.loads(inference_document(version="1.2.3"))


@pytest.fixture
def serve() -> Serve:
    """Makes exchanges that have been served by the second of two attempts, at a price."""

    def made(wire: Wire, body: Mapping[str, Any], call: Call) -> Exchange:
        exchange = Exchange(
            request_id="0190b2c47d1e7c3a9f00000000000000",
            principal=Principal(key_id=UUID(int=1), organization_id=UUID(int=2)),
            operation=wire.operation,
            route=Route(name="m", label="m", targets=(), owned_by="x"),
            body=b"{}",
            document=dict(body),
            started_ns=0,
            asked=wire.read(body, call),
        )
        first = begun(exchange, "a")
        first.outcome, first.status, first.ended_ns, first.cost_nusd = "rate_limited", 429, 5, 0
        second = begun(exchange, "b", started_ns=10)
        second.outcome, second.status, second.first_ns, second.ended_ns = "ok", 200, 2_000_010, 9_000_010
        second.usage, second.cost_nusd = Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1), 1_500
        return exchange

    return made
