"""What every inference response carries beside its body, also where it is a refusal or has not begun in earnest."""

import time

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from outside.told import traced
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, Script

NOBODY = {"x-gateway-attempts": "0", "x-gateway-cache": "off"}
GOOD = b'{"model": "echo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}'
PATHS = [CHAT, "/v1/messages", "/v1beta/models/echo:generateContent", "/v1/llm/chat", "/v1/embeddings"]


def says_that_nobody_was_asked(answer: httpx.Response) -> bool:
    """Whether a refusal has all that it can have."""
    said = {name: value for name, value in answer.headers.items() if name in NOBODY}
    return said == NOBODY and float(answer.headers["x-gateway-overhead-ms"]) > 0 and "x-request-id" in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_what_is_refused_early_says_that_nobody_was_asked(gateway: GatewayProcess, caller: Caller, path: str):
    json = {"content-type": "application/json"}
    key = {"authorization": f"Bearer {caller.key}"}
    url = f"{gateway.base_url}{path}"
    refused = {
        "no key": (401, httpx.post(url, content=GOOD, headers=json)),
        "another key": (403, httpx.post(url, content=GOOD, headers={**json, "x-api-key": gateway.admin_key})),
        "two keys": (400, httpx.post(url, content=GOOD, headers={**json, **key, "x-api-key": "another"})),
        "no type": (415, httpx.post(url, content=GOOD, headers=key)),
        "no body": (400, httpx.post(url, content=b"", headers={**json, **key})),
        "no such method": (405, httpx.get(url, headers=key)),
    }
    for name, (status, answer) in refused.items():
        assert answer.status_code == status, name
        assert says_that_nobody_was_asked(answer), (name, answer.headers)


def test_an_unknown_model_and_a_host_that_is_none_were_asked_of_nobody(gateway: GatewayProcess, caller: Caller):
    unknown = caller.chat("no-such-model")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert says_that_nobody_was_asked(unknown)
    # Said by the outermost ring, which knows of no endpoint.
    elsewhere = httpx.post(f"{gateway.base_url}{CHAT}", content=GOOD, headers={"host": "a b"})
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (400, "invalid_host")
    assert says_that_nobody_was_asked(elsewhere)


def test_a_refusal_by_a_limit_says_the_same(gateway: GatewayProcess):
    with Caller(gateway, limits={"requests_per_minute": 1}) as caller:
        assert caller.chat("echo").status_code == 200
        refused = caller.chat("echo")
        assert refused.status_code == 429
        assert says_that_nobody_was_asked(refused)


@pytest.mark.parametrize("path", ["/v1/nowhere", "/", "/v1/models"])
def test_what_is_no_inference_says_nothing_of_attempts(gateway: GatewayProcess, path: str):
    answer = httpx.get(f"{gateway.base_url}{path}")
    assert not set(NOBODY) & set(answer.headers)


def test_a_stream_that_begins_with_a_comment_says_what_is_known(
    embedded_gateway: GatewayProcess, fake_provider: FakeProvider
):
    body = {"model": "fake-model", "messages": user("x"), "stream": True}
    fake_provider.script(Script(head_delay_ms=60_000), model="fake-model")
    with Caller(embedded_gateway, limits={"requests_per_minute": 7}, cache={"mode": "exact"}) as caller:
        began = time.monotonic()
        with caller.http.stream("POST", CHAT, json=body) as answer:
            assert answer.status_code == 200
            assert time.monotonic() - began > 14
            first = next(answer.iter_text())
        assert first.startswith(": ")
        headers = answer.headers
        limits = (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"])
        assert limits == ("7", "6")
        assert "x-ratelimit-reset-requests" in headers
        assert headers["x-gateway-cache"] == "miss"
        assert not {"x-gateway-provider", "x-gateway-model", "x-gateway-attempts"} & set(headers)
        assert "x-request-id" in headers


_FOR_ALL = {
    "cache-control",
    "content-type",
    "content-length",
    "date",
    "server",
    "connection",
    "transfer-encoding",
    "allow",
    "vary",
}
"""What browsers show of themselves, or what is between them and a server only."""


def test_a_page_of_another_origin_may_read_all_that_answers_say(gateway: GatewayProcess):
    with Caller(gateway, limits={"requests_per_minute": 4, "tokens_per_minute": 10_000}) as caller:
        asked = {"model": "echo", "messages": user("x")}
        page = {"origin": "https://page.example", "idempotency_key": "page", "x_gateway_cache": "exact"}
        answers = [caller.post(asked, **page) for _ in range(2)]
        answers += [caller.post({**asked, "max_tokens": 5}, path="/v1/messages", **page)]
        answers += [caller.post({**asked, "stream": True}, origin="https://page.example") for _ in range(3)]
        answers += [httpx.post(f"{gateway.base_url}{CHAT}", json=asked, headers={"origin": "https://page.example"})]
    seen: set[str] = set()
    for answer in answers:
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        said = {name for name in answer.headers if not name.startswith("access-control-")}
        assert said - _FOR_ALL <= exposed, answer.status_code
        seen |= said
    assert {answer.status_code for answer in answers} == {200, 401, 429}
    assert {"idempotent-replayed", "request-id", "x-ratelimit-reset-tokens", "retry-after", "x-gateway-cost"} <= seen


def test_whatever_is_read_answers_head_like_get_without_a_body(gateway: GatewayProcess, caller: Caller):
    kept = caller.post({"model": "echo", "input": "x"}, path="/v1/responses")
    traced(caller, kept.headers["x-request-id"])
    paths = ["/v1/models", "/v1/models/echo", f"/v1/responses/{kept.json()['id']}", "/healthz", "/readyz"]
    for path in [*paths, f"/v1/llm/requests/{kept.headers['x-request-id']}", "/v1/models/none", "/v1/responses/none"]:
        got, headed = caller.http.get(path), caller.http.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b""), path
        assert headed.headers["content-type"] == got.headers["content-type"], path
    assert httpx.head(f"{gateway.base_url}/v1/models").status_code == 401
