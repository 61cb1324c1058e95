"""What an operator writes into requests reaches the provider, in whichever dialect its client speaks."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from servers.configs import FAKE_KEY, FAKE_KEY_NAME
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, Script

ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
CLAUDE = "claude-haiku-4-5"
MODELS: dict[str, dict[str, Any]] = {
    "bent": {
        "rename": {"max_tokens": "max_completion_tokens"},
        "drop": ["top_p", "metadata"],
        "default": {"temperature": 0.25, "repetition_penalty": 1.1},
        "set": {"seed": 7, "chat_template_kwargs": {"enable_thinking": False}, "provider.sort": "price"},
        "system_prefix": "Be brief.",
    },
    "renaming": {"rename": {"temperature": "heat", "max_tokens": "max_new_tokens"}},
    CLAUDE: {
        "default": {"temperature": 0.25, "logit_bias": {"1": 2}},
        "set": {"seed": 7, "n": 2, "thinking": {"type": "disabled"}},
    },
}


class Client(NamedTuple):
    """How a dialect asks the same: the fields of a plain request, those that say more, and those of a cap alone."""

    path: str
    plain: dict[str, Any]
    more: dict[str, Any]
    cap: dict[str, Any]


CLIENTS = {
    "chat": Client(
        CHAT, {"messages": user("x")}, {"temperature": 0.5, "top_p": 0.5, "metadata": {"a": "b"}}, {"max_tokens": 9}
    ),
    "llm": Client("/v1/llm/chat", {"messages": user("x")}, {"temperature": 0.5, "top_p": 0.5}, {"max_tokens": 9}),
    "messages": Client(
        "/v1/messages",
        {"messages": user("x"), "max_tokens": 9},
        {"temperature": 0.5, "top_p": 0.5, "metadata": {"user_id": "u"}},
        {"max_tokens": 9},
    ),
    "responses": Client(
        "/v1/responses",
        {"input": "x", "store": False},
        {"temperature": 0.5, "top_p": 0.5, "metadata": {"a": "b"}},
        {"max_output_tokens": 9},
    ),
    "gemini": Client(
        "/v1beta/models/{model}:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
        {"generationConfig": {"temperature": 0.5, "topP": 0.5, "maxOutputTokens": 9}},
        {"generationConfig": {"maxOutputTokens": 9}},
    ),
}
EVERY = pytest.mark.parametrize("name", CLIENTS)


@pytest.fixture(scope="module")
def bending(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    fake = {"adapter": "openai", "base_url": session_provider.url, "api_key": f"env:{FAKE_KEY_NAME}"}
    claude = {"adapter": "anthropic", "base_url": session_provider.origin, "api_key": f"env:{FAKE_KEY_NAME}"}
    tree = {
        "providers": {"fake": fake, "claude": claude},
        "models": {
            name: {"targets": [{"provider": "claude" if name == CLAUDE else "fake", "model": name}]}
            | {"transform": transform, "retries": 0, "breaker": False}
            for name, transform in MODELS.items()
        },
    }
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, FAKE_KEY_NAME: FAKE_KEY}
    with contextlib.closing(GatewayProcess.launch(tree, environ=environ)) as running:
        yield running
        running.stop()


@pytest.fixture
def asking(bending: GatewayProcess, fake_provider: FakeProvider) -> Iterator[Caller]:
    fake_provider.script(Script(body=json.dumps(ANSWER), content_type="application/json"), model=CLAUDE)
    with Caller(bending) as caller:
        yield caller


def ask(caller: Caller, name: str, model: str, **fields: Any) -> httpx.Response:
    client = CLIENTS[name]
    answer = caller.post({"model": model, **client.plain, **fields}, path=client.path.replace("{model}", model))
    assert answer.status_code == 200, answer.text
    return answer


def dropped(answer: httpx.Response) -> set[str]:
    return set(filter(None, answer.headers.get("x-gateway-dropped-params", "").split(", ")))


@EVERY
def test_what_is_written_reaches_the_provider(asking: Caller, fake_provider: FakeProvider, name: str):
    answer = ask(asking, name, "bent")
    sent = fake_provider.journal.last.json
    assert (sent["seed"], sent["temperature"], sent["repetition_penalty"]) == (7, 0.25, 1.1)
    assert (sent["chat_template_kwargs"], sent["provider"]) == ({"enable_thinking": False}, {"sort": "price"})
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *user("x")]
    assert dropped(answer) == set()


@EVERY
def test_a_default_gives_way_and_what_is_dropped_is_gone(asking: Caller, fake_provider: FakeProvider, name: str):
    ask(asking, name, "bent", **CLIENTS[name].more)
    sent = fake_provider.journal.last.json
    assert (sent["seed"], sent["temperature"]) == (7, 0.5)
    assert not {"top_p", "metadata"} & sent.keys()


@EVERY
def test_a_field_has_the_name_that_the_operator_gives_it(asking: Caller, fake_provider: FakeProvider, name: str):
    ask(asking, name, "bent", **CLIENTS[name].cap)
    sent = fake_provider.journal.last.json
    assert ("max_tokens" in sent, sent["max_completion_tokens"]) == (False, 9)


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "chat"])
def test_a_field_may_have_a_name_of_the_providers_own(asking: Caller, fake_provider: FakeProvider, name: str):
    ask(asking, name, "renaming", **{**CLIENTS[name].cap, **CLIENTS[name].more})
    sent = fake_provider.journal.last.json
    assert sent["heat"] == 0.5
    if name in {"gemini", "messages", "responses"}:
        assert sent["max_new_tokens"] == 9
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & sent.keys()


@EVERY
def test_what_a_provider_has_no_words_for_is_listed(asking: Caller, fake_provider: FakeProvider, name: str):
    answer = ask(asking, name, CLAUDE)
    sent = fake_provider.journal.last.json
    assert fake_provider.journal.last.path == "/v1/messages"
    assert (sent["temperature"], sent["thinking"]) == (0.25, {"type": "disabled"})
    assert not {"seed", "n", "logit_bias", "generationConfig"} & sent.keys()
    words = {"n": "candidateCount"} if name == "gemini" else {}
    assert {said.rpartition(".")[2] for said in dropped(answer)} == {"seed", "logit_bias", words.get("n", "n")}


def test_what_the_client_asks_in_vain_is_still_refused(asking: Caller):
    answer = asking.post({"model": CLAUDE, "messages": user("x"), "logit_bias": {"3": 1}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logit_bias")


def test_a_count_that_a_provider_cannot_make_calls_nobody(asking: Caller, fake_provider: FakeProvider):
    fake_provider.reset()
    body = {"model": "renaming", "messages": user("x"), "gateway": {"max_cost": "0"}}
    answer = asking.post(body, path="/v1/messages/count_tokens")
    assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (200, "0"), answer.text
    assert "x-gateway-provider" not in answer.headers
    assert answer.headers["x-gateway-cost"] == "0.000000000"
    assert not fake_provider.journal.entries


def test_a_count_is_asked_for_without_what_makes_answers(asking: Caller, fake_provider: FakeProvider):
    fake_provider.script(Script(body='{"input_tokens": 3}', content_type="application/json"), model=CLAUDE)
    answer = asking.post({"model": CLAUDE, "messages": user("x")}, path="/v1/messages/count_tokens")
    assert answer.json() == {"input_tokens": 3}
    assert not {"temperature", "seed", "n"} & fake_provider.journal.last.json.keys()
