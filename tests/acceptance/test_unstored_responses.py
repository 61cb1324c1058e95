"""A gateway whose operator forbids to store responses says of none that it is stored."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from outside.caller import Caller
from servers.configs import FAKE_KEY, FAKE_KEY_NAME
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, Script

PATH = "/v1/responses"
FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ANSWER = {"id": "resp_up", "object": "response", "status": "completed", "model": "relayed", "store": False} | {
    "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    ],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}


@pytest.fixture(scope="module")
def forgetful(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    fake = {"adapter": "openai", "base_url": session_provider.url, "api_key": f"env:{FAKE_KEY_NAME}"}
    tree = {
        "privacy": {"store_responses": False},
        "providers": {"echo": {"adapter": "echo"}, "fake": fake, "relaying": {**fake, "serves": ["responses"]}},
        "models": {
            "echo": {"targets": [{"provider": "echo", "model": "echo"}]},
            "fake-model": {"targets": [{"provider": "fake", "model": "fake-model"}]},
            "relayed": {"targets": [{"provider": "relaying", "model": "relayed"}], "retries": 0, "breaker": False},
        },
    }
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, FAKE_KEY_NAME: FAKE_KEY}
    with contextlib.closing(GatewayProcess.launch(tree, environ=environ)) as running:
        yield running
        running.stop()


@pytest.fixture
def asking(forgetful: GatewayProcess, fake_provider: FakeProvider) -> Iterator[Caller]:
    with Caller(forgetful) as caller:
        yield caller


def said_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return every response that is in an answer, whole or as events."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        return [answer.json()]
    frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return [frame["response"] for frame in frames if "response" in frame]


@FORMS
@pytest.mark.parametrize("model", ["echo", "fake-model"])
@pytest.mark.parametrize("asked", [{}, {"store": None}, {"store": False}], ids=["absent", "null", "false"])
def test_a_translated_answer_says_that_it_is_not_stored(asking: Caller, model: str, stream: bool, asked: Any):
    responses = said_of(asking.post({"model": model, "input": "x", "stream": stream, **asked}, path=PATH))
    assert [response["store"] for response in responses] == [False] * (3 if stream else 1)


@FORMS
def test_a_vendor_with_a_store_of_its_own_is_told_not_to(asking: Caller, fake_provider: FakeProvider, stream: bool):
    last = {"type": "response.completed", "response": ANSWER, "sequence_number": 1}
    text = {"type": "response.output_text.delta", "delta": "hi", "sequence_number": 0, "output_index": 0}
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (text, last)]
    whole = Script(body=json.dumps(ANSWER), content_type="application/json")
    fake_provider.script(Script(frames=frames, content_type="text/event-stream") if stream else whole, model="relayed")
    responses = said_of(asking.post({"model": "relayed", "input": "x", "stream": stream}, path=PATH))
    assert fake_provider.journal.last.path == PATH
    assert fake_provider.journal.last.json["store"] is False
    assert [response["store"] for response in responses] == [False]


def test_a_relayed_response_that_breaks_is_not_said_to_be_stored(asking: Caller, fake_provider: FakeProvider):
    text = {"type": "response.output_text.delta", "delta": "hi", "sequence_number": 0, "output_index": 0}
    frames = [f"event: {text['type']}\ndata: {json.dumps(text)}\n\n"]
    cut = Script(frames=frames, content_type="text/event-stream", fault="reset", fault_after_frames=1)
    fake_provider.script(cut, model="relayed")
    (failed,) = said_of(asking.post({"model": "relayed", "input": "x", "stream": True}, path=PATH))
    assert (failed["status"], failed["store"]) == ("failed", False)


def test_to_ask_for_it_is_refused(asking: Caller):
    answer = asking.post({"model": "echo", "input": "x", "store": True}, path=PATH)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "store")
