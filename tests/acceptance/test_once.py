"""`Idempotency-Key`, end to end in both modes: one upstream call and one bill, however often a request comes."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.kept import KeptAnswers
from outside.ledger import Ledger
from outside.wire import request, talk
from servers.gateway import GatewayProcess
from servers.process import wait_until

from providers.testing import FakeProvider, Script

MESSAGES = {"model": "fake-model", "max_tokens": 50, "messages": user("one two three")}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}
GEMINI = "/v1beta/models/fake-model"
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, MESSAGES),
    "chat stream": (CHAT, MESSAGES | {"stream": True, "stream_options": {"include_usage": True}}),
    "completions": ("/v1/completions", {"model": "fake-local", "prompt": "one two three"}),
    "responses": ("/v1/responses", {"model": "fake-model", "input": "one two three"}),
    "responses stream": ("/v1/responses", {"model": "fake-model", "input": "one two three", "stream": True}),
    "anthropic": ("/v1/messages", MESSAGES),
    "anthropic stream": ("/v1/messages", MESSAGES | {"stream": True}),
    "gemini": (f"{GEMINI}:generateContent", CONTENTS),
    "gemini stream": (f"{GEMINI}:streamGenerateContent?alt=sse", CONTENTS),
    "gemini array stream": (f"{GEMINI}:streamGenerateContent", CONTENTS),
    "own": ("/v1/llm/chat", MESSAGES),
    "own stream": ("/v1/llm/chat", MESSAGES | {"stream": True}),
    "embeddings": ("/v1/embeddings", {"model": "fake-embedding", "input": ["one", "two"]}),
}
OF_THE_FIRST = ("provider", "model", "attempts", "cache", "cost", "dropped-params")
REPLAYED = "idempotent-replayed"


@pytest.fixture
def kept(gateway: GatewayProcess) -> KeptAnswers:
    """What the gateway keeps, read behind its back."""
    return KeptAnswers(gateway)


def calls(provider: FakeProvider) -> int:
    return len(provider.journal.entries)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("way", WAYS)
def test_a_retry_is_given_the_first_answer(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, way: str):
    path, body = WAYS[way]
    first = caller.post(body, path=path, idempotency_key="k")
    again = [caller.post(body, path=path, idempotency_key="k") for _ in range(3)]
    assert [answer.status_code for answer in (first, *again)] == [200] * 4
    assert {answer.content for answer in again} == {first.content}
    assert len(first.content) > 20
    assert first.headers.get(REPLAYED) is None
    for answer in again:
        assert answer.headers[REPLAYED] == "true"
        assert answer.headers["content-type"] == first.headers["content-type"]
        assert ("x-accel-buffering" in answer.headers) is ("x-accel-buffering" in first.headers) is ("stream" in way)
        for name in OF_THE_FIRST:
            assert answer.headers.get(f"x-gateway-{name}") == first.headers.get(f"x-gateway-{name}")
    ids = {answer.headers["x-request-id"] for answer in (first, *again)}
    assert len(ids) == 4
    assert calls(fake_provider) == 1
    assert [str(event["request_id"]) for event in ledger.wait_for_all(1, key_id=caller.key_id)] == [
        first.headers["x-request-id"]
    ]


def test_a_form_is_repeated_although_its_boundary_is_drawn_anew(gateway: GatewayProcess, fake_provider: FakeProvider):
    with Caller(gateway) as caller:
        answers = [
            caller.http.post(
                "/v1/audio/transcriptions",
                files={"file": ("a.wav", b"RIFF" + bytes(100), "audio/wav")},
                data={"model": "fake-model"},
                headers={"idempotency-key": "k"},
            )
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].content == answers[1].content
        assert answers[1].headers[REPLAYED] == "true"
        assert answers[0].request.headers["content-type"] != answers[1].request.headers["content-type"]
        assert calls(fake_provider) == 1


def test_sound_is_repeated(caller: Caller, fake_provider: FakeProvider):
    body = {"model": "fake-model", "input": "one two three", "voice": "alloy"}
    answers = [caller.post(body, path="/v1/audio/speech", idempotency_key="k") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    assert calls(fake_provider) == 1


def test_keys_paths_and_callers_do_not_mix(gateway: GatewayProcess, caller: Caller, fake_provider: FakeProvider):
    with Caller(gateway) as other:
        answers = [
            caller.post(MESSAGES, idempotency_key="k"),
            caller.post(MESSAGES, idempotency_key="l"),
            caller.post(MESSAGES, path="/v1/llm/chat", idempotency_key="k"),
            other.post(MESSAGES, idempotency_key="k"),
            caller.post(MESSAGES),
            caller.post(MESSAGES),
        ]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.headers.get(REPLAYED) for answer in answers] == [None] * 6
    assert calls(fake_provider) == 6


@pytest.mark.parametrize(
    "other",
    [
        {"json": MESSAGES | {"temperature": 0.5}},
        {"json": MESSAGES | {"stream": True}},
        {"json": MESSAGES, "headers": {"x-gateway-max-cost": "1"}},
        {"json": MESSAGES, "headers": {"x-gateway-include": "cost"}},
    ],
)
def test_another_request_is_a_conflict(caller: Caller, fake_provider: FakeProvider, other: dict[str, Any]):
    assert caller.post(MESSAGES, idempotency_key="k").status_code == 200
    headers = {"idempotency-key": "k"} | other.get("headers", {})
    answer = caller.http.post(CHAT, json=other["json"], headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (409, "idempotency_conflict")
    assert error_of(answer)["param"] == "Idempotency-Key"
    assert answer.headers["x-should-retry"] == "false"
    assert calls(fake_provider) == 1
    again = caller.post(MESSAGES, idempotency_key="k", x_gateway_timeout_s="20", x_gateway_tags="try=2")
    assert again.headers[REPLAYED] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
def test_a_key_that_is_none_is_refused_by_name(caller: Caller, fake_provider: FakeProvider, key: str):
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    answer = caller.http.post(CHAT, json=MESSAGES, headers=headers)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "Idempotency-Key")
    assert calls(fake_provider) == 0


def test_two_keys_are_refused(caller: Caller, fake_provider: FakeProvider):
    pairs = [("Authorization", f"Bearer {caller.key}"), ("Content-Type", "application/json")]
    pairs += [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    reply = talk(caller.gateway.port, request("POST", CHAT, pairs, json.dumps(MESSAGES).encode())).replies[0]
    assert reply.status == 400
    assert "idempotency-key" in reply.json["error"]["message"].lower()
    assert calls(fake_provider) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_failed_is_made_again(caller: Caller, fake_provider: FakeProvider, stream: bool):
    fake_provider.script(Script(status=500, times=1), Script(), model="fake-html")
    body = {"model": "fake-html", "messages": user("one two three"), "stream": stream}
    failed = caller.post(body, idempotency_key="k")
    assert failed.status_code == 502
    made = caller.post(body, idempotency_key="k")
    again = caller.post(body, idempotency_key="k")
    assert (made.status_code, made.headers.get(REPLAYED)) == (200, None)
    assert (again.content, again.headers[REPLAYED]) == (made.content, "true")
    assert calls(fake_provider) == 2


def test_a_refused_request_leaves_its_key_to_another(caller: Caller):
    body = MESSAGES | {"max_tokens": 1_000_000}
    assert error_of(caller.post(body, idempotency_key="k", x_gateway_max_cost="0.001"))["code"] == "max_cost_exceeded"
    assert caller.post(MESSAGES, idempotency_key="k").status_code == 200


def test_a_stream_that_broke_is_made_again(caller: Caller, ledger: Ledger, fake_provider: FakeProvider):
    fake_provider.script(
        Script(fault="close", fault_after_frames=3, times=1), Script(text="whole again"), model="fake-html"
    )
    body = {"model": "fake-html", "messages": user("one two three four"), "stream": True}
    broken = caller.post(body, idempotency_key="k")
    assert (broken.status_code, is_done(broken.text)) == (200, False)
    assert data_frames(broken.text)[-1]["error"]["code"] == "upstream_interrupted"
    made = caller.post(body, idempotency_key="k")
    assert is_done(made.text)
    assert made.headers.get(REPLAYED) is None
    assert caller.post(body, idempotency_key="k").content == made.content
    assert [event["outcome"] for event in ledger.wait_for_all(2, key_id=caller.key_id)] == ["interrupted", "ok"]


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        (CHAT, "fake-slow-chunks", True),
        (CHAT, "fake-slow-head", False),
        ("/v1/messages", "fake-slow-chunks", True),
    ],
)
def test_many_at_once_are_one_call(  # noqa: PLR0917 - three of them are fixtures
    gateway: GatewayProcess,
    caller: Caller,
    ledger: Ledger,
    fake_provider: FakeProvider,
    path: str,
    model: str,
    stream: bool,
):
    body = {"model": model, "messages": user("word " * 20), "stream": stream, "max_tokens": 50}
    headers = {"authorization": f"Bearer {caller.key}", "idempotency-key": "k"}

    def ask(at: int) -> httpx.Response:
        # On a connection of its own each, so that all workers are asked; some while the answer is under way.
        time.sleep(0.04 * at)
        return httpx.post(gateway.base_url + path, json=body, headers=headers, timeout=30, verify=False)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.content for answer in answers}) == 1
    assert sorted(REPLAYED in answer.headers for answer in answers) == [False] + [True] * 19
    assert len({answer.headers["x-request-id"] for answer in answers}) == 20
    assert calls(fake_provider) == 1
    events = ledger.wait_for_all(1, key_id=caller.key_id)
    assert [(event["outcome"], event["attempt"]) for event in events] == [("ok", 1)]


def test_who_joins_gets_the_parts_as_they_come(embedded_gateway: GatewayProcess, fake_provider: FakeProvider):
    """In the process that makes the call, that is; in another it gets the whole at its end."""
    body = {"model": "fake-slow-chunks", "messages": user("word " * 90), "stream": True}
    headers = {"idempotency-key": "k"}
    with Caller(embedded_gateway) as caller, caller.http.stream("POST", CHAT, json=body, headers=headers) as first:
        next(first.iter_bytes())
        time.sleep(0.5)
        began = time.monotonic()
        with caller.http.stream("POST", CHAT, json=body, headers=headers) as second:
            came = [(time.monotonic() - began, part) for part in second.iter_bytes()]
        assert second.headers[REPLAYED] == "true"
    # Neither all at the end, nor only what came after it had joined.
    assert came[0][0] < 1.5 < came[-1][0]
    assert len(came) > 3
    assert len(data_frames(b"".join(part for _, part in came).decode())) > 90
    assert calls(fake_provider) == 1


@pytest.mark.parametrize("by_reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_finds_the_whole_answer_when_it_comes_back(  # noqa: PLR0917 - mostly fixtures
    caller: Caller, ledger: Ledger, fake_provider: FakeProvider, kept: KeptAnswers, stream: bool, by_reset: bool
):
    model = "fake-slow-chunks" if stream else "fake-slow-head"
    body = {"model": model, "messages": user("word " * 50), "stream": stream}
    came, _ = caller.leave(body, after_s=1, by_reset=by_reset, idempotency_key="k")
    assert (b"200 OK" in came) is stream
    assert b"[DONE]" not in came
    assert wait_until(lambda: [row["status"] for row in kept.rows(caller.key_id)] == [200], within_s=10)
    entry = fake_provider.journal.last
    assert entry.tokens_served == 50
    assert entry.peer_closed_after_ms is None
    again = caller.post(body, idempotency_key="k")
    assert again.headers[REPLAYED] == "true"
    assert is_done(again.text) is stream
    assert again.text.count("word") == 50
    assert calls(fake_provider) == 1
    events = ledger.wait_for_all(1, key_id=caller.key_id)
    assert [event["outcome"] for event in events] == ["ok"]
    assert events[0]["output_tokens"] == 50
    assert events[0]["usage_source"] == "provider"


def test_the_request_of_a_client_that_left_is_logged_with_what_it_cost(caller: Caller, kept: KeptAnswers):
    body = {"model": "fake-slow-chunks", "messages": user("word " * 20), "stream": True}
    caller.leave(body, after_s=0.4, idempotency_key="k")
    assert wait_until(lambda: [row["status"] for row in kept.rows(caller.key_id)] == [200], within_s=10)

    def lines() -> list[dict[str, Any]]:
        return [line for line in caller.gateway.log_records() if line.get("key_id") == caller.key_id]

    assert wait_until(lambda: len(lines()) == 1, within_s=15)
    line = lines()[0]
    assert (line["status"], line["attempts"], line["output_tokens"]) == (499, 1, 20)
    assert line["cost_nusd"] > 0


def test_an_answer_that_is_too_large_is_given_once(caller: Caller, fake_provider: FakeProvider):
    fake_provider.script(Script(pad_bytes=2 << 20), model="fake-html")
    body = {"model": "fake-html", "messages": user("one two three")}
    first = caller.post(body, idempotency_key="k")
    assert first.status_code == 200
    assert len(first.content) > 2 << 20
    again = caller.post(body, idempotency_key="k")
    assert (again.status_code, error_of(again)["code"]) == (409, "idempotency_conflict")
    assert "larger than" in error_of(again)["message"]
    assert calls(fake_provider) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_of_an_answer_can_be_read_in_the_database(caller: Caller, kept: KeptAnswers, stream: bool):
    canary = "canary-of-the-answer-" + caller.key_id
    body = {"model": "fake-model", "messages": user(f"{canary} {canary}"), "stream": stream}
    answer = caller.post(body, idempotency_key="a-key-that-is-stored")
    assert canary in answer.text
    rows = kept.rows(caller.key_id)
    assert [(row["status"], row["path"]) for row in rows] == [(200, CHAT)]
    stored = kept.all_bytes(caller.key_id)
    assert b"a-key-that-is-stored" in stored
    assert canary.encode() not in stored


def test_a_deadline_ends_the_call_and_frees_the_key(caller: Caller, fake_provider: FakeProvider):
    fake_provider.script(Script(head_delay_ms=5_000, times=1), Script(), model="fake-html")
    body = {"model": "fake-html", "messages": user("one two three")}
    late = caller.post(body, idempotency_key="k", x_gateway_timeout_s="0.4")
    assert (late.status_code, error_of(late)["code"]) == (504, "upstream_timeout")
    assert caller.post(body, idempotency_key="k").status_code == 200
    assert calls(fake_provider) == 2


def test_who_joins_waits_no_longer_than_he_said(caller: Caller, fake_provider: FakeProvider):
    body = {"model": "fake-slow-first-chunk", "messages": user("one two three"), "stream": True}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(caller.post, body, idempotency_key="k")
        assert wait_until(lambda: calls(fake_provider) == 1, within_s=10)
        began = time.monotonic()
        joined = caller.post(body, idempotency_key="k", x_gateway_timeout_s="0.5")
        assert (joined.status_code, error_of(joined)["code"]) == (504, "upstream_timeout")
        assert 0.4 < time.monotonic() - began < 2.5
        assert is_done(first.result(timeout=20).text)
    assert calls(fake_provider) == 1
