"""Calls shared between workers: one upstream call for all who ask the same, whichever worker they ask."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from faults.routing.stage import Stage, model, staged
from outside.caller import CHAT, Caller, user
from outside.ledger import Ledger
from servers.postgres import Postgres
from servers.process import wait_until

from providers.testing import Script

WORDS = 20
PROMOTED_WITHIN_S = 8.0


class Told(NamedTuple):
    """What one client had: when the first bytes came and when the last, in seconds from the beginning."""

    status: int
    cache: str
    words: int
    is_done: bool
    has_error: bool
    first_s: float
    last_s: float


@pytest.fixture(scope="module")
def stage(postgres_server: Postgres) -> Iterator[Stage]:
    with staged(
        {"shared": model("one", retries=0), "brief": model("two", retries=0)}, postgres=postgres_server
    ) as found:
        yield found


@pytest.fixture(scope="module")
def caller(stage: Stage) -> Iterator[Caller]:
    with Caller(stage.gateway, cache={"mode": "exact"}) as found:
        yield found


async def ask(
    stage: Stage,
    key: str,
    text: str,
    *,
    name: str = "shared",
    stream: bool = True,
    hearing: asyncio.Semaphore | None = None,
) -> Told:
    """Ask on a connection of its own, so that the workers take turns; `hearing` is released with the first bytes."""
    body = {"model": name, "messages": user(text), "stream": stream}
    began = time.monotonic()
    first_s, data = 0.0, b""
    async with httpx.AsyncClient(base_url=stage.gateway.base_url, timeout=30, verify=False) as http:
        headers = {"authorization": f"Bearer {key}"}
        async with http.stream("POST", CHAT, json=body, headers=headers) as answer:
            try:
                async for part in answer.aiter_raw():
                    if not data:
                        first_s = time.monotonic() - began
                        if hearing is not None:
                            hearing.release()
                    data += part
            except httpx.RemoteProtocolError:
                pass
            return Told(
                answer.status_code,
                answer.headers.get("x-gateway-cache", ""),
                data.count(b"word"),
                b"[DONE]" in data or not stream,
                b'"error"' in data,
                first_s,
                time.monotonic() - began,
            )


async def gathered(*asked: Any) -> list[Any]:
    return await asyncio.gather(*asked, return_exceptions=True)


def leader_of(stage: Stage, provider: str) -> int:
    """Return the worker that has a call open at a provider."""
    port = httpx.URL(stage.providers[provider].url).port

    def found() -> int | None:
        for pid in stage.gateway.pids():
            if any(each.raddr and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
                return pid
        return None

    assert wait_until(lambda: found() is not None, within_s=20)
    pid = found()
    assert pid is not None
    return pid


async def test_all_workers_share_one_live_stream(stage: Stage, caller: Caller):
    provider = stage.providers["one"]
    provider.reset()
    provider.script(Script(output_tokens=WORDS, head_delay_ms=400, chunk_delay_ms=60))
    told = await gathered(*[ask(stage, caller.key, "a live stream") for _ in range(24)])
    assert len(stage.calls("one")) == 1
    assert {(each.status, each.words, each.is_done) for each in told} == {(200, WORDS, True)}
    assert Counter(each.cache for each in told)["miss"] == 1
    assert {each.cache for each in told} == {"miss", "coalesced"}
    assert all(each.first_s < each.last_s - 0.5 for each in told), "whoever follows hears it as it comes"
    rows = Ledger(stage.gateway).wait(24, key_id=caller.key_id)
    by_status = Counter(row["cache_status"] for row in rows)
    assert by_status == {"miss": 1, "coalesced": 23}
    (paid,) = (row["cost_nusd"] for row in rows if row["cache_status"] == "miss")
    assert {row["saved_nusd"] for row in rows if row["cache_status"] == "coalesced"} == {paid}


async def test_whole_answers_and_streams_of_all_workers_share_one_call(stage: Stage, caller: Caller):
    provider = stage.providers["one"]
    provider.reset()
    provider.script(Script(output_tokens=WORDS, head_delay_ms=500))
    told = await gathered(*[ask(stage, caller.key, "a mix", stream=number % 2 == 0) for number in range(24)])
    assert len(stage.calls("one")) == 1
    assert {(each.status, each.words, each.is_done) for each in told} == {(200, WORDS, True)}


@pytest.mark.timeout(60)
async def test_a_leader_that_dies_before_content_is_followed_by_another(stage: Stage, caller: Caller):
    provider = stage.providers["one"]
    provider.reset()
    provider.script(Script(head_delay_ms=30_000, times=1))
    provider.script(Script(output_tokens=WORDS))
    asked = [asyncio.ensure_future(ask(stage, caller.key, "before content")) for _ in range(16)]
    pid = await asyncio.to_thread(leader_of, stage, "one")
    await asyncio.sleep(0.3)
    began = time.monotonic()
    psutil.Process(pid).kill()
    told = await gathered(*asked)
    left = [each for each in told if isinstance(each, Told) and each.is_done]
    assert left, "those of the other worker are answered"
    assert {(each.status, each.words) for each in left} == {(200, WORDS)}
    assert time.monotonic() - began < PROMOTED_WITHIN_S
    assert [call.is_complete for call in stage.calls("one")].count(True) == 1, (
        "one of them made the call again, for all"
    )
    assert wait_until(lambda: len(stage.gateway.pids()) == 2, within_s=20)


@pytest.mark.timeout(60)
async def test_a_leader_that_dies_in_the_middle_ends_its_followers_with_an_error(stage: Stage, caller: Caller):
    provider = stage.providers["one"]
    provider.reset()
    provider.script(Script(output_tokens=400, chunk_delay_ms=50))
    hearing = asyncio.Semaphore(0)
    asked = [asyncio.ensure_future(ask(stage, caller.key, "in the middle", hearing=hearing)) for _ in range(16)]
    pid = await asyncio.to_thread(leader_of, stage, "one")
    for _ in asked:
        await hearing.acquire()
    psutil.Process(pid).kill()
    told = [each for each in await gathered(*asked) if isinstance(each, Told)]
    assert not any(each.is_done for each in told), "none is told that the answer is complete"
    assert any(each.has_error and each.cache == "coalesced" for each in told), "and those still connected hear why"
    assert wait_until(lambda: len(stage.gateway.pids()) == 2, within_s=20)


async def test_a_refusal_is_shared_and_a_failure_is_tried_again_by_few(stage: Stage, caller: Caller):
    provider = stage.providers["two"]
    provider.reset()
    refusal = json.dumps({"error": {"message": "no", "type": "invalid_request_error"}})
    provider.script(Script(status=400, body=refusal, head_delay_ms=400))
    told = await gathered(*[ask(stage, caller.key, "refuse this", name="brief") for _ in range(16)])
    assert {(each.status, each.words) for each in told} == {(400, 0)}
    assert len(stage.calls("two")) == 1
    provider.reset()
    provider.script(Script(status=503, head_delay_ms=400))
    told = await gathered(*[ask(stage, caller.key, "fail at this", name="brief") for _ in range(16)])
    assert {each.status for each in told} == {502}
    # Whoever hears late that the first leader failed gives the next one a chance.
    assert 2 <= len(stage.calls("two")) <= 4
