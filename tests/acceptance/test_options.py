"""The options of a request, in headers and in the body's `gateway` object, end to end in both modes."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.ledger import Ledger, cost_nusd, usd
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider

LLM, EMBEDDINGS = "/v1/llm/chat", "/v1/embeddings"


@pytest.fixture
def router(gateway: GatewayProcess) -> Iterator[Caller]:
    """A caller that may choose its route."""
    with Caller(gateway, may_route=True) as fresh:
        yield fresh


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


# -- timeout-s


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_timeout_before_content_is_a_504(caller: Caller, path: str, stream: bool):
    began = time.monotonic()
    body = {"model": "fake-slow-head", "messages": user("x"), "stream": stream}
    answer = caller.post(body, path=path, x_gateway_timeout_s="0.3")
    assert answer.status_code == 504
    assert error_of(answer)["code"] == "upstream_timeout"
    assert 0.25 < time.monotonic() - began < 2.5


@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_timeout_mid_stream_is_an_error_event(caller: Caller, path: str):
    body = {"model": "fake-slow-chunks", "messages": user("word " * 200), "stream": True}
    answer = caller.post(body, path=path, x_gateway_timeout_s="0.5")
    assert answer.status_code == 200
    frames = data_frames(answer.text)
    assert frames[-1]["error"]["code"] == "upstream_timeout"
    assert len(frames) > 2
    assert not is_done(answer.text)


def test_a_header_wins_over_the_body(caller: Caller):
    body = {"model": "fake-slow-head", "messages": user("x"), "gateway": {"timeout_s": 0.2}}
    began = time.monotonic()
    assert caller.post(body, x_gateway_timeout_s="0.8").status_code == 504
    assert 0.7 < time.monotonic() - began < 2.5
    assert caller.post(body).status_code == 504


@pytest.mark.parametrize(
    ("name", "values"),
    [("x-gateway-max-cost", ("0", "5")), ("x-gateway-timeout-s", ("1", "1")), ("idempotency-key", "ab")],
)
def test_an_option_that_stands_twice_is_refused(caller: Caller, name: str, values: tuple[str, str]):
    body = {"model": "fake-model", "messages": user("x")}
    answer = caller.http.post(CHAT, json=body, headers=[(name, value) for value in values])
    assert (answer.status_code, error_of(answer)["message"]) == (400, f"the header {name} stands twice")


def test_lists_of_several_lines_are_one_list(caller: Caller, ledger: Ledger):
    body = {"model": "fake-500", "messages": user("x")}
    lists = [
        *(("x-gateway-fallbacks", name) for name in ("fake-429", "fake-model")),
        *(("x-gateway-tags", tag) for tag in ("team=blue", "", "run=7")),
    ]
    answer = caller.http.post(CHAT, json=body, headers=lists)
    assert (answer.status_code, answer.headers["x-gateway-model"]) == (200, "fake-model")
    events = ledger.wait(int(answer.headers["x-gateway-attempts"]), key_id=caller.key_id)
    assert {event["model"] for event in events} == {"fake-500", "fake-429", "fake-model"}
    assert all(event["tags"] == {"team": "blue", "run": "7"} for event in events)
    lists[0] = ("x-gateway-fallbacks", "nope")
    assert caller.http.post(CHAT, json=body, headers=lists).status_code != 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("max_cost", "0.000000001", 400), ("fallbacks", ["nope"], 404), ("route", "nobody/m", 404)],
)
def test_an_option_that_cannot_be_followed_is_named_as_its_caller_named_it(
    router: Caller, name: str, value: Any, status: int
):
    body = {"model": "fake-model", "messages": user("x")}
    told = router.post(body | {"gateway": {name: value}})
    assert (told.status_code, error_of(told)["param"]) == (status, f"gateway.{name}")
    header = f"x_gateway_{name}"
    told = router.post(body | {"gateway": {name: value}}, **{header: "nope/x" if name != "max_cost" else value})
    assert (told.status_code, error_of(told)["param"]) == (status, header.replace("_", "-"))


def test_numbers_may_be_tags(caller: Caller, ledger: Ledger):
    body = {"model": "fake-model", "messages": user("x")}
    assert caller.post(body | {"gateway": {"tags": {"team": "blue", "run": 7}}}).status_code == 200
    assert ledger.wait(1, key_id=caller.key_id)[0]["tags"] == {"team": "blue", "run": "7"}
    refused = caller.post(body | {"gateway": {"tags": {"run": 7.5}}})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "gateway.tags")


# -- max-cost


@pytest.mark.parametrize("path", [CHAT, LLM])
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_cost_too_much_is_refused(caller: Caller, fake_provider: FakeProvider, path: str, stream: bool):
    body = {"model": "fake-model", "messages": user("x"), "max_tokens": 2_000, "stream": stream}
    answer = caller.post(body, path=path, x_gateway_max_cost="0.001")
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "max_cost_exceeded"
    assert fake_provider.journal.entries == []


def test_the_number_of_choices_counts(caller: Caller):
    body = {"model": "fake-model", "messages": user("x"), "max_tokens": 1_000}
    assert caller.post(body, x_gateway_max_cost="0.001").status_code == 200
    assert error_of(caller.post({**body, "n": 2}, x_gateway_max_cost="0.001"))["code"] == "max_cost_exceeded"


def test_embeddings_are_bounded_by_their_input(caller: Caller):
    body = {"model": "fake-embedding", "input": "word " * 1_000}
    assert caller.post(body, path=EMBEDDINGS, x_gateway_max_cost="1").status_code == 200
    refused = caller.post(body, path=EMBEDDINGS, x_gateway_max_cost="0.00001")
    assert error_of(refused)["code"] == "max_cost_exceeded"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_cap_that_fits_stays_as_it_is(caller: Caller, fake_provider: FakeProvider, field: str):
    body = {"model": "fake-model", "messages": user("x"), field: 100}
    assert caller.post(body, x_gateway_max_cost="0.001").status_code == 200
    assert fake_provider.journal.last.json[field] == 100


@pytest.mark.parametrize("stream", [False, True])
def test_an_absent_cap_is_injected(caller: Caller, ledger: Ledger, fake_provider: FakeProvider, stream: bool):
    """The answer ends where the money does: 0.0003 USD buys fewer than 500 output tokens."""
    body = {"model": "fake-long", "messages": user("x"), "stream": stream}
    answer = caller.post(body, x_gateway_max_cost="0.0003")
    assert answer.status_code == 200
    sent = fake_provider.journal.last.json
    caps = [value for name, value in sent.items() if name in {"max_tokens", "max_completion_tokens"}]
    assert len(caps) == 1
    assert isinstance(caps[0], int)
    assert 400 < caps[0] < 500
    event = ledger.wait(1, key_id=caller.key_id)[0]
    assert event["output_tokens"] == caps[0]
    assert event["cost_nusd"] == cost_nusd(event["input_tokens"], caps[0]) <= 300_000


@pytest.mark.parametrize("text", ["0", "0.000000001"])
def test_nothing_can_be_had_for_next_to_nothing(caller: Caller, fake_provider: FakeProvider, text: str):
    answer = caller.post({"model": "fake-model", "messages": user("x")}, x_gateway_max_cost=text)
    assert error_of(answer)["code"] == "max_cost_exceeded"
    assert caller.post({"model": "echo", "messages": user("x")}, x_gateway_max_cost=text).status_code == 200
    assert fake_provider.journal.entries == []


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_that_may_mean_none_is_no_bound(caller: Caller, cap: int):
    answer = caller.post({"model": "fake-model", "messages": user("x"), "max_tokens": cap}, x_gateway_max_cost="1")
    assert (answer.status_code, error_of(answer)["param"]) == (400, "max_tokens")


# -- route


def test_a_route_needs_leave(caller: Caller, fake_provider: FakeProvider):
    answer = caller.post({"model": "fake-model", "messages": user("x")}, x_gateway_route="fake/fake-model")
    assert answer.status_code == 403
    assert error_of(answer)["code"] == "insufficient_scope"
    assert fake_provider.journal.entries == []


@pytest.mark.parametrize("in_body", [False, True])
def test_a_route_is_taken(router: Caller, in_body: bool):
    body: dict[str, Any] = {"model": "fake-model", "messages": user("x")}
    if in_body:
        answer = router.post({**body, "gateway": {"route": "fake/fake-model"}})
    else:
        answer = router.post(body, x_gateway_route="fake/fake-model")
    assert answer.status_code == 200
    assert answer.headers["x-gateway-provider"] == "fake"


@pytest.mark.parametrize("route", ["nowhere/fake-model", "fake/no-such-model", "echo/fake-model", "fake/../x"])
def test_a_route_that_leads_nowhere_is_a_404(router: Caller, fake_provider: FakeProvider, route: str):
    answer = router.post({"model": "fake-model", "messages": user("x")}, x_gateway_route=route)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")
    assert fake_provider.journal.entries == []


def test_a_route_out_of_the_key_s_models_is_refused(gateway: GatewayProcess):
    with Caller(gateway, may_route=True, models=["fake-model"]) as caller:
        body = {"model": "fake-model", "messages": user("x")}
        assert caller.post(body, x_gateway_route="fake/fake-model").status_code == 200
        assert caller.post(body, x_gateway_route="echo/echo").status_code == 403


# -- include


def test_the_cost_is_in_a_whole_answer(caller: Caller, ledger: Ledger):
    answer = caller.post({"model": "fake-model", "messages": user("one two")}, x_gateway_include="cost")
    note = answer.json()["gateway"]
    event = ledger.wait(1, key_id=caller.key_id)[0]
    assert note["cost"] == answer.headers["x-gateway-cost"] == usd(event["cost_nusd"])
    assert note["request_id"] == answer.headers["x-request-id"]
    assert note["price_version"] == event["price_version"]
    assert note["usage"]["output_tokens"] == event["output_tokens"]
    assert "gateway" not in caller.chat("fake-model").json()


@pytest.mark.parametrize("with_usage", [False, True])
@pytest.mark.parametrize("model", ["fake-model", "echo", "fake-one-write", "fake-byte-by-byte"])
def test_the_cost_is_in_the_last_frame_of_a_stream(caller: Caller, ledger: Ledger, model: str, with_usage: bool):
    body: dict[str, Any] = {"model": model, "messages": user("one two"), "stream": True}
    if with_usage:
        body["stream_options"] = {"include_usage": True}
    answer = caller.post({**body, "gateway": {"include": ["cost"]}})
    frames = data_frames(answer.text)
    assert is_done(answer.text)
    assert [frame for frame in frames[:-1] if "gateway" in frame] == []
    event = ledger.wait(1, key_id=caller.key_id)[0]
    assert frames[-1]["gateway"]["cost"] == usd(event["cost_nusd"])
    assert ("usage" in frames[-1] and frames[-1]["usage"] is not None) == with_usage


def test_the_cost_is_in_the_gateway_s_own_dialect(caller: Caller):
    body = {"model": "fake-model", "messages": user("one two")}
    answer = caller.post(body, path=LLM, x_gateway_include="cost").json()
    assert answer["gateway"]["cost"] == answer["cost"]
    streamed = data_frames(caller.post({**body, "stream": True}, path=LLM, x_gateway_include="cost").text)[-1]
    assert (streamed["type"], streamed["gateway"]["cost"]) == ("finished", answer["cost"])


def test_the_cost_is_in_embeddings(caller: Caller):
    answer = caller.post({"model": "fake-embedding", "input": "one two"}, path=EMBEDDINGS, x_gateway_include="cost")
    assert answer.json()["gateway"]["cost"] == answer.headers["x-gateway-cost"]


# -- what goes upstream


@pytest.mark.parametrize("stream", [False, True])
def test_the_gateway_object_goes_no_further(caller: Caller, fake_provider: FakeProvider, stream: bool):
    body = {"model": "fake-model", "messages": user("x"), "gateway": {"tags": {"a": "b"}}, "stream": stream, "x": [1.5]}
    assert caller.post(body).status_code == 200
    sent = fake_provider.journal.last.json
    assert "gateway" not in sent
    assert sent["x"] == [1.5]


def test_no_header_of_the_caller_goes_upstream(caller: Caller, fake_provider: FakeProvider):
    body = {"model": "fake-model", "messages": user("x")}
    assert caller.post(body, x_gateway_tags="a=b", x_secret="s", cookie="c=d", x_api_key=caller.key).status_code == 200
    sent = fake_provider.journal.last.headers
    assert [name for name in sent if name.startswith("x-gateway") or name in {"x-secret", "cookie", "x-api-key"}] == []
    assert caller.key not in str(sent)


def test_the_tags_of_body_and_header_do_not_mix(caller: Caller, ledger: Ledger):
    body = {"model": "fake-model", "messages": user("x"), "gateway": {"tags": {"a": "body", "b": "body"}}}
    assert caller.post(body, x_gateway_tags="a=header").status_code == 200
    assert ledger.wait(1, key_id=caller.key_id)[0]["tags"] == {"a": "header"}
