"""What is kept and given again, for whom and for how long: seen from outside, beside the provider's journal."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from outside.caller import Caller, user
from outside.forms import CHAT, CHAT_STREAM, FORMS, LLM
from outside.ledger import Ledger, cost_nusd, usd
from servers.caching import Stand, caching
from servers.configs import PRICE
from servers.process import wait_until

from providers.testing import Script

MODEL = "fake-model"
LOCAL = [{"provider": "local", "model": "fake-local"}]
MODELS: dict[str, Any] = {
    "falls": {
        "targets": [{"provider": "faulty", "model": "fake-500"}],
        "price": dict(PRICE),
        "retries": 0,
        "breaker": False,
        "fallbacks": [MODEL],
    },
    "changing": {"targets": [{"provider": "fake", "model": "fake-model"}], "price": dict(PRICE)},
    "completing": {"targets": LOCAL, "price": dict(PRICE)},
}


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with caching(models=MODELS) as running:
        yield running


@pytest.fixture(scope="module")
def caller(stand: Stand) -> Iterator[Caller]:
    with Caller(stand.gateway) as fresh:
        yield fresh


@pytest.fixture
def text() -> str:
    return f"hello big world {uuid4()}"


def told(*answers: httpx.Response) -> list[str]:
    """Return what each answer says of the cache; all must be well."""
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    return [answer.headers["x-gateway-cache"] for answer in answers]


def twice(caller: Caller, body: dict[str, Any], *, path: str = CHAT.path(""), **headers: str) -> list[str]:
    return told(*(caller.post(body, path=path, **headers) for _ in range(2)))


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": user(text), **more}


# --- What a hit says


def test_a_hit_says_that_it_is_one(stand: Stand, caller: Caller, text: str) -> None:
    made, kept = caller.post(chat(text)), caller.post(chat(text))
    assert told(made, kept) == ["miss", "exact"]
    said = {name: kept.headers[name] for name in ("x-gateway-cost", "x-gateway-attempts", "age", "x-gateway-provider")}
    assert said == {
        "x-gateway-cost": "0.000000000",
        "x-gateway-attempts": "0",
        "age": "0",
        "x-gateway-provider": "fake",
    }
    assert len(kept.headers["x-gateway-cache-id"]) == 32
    assert "x-gateway-cache-similarity" not in kept.headers
    assert kept.headers["x-gateway-model"] == made.headers["x-gateway-model"] == MODEL
    assert kept.headers["x-request-id"] != made.headers["x-request-id"]


def test_a_hit_is_a_row_with_what_it_saved(stand: Stand, text: str) -> None:
    with Caller(stand.gateway) as own:
        bodies = [chat(text), chat(text), chat(text, stream=True)]
        assert told(*map(own.post, bodies)) == ["miss", "exact", "exact"]
        rows = Ledger(stand.gateway).wait(3, key_id=own.key_id)
        first, *hits = rows
        cost = cost_nusd(first["input_tokens"], first["output_tokens"])
        assert first["cost_nusd"] == cost > 0
        assert [row["cache_status"] for row in rows] == ["miss", "exact", "exact"]
        for row in hits:
            assert (row["cost_nusd"], row["saved_nusd"], row["input_tokens"], row["output_tokens"]) == (0, cost, 0, 0)
            assert (row["outcome"], row["status"], row["is_final"], row["provider"]) == ("ok", 200, 1, "fake")
        items = usage(stand, own)
    assert (items["requests"], items["cache_hits"], items["cost"], items["saved_cost"]) == (
        3,
        2,
        usd(cost),
        usd(2 * cost),
    )


def usage(stand: Stand, own: Caller) -> dict[str, Any]:
    """Return the totals of one key, when its last request is among them."""
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        items = stand.gateway.admin("GET", "/usage?group_by=key")["items"]
        mine: list[dict[str, Any]] = [item for item in items if item["key_id"] == own.key_id]
        if mine and mine[0]["requests"] >= 3:
            return mine[0]
        time.sleep(0.05)
    raise AssertionError(items)


def test_the_gateways_own_dialect_tells_of_the_request_that_it_answers(caller: Caller, text: str) -> None:
    made, kept = (caller.post(LLM.body(MODEL, text), path=LLM.path(MODEL)).json() for _ in range(2))
    assert made["id"] != kept["id"]
    assert (made["cache"]["status"], kept["cache"]) == ("miss", {"status": "exact", "similarity": None, "age_s": 0})
    assert (kept["cost"], kept["attempts"], len(made["attempts"])) == ("0.000000000", [], 1)
    assert (kept["output"], kept["usage"]) == (made["output"], made["usage"])


def test_the_note_that_a_caller_asks_for_is_of_its_own_request(caller: Caller, text: str) -> None:
    answers = [caller.post(chat(text), x_gateway_include="cost") for _ in range(2)]
    assert told(*answers) == ["miss", "exact"]
    notes = [answer.json()["gateway"] for answer in answers]
    assert [note["cache"] for note in notes] == ["miss", "exact"]
    assert [note["request_id"] for note in notes] == [answer.headers["x-request-id"] for answer in answers]
    assert (notes[1]["cost"], notes[1]["saved_cost"]) == ("0.000000000", notes[0]["cost"])
    assert "gateway" not in caller.post(chat(text)).json()


# --- Limits


def test_hits_count_against_requests_only(stand: Stand, text: str) -> None:
    limits = {"requests_per_minute": 5, "tokens_per_minute": 300}
    with Caller(stand.gateway, limits=limits) as own:
        answers = [own.post(chat(text, max_tokens=200)) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert told(*answers[:5]) == ["miss"] + ["exact"] * 4
    remaining = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:5]]
    assert remaining == ["4", "3", "2", "1", "0"]
    assert answers[5].json()["error"]["code"] == "rate_limit_exceeded"


def test_an_exhausted_budget_still_gets_hits(stand: Stand, caller: Caller, text: str) -> None:
    told(caller.post(chat(text)))
    with Caller(stand.gateway, budget={"amount": "0.000000001", "period": "total"}) as poor:
        refused = poor.post(chat(f"{text}?"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert told(poor.post(chat(text))) == ["exact"]


# --- How long


def test_an_answer_lives_as_long_as_it_may(stand: Stand, text: str) -> None:
    with Caller(stand.gateway, cache={"mode": "exact", "ttl_s": 1}) as brief, Caller(stand.gateway) as other:
        assert told(brief.post(chat(text)), brief.post(chat(text))) == ["miss", "exact"]
        longer = f"{text}, longer"
        assert told(other.post(chat(longer)), brief.post(chat(longer))) == ["miss", "exact"]
        shorter = f"{text}, by wish"
        assert told(other.post(chat(shorter), x_gateway_cache_ttl_s="1")) == ["miss"]
        time.sleep(2.05)
        # Gone; too old for whoever wants none older, though kept for others; and gone by the caller's own wish.
        assert told(brief.post(chat(text)), other.post(chat(longer))) == ["miss", "exact"]
        assert told(brief.post(chat(longer)), other.post(chat(shorter))) == ["miss", "miss"]


# --- What a client may say


@pytest.mark.parametrize(
    ("headers", "says", "then"),
    [
        ({"x_gateway_cache": "off"}, "off", "exact"),
        ({"x_gateway_cache": "refresh"}, "miss", "exact"),
        ({"X_Gateway_Cache": "exact"}, "exact", "exact"),
        ({"cache_control": "no-cache"}, "miss", "exact"),
        ({"cache_control": "no-store"}, "miss", "exact"),
        ({"cache_control": "max-age=0"}, "miss", "exact"),
        ({"cache_control": "max-age=60"}, "exact", "exact"),
        ({"cache_control": "MAX-AGE=60, only-if-cached"}, "exact", "exact"),
        ({"cache_control": 'private="x", unheard-of=1'}, "exact", "exact"),
    ],
)
def test_a_client_may_say_what_it_wants_of_the_cache(
    stand: Stand, caller: Caller, *, text: str, headers: dict[str, str], says: str, then: str
) -> None:
    told(caller.post(chat(text)))
    before = stand.calls()
    assert told(caller.post(chat(text), **headers)) == [says]
    assert stand.calls() - before == (says != "exact")
    assert told(caller.post(chat(text))) == [then]


def test_what_is_refreshed_is_given_from_then_on(stand: Stand, caller: Caller, text: str) -> None:
    told(caller.post(chat(text)))
    stand.provider.script(Script(text="a newer answer", times=1), model="fake-model")
    newer = caller.post(chat(text), x_gateway_cache="refresh").json()
    assert caller.post(chat(text)).json()["choices"] == newer["choices"]
    assert newer["choices"][0]["message"]["content"] == "a newer answer"


def test_what_is_not_to_be_stored_is_not(caller: Caller, text: str) -> None:
    assert twice(caller, chat(text), cache_control="no-store") == ["miss", "miss"]
    assert told(caller.post(chat(text))) == ["miss"]


def test_only_what_is_kept_is_asked_for(stand: Stand, caller: Caller, text: str) -> None:
    before = stand.calls()
    for body in (chat(text), chat(text, stream=True), chat(text, n=2)):
        absent = caller.post(body, cache_control="only-if-cached")
        assert (absent.status_code, absent.json()["error"]["code"]) == (504, "not_cached")
    assert stand.calls() == before


def test_odd_directives_are_passed_over(stand: Stand, caller: Caller, text: str) -> None:
    # httpx refuses to send what is no ASCII but by bytes.
    for value in (b"max-age=\xb2", b"max-age=-1", b"max-age=1e3", b"max-age=99999999999999999999", b",,=,;", b"\xff"):
        answer = caller.http.post(CHAT.path(""), json=chat(text), headers={b"cache-control": value})
        assert answer.status_code == 200, (value, answer.text)


def test_the_body_asks_as_the_header_does_and_the_header_wins(caller: Caller, text: str) -> None:
    told(caller.post(chat(text)))
    assert told(caller.post(chat(text, gateway={"cache": "off"}))) == ["off"]
    assert told(caller.post(chat(text, gateway={"cache": "off"}), x_gateway_cache="exact")) == ["exact"]
    llm = LLM.body(MODEL, text)
    told(caller.post(llm, path=LLM.path("")))
    assert told(caller.post({**llm, "cache": {"mode": "off"}}, path=LLM.path(""))) == ["off"]
    assert told(caller.post({**llm, "cache": {"mode": "exact", "ttl_s": 5}}, path=LLM.path(""))) == ["exact"]


@pytest.mark.parametrize("cache", ["exact", {"mode": "all"}, {"ttl_s": 0}, {"threshold": 2}, {"modes": "off"}])
def test_an_unclear_wish_is_refused(caller: Caller, text: str, cache: Any) -> None:
    answer = caller.post({**LLM.body(MODEL, text), "cache": cache}, path=LLM.path(""))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("cache")


@pytest.mark.parametrize("file_data", [{"odd": 1}, ["odd"], 7])
def test_what_only_the_vendor_understands_is_for_the_vendor_to_refuse(
    caller: Caller, text: str, file_data: Any
) -> None:
    said = [{"type": "text", "text": text}, {"type": "file", "file": {"file_data": file_data}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": said}]}
    assert twice(caller, body) == ["bypass", "bypass"]


# --- Who shares


def test_keys_that_may_not_are_left_alone(stand: Stand, caller: Caller, text: str) -> None:
    told(caller.post(chat(text)))
    with (
        Caller(stand.gateway, cache={"mode": "off"}) as off,
        Caller(stand.gateway, cache={"mode": "forbidden"}) as never,
    ):
        assert told(off.post(chat(text)), never.post(chat(text))) == ["off", "off"]
        assert told(off.post(chat(text), x_gateway_cache="exact")) == ["exact"]
        assert told(never.post(chat(text), x_gateway_cache="exact")) == ["off"]
        for one in (off, never):
            refused = one.post(chat(text), cache_control="only-if-cached")
            assert (refused.status_code, refused.json()["error"]["code"]) == (504, "not_cached")


def organisation(stand: Stand) -> str:
    made: str = stand.gateway.admin("POST", "/organizations", json={"name": f"o-{uuid4()}"})["id"]
    return made


def team(stand: Stand, organization_id: str, **fields: Any) -> str:
    body = {"name": f"t-{uuid4()}", "organization_id": organization_id, **fields}
    made: str = stand.gateway.admin("POST", "/teams", json=body)["id"]
    return made


def test_answers_stay_in_their_scope(stand: Stand, text: str) -> None:
    here, there = organisation(stand), organisation(stand)
    teams = [team(stand, here), team(stand, here), team(stand, there)]
    of_team, of_key = {"mode": "exact", "scope": "team"}, {"mode": "exact", "scope": "key"}
    with contextlib.ExitStack() as stack:

        def member(at: int, **fields: Any) -> Caller:
            return stack.enter_context(Caller(stand.gateway, team_id=teams[at], **fields))

        first, colleague, other_team, stranger = member(0), member(0), member(1), member(2)
        assert told(*(one.post(chat(text)) for one in (first, colleague, other_team))) == ["miss", "exact", "exact"]
        assert told(stranger.post(chat(text))) == ["miss"]
        close = [member(0, cache=of_team), member(0, cache=of_team), member(1, cache=of_team)]
        assert told(*(one.post(chat(text)) for one in close)) == ["miss", "exact", "miss"]
        alone = [member(0, cache=of_key), member(0, cache=of_key)]
        assert told(*(one.post(chat(text)) for one in alone)) == ["miss", "miss"]
        assert told(*(one.post(chat(text)) for one in alone)) == ["exact", "exact"]


def test_a_team_that_forbids_it_wins_over_its_keys(stand: Stand, text: str) -> None:
    forbids = team(stand, organisation(stand), cache={"mode": "forbidden"})
    with Caller(stand.gateway, team_id=forbids, cache={"mode": "exact"}) as own:
        assert twice(own, chat(text)) == ["off", "off"]
        assert twice(own, chat(text), x_gateway_cache="exact") == ["off", "off"]


# --- What is never kept


@pytest.mark.parametrize(
    ("script", "more"),
    [
        (Script(), {"max_tokens": 1}),
        (Script(tool_calls=1), {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (Script(refusal="I cannot help with that"), {}),
        (Script(finish_reason="content_filter"), {}),
        (Script(finish_reason="insufficient_system_resource"), {}),
        (Script(text=" \n"), {}),
        (Script(), {"n": 2}),
        (Script(), {"temperature": 0.9}),
        (Script(), {"web_search_options": {}}),
    ],
    ids=["cut", "calls", "refusal", "filter", "unknown", "blank", "several", "hot", "hosted"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_is_no_answer_for_others_is_not_kept(
    stand: Stand, caller: Caller, *, text: str, script: Script, more: dict[str, Any], stream: bool
) -> None:
    with scripted(stand, script):
        said = twice(caller, chat(text, stream=stream, **more))
        assert (set(said) <= {"miss", "bypass"}, stand.calls()) == (True, 2)
    assert told(caller.post(chat(text))) == ["miss"]


@contextlib.contextmanager
def scripted(stand: Stand, script: Script) -> Iterator[None]:
    stand.provider.reset()
    stand.provider.script(script, model="fake-model")
    try:
        yield
    finally:
        stand.provider.reset()


def test_what_is_hot_is_kept_if_that_is_asked_for_by_name(caller: Caller, text: str) -> None:
    hot = chat(text, temperature=0.9)
    assert twice(caller, hot) == ["bypass", "bypass"]
    assert twice(caller, hot, x_gateway_cache="exact") == ["miss", "exact"]
    assert twice(caller, chat(text, temperature=0.7)) == ["miss", "exact"]


def test_errors_are_not_kept(stand: Stand, caller: Caller, text: str) -> None:
    for status in (400, 404, 422):
        with scripted(stand, Script(status=status)):
            assert caller.post(chat(text)).status_code in {400, 404, 422}
    with scripted(stand, Script(body='{"id": "x", "choices": []}')):
        assert caller.post(chat(text)).status_code == 502
    assert twice(caller, chat(text)) == ["miss", "exact"]


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_a_stream_that_is_cut_is_not_kept(stand: Stand, caller: Caller, text: str, fault: Any) -> None:
    with scripted(stand, Script(fault=fault, fault_after_frames=3)):
        cut = caller.post(chat(text, stream=True))
    assert "[DONE]" not in cut.text
    with scripted(stand, Script(error_after_frames=3)):
        assert "[DONE]" not in caller.post(chat(text, stream=True)).text
    assert twice(caller, chat(text)) == ["miss", "exact"]


def test_what_another_model_answered_is_not_kept(caller: Caller, text: str) -> None:
    answers = [caller.post(chat(text, model="falls")) for _ in range(2)]
    assert told(*answers) == ["miss", "miss"]
    assert {answer.headers["x-gateway-model"] for answer in answers} == {MODEL}


def test_an_answer_whose_client_leaves_is_not_kept(stand: Stand, caller: Caller, text: str) -> None:
    body = chat(text, stream=True)
    with scripted(stand, Script(output_tokens=40, chunk_delay_ms=10)):
        came, _ = caller.leave(body, after_s=0.15)
        assert b"word1 " in came
        assert b"word39" not in came
        rows = Ledger(stand.gateway).wait_until(
            lambda found: bool(found) and found[-1]["outcome"] == "cancelled", within_s=15, key_id=caller.key_id
        )
        assert rows[-1]["outcome"] == "cancelled"
    assert told(caller.post(body)) == ["miss"]


# --- What is no conversation


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("/v1/embeddings", "fake-embedding", {"input": "{}"}),
        ("/v1/embeddings", "fake-embedding", {"input": ["{}", "b"], "dimensions": 8}),
        ("/v1/moderations", MODEL, {"input": "{}"}),
        ("/v1/rerank", "completing", {"query": "{}", "documents": ["a", "b"]}),
        ("/v1/completions", "completing", {"prompt": "{}"}),
    ],
)
def test_other_operations_are_kept_too(
    stand: Stand, caller: Caller, *, text: str, path: str, model: str, body: dict[str, Any]
) -> None:
    whole = {"model": model, **json.loads(json.dumps(body).replace("{}", text))}
    before = stand.calls()
    first, again = (caller.post(whole, path=path) for _ in range(2))
    assert told(first, again) == ["miss", "exact"]
    assert (first.json(), stand.calls() - before) == (again.json(), 1)
    assert told(caller.post({**whole, "user": "somebody"}, path=path)) == ["exact"]
    assert told(caller.post({**whole, "novelty": 1}, path=path)) == ["miss"]


# --- Changes


def test_a_route_that_changes_forgets_what_it_said(stand: Stand, caller: Caller, text: str) -> None:
    body = chat(text, model="changing")
    assert twice(caller, body) == ["miss", "exact"]
    edited = {**stand.tree, "models": {**stand.tree["models"], "changing": {"targets": LOCAL, "price": dict(PRICE)}}}
    changed = {**MODELS["changing"], "transform": {"system_prefix": "Say it in French."}}
    transformed = {**stand.tree, "models": {**stand.tree["models"], "changing": changed}}
    for tree in (edited, transformed):
        stand.gateway.write_config(tree)
        stand.gateway.reload()
        assert wait_until(lambda: told(caller.post(body)) == ["miss"], within_s=20)
        assert told(caller.post(body)) == ["exact"]
    stand.gateway.write_config(stand.tree)
    stand.gateway.reload()
    assert wait_until(lambda: caller.post(body).headers["x-gateway-provider"] == "fake", within_s=20)


# --- The Responses API


def test_a_kept_response_can_be_retrieved_under_its_own_id(stand: Stand, text: str) -> None:
    here = organisation(stand)
    with Caller(stand.gateway, team_id=team(stand, here)) as own, Caller(stand.gateway) as stranger:
        body = {"model": MODEL, "input": text, "store": True, "metadata": {"of": "first"}, "user": "first"}
        answers = [own.post(body, path="/v1/responses")]
        answers.append(own.post({**body, "metadata": {"of": "second"}, "user": "second"}, path="/v1/responses"))
        assert told(*answers) == ["miss", "exact"]
        made, kept = (answer.json() for answer in answers)
        assert made["id"] != kept["id"]
        assert (kept["metadata"], kept["output"][0]["content"]) == ({"of": "second"}, made["output"][0]["content"])
        for one in (made, kept):
            found = own.http.get(f"/v1/responses/{one['id']}")
            assert (found.status_code, found.json()["id"]) == (200, one["id"])
            assert stranger.http.get(f"/v1/responses/{one['id']}").status_code == 404
        streamed = own.post({**body, "stream": True}, path="/v1/responses")
        last = json.loads(streamed.text.split("data: ")[-1])["response"]
        assert told(streamed) == ["exact"]
        assert own.http.get(f"/v1/responses/{last['id']}").json()["output"] == last["output"]


def test_what_goes_on_from_a_response_is_told_from_what_does_not(caller: Caller, text: str) -> None:
    first = caller.post({"model": MODEL, "input": f"remember {text}"}, path="/v1/responses").json()
    other = caller.post({"model": MODEL, "input": f"forget {text}"}, path="/v1/responses").json()
    bodies = [
        {"model": MODEL, "input": text},
        *({"model": MODEL, "input": text, "previous_response_id": one["id"]} for one in (first, other)),
    ]
    assert told(*(caller.post(body, path="/v1/responses") for body in bodies)) == ["miss"] * 3
    assert told(*(caller.post(body, path="/v1/responses") for body in bodies)) == ["exact"] * 3


def test_an_answer_is_kept_once_for_whoever_streams_it(stand: Stand, caller: Caller, text: str) -> None:
    before = stand.calls()
    for form in (CHAT_STREAM, CHAT, *FORMS):
        told(caller.post(form.body(MODEL, text), path=form.path(MODEL)))
    assert stand.calls() - before == 1
