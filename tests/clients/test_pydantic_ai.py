"""pydantic-ai, in an environment of its own: its providers take a `base_url` and an `api_key`."""

import pytest
from servers.gateway import GatewayProcess

from clients.chain import ROUTES
from clients.drivers import Outcome, demand_success, run_driver
from clients.environments import FOLDER, python_with
from providers.testing import FakeProvider

pytestmark = pytest.mark.timeout(900)  # the environment may have to be made first


@pytest.fixture(scope="module")
def outcome(front: GatewayProcess, session_provider: FakeProvider) -> Outcome:
    driver = FOLDER / "python" / "pydantic_ai_agents.py"
    return run_driver([python_with("pydantic-ai"), driver], front=front, fake=session_provider)


@pytest.mark.parametrize("route", ROUTES)
def test_agents_run(outcome: Outcome, route: str):
    demand_success(outcome, route)
