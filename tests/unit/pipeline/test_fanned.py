"""The runner of fan-outs over scripted providers: whenever its client leaves, nothing of it stays."""

import asyncio
import random

import pytest
from msgspec import structs
from scripted_pipeline import (
    ANSWER,
    BUDGETED,
    HANG,
    PRICE,
    STREAM,
    USAGE,
    Bytes,
    Events,
    FakeAdapter,
    Pipeline,
    read_out,
)

from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE
from app.domain.prices import cost
from app.fanout.spec import read_fanout
from app.kernel.errors import GatewayError
from app.limits.estimate import guess_tokens
from app.pipeline.fanned import Fanned
from app.pipeline.fanout import Fanout
from app.pipeline.ring import compose
from app.routing.table import Route
from providers.errors import ConnectFailed, ProviderOverloaded, StreamInterrupted
from providers.http.adapter import HttpRelay
from providers.openai.inspect import StreamInspector, WholeInspector
from providers.types import Finished, Started, TextDelta, Usage, UsageReported

LLM, CHAT = LLM_CHAT_WIRE.operation, CHAT_WIRE.operation
MODELS = ["m0", "m1", "m2"]
WHOLE = [
    b'{"id": "1", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}',
]
VERDICT = [
    Started(id="j", model="up", created=1),
    TextDelta(text='{"ranking": ["A"]}'),
    Finished(reason="stop"),
    UsageReported(usage=Usage(input_tokens=5, output_tokens=5)),
]
REFUSAL = [
    Started(id="r", model="up", created=1),
    *[TextDelta(text=word, refusal=True) for word in ("no", ", ", "no")],
    Finished(reason="stop"),
    UsageReported(usage=Usage(input_tokens=5, output_tokens=3)),
]
REFUSAL_STREAM = [
    *[
        b'data: {"id": "r", "created": 1, "choices": [{"index": 0, "delta": {"refusal": "%s"}}]}\n\n' % word
        for word in (b"no", b", ", b"no")
    ],
    b'data: {"id": "r", "created": 1, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
KINDS = [
    {"strategy": "race"},
    {"strategy": "hedge", "after_s": 1},
    {"strategy": "first_valid", "check": {"regex": "Hello"}},
    {"strategy": "quorum", "quorum": 2},
    {"strategy": "best_of", "judge": "last"},
    {"strategy": "mixture", "fuser": "last"},
    {"strategy": "cascade", "check": {"regex": "nothing"}},
    {"strategy": "compare"},
]


async def rest(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


class Leg(FakeAdapter):
    """Answers after some turns of the loop, and again some turns apart; notes what it has opened."""

    def __init__(self, turns, *, script=ANSWER, stream=STREAM, fails=False, relays=()):
        super().__init__(relays=relays)
        self._turns, self._script, self._stream, self._fails = turns, script, stream, fails

    async def _begin(self):
        await rest(self._turns())
        if self._fails and self._turns() % 5 == 0:
            raise ProviderOverloaded(status=503)

    async def chat(self, request, target):
        await self._begin()
        script = list(self._script)
        if self._fails and self._turns() % 7 == 0:
            script = [*script[:2], StreamInterrupted()]
        self.opened.append(Slow(script, self._turns))
        return self.opened[-1]

    async def relay(self, request, target):
        await self._begin()
        self.opened.append(SlowBytes(self._stream if request.stream else WHOLE, self._turns))
        inspector = StreamInspector(keep_usage=request.keep_usage) if request.stream else WholeInspector()
        return HttpRelay(self.opened[-1], inspector)


class Slow(Events):
    """Events some turns of the loop apart."""

    def __init__(self, script, turns):
        super().__init__(script)
        self._turns = turns

    async def __aiter__(self):
        async for event in super().__aiter__():
            await rest(self._turns())
            yield event


class SlowBytes(Bytes):
    """The same, of bytes."""

    def __init__(self, script, turns):
        super().__init__(script)
        self._turns = turns

    async def read(self):
        await rest(self._turns())
        return await super().read()


class Fanning(Pipeline):
    """A pipeline in which several models may answer together."""

    def __init__(self):
        super().__init__()
        self.policies.policy = BUDGETED
        self.counted = []
        fanned = Fanned(health=self.health, clock=self.clock, counted=lambda *leg: self.counted.append(leg))
        self.call = compose([self.meter, self.admit, fanned], self.routed)

    def asking(self, operation, fields, *adapters, last=None, stream=False, bills_on=False):
        """Return an exchange that asks these models, and whoever judges or fuses."""
        every = [*adapters, *([] if last is None else [last])]
        exchange = self.exchange(operation, *every, stream=stream, bills_on=bills_on, retries=0)
        routes = [
            self._route(name, target) for name, target in zip([*MODELS, "last"], exchange.route.targets, strict=False)
        ]
        spec = read_fanout(fields | {"models": MODELS[: len(adapters)]})
        exchange.fanout = Fanout(
            name="public",
            spec=spec,
            said=fields,
            legs=tuple(routes[: len(adapters)]),
            judge=routes[-1] if spec.judge else None,
            fuser=routes[-1] if spec.fuser else None,
        )
        exchange.document = exchange.document | {"max_tokens": 50}
        return exchange

    @staticmethod
    def _route(name, target):
        return Route(name=name, label=name, targets=(target,), owned_by=target.provider, retries=0)

    async def nothing_is_left(self, before, *adapters):
        await self.settled()
        await rest(5)
        assert (len(self.holds), len(self.tasks), len(self.drains)) == (0, 0, 0)
        assert asyncio.all_tasks() == before
        assert all(stream.is_closed for adapter in adapters for stream in adapter.opened)


@pytest.fixture
def fanning():
    return Fanning()


async def ask(fanning, exchange):
    answer = await fanning.call(exchange)
    return answer.body if answer.live is None else await read_out(answer)


def check_events(events, exchange):
    mine = [event for event in events if event.request_id == exchange.request_uuid]
    assert [event.attempt for event in mine] == list(range(1, len(mine) + 1))
    assert sum(event.is_final for event in mine) == (1 if mine else 0)
    assert all(event.cost_nusd is not None for event in mine)
    assert len(mine) == len(exchange.attempts)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["strategy"])
@pytest.mark.parametrize("bills_on", [False, True], ids=["plain", "bills on"])
@pytest.mark.parametrize(("operation", "stream"), [(LLM, False), (LLM, True), (CHAT, False), (CHAT, True)])
async def test_whenever_a_client_leaves_nothing_stays(fanning, kind, operation, stream, bills_on):
    """The client leaves after each number of turns of the loop, until the answer is whole by then."""
    relays = ("openai.chat",) if operation is CHAT else ()
    before, turns, is_whole = asyncio.all_tasks(), 0, False
    while not is_whole:
        turns += 1
        assert turns < 400
        legs = [Leg(lambda pace=pace: pace, relays=relays) for pace in (2, 3, 2)]
        last = Leg(lambda: 1, script=VERDICT) if {"judge", "fuser"} & set(kind) else None
        exchange = fanning.asking(operation, kind, *legs, last=last, stream=stream, bills_on=bills_on)
        task = asyncio.ensure_future(ask(fanning, exchange))
        await rest(turns)
        is_whole = task.done()
        task.cancel()
        await asyncio.wait({task})
        every = [*legs, *([] if last is None else [last])]
        await fanning.nothing_is_left(before, *every)
        check_events(fanning.events, exchange)
    assert task.result()


@pytest.mark.parametrize("strategy", ["race", "cascade"])
@pytest.mark.parametrize("bills_on", [False, True], ids=["plain", "bills on"])
@pytest.mark.parametrize("operation", [LLM, CHAT], ids=["translated", "relayed"])
async def test_whenever_a_client_leaves_who_is_refused_nothing_stays(fanning, strategy, operation, bills_on):
    """What is held back is let go of, and charged for what it had said by then."""
    relays = ("openai.chat",) if operation is CHAT else ()
    before, turns, is_whole, charged = asyncio.all_tasks(), 0, False, set()
    while not is_whole:
        turns += 1
        assert turns < 400
        legs = [Leg(lambda pace=pace: pace, script=REFUSAL, stream=REFUSAL_STREAM, relays=relays) for pace in (2, 3, 2)]
        exchange = fanning.asking(operation, {"strategy": strategy}, *legs, stream=True, bills_on=bills_on)
        task = asyncio.ensure_future(ask(fanning, exchange))
        await rest(turns)
        is_whole = task.done()
        task.cancel()
        await asyncio.wait({task})
        await fanning.nothing_is_left(before, *legs)
        check_events(fanning.events, exchange)
        charged |= {each.usage.output_tokens for each in exchange.attempts if each.outcome == "cancelled"}
    assert b"no" in task.result()
    assert exchange.fan_reason == "only_refusals"
    assert {each.outcome for each in exchange.attempts} == {"ok"}
    assert bills_on or len(charged) > 1


@pytest.mark.parametrize("seed", range(3))
async def test_random_fan_outs_that_are_left_at_random_leave_nothing(fanning, seed):
    dice, before = random.Random(seed), asyncio.all_tasks()
    asked, every = [], []

    async def one():
        def turns():
            return dice.randrange(6)

        operation, kind = dice.choice([LLM, CHAT]), dice.choice(KINDS)
        relays = ("openai.chat",) if operation is CHAT and dice.random() < 0.5 else ()
        legs = [
            Leg(turns, fails=True, relays=relays, **dice.choice([{}, {"script": REFUSAL, "stream": REFUSAL_STREAM}]))
            for _ in MODELS
        ]
        last = Leg(turns, fails=True, script=VERDICT) if {"judge", "fuser"} & set(kind) else None
        exchange = fanning.asking(
            operation, kind, *legs, last=last, stream=dice.random() < 0.5, bills_on=dice.random() < 0.2
        )
        asked.append(exchange)
        every.extend([*legs, *([] if last is None else [last])])
        task = asyncio.ensure_future(ask(fanning, exchange))
        if dice.random() < 0.5:
            await rest(dice.randrange(80))
            task.cancel()
        try:
            return bool(await task)
        except (GatewayError, StreamInterrupted, asyncio.CancelledError):
            return False

    done = await asyncio.gather(*(one() for _ in range(200)))
    await fanning.nothing_is_left(before, *every)
    assert sum(done) > 40
    for exchange in asked:
        check_events(fanning.events, exchange)


async def test_the_time_of_a_request_binds_a_winner_that_is_under_way(fanning):
    script = [*ANSWER[:2], HANG]
    adapters = [Leg(lambda: 1, script=script), Leg(lambda: 50)]
    exchange = fanning.asking(LLM, {"strategy": "race"}, *adapters, stream=True)
    answer = await fanning.call(exchange)
    await answer.live.read()
    exchange.expire()
    answer.live.close()
    [won, lost] = await fanning.settled()
    assert (won.outcome, won.error_code) == ("timeout", "upstream_timeout")
    assert (lost.outcome, lost.error_code) == ("cancelled", "lost")


async def test_what_one_leg_issues_is_not_anothers(fanning):
    adapters = [Leg(lambda: 1, relays=("openai.chat",)), Leg(lambda: 1, relays=("openai.chat",))]
    exchange = fanning.asking(CHAT, {"strategy": "race"}, *adapters)
    exchange.route = structs.replace(exchange.route, retries=0)
    await fanning.call(exchange)
    assert exchange.winner is not None
    assert exchange.issued is exchange.winner.issued


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("relays", [(), ("openai.chat",)], ids=["translate", "relay"])
async def test_a_leg_that_breaks_behind_its_head_is_charged_for_its_prompt(fanning, relays, stream):
    """One that is not answered at all is not; the hold of all is settled to their sum."""
    broken, dead = FakeAdapter([StreamInterrupted()], relays=relays), FakeAdapter(ConnectFailed(), relays=relays)
    well = FakeAdapter(ANSWER)
    exchange = fanning.asking(CHAT, {"strategy": "compare"}, broken, dead, well, stream=stream)
    await ask(fanning, exchange)
    first, second, third = sorted(await fanning.settled(), key=lambda event: event.model)
    check_events(fanning.events, exchange)
    prompt = Usage(input_tokens=guess_tokens(exchange.measured()))
    assert (first.outcome, first.usage_source, first.cost_nusd) == ("interrupted", "estimated", cost(PRICE, prompt))
    assert (second.outcome, second.usage_source, second.cost_nusd) == ("error", "none", 0)
    assert (third.outcome, third.cost_nusd) == ("ok", cost(PRICE, USAGE))
    assert fanning.accounts.amounts.cost_nusd == first.cost_nusd + third.cost_nusd


@pytest.mark.parametrize(
    ("relays", "script"),
    [
        ((), [*REFUSAL[:3], StreamInterrupted()]),
        (("openai.chat",), [*REFUSAL_STREAM[:2], StreamInterrupted()]),
    ],
    ids=["translate", "relay"],
)
async def test_a_leg_that_breaks_while_it_is_held_back_is_charged_for_what_it_said(fanning, relays, script):
    exchange = fanning.asking(
        CHAT, {"strategy": "race"}, FakeAdapter(script, relays=relays), Leg(lambda: 9), stream=True
    )
    await ask(fanning, exchange)
    first, second = sorted(await fanning.settled(), key=lambda event: event.model)
    assert (first.outcome, first.usage_source, first.output_tokens) == ("interrupted", "estimated", 2)
    spent = Usage(input_tokens=guess_tokens(exchange.measured()), output_tokens=2)
    assert first.cost_nusd == cost(PRICE, spent)
    assert second.outcome == "ok"
