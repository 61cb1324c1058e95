"""The built-in provider does what it is asked, says what it leaves out, or refuses it by name."""

from typing import Any

import pytest
from outside.caller import CHAT, Caller, user

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
SCHEMA = {"type": "object", "properties": {}}
CHAT_BODY: dict[str, Any] = {"model": "echo", "messages": user("hello big world")}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {**CHAT_BODY, "stop": "big"}),
        (CHAT, {**CHAT_BODY, "stop": ["world", " big"]}),
        (MESSAGES, {**CHAT_BODY, "stop_sequences": ["big"], "max_tokens": 9}),
    ],
)
def test_it_stops_where_it_is_told(caller: Caller, path: str, fields: dict[str, Any]):
    answer = caller.post(fields, path=path)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    text = said["choices"][0]["message"]["content"] if path == CHAT else said["content"][0]["text"]
    assert text.strip() == "hello"
    assert "x-gateway-dropped-params" not in answer.headers


@pytest.mark.parametrize(
    ("path", "fields", "dropped"),
    [
        (CHAT, {"temperature": 0.5, "seed": 7, "service_tier": "auto"}, {"temperature", "seed", "service_tier"}),
        (MESSAGES, {"max_tokens": 9, "top_k": 3, "metadata": {"user_id": "u"}}, {"top_k", "metadata.user_id"}),
        (RESPONSES, {"top_p": 0.5, "prompt_cache_key": "k"}, {"top_p", "prompt_cache_key"}),
        (CHAT, {"n": 1, "frequency_penalty": 0, "response_format": {"type": "text"}}, set()),
    ],
)
def test_it_says_what_it_leaves_out(caller: Caller, path: str, fields: dict[str, Any], dropped: set[str]):
    asked = {"model": "echo", "input": "hi"} if path == RESPONSES else CHAT_BODY
    answer = caller.post({**asked, **fields}, path=path)
    assert answer.status_code == 200, answer.text
    heard = answer.headers.get("x-gateway-dropped-params", "")
    assert set(filter(None, heard.split(", "))) == dropped


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
            "response_format",
        ),
        ({"zzz": 1}, "zzz"),
    ],
)
def test_it_refuses_what_would_be_silently_wrong(caller: Caller, fields: dict[str, Any], param: str):
    answer = caller.post({**CHAT_BODY, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
