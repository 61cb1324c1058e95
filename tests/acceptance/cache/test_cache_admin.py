"""What administrators see of the cache, and that what they purge is given by no worker any more, in both modes."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from outside.caller import Caller, user
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import wait_until
from servers.redis import Redis

from providers.testing import FakeProvider, Script

MODEL = "fake-model"
LIKE = ("What is the capital of France?", "Tell me the capital of France.")
OTHER = ("How do I sort a list in Python?", "What is the best way to sort a list in Python?")
ENOUGH = 20
"""So many connections of their own meet both of two workers."""
CACHE_DATABASE = 7


@pytest.fixture
def organization(gateway: GatewayProcess) -> str:
    made: str = gateway.admin("POST", "/organizations", json={"name": f"cached {uuid4()}"})["id"]
    return made


def caller_of(gateway: GatewayProcess, organization: str, **cache: Any) -> Caller:
    team = gateway.admin("POST", "/teams", json={"name": "t", "organization_id": organization})
    return Caller(gateway, team_id=team["id"], cache=cache)


def ask(caller: Caller, text: str, **more: Any) -> tuple[str, str | None]:
    """Ask over a connection of its own; return what became of it, and the id of the kept answer."""
    answer = caller.post({"model": MODEL, "messages": user(text), **more}, connection="close")
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gateway-cache"], answer.headers.get("x-gateway-cache-id")


def view(gateway: GatewayProcess, organization: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.admin("GET", f"/cache?organization_id={organization}")
    return found


def purge(gateway: GatewayProcess, organization: str, **named: Any) -> int:
    answer = gateway.admin("POST", "/cache/purge", json={"organization_id": organization, **named})
    return int(answer["purged"])


def is_kept(gateway: GatewayProcess, organization: str, entries: int) -> None:
    """Wait until so many are kept: a worker keeps an answer behind its last byte."""
    assert wait_until(lambda: view(gateway, organization)["kept"]["entries"] == entries, within_s=20)


def test_what_is_kept_and_saved_is_told(
    gateway: GatewayProcess, fake_provider: FakeProvider, organization: str
) -> None:
    with caller_of(gateway, organization, mode="exact") as caller:
        assert ask(caller, "once")[0] == "miss"
        is_kept(gateway, organization, 1)
        assert [ask(caller, "once")[0] for _ in range(3)] == ["exact"] * 3
        assert ask(caller, "hot", temperature=1.5)[0] == "bypass"
        assert wait_until(lambda: view(gateway, organization)["use"]["exact"] == 3, within_s=20)
        use = view(gateway, organization)["use"]
        assert (use["misses"], use["semantic"], use["coalesced"]) == (1, 0, 0)
        assert wait_until(lambda: view(gateway, organization)["use"]["bypassed"] == 1, within_s=20)
        assert float(use["saved_cost"]) > 0
        text = gateway.run("cache", "stats", "--organization", organization).stdout
        told = json.loads(gateway.run("cache", "stats", "--json", "--organization", organization).stdout)
    assert told["kept"] == view(gateway, organization)["kept"]
    assert told["embedder"]["id"].startswith("static-")
    for part in (organization, "off, of the settings", "as calibrated", "1 answers", use["saved_cost"]):
        assert part in text


def test_what_is_purged_is_made_anew(gateway: GatewayProcess, fake_provider: FakeProvider, organization: str) -> None:
    with caller_of(gateway, organization, mode="exact") as one, caller_of(gateway, organization, mode="exact") as other:
        ask(one, "first", gateway={"tags": {"app": "search"}})
        ask(one, "second")
        is_kept(gateway, organization, 2)
        kept = [ask(other, "first"), ask(other, "second")]
        assert [status for status, _ in kept] == ["exact", "exact"], "the organisation shares them"

        assert purge(gateway, organization, tag="app=search") == 1
        assert {ask(other, "first")[0] for _ in range(2)} == {"miss", "exact"}
        assert ask(other, "second")[0] == "exact"
        is_kept(gateway, organization, 2)

        assert purge(gateway, organization, entry_id=kept[1][1]) == 1
        assert ask(other, "second")[0] == "miss"
        is_kept(gateway, organization, 2)
        assert purge(gateway, organization, model="another", scope="organization") == 0
        assert purge(gateway, organization, model=MODEL, scope="organization") == 2
        assert view(gateway, organization)["kept"] | {"most_bytes": 0} == {
            "entries": 0,
            "size_bytes": 0,
            "most_bytes": 0,
        }
    entries = gateway.admin("GET", f"/audit?object_kind=cache&object_id={organization}")["items"]
    assert [entry["after"]["purged"] for entry in entries] == [2, 0, 1, 1]


@pytest.mark.parametrize("names", ["all", "one"])
def test_no_worker_answers_a_like_question_with_what_is_purged(
    gateway: GatewayProcess, fake_provider: FakeProvider, organization: str, names: str
) -> None:
    with caller_of(gateway, organization, mode="semantic") as caller:
        assert [ask(caller, text)[0] for text in (LIKE[0], OTHER[0])] == ["miss", "miss"]
        is_kept(gateway, organization, 2)
        # What is cut off is not kept, so that only the first answers can be given.
        fake_provider.script(Script(text="cut", finish_reason="length"), model=MODEL)
        before = [ask(caller, LIKE[1]) for _ in range(ENOUGH)]
        assert {status for status, _ in before} <= {"semantic", "miss"}
        (entry_id,) = {kept for _, kept in before if kept is not None}
        assert [kept for _, kept in before].count(entry_id) >= ENOUGH / 2, "but for a few that are compared instead"
        named = {"all": True} if names == "all" else {"entry_id": entry_id}
        assert purge(gateway, organization, **named) == (2 if names == "all" else 1)
        assert [ask(caller, LIKE[1])[0] for _ in range(ENOUGH)] == ["miss"] * ENOUGH
        others = [ask(caller, OTHER[1])[0] for _ in range(ENOUGH)]
        assert (others.count("semantic") >= ENOUGH / 2) == (names == "one"), "what is not named stays"


def test_the_shadow_report_has_what_was_compared(
    gateway: GatewayProcess, fake_provider: FakeProvider, organization: str
) -> None:
    with caller_of(gateway, organization, mode="shadow") as caller:
        fake_provider.script(Script(text="Paris.", times=2), Script(text="Berlin, 7 times."), model=MODEL)
        assert ask(caller, LIKE[0])[0] == "miss"
        is_kept(gateway, organization, 1)
        assert ask(caller, LIKE[1])[0] == "miss"
        is_kept(gateway, organization, 2)
        assert ask(caller, "what is France's capital?")[0] == "miss", "it never serves"
        assert wait_until(lambda: view(gateway, organization)["shadow"]["overall"]["compared"] == 2, within_s=20)
        shadow = view(gateway, organization)["shadow"]
    assert shadow["overall"] | {"rate_at_most": 0} == {"compared": 2, "wrong": 1, "rate": 0.5, "rate_at_most": 0}
    assert 0.9 < shadow["overall"]["rate_at_most"] < 1
    assert sum(step["agreed"] for step in shadow["steps"]) == 1
    assert all(step["similarity"] >= 0.9 for step in shadow["steps"])
    told = gateway.run("cache", "report", "--json", "--organization", organization).stdout
    assert json.loads(told) == shadow
    text = gateway.run("cache", "report", "--organization", organization).stdout
    assert "1 of 2 wrong: 50.00 %" in text


def test_the_command_purges_and_helps_whoever_forgets_something(
    gateway: GatewayProcess, fake_provider: FakeProvider, organization: str
) -> None:
    with caller_of(gateway, organization, mode="exact") as caller:
        ask(caller, "by command")
        is_kept(gateway, organization, 1)
        nothing = gateway.run("cache", "purge", "--organization", organization, expects=1)
        assert "say what is to be purged: --id, --model, --tag or --scope" in nothing.stderr
        bad = gateway.run("cache", "purge", "--scope", "everybody", "--organization", organization, expects=1)
        assert "scope is organization, team:<id> or key:<id>" in bad.stderr
        assert ask(caller, "by command")[0] == "exact"
        done = gateway.run("cache", "purge", "--all", "--organization", organization)
        assert done.stdout == "1 purged\n"
        assert ask(caller, "by command")[0] == "miss"
    unknown = gateway.run("cache", "stats", "--organization", str(uuid4()), expects=1)
    assert "404 not_found" in unknown.stderr
    nobody = gateway.run("cache", "stats", "--url", "http://127.0.0.1:1", expects=1)
    assert "no admin plane answers at http://127.0.0.1:1" in nobody.stderr
    assert gateway.admin_key not in nobody.stderr


@pytest.fixture
def apart(session_provider: FakeProvider, redis_server: Redis) -> Iterator[GatewayProcess]:
    """A gateway in one process whose cache alone is in Redis."""
    tree = configs.config(fake_url=session_provider.url)
    tree["cache"] = {"mode": "exact", "url": redis_server.url_of(database=CACHE_DATABASE)}
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    running = GatewayProcess.launch(tree, environ={**secrets, configs.FAKE_KEY_NAME: configs.FAKE_KEY})
    try:
        yield running
        running.stop()
    finally:
        running.close()


def test_a_store_of_its_own_is_purged_too(apart: GatewayProcess, fake_provider: FakeProvider) -> None:
    with Caller(apart) as caller:
        organization = str(caller.organization_id)
        assert ask(caller, "apart")[0] == "miss"
        is_kept(apart, organization, 1)
        assert view(apart, organization)["mode_source"] == "config"
        status, entry_id = ask(caller, "apart")
        assert status == "exact"
        words = ("explain", "--json", "--model", MODEL, "--key", caller.key_id, "--prompt", "apart")
        told = json.loads(apart.run(*words).stdout)["cache"]
        assert (told["status"], told["entry_id"], told["set_by"]) == ("exact", entry_id, "config")
        assert purge(apart, organization, scope="organization") == 1
        assert json.loads(apart.run(*words).stdout)["cache"]["reason"] == "nothing_kept"
        assert ask(caller, "apart")[0] == "miss"
