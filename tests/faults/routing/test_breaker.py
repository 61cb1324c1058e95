"""P15: a target that does not answer is left alone, at no cost to others, until one call finds it well."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from faults.routing.stage import Stage, Told, model, quantile, staged
from outside.caller import Caller
from servers.postgres import Postgres

from providers.testing import Script

FIRST_TOKEN_S = 0.4
OPEN_S = 5.0
PER_S = 40
MARGIN_S = 0.75
"""What a loaded machine may take longer."""
BLACKHOLE = Script(head_delay_ms=60_000)
FAILING = Script(status=500)
WELL = Script(head_delay_ms=25)
CLOCKS = {"connect_s": 5, "first_token_s": FIRST_TOKEN_S, "idle_s": 5, "total_s": 30}


@pytest.fixture(scope="module")
def stage(postgres_server: Postgres) -> Iterator[Stage]:
    models = {
        "pair": model("hole", "well", timeouts=CLOCKS),
        "calm": model("well", timeouts={**CLOCKS, "first_token_s": 10}),
        "only": model("only", retries=0),
    }
    with staged(models, postgres=postgres_server) as found:
        found.providers["well"].script(WELL)
        yield found


async def test_a_blackholed_target_opens_costs_nothing_and_is_tried_by_one_call(stage: Stage):
    hole = stage.providers["hole"]
    hole.script(BLACKHOLE)
    with Caller(stage.gateway) as caller:
        await stage.know(caller.key)
        began_s = time.monotonic()
        # Both models in turn, so that what the machine does to one it does to the other.
        told = await stage.at_rate(
            2 * PER_S,
            seconds=OPEN_S + 4,
            one=lambda number: stage.ask(caller.key, ("pair", "calm")[number % 2], number=number),
        )
        hole.script(WELL)
        again = await _until_back(stage, caller.key)
    assert {each.status for each in told} == {200}, "nobody hears of it"
    calls = [entry.received_ns / 1e9 - began_s for entry in stage.calls("hole")]
    # Each worker needs five failures, each of which takes the clock; half the requests are for each.
    opened_s = FIRST_TOKEN_S + 5 / (PER_S / 2) + 1
    storm = [at for at in calls if at < OPEN_S]
    assert max(storm) < opened_s + MARGIN_S, storm
    tries = [at for at in calls if OPEN_S <= at < OPEN_S + 4]
    assert len(tries) == 1, "one call tries, of all workers"
    assert tries[0] - max(storm) > OPEN_S - 1
    check_costs(told, since_s=began_s + max(storm) + FIRST_TOKEN_S, tried_s=began_s + tries[0])
    assert {each.status for each in again} == {200}


def check_costs(told: list[Told], *, since_s: float, tried_s: float) -> None:
    """Whoever asked while it was open was answered as fast as if it were not there; but for the one that tried."""
    later = [each for each in told if each.began_s > since_s and not -0.1 < each.began_s - tried_s < 0.1]
    pair = [each.took_s for each in later if each.number % 2 == 0]
    calm = [each.took_s for each in later if each.number % 2 == 1]
    assert len(pair) > PER_S
    assert quantile(pair, 0.5) - quantile(calm, 0.5) < FIRST_TOKEN_S / 20
    assert quantile(pair, 0.99) < 1.2 * quantile(calm, 0.99) + FIRST_TOKEN_S / 4


async def _until_back(stage: Stage, key: str) -> list[Told]:
    """Ask until the target is used again, and then see that it is used by all."""
    deadline_s = time.monotonic() + 25
    while (one := await stage.ask(key, "pair")).provider != "hole":
        assert one.status == 200
        assert time.monotonic() < deadline_s, "it never came back"
        await asyncio.sleep(0.1)
    await asyncio.sleep(MARGIN_S)
    told = await stage.at_rate(PER_S, seconds=1, one=lambda number: stage.ask(key, "pair"))
    assert {each.provider for each in told} == {"hole"}
    return told


async def test_half_of_many_failures_open_it_too():
    """Every second call fails, so never five in a row; one worker, so that it sees all of them."""
    with staged({"mixed": model("mixed", "well", retries=1)}) as stage, Caller(stage.gateway) as caller:
        stage.providers["mixed"].script(*[Script(status=500, times=1), Script(times=1)] * 200)
        told = [await stage.ask(caller.key, "mixed") for _ in range(30)]
        assert {each.status for each in told} == {200}
        assert 20 <= len(stage.calls("mixed")) <= 21
        assert {each.provider for each in told[-8:]} == {"well"}


async def test_the_last_target_is_never_left_alone(stage: Stage):
    stage.providers["only"].script(FAILING)
    with Caller(stage.gateway) as caller:
        told = await stage.at_rate(PER_S, seconds=1, one=lambda number: stage.ask(caller.key, "only"))
        assert {each.status for each in told} == {502}
        assert len(stage.calls("only")) == len(told)
        stage.providers["only"].script(WELL)
        assert (await stage.ask(caller.key, "only")).status == 200
