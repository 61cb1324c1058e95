"""Clients that leave calls which their provider bills whole: the rest is read for the usage, within bounds."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from faults.dialects.vendors import BEDROCK
from outside.caller import Caller, user
from outside.ledger import Ledger, cost_nusd
from servers.configs import FAKE_KEY, FAKE_KEY_NAME, PRICE
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, Script

TOKENS = 30
PACE_MS = 30
SLOW = Script(output_tokens=TOKENS, chunk_delay_ms=PACE_MS)
WHOLE = Script(output_tokens=TOKENS, head_delay_ms=TOKENS * PACE_MS)
LEAVES_AFTER_S = 0.3
SETTLED_WITHIN_S = 2.0
CLOSED_WITHIN_MS = 1_000
MOST = 32
ENVIRON = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, FAKE_KEY_NAME: FAKE_KEY}


def config(provider: FakeProvider) -> dict:
    key = f"env:{FAKE_KEY_NAME}"
    on = {"adapter": "openai", "base_url": provider.url, "api_key": key, "bills_after_disconnect": True}
    # Nobody has to say it of this vendor.
    bedrock = {"adapter": "bedrock", "base_url": provider.origin, "region": "us-east-1", "api_key": key}
    targets = {"on": {"provider": "on", "model": "on"}, "bedrock": {"provider": "bedrock", "model": BEDROCK.model}}
    return {
        "drain_s": 1,
        "providers": {"on": on, "bedrock": bedrock},
        "models": {
            name: {"targets": [target], "price": dict(PRICE), "retries": 0, "breaker": False}
            for name, target in targets.items()
        },
    }


@pytest.fixture(scope="module")
def billed(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway before a vendor that bills on."""
    running = GatewayProcess.launch(config(session_provider), environ=ENVIRON)
    try:
        yield running
    finally:
        running.close()


def ask(*, stream: bool, model: str = "on", text: str = "hello big world") -> dict:
    return {"model": model, "messages": user(text), "stream": stream}


def output_tokens(gateway: GatewayProcess) -> float:
    """Return how many tokens the metrics have counted."""
    exposed = httpx.get(f"{gateway.base_url}/metrics").text
    samples = re.findall(r'^gateway_tokens_total\{[^}]*kind="output"[^}]*\} ([0-9.e+]+)$', exposed, re.MULTILINE)
    return sum(map(float, samples))


def wait_for(is_so, *, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("stream", "script"), [(True, SLOW), (False, WHOLE)], ids=["stream", "whole"])
@pytest.mark.parametrize("limit", ["client", "deadline", "deadline of a repeatable"])
def test_what_is_left_is_read_to_its_end(billed, fake_provider, stream, script, limit):
    fake_provider.script(script, model="on")
    counted = output_tokens(billed)
    with Caller(billed) as caller:
        if limit == "client":
            caller.leave(ask(stream=stream), after_s=LEAVES_AFTER_S)
        else:
            key = {"idempotency_key": "once"} if limit == "deadline of a repeatable" else {}
            answer = caller.post(ask(stream=stream), x_gateway_timeout_s=str(LEAVES_AFTER_S), **key)
            assert "upstream_timeout" in answer.text
            assert answer.status_code == (200 if stream else 504)
        entry = fake_provider.journal.last
        assert not entry.is_complete
        wait_for(lambda: entry.is_complete)
        [event] = Ledger(billed).wait(1, key_id=caller.key_id, within_s=SETTLED_WITHIN_S)
        assert entry.peer_closed_after_ms is None
        assert event["outcome"] == ("cancelled" if limit == "client" else "timeout")
        assert (event["usage_source"], event["output_tokens"]) == ("provider", TOKENS)
        assert event["cost_nusd"] == cost_nusd(entry.prompt_tokens, TOKENS)
        assert event["duration_ms"] >= TOKENS * PACE_MS
        wait_for(lambda: output_tokens(billed) > counted)
        assert output_tokens(billed) == counted + TOKENS


def test_of_some_vendors_it_is_known(billed, fake_provider):
    script = BEDROCK.script(BEDROCK.frames, chunk_delay_ms=100)
    fake_provider.script(script, model="bedrock")
    with Caller(billed) as caller:
        body = ask(stream=True, model="bedrock", text="Say it [[script bedrock]]")
        came, _ = caller.leave(body, after_s=0.35)
        assert b"data: " in came
        entry = fake_provider.journal.last
        assert not entry.is_complete
        [event] = Ledger(billed).wait(1, key_id=caller.key_id, within_s=10)
        assert entry.is_complete
        assert (event["outcome"], event["usage_source"], event["provider"]) == ("cancelled", "provider", "bedrock")
        assert event["output_tokens"] > 0


def test_a_drained_call_holds_its_place_until_its_end(billed, fake_provider):
    fake_provider.script(SLOW, model="on")
    with Caller(billed, limits={"concurrency": 1}, budget={"amount": "1", "period": "total"}) as caller:
        caller.leave(ask(stream=True), after_s=LEAVES_AFTER_S)
        entry = fake_provider.journal.last
        time.sleep(0.2)
        refused = caller.post(ask(stream=False))
        assert not entry.is_complete
        assert refused.status_code == 429
        wait_for(lambda: entry.is_complete)
        Ledger(billed).wait(1, key_id=caller.key_id)
        fake_provider.script(Script(), model="on")
        assert caller.post(ask(stream=False)).status_code == 200


def test_so_many_are_drained_at_once_and_the_others_cut(billed, fake_provider):
    clients = MOST + 12
    fake_provider.script(Script(output_tokens=80, chunk_delay_ms=50), model="on")
    with Caller(billed) as caller, ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(caller.leave, ask(stream=True), after_s=0.8) for _ in range(clients)]
        left_at = [future.result()[1] for future in asked]
        # All of them have left before the first drain can end.
        events = Ledger(billed).wait(clients, key_id=caller.key_id, within_s=15)
        assert Counter(event["usage_source"] for event in events) == {"provider": MOST, "estimated": clients - MOST}
        assert all(event["cost_nusd"] > 0 and event["outcome"] == "cancelled" for event in events)
        cut = [entry for entry in fake_provider.journal.entries if entry.peer_closed_after_ms is not None]
        assert len(cut) == clients - MOST
        for entry in cut:
            closed_ms = entry.received_ns / 1e6 + entry.peer_closed_after_ms
            assert closed_ms - max(left_at) * 1000 < CLOSED_WITHIN_MS


def test_a_shutdown_ends_drains_and_settles_them(fake_provider):
    fake_provider.script(Script(fault="stall", fault_after_frames=4), model="on")
    gateway = GatewayProcess.launch(config(fake_provider), environ=ENVIRON)
    try:
        with Caller(gateway) as caller:
            caller.leave(ask(stream=True), after_s=LEAVES_AFTER_S)
            time.sleep(0.3)
            assert fake_provider.journal.last.finished_after_ms is None
            began = time.monotonic()
            gateway.stop()
            assert time.monotonic() - began < 10
            [event] = Ledger(gateway).events(key_id=caller.key_id)
        assert (event["outcome"], event["usage_source"], event["output_tokens"]) == ("cancelled", "estimated", 3)
    finally:
        gateway.close()
