"""The gateways of the session: real processes in both modes, in front of the fake provider."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import openai
import pytest
from servers import configs
from servers.gateway import GatewayProcess

from providers.testing import PRESETS

HELLO = [{"role": "user", "content": "hello big world"}]


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.openai_url, api_key=gateway.key, max_retries=0, timeout=30) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_reaches_the_fake_provider(client, fake_provider, stream):
    answer = client.chat.completions.create(model="fake-model", messages=HELLO, stream=stream)
    if stream:
        text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content
    assert text == "hello big world"
    entry = fake_provider.journal.last
    assert entry.headers["authorization"] == f"Bearer {configs.FAKE_KEY}"
    assert entry.json["messages"] == HELLO


def test_the_echo_is_there(client):
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == "hello big world"


def test_every_preset_is_a_model(client):
    others = {"echo", "fake-model", "fake-embedding", "fake-local"}
    assert {model.id for model in client.models.list()} == {*others, *PRESETS}


def test_the_modes_have_the_workers_that_they_should(embedded_gateway, scaled_gateway):
    assert len(embedded_gateway.workers()) == len(embedded_gateway.pids()) == 1
    assert len(scaled_gateway.pids()) == 2


def test_without_a_file_the_first_run_prints_keys_that_work():
    with closing(GatewayProcess.launch()) as gateway:
        headers = {"authorization": f"Bearer {gateway.key}"}
        body = {"model": "echo", "messages": HELLO}
        answer = httpx.post(f"{gateway.openai_url}/chat/completions", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200
        assert gateway.printed_key == gateway.key
        assert gateway.admin("GET", "/keys")["items"]
        gateway.stop()
        gateway.start()
        assert httpx.get(f"{gateway.openai_url}/models", headers=headers, timeout=30).status_code == 200
        gateway.kill()
