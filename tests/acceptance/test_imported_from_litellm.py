"""A gateway runs on the file that was imported from LiteLLM, and its models answer under their old names."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml
from outside.caller import Caller
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import free_port

from app.commands import import_litellm
from providers.testing import FakeProvider

OLD = """
model_list:
  - model_name: chat
    litellm_params: {{model: openai/fake-model, api_base: "{url}", api_key: os.environ/{key}, weight: 2}}
    model_info: {{input_cost_per_token: 1.0e-06, output_cost_per_token: 2.0e-06}}
  - model_name: broken
    litellm_params: {{model: openai/anything, api_base: "http://127.0.0.1:{closed}/v1", api_key: none}}
  - model_name: local
    litellm_params: {{model: hosted_vllm/fake-local, api_base: "{url}", temperature: 0.25}}
router_settings:
  num_retries: 1
  fallbacks: [{{broken: [chat]}}]
  model_group_alias: {{gpt-3.5-turbo: chat}}
litellm_settings: {{drop_params: true, request_timeout: 20}}
"""


@pytest.fixture
def imported(session_provider: FakeProvider, tmp_path: Path) -> Iterator[GatewayProcess]:
    session_provider.reset()
    old = tmp_path / "config.yaml"
    old.write_text(OLD.format(url=session_provider.url, key=configs.FAKE_KEY_NAME, closed=free_port()))
    done = import_litellm.run(old)
    assert not done.has_losses, done.report
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    environ = {**secrets, configs.FAKE_KEY_NAME: configs.FAKE_KEY}
    with closing(GatewayProcess.launch(yaml.safe_load(done.text), environ=environ)) as running:
        yield running


def test_old_names_answer(imported: GatewayProcess, session_provider: FakeProvider):
    with Caller(imported) as caller:
        for name in ("chat", "gpt-3.5-turbo", "broken", "local"):
            answer = caller.chat(name)
            assert answer.status_code == httpx.codes.OK, answer.text
            assert answer.headers["x-gateway-model"] == ("chat" if name == "broken" else name)
            assert (answer.headers.get("x-gateway-cost", "") > "0.000000000") == (name != "local")
    asked = {entry.model: json.loads(entry.body) for entry in session_provider.journal.entries}
    assert asked.keys() == {"fake-model", "fake-local"}
    assert asked["fake-local"]["temperature"] == 0.25
    assert "temperature" not in asked["fake-model"]
