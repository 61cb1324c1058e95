"""LlamaIndex (`api_base`, `api_key`) and instructor (over OpenAI's SDK), in an environment with an older SDK."""

import pytest
from servers.gateway import GatewayProcess

from clients.chain import ROUTES
from clients.drivers import Outcome, demand_success, run_driver
from clients.environments import FOLDER, python_with
from providers.testing import FakeProvider

pytestmark = pytest.mark.timeout(900)  # the environment may have to be made first


@pytest.fixture(scope="module", params=["llama_index_llm", "instructor_clients"])
def outcome(request: pytest.FixtureRequest, front: GatewayProcess, session_provider: FakeProvider) -> Outcome:
    driver = FOLDER / "python" / f"{request.param}.py"
    return run_driver([python_with("older-openai"), driver], front=front, fake=session_provider)


@pytest.mark.parametrize("route", ROUTES)
def test_it_runs(outcome: Outcome, route: str):
    demand_success(outcome, route)
