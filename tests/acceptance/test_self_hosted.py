"""A self-hosted server without a `models:` section, over either transport."""

import json
import time
from collections.abc import Iterator

import pytest
from openai import APIError, OpenAI
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, Script

HELLO = [{"role": "user", "content": "say hello to the gateway"}]


@pytest.fixture(scope="module", params=["own", "httpx"])
def self_hosted(request: pytest.FixtureRequest, session_provider: FakeProvider) -> Iterator[OpenAI]:
    tree = {
        "transport": request.param,
        "providers": {"local": {"adapter": "vllm", "base_url": session_provider.url, "headers": {"X-Team": "blue"}}},
    }
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    gateway = GatewayProcess.launch(tree, environ=environ)
    try:
        with OpenAI(base_url=gateway.openai_url, api_key=gateway.key, max_retries=0, timeout=30) as client:
            yield client
        gateway.stop()
    finally:
        gateway.close()


def test_lists_the_models_that_the_server_says_it_has(self_hosted: OpenAI):
    deadline = time.monotonic() + 10
    names: set[str] = set()
    while "fake-model" not in names and time.monotonic() < deadline:
        names = {model.id for model in self_hosted.models.list()}
    assert {"fake-model", "local/fake-model"} <= names


def test_serves_any_model_of_the_server_by_its_full_name(self_hosted: OpenAI, fake_provider: FakeProvider):
    answer = self_hosted.chat.completions.create(model="local/a-model-nobody-listed", messages=HELLO)
    assert answer.choices[0].message.content
    sent = fake_provider.journal.last
    assert sent.model == "a-model-nobody-listed"
    assert sent.headers["x-team"] == "blue"


def test_streams(self_hosted: OpenAI):
    chunks = list(self_hosted.chat.completions.create(model="local/fake-model", messages=HELLO, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_streams_from_a_server_that_never_says_done(self_hosted: OpenAI, fake_provider: FakeProvider):
    content = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    closed = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in (content, closed)]
    fake_provider.script(Script(frames=frames, times=1))
    chunks = list(self_hosted.chat.completions.create(model="local/fake-model", messages=HELLO, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["hi", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    fake_provider.script(Script(frames=frames, times=1, fault="close", fault_after_frames=2))
    with pytest.raises(APIError, match="provider"):
        list(self_hosted.chat.completions.create(model="local/fake-model", messages=HELLO, stream=True))


@pytest.mark.parametrize(("model", "code"), [("fake-500", "upstream_error"), ("fake-refused", "upstream_interrupted")])
def test_reports_what_goes_wrong(self_hosted: OpenAI, model: str, code: str):
    with pytest.raises(APIError) as caught:
        self_hosted.chat.completions.create(model=f"local/{model}", messages=HELLO)
    assert caught.value.code == code
