"""Clients for Node: the SDKs of OpenAI (`baseURL` with `/v1`) and Anthropic (without), and Vercel's AI SDK.

The AI SDK's providers take a `baseURL` that ends in `/v1` for OpenAI and Anthropic, and in `/v1beta` for Google.
"""

import pytest
from servers.gateway import GatewayProcess

from clients.chain import ROUTES
from clients.drivers import Outcome, demand_success, run_driver
from clients.environments import node_with_clients
from providers.testing import FakeProvider

pytestmark = pytest.mark.timeout(900)  # the packages may have to be installed first


@pytest.fixture(scope="module", params=["openai", "anthropic", "ai_sdk"])
def outcome(request: pytest.FixtureRequest, front: GatewayProcess, session_provider: FakeProvider) -> Outcome:
    with node_with_clients() as (node, drivers):
        return run_driver([node, drivers / f"{request.param}.mjs"], front=front, fake=session_provider)


@pytest.mark.parametrize("route", ROUTES)
def test_it_runs(outcome: Outcome, route: str):
    demand_success(outcome, route)
