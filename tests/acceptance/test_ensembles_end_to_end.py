"""Ensembles made through the admin API: asked by their names on every worker, seen in the report, and gone again."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.ledger import Ledger
from servers.gateway import GatewayProcess, ServerFailed

NAME = "made-here"
CONNECTIONS = 12
"""At once and each new, so that every worker of two is asked."""
EFFECTIVE_WITHIN_S = 5.0
VISIBLE_WITHIN_S = 5.0


def statuses(caller: Caller) -> set[int]:
    """Return what asking for the ensemble answers on every worker."""
    headers = {"authorization": f"Bearer {caller.key}", "connection": "close"}
    body = {"model": NAME, "messages": user("hello big world")}

    def once(_: int) -> int:
        return httpx.post(
            caller.gateway.base_url + CHAT, json=body, headers=headers, timeout=20, verify=False
        ).status_code

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return set(threads.map(once, range(CONNECTIONS)))


def wait_for(caller: Caller, status: int) -> None:
    """Return when the ensemble answers so on every worker."""
    began = time.monotonic()
    while statuses(caller) != {status}:
        assert time.monotonic() - began < EFFECTIVE_WITHIN_S, "the change has not reached every worker"


def report(caller: Caller, count: int) -> dict[str, dict[str, Any]]:
    """Return the report of the caller's fan-outs by model, as soon as it tells of so many legs."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while True:
        items = caller.gateway.admin("GET", f"/fanouts?key_id={caller.key_id}")["items"]
        if sum(item["legs"] for item in items) >= count or time.monotonic() > deadline:
            assert {item["fanout"] for item in items} == {NAME}
            return {item["model"]: item for item in items}
        time.sleep(0.05)


@pytest.fixture
def ensemble(gateway: GatewayProcess, caller: Caller) -> Iterator[dict[str, Any]]:
    """The first of the fake, whose every answer is another, and of the echo, that says what it was told."""
    body = {"name": NAME, "strategy": "first_valid", "members": ["fake-model", "echo"], "check": {"regex": "^hello"}}
    made = gateway.admin("POST", "/ensembles", json=body)
    yield made
    if any(item["id"] == made["id"] for item in gateway.admin("GET", "/ensembles")["items"]):
        gateway.admin("DELETE", f"/ensembles/{made['id']}")


def test_it_is_made_asked_reported_and_deleted(
    gateway: GatewayProcess, caller: Caller, ledger: Ledger, ensemble: dict[str, Any]
):
    wait_for(caller, 200)
    assert NAME in {model["id"] for model in caller.http.get("/v1/models").json()["data"]}
    with Caller(gateway, models=[NAME]) as only:
        answer = only.chat(NAME)
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hello big world")
        assert only.chat("echo").status_code == 403
        streamed = only.chat(NAME, stream=True).text
        text = "".join(frame["choices"][0]["delta"].get("content") or "" for frame in data_frames(streamed))
        assert (text, is_done(streamed)) == ("hello big world", True)

        events = ledger.wait(4, key_id=only.key_id)
        assert sorted((event["model"], event["leg"]) for event in events) == [
            ("echo", "won"),
            ("echo", "won"),
            ("fake-model", "lost"),
            ("fake-model", "lost"),
        ]
        assert {event["fanout"] for event in events} == {NAME}
        found = report(only, 4)
        echo, fake = found["echo"], found["fake-model"]
        assert [(item["legs"], item["won"], item["win_rate"]) for item in (echo, fake)] == [(2, 2, 1.0), (2, 0, 0.0)]
        assert echo["mean_ttft_ms"] <= echo["p95_ttft_ms"]
        items = gateway.admin("GET", f"/usage/events?key_id={only.key_id}")["items"]
        assert {(item["fanout"], item["leg"]) for item in items} == {(NAME, "won"), (NAME, "lost")}

    gateway.admin("DELETE", f"/ensembles/{ensemble['id']}")
    wait_for(caller, 404)
    answer = caller.chat(NAME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_change_holds_on_every_worker_and_survives_a_reload(
    gateway: GatewayProcess, caller: Caller, ensemble: dict[str, Any]
):
    wait_for(caller, 200)
    gateway.admin("PATCH", f"/ensembles/{ensemble['id']}", json={"check": {"regex": "^nobody says this"}})
    wait_for(caller, 502)
    gateway.reload()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert statuses(caller) == {502}


def test_what_the_file_would_refuse_is_refused(gateway: GatewayProcess, ensemble: dict[str, Any]):
    for fields, status in (
        ({"members": ["no-such-model"]}, 400),
        ({"members": [NAME]}, 400),
        ({"strategy": "mixture"}, 400),
        ({"name": "echo"}, 409),
        ({"name": NAME}, 409),
    ):
        with pytest.raises(ServerFailed, match=f"answered {status}"):
            gateway.admin("POST", "/ensembles", json={"name": "x", "strategy": "race", "members": ["echo"]} | fields)


def test_a_key_names_only_its_own_models_also_beside_an_ensemble(gateway: GatewayProcess, ensemble: dict[str, Any]):
    fanout = {"strategy": "race", "models": ["echo", "echo"]}
    with Caller(gateway, models=[NAME]) as only:
        wait_for(only, 200)
        body = {"messages": user("hello"), "fanout": fanout}
        answer = only.post({**body, "model": NAME}, path="/v1/llm/chat")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
        assert only.post(body, path="/v1/llm/chat").status_code == 403


@pytest.mark.parametrize(
    ("fanout", "parts"),
    [
        ({"strategy": "cascade", "models": ["fake-500", "echo"]}, ["failed fake-500", "won echo"]),
        (
            {"strategy": "best_of", "models": ["echo", "echo"], "judge": "fake-local"},
            ["judge fake-local", "lost echo", "won echo"],
        ),
        ({"strategy": "mixture", "models": ["echo", "fake-500"], "fuser": "echo"}, ["failed fake-500", "won echo"]),
        (
            {"strategy": "mixture", "models": ["fake-model", "fake-model"], "fuser": "echo"},
            ["fuser echo", "lost fake-model", "lost fake-model"],
        ),
        ({"strategy": "compare", "models": ["fake-model", "echo"]}, ["won echo", "won fake-model"]),
    ],
    ids=["cascade", "best_of", "mixture of one", "mixture", "compare"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_ledger_says_what_each_call_was_for(
    caller: Caller, ledger: Ledger, fanout: dict[str, Any], parts: list[str], stream: bool
):
    answer = caller.post({"messages": user("hello"), "fanout": fanout, "stream": stream}, path="/v1/llm/chat")
    assert answer.status_code == 200, answer.text
    events = ledger.wait(len(parts), key_id=caller.key_id)
    assert sorted(f"{event['leg']} {event['model']}" for event in events) == parts
    assert {event["fanout"] for event in events} == {fanout["strategy"]}
    assert sum(event["is_final"] for event in events) == 1
