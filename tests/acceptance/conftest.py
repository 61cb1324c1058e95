"""Clients of a served gateway, in both modes."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from outside.caller import Caller
from outside.ledger import Ledger
from servers.gateway import GatewayProcess


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    """OpenAI's own SDK, pointed at the gateway; it does not retry, so that a test sees the first answer."""
    with OpenAI(base_url=gateway.openai_url, api_key=gateway.key, max_retries=0, timeout=30) as sdk:
        yield sdk


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    """The same, asynchronous."""
    async with AsyncOpenAI(base_url=gateway.openai_url, api_key=gateway.key, max_retries=0, timeout=30) as sdk:
        yield sdk


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A plain HTTP client with a key that works."""
    headers = {"authorization": f"Bearer {gateway.key}"}
    with httpx.Client(base_url=gateway.base_url, headers=headers, timeout=30) as plain:
        yield plain


@pytest.fixture
def caller(gateway: GatewayProcess) -> Iterator[Caller]:
    """A caller with a key of its own, so that its events are those of the test."""
    with Caller(gateway) as fresh:
        yield fresh


@pytest.fixture
def ledger(gateway: GatewayProcess) -> Ledger:
    """The gateway's usage events, read behind its back."""
    return Ledger(gateway)
