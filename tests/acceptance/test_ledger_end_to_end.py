"""What is in the ledger is what happened: every outcome against the provider's own journal, in both modes."""

import itertools
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.charges import check_failed
from outside.ledger import Ledger, cost_nusd, usd
from servers.gateway import GatewayProcess

from providers.testing import PRESETS, Entry, FakeProvider, Journal, Script, count_tokens

LLM, EMBEDDINGS = "/v1/llm/chat", "/v1/embeddings"
TEXT = "one two three four five six seven"
CLOSED_WITHIN_MS = 1000
LEFT_EVENT_WITHIN_S = 4.0


def only(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(events) == 1, events
    return events[0]


def check_charge(event: dict[str, Any], entry: Entry) -> None:
    """The event says what the provider says, at the price of the file."""
    assert (event["input_tokens"], event["output_tokens"]) == (entry.prompt_tokens, entry.tokens_served)
    assert event["cost_nusd"] == cost_nusd(entry.prompt_tokens, entry.tokens_served)
    assert event["usage_source"] == "provider"
    assert event["price_version"].startswith("config:")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_good_answer(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, path: str, stream: bool):
    answer = caller.post({"model": "fake-model", "messages": user(TEXT), "stream": stream}, path=path)
    assert answer.status_code == 200
    event = only(ledger.wait(1, key_id=caller.key_id))
    check_charge(event, fake_provider.journal.last)
    assert event["request_id"] == UUID(answer.headers["x-request-id"])
    assert event["key_id"] == UUID(caller.key_id)
    assert event["organization_id"] == caller.organization_id
    assert (event["outcome"], event["status"], event["error_code"]) == ("ok", 200, None)
    assert (event["provider"], event["model"], event["upstream_model"]) == ("fake", "fake-model", "fake-model")
    assert (event["operation"], event["attempt"], event["stream"]) == ("chat", 1, stream)
    assert 0 <= event["ttft_ms"] <= event["duration_ms"] < 5_000
    if not stream:
        assert answer.headers["x-gateway-cost"] == usd(event["cost_nusd"])
    if path == LLM:
        said = data_frames(answer.text)[-1] if stream else answer.json()
        assert said["cost"] == usd(event["cost_nusd"])
        assert said["usage"]["output_tokens"] == event["output_tokens"]


def test_a_stream_costs_what_the_whole_answer_costs(caller: Caller, ledger: Ledger):
    for stream in (False, True):
        assert caller.chat("fake-model", TEXT, stream=stream).status_code == 200
    whole, streamed = ledger.wait(2, key_id=caller.key_id)
    fields = ("input_tokens", "output_tokens", "cost_nusd", "price_version", "usage_source")
    assert [whole[name] for name in fields] == [streamed[name] for name in fields]


@pytest.mark.parametrize("given", ["one two three", ["one", "two three"]])
def test_embeddings(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, given: Any):
    answer = caller.post({"model": "fake-embedding", "input": given}, path=EMBEDDINGS)
    event = only(ledger.wait(1, key_id=caller.key_id))
    check_charge(event, fake_provider.journal.last)
    assert event["operation"] == "embeddings"
    assert answer.headers["x-gateway-cost"] == usd(event["cost_nusd"])


@pytest.mark.parametrize("stream", [False, True])
def test_the_echo_is_free_and_counted(caller: Caller, ledger: Ledger, stream: bool):
    assert caller.chat("echo", TEXT, stream=stream).status_code == 200
    event = only(ledger.wait(1, key_id=caller.key_id))
    assert (event["cost_nusd"], event["output_tokens"], event["outcome"]) == (0, 7, "ok")


@pytest.mark.parametrize("stream", [False, True])
def test_cached_input_is_counted_apart(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, stream: bool):
    fake_provider.script(Script(cached_tokens=4), model="fake-model")
    assert caller.chat("fake-model", TEXT, stream=stream).status_code == 200
    event, entry = only(ledger.wait(1, key_id=caller.key_id)), fake_provider.journal.last
    assert event["cache_read_tokens"] == 4
    assert event["input_tokens"] == entry.prompt_tokens - 4
    assert event["cost_nusd"] == cost_nusd(entry.prompt_tokens, entry.tokens_served)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_and_reasoning_are_in_the_output(
    caller: Caller, ledger: Ledger, fake_provider: FakeProvider, stream: bool
):
    answer = caller.chat("fake-reasoning", TEXT, stream=stream, max_tokens=3)
    assert answer.status_code == 200
    event, entry = only(ledger.wait(1, key_id=caller.key_id)), fake_provider.journal.last
    check_charge(event, entry)
    assert event["reasoning_tokens"] == 5
    assert event["output_tokens"] == 8


UNANSWERED = {
    "fake-400": ("refused", 400),
    "fake-429": ("rate_limited", 429),
    "fake-500": ("error", 500),
    "fake-401": ("error", 401),
    "fake-html": ("error", 200),
    "fake-bad-json": ("error", 200),
    "fake-redirect": ("error", 302),
    "fake-refused": ("interrupted", None),
}


def test_what_a_provider_did_not_answer_costs_nothing_or_its_prompt(gateway: GatewayProcess, ledger: Ledger):
    """A provider that says 2xx has taken the prompt, whatever else it says."""

    def check(model: str, stream: bool) -> None:
        with Caller(gateway) as caller:
            answer = caller.chat(model, stream=stream)
        assert answer.status_code >= 400
        assert answer.headers["x-gateway-attempts"] == "1"
        event = only(ledger.wait(1, key_id=caller.key_id))
        outcome, status = UNANSWERED[model]
        assert (event["outcome"], event["output_tokens"]) == (outcome, 0)
        check_failed(event, PRESETS[model])
        # A stream that is none is given up at its head, before there is an answer to have a status.
        assert event["status"] in ((status, None) if stream else (status,))
        assert event["error_code"]
        assert event["request_id"] == UUID(answer.headers["x-request-id"])

    together(check, itertools.product(UNANSWERED, [False, True]))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", [Script(status=500, times=2), Script(body="", times=2)])
def test_each_retry_is_an_event_of_its_own(
    caller: Caller, ledger: Ledger, fake_provider: FakeProvider, failure: Script, stream: bool
):
    fake_provider.script(failure, Script(), model="fake-model")
    answer = caller.chat("fake-model", TEXT, stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-attempts"] == "3"
    events = ledger.wait(3, key_id=caller.key_id)
    assert [event["attempt"] for event in events] == [1, 2, 3]
    assert len({event["request_id"] for event in events}) == 1
    assert [event["outcome"] == "ok" for event in events] == [False, False, True]
    for event in events[:2]:
        check_failed(event, failure)
    check_charge(events[2], fake_provider.journal.last)
    if not stream:
        assert answer.headers["x-gateway-cost"] == usd(sum(event["cost_nusd"] for event in events))


def test_a_stream_that_breaks_costs_what_was_delivered(
    gateway: GatewayProcess, ledger: Ledger, fake_provider: FakeProvider
):
    def check(model: str) -> None:
        with Caller(gateway) as caller:
            answer = caller.chat(model, TEXT, stream=True)
        frames = data_frames(answer.text)
        said = "".join(c["delta"].get("content") or "" for frame in frames for c in frame.get("choices", []))
        assert "error" in frames[-1]
        assert not is_done(answer.text)
        event = only(ledger.wait(1, key_id=caller.key_id))
        assert event["outcome"] in {"interrupted", "error"}
        assert event["error_code"] == frames[-1]["error"]["code"]
        served = fake_provider.journal.for_model(model)[-1].tokens_served
        assert count_tokens(said) <= event["output_tokens"] <= served + 1
        assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"])
        assert event["input_tokens"] > 0

    together(check, [("fake-cut",), ("fake-reset",), ("fake-no-done",), ("fake-error-frame",)])


ODD_USAGE = ("fake-no-usage", "fake-negative-usage", "fake-text-usage", "fake-huge-usage", "fake-float-usage")


def test_usage_that_cannot_be_is_estimated(gateway: GatewayProcess, ledger: Ledger, fake_provider: FakeProvider):
    def check(model: str, stream: bool) -> None:
        with Caller(gateway) as caller:
            assert caller.chat(model, TEXT, stream=stream).status_code == 200
        event = only(ledger.wait(1, key_id=caller.key_id))
        entry = next(found for found in fake_provider.journal.for_model(model) if found.is_stream == stream)
        assert (event["outcome"], event["usage_source"]) == ("ok", "estimated")
        # A whole answer is estimated by its bytes, all of them: rather too much than too little.
        most = 2 * entry.tokens_served if stream else entry.bytes_sent // 3
        assert entry.tokens_served <= event["output_tokens"] <= most
        assert 0 < event["input_tokens"] <= 10 * entry.prompt_tokens
        assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"])

    together(check, itertools.product(ODD_USAGE, [False, True]))


def test_usage_in_every_chunk_is_counted_once(caller: Caller, ledger: Ledger, fake_provider: FakeProvider):
    assert caller.chat("fake-usage-everywhere", TEXT, stream=True).status_code == 200
    check_charge(only(ledger.wait(1, key_id=caller.key_id)), fake_provider.journal.last)


def test_a_client_that_leaves_before_the_head(gateway: GatewayProcess, ledger: Ledger, fake_provider: FakeProvider):
    def check(path: str, stream: bool, by_reset: bool) -> None:
        text = f"{path} {stream} {by_reset}"
        body = {"model": "fake-slow-head", "messages": user(text), "stream": stream}
        with Caller(gateway) as caller:
            came, left_at = caller.leave(body, path=path, after_s=0.3, by_reset=by_reset)
        assert came == b""
        assert_closed(fake_provider, text, left_at)
        event = only(ledger.wait(1, key_id=caller.key_id, within_s=LEFT_EVENT_WITHIN_S))
        assert (event["outcome"], event["output_tokens"], event["usage_source"]) == ("cancelled", 0, "estimated")
        assert event["cost_nusd"] == cost_nusd(event["input_tokens"], 0) > 0
        assert event["status"] is None

    together(check, itertools.product([CHAT, LLM], [False, True], [False, True]))


def test_a_client_that_leaves_mid_stream(gateway: GatewayProcess, ledger: Ledger, fake_provider: FakeProvider):
    def check(path: str, by_reset: bool) -> None:
        text = f"{path} {by_reset} " + "word " * 200
        body = {"model": "fake-slow-chunks", "messages": user(text), "stream": True}
        with Caller(gateway) as caller:
            came, left_at = caller.leave(body, path=path, after_s=0.5, by_reset=by_reset)
        received = came.count(b"word ")
        assert received > 1
        entry = assert_closed(fake_provider, text, left_at)
        event = only(ledger.wait(1, key_id=caller.key_id, within_s=LEFT_EVENT_WITHIN_S))
        assert (event["outcome"], event["usage_source"], event["status"]) == ("cancelled", "estimated", 200)
        assert received <= event["output_tokens"] <= entry.tokens_served + 1
        assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"])
        assert 0 <= event["ttft_ms"] <= event["duration_ms"]

    together(check, itertools.product([CHAT, LLM], [False, True]))


def assert_closed(fake_provider: FakeProvider, text: str, left_at: float) -> Entry:
    """The upstream call with this text ended within a second of the client's leaving."""
    quoted = json.dumps(text).encode()

    def find(journal: Journal) -> Entry | None:
        return next((entry for entry in journal.entries if quoted in entry.body and entry.peer_closed_after_ms), None)

    assert fake_provider.journal.wait_for(lambda journal: find(journal) is not None, within_s=20)
    entry = find(fake_provider.journal)
    assert entry is not None
    assert entry.peer_closed_after_ms is not None
    closed_at_ms = entry.received_ns / 1_000_000 + entry.peer_closed_after_ms
    assert closed_at_ms - left_at * 1000 < CLOSED_WITHIN_MS
    return entry


def together(check: Callable[..., None], cases: Iterable[tuple[Any, ...]]) -> None:
    """Check all cases at once, for each waits on others; every failure is told with its case."""
    with ThreadPoolExecutor(8) as threads:
        running = {case: threads.submit(check, *case) for case in cases}
    failures = {case: future.exception() for case, future in running.items() if future.exception() is not None}
    assert failures == {}


@pytest.mark.parametrize("stream", [False, True])
def test_time_that_runs_out_before_content(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, stream: bool):
    text = f"{TEXT} {stream}"
    body = {"model": "fake-slow-head", "messages": user(text), "stream": stream}
    answer = caller.post(body, x_gateway_timeout_s="0.4")
    assert answer.status_code == 504
    assert_closed(fake_provider, text, time.monotonic())
    event = only(ledger.wait(1, key_id=caller.key_id))
    assert (event["outcome"], event["output_tokens"]) == ("timeout", 0)
    assert 300 <= event["duration_ms"] < 2_500


def test_time_that_runs_out_mid_stream(caller: Caller, ledger: Ledger, fake_provider: FakeProvider):
    text = "word " * 200
    body = {"model": "fake-slow-chunks", "messages": user(text), "stream": True}
    answer = caller.post(body, x_gateway_timeout_s="0.6")
    assert answer.status_code == 200
    assert_closed(fake_provider, text, time.monotonic())
    event = only(ledger.wait(1, key_id=caller.key_id))
    assert event["outcome"] == "timeout"
    assert answer.text.count("word ") <= event["output_tokens"] <= fake_provider.journal.last.tokens_served + 1
    assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"])


def nullable(text: str, **fields: Any) -> dict[str, Any]:
    """Return a request whose tool takes a value of several types, as every other schema of today has one."""
    parameters = {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "type": {"type": "string"}}}
    return {
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        "tool_choice": "none",
        **fields,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{}, {"limits": {"concurrency": 3}}, {"budget": {"amount": "1", "period": "total"}}])
def test_a_schema_of_several_types_within_limits_and_without_usage(
    gateway: GatewayProcess, ledger: Ledger, fields: dict[str, Any], stream: bool
):
    with Caller(gateway, **fields) as caller:
        answer = caller.post(nullable(TEXT, model="fake-no-usage", stream=stream), x_gateway_max_cost="1")
    assert answer.status_code == 200
    assert "internal_error" not in answer.text
    event = only(ledger.wait(1, key_id=caller.key_id))
    assert (event["outcome"], event["usage_source"]) == ("ok", "estimated")
    assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"]) > 0


def test_a_schema_of_several_types_and_a_stream_that_is_left_or_overdue(gateway: GatewayProcess, ledger: Ledger):
    def check(path: str, outcome: str) -> None:
        body = nullable(f"{path} {outcome} " + "word " * 200, model="fake-slow-chunks", stream=True)
        with Caller(gateway) as caller:
            if outcome == "cancelled":
                came, _ = caller.leave(body, path=path, after_s=0.5)
            else:
                came = caller.post(body, path=path, x_gateway_timeout_s="0.6").content
                assert b"upstream_timeout" in came
        assert came.count(b"word ") > 1
        event = only(ledger.wait(1, key_id=caller.key_id, within_s=LEFT_EVENT_WITHIN_S))
        assert (event["outcome"], event["usage_source"]) == (outcome, "estimated")
        assert event["output_tokens"] >= came.count(b"word ")
        assert event["cost_nusd"] == cost_nusd(event["input_tokens"], event["output_tokens"])

    together(check, itertools.product([CHAT, LLM], ["cancelled", "timeout"]))


def test_tags_of_the_key_and_of_the_request(gateway: GatewayProcess, ledger: Ledger):
    with Caller(gateway, tags={"team": "red", "tier": "gold"}) as caller:
        body = {"model": "fake-model", "messages": user(TEXT)}
        assert caller.post(body, x_gateway_tags="team=blue,run=7").status_code == 200
        assert caller.post(body).status_code == 200
        first, second = ledger.wait(2, key_id=caller.key_id)
    assert first["tags"] == {"team": "blue", "tier": "gold", "run": "7"}
    assert second["tags"] == {"team": "red", "tier": "gold"}


def test_a_team_is_in_the_ledger(gateway: GatewayProcess, ledger: Ledger):
    team = gateway.admin("POST", "/teams", json={"name": f"team of {time.monotonic_ns()}"})
    with Caller(gateway, team_id=team["id"]) as caller:
        assert caller.chat("fake-model").status_code == 200
        assert only(ledger.wait(1, key_id=caller.key_id))["team_id"] == UUID(team["id"])


def test_many_at_once_are_each_in_the_ledger_once(caller: Caller, ledger: Ledger, fake_provider: FakeProvider):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda at: caller.chat("fake-model", TEXT, stream=at % 2 == 0), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    events = ledger.wait(60, key_id=caller.key_id)
    assert {event["request_id"] for event in events} == {UUID(answer.headers["x-request-id"]) for answer in answers}
    assert len(events) == 60
    assert sum(event["output_tokens"] for event in events) == sum(
        entry.tokens_served for entry in fake_provider.journal.entries
    )
