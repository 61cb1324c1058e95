"""The running gateway's own document, and a client of it."""

from typing import Any

import httpx
import pytest
from servers.gateway import GatewayProcess


@pytest.fixture(scope="module")
def client(embedded_gateway: GatewayProcess):
    headers = {"authorization": f"Bearer {embedded_gateway.key}"}
    with httpx.Client(base_url=embedded_gateway.base_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def document(client) -> dict[str, Any]:
    return client.get("/openapi.json").json()
