"""A gateway for clients that people really use, and the conversations that all of them are made to have."""

from collections.abc import Iterator

import pytest
from servers.gateway import GatewayProcess

from clients.chain import serve_chain
from providers.testing import FakeProvider


@pytest.fixture(scope="session")
def front(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """The gateway that clients call; see `clients.chain`."""
    with serve_chain(session_provider.url) as running:
        yield running
