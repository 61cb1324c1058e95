"""P13: retries of a provider that is down add little to its load, and whoever asks to be left alone is."""

import asyncio
import bisect
import re
from collections.abc import Iterator

import pytest
from faults.routing.stage import KEYS, Stage, model, staged
from outside.caller import Caller
from servers.postgres import Postgres

from providers.testing import Entry, Script

WORKERS = 2
FLOOR, SHARE, WINDOW_S = 10, 0.1, 10
HEARD_WITHIN_S = 0.5
"""How soon the other worker hears what one was told; a loaded machine included."""
DOWN = Script(status=503)
_TAG = re.compile(rb"tag-(\d+)")


@pytest.fixture(scope="module")
def stage(postgres_server: Postgres) -> Iterator[Stage]:
    models = {
        "down": model("down"),
        "down-or-up": model("down-too", "up"),
        "full": model("full"),
        "very-full": model("very-full"),
        "rotated": model("rotated", retries=1),
        "one-refused": model("one-refused", retries=0),
        "all-refused": model("all-refused"),
    }
    both = list(KEYS)
    with staged(
        models,
        keys={"rotated": both, "one-refused": both, "all-refused": both},
        only_key={"one-refused": KEYS["SECOND_KEY"], "all-refused": "another"},
        postgres=postgres_server,
    ) as found:
        yield found


@pytest.mark.parametrize(
    ("per_s", "seconds"), [(40, 6), pytest.param(100, 30, marks=[pytest.mark.long, pytest.mark.timeout(240)])]
)
async def test_a_provider_that_is_down_gets_little_more_load(stage: Stage, per_s: float, seconds: float):
    for name in ("down", "down-too"):
        stage.providers[name].reset()
        stage.providers[name].script(DOWN)
    with Caller(stage.gateway) as caller:
        await stage.know(caller.key)
        told = await stage.at_rate(
            per_s,
            seconds=seconds,
            one=lambda number: stage.ask(
                caller.key, ("down", "down-or-up")[number % 2], text=f"tag-{number}", number=number
            ),
        )
    alone, saved = told[::2], told[1::2]
    assert {each.status for each in alone} == {502}
    assert {each.error["code"] for each in alone} == {"upstream_error"}
    assert {each.status for each in saved} == {200}
    assert max(each.attempts for each in alone) <= 3
    assert {each.attempts for each in saved} <= {1, 2}, "moving to another provider needs no budget"
    assert len(stage.calls("down")) == sum(each.attempts for each in alone)
    assert len(stage.calls("down-too")) <= len(saved)
    check_extra(stage.calls("down"))


def check_extra(calls: list[Entry]) -> None:
    """In no window were there more retries than the budgets of all workers allow together.

    A worker allows a tenth of its calls, or the floor; so all of them a tenth of all calls or the floor, and a floor
    for each further worker.
    """
    seen: set[bytes] = set()
    firsts, extras = [], []
    for call in sorted(calls, key=lambda entry: entry.received_ns):
        found = _TAG.search(call.body)
        assert found is not None
        (extras if found[1] in seen else firsts).append(call.received_ns / 1e9)
        seen.add(found[1])
    assert extras, "something is retried"
    for at, until_s in enumerate(extras):
        since_s = until_s - WINDOW_S
        retried = at + 1 - bisect.bisect_right(extras, since_s)
        # A call is counted when it begins, and seen here a moment later.
        asked = bisect.bisect_right(firsts, until_s + 0.5) - bisect.bisect_left(firsts, since_s - 0.5)
        assert retried <= FLOOR * (WORKERS - 1) + max(FLOOR, SHARE * asked)


async def test_whoever_asks_to_be_left_alone_is(stage: Stage):
    stage.providers["full"].script(Script(status=429, headers={"retry-after": "3"}, times=1), Script())
    with Caller(stage.gateway) as caller:
        await stage.know(caller.key)
        await stage.ask(caller.key, "full")
        asked_s = stage.calls("full")[0].received_ns / 1e9
        told = await stage.at_rate(40, seconds=4, one=lambda number: stage.ask(caller.key, "full", number=number))
    calls = [entry.received_ns / 1e9 - asked_s for entry in stage.calls("full")[1:]]
    assert not [after_s for after_s in calls if HEARD_WITHIN_S < after_s < 2.99], "it was called all the same"
    assert [after_s for after_s in calls if after_s >= 2.99], "and then it is called again"
    refused = [each for each in told if each.status == 429]
    assert refused
    for each in refused:
        assert each.error["code"] == "upstream_rate_limited"
        assert 1 <= int(each.said.headers["retry-after"]) <= 3
        assert each.attempts == 0
        assert each.took_s < 2, "a refusal does not wait"
    assert told[-1].status == 200


async def test_nobody_is_left_alone_for_longer_than_a_minute(stage: Stage):
    stage.providers["very-full"].script(Script(status=429, headers={"retry-after": "3000"}))
    with Caller(stage.gateway) as caller:
        for _ in range(4):
            told = await stage.ask(caller.key, "very-full")
            assert told.status == 429
            assert 50 < int(told.said.headers["retry-after"]) <= 60
    assert len(stage.calls("very-full")) <= WORKERS


async def test_a_full_credential_gives_way_to_the_next(stage: Stage):
    stage.providers["rotated"].script(Script(status=429, headers={"retry-after": "30"}, times=1), Script())
    with Caller(stage.gateway) as caller:
        first = await stage.ask(caller.key, "rotated")
        assert (first.status, first.attempts) == (200, 2)
        await asyncio.sleep(HEARD_WITHIN_S)
        told = await stage.at_rate(40, seconds=0.5, one=lambda number: stage.ask(caller.key, "rotated"))
    assert {(each.status, each.attempts) for each in told} == {(200, 1)}
    full, *others = [entry.headers["authorization"] for entry in stage.calls("rotated")]
    assert len(set(others)) == 1
    assert full not in others


async def test_a_refused_credential_goes_out_and_the_client_never_hears_of_it(stage: Stage):
    with Caller(stage.gateway) as caller:
        told = await stage.at_rate(40, seconds=1, one=lambda number: stage.ask(caller.key, "one-refused"))
    assert {each.status for each in told} == {200}
    used = [entry.headers["authorization"] for entry in stage.calls("one-refused")]
    refused = [key for key in used if key != f"Bearer {KEYS['SECOND_KEY']}"]
    assert len(refused) <= 4, "it is tried again only while nobody has heard that it is refused"


async def test_without_a_credential_left_the_provider_is_at_fault(stage: Stage):
    with Caller(stage.gateway) as caller:
        told = [await stage.ask(caller.key, "all-refused") for _ in range(4)]
    assert {(each.status, each.error["code"]) for each in told} == {(502, "upstream_auth_failed")}
    assert all("retry-after" not in each.said.headers for each in told)
