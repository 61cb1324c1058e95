"""A pipeline over adapters in memory that do what a script says."""

import asyncio
import json
from collections import deque
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import structs

from app.domain.keys.principal import Principal
from app.domain.prices import PriceBook, price_from_settings
from app.domain.usage.codec import decode_event
from app.domain.usage.entries import scopes_of
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.kernel.ids import uuid7_text
from app.limits.accounts import Grant
from app.limits.estimate import Estimator
from app.limits.holds import Holds
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, Policy, Rule
from app.limits.store_time import StoreTime
from app.observability.metrics import Metrics
from app.pipeline.admit import Admit
from app.pipeline.demand import Demands
from app.pipeline.dispatch import Dispatch
from app.pipeline.drains import Drains
from app.pipeline.exchange import Exchange
from app.pipeline.gate import Gate
from app.pipeline.lanes import Lanes
from app.pipeline.lines import Lines
from app.pipeline.meter import Meter
from app.pipeline.operation import Asked
from app.pipeline.options import Options
from app.pipeline.ring import compose
from app.pipeline.routed import Routed
from app.pipeline.verdicts import Verdicts
from app.routing.health import Health
from app.routing.table import Route, RouteTarget
from app.settings.model import PriceSettings
from app.stores.accounts import AccountScope, Charged, Granted, Reservation
from providers.catalog import Catalog
from providers.errors import ProviderError
from providers.http.adapter import HttpRelay
from providers.openai.inspect import StreamInspector, WholeInspector
from providers.stream import ReplayStream
from providers.types import Finished, Started, Target, TextDelta, Timeouts, Usage, UsageReported

USAGE = Usage(input_tokens=100, output_tokens=7, cache_read_tokens=20, cache_write_tokens=3, reasoning_tokens=2)
PRICE = price_from_settings(
    PriceSettings(
        input_nusd=150_000_001, output_nusd=600_000_007, cache_read_nusd=75_000_000, cache_write_nusd=187_500_000
    )
)
HANG = object()
"""A step of a script at which the provider says nothing more."""

ANSWER = [
    Started(id="a-1", model="up", created=1),
    TextDelta(text="Hel"),
    TextDelta(text="lo"),
    Finished(reason="stop"),
    UsageReported(usage=USAGE),
]


class Bytes:
    """An upstream answer whose reads are scripted."""

    status = 200

    def __init__(self, script):
        self.headers = {"content-type": "text/event-stream"}
        self.script = deque(script)
        self.is_closed = False
        self.at_end = False

    async def read(self):
        if not self.script:
            return b""
        step = self.script.popleft()
        if step is HANG:
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        return step

    async def read_all(self, limit_bytes=0):
        del limit_bytes
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def finish(self):
        self.is_closed = True

    def close(self):
        self.is_closed = True


class Events(ReplayStream):
    """A canonical stream that is scripted."""

    def __init__(self, script):
        super().__init__(())
        self.script = iter(script)
        self.is_closed = False

    async def __aiter__(self):
        for step in self.script:
            if step is HANG:
                await asyncio.Event().wait()
            if isinstance(step, Exception):
                raise step
            yield step

    def close(self):
        self.is_closed = True


class Held(NamedTuple):
    """A script that is played when its gate opens."""

    gate: asyncio.Event
    script: Any


class FakeAdapter:
    """Plays one script a call: an error to raise at once, `HANG`, `Held`, or what the answer consists of."""

    def __init__(self, *scripts, relays=()):
        self._relays = frozenset(relays)
        self.scripts = deque(scripts)
        self.calls = []
        self.opened = []

    def relays(self, target):
        return self._relays

    async def _next(self, request, target):
        self.calls.append((request, target))
        script = self.scripts.popleft()
        if isinstance(script, Held):
            await script.gate.wait()
            script = script.script
        if isinstance(script, ProviderError):
            raise script
        if script is HANG:
            await asyncio.Event().wait()
        return script

    async def chat(self, request, target):
        self.opened.append(Events(await self._next(request, target)))
        return self.opened[-1]

    async def embed(self, request, target):
        return await self._next(request, target)

    async def relay(self, request, target):
        answer = Bytes(await self._next(request, target))
        self.opened.append(answer)
        inspector = StreamInspector(keep_usage=request.keep_usage) if request.stream else WholeInspector()
        return HttpRelay(answer, inspector)

    async def models(self, target):
        del target
        return []


def frame(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


WIRE_USAGE = {
    "prompt_tokens": 123,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
HEAD = frame(id="1", choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
TEXTS = [frame(id="1", choices=[{"index": 0, "delta": {"content": text}}]) for text in ("Hel", "lo")]
STOP = frame(id="1", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
COUNTS = frame(id="1", choices=[], usage=WIRE_USAGE)
DONE = b"data: [DONE]\n\n"
STREAM = [HEAD, *TEXTS, STOP, COUNTS, DONE]
WHOLE = json.dumps(
    {"id": "1", "choices": [{"index": 0, "message": {"content": "Hello"}}], "usage": WIRE_USAGE}
).encode()


class FakeAccounts:
    """Keeps what was reserved, settled and given back."""

    def __init__(self, clock):
        self.time = StoreTime(clock)
        self.events = []
        self.calls = 0
        self.demands = []
        self.voided = []
        self.cap = None
        self.gate = None
        self.grant = None
        self.amounts = None

    async def reserve(self, plan, demand, *, seed, given_back=0):
        self.demands.append(demand)
        self.orphaned = [seed.event(self.time_at(self.time.now_ms()))]
        reservation = Reservation(partition=plan.policy.partition, id=f"{seed.request_id}:{given_back}")
        granted = Granted(at_ms=self.time.now_ms(), cap=self.cap or demand.cap, held_nusd=0)
        return Grant(reservation, granted, plan=plan, budgets=plan.budgets, keeper=None)

    def time_at(self, at_ms):
        return datetime.fromtimestamp(at_ms / 1_000, UTC)

    async def settle(self, grant, entries, amounts):
        self.calls += 1
        self.grant, self.amounts = grant, amounts
        if self.gate is not None:
            await self.gate.wait()
        known = {event.event_id for event in self.events}
        events = [decode_event(entry.payload) for entry in entries]
        self.events += [event for event in events if event.event_id not in known]
        return Charged("done")

    async def void(self, grant):
        self.voided.append(grant)


class FakePolicies:
    """Binds everybody by one policy: at first none."""

    def __init__(self):
        self.policy = Policy(partition=0)

    def plan(self, principal, *models):
        scopes = scopes_of(principal.organization_id, principal.team_id, principal.key_id)
        return Plan(structs.replace(self.policy, scopes=scopes), *models)


LIMITED = Policy(
    partition=0,
    rules=(Rule(scope="key", key=":w", dimension="tokens", limit=10**9, window_ms=60_000, algorithm="sliding_window"),),
)
BUDGETED = Policy(
    partition=0,
    budgets=(
        BudgetRule(scope="key", account_scope=AccountScope(2, "1"), amount_nusd=10**9, period="total", timezone="UTC"),
    ),
)


class Pipeline:
    """Everything between an exchange and its answer."""

    def __init__(self):
        self.clock = ManualClock()
        self.accounts = FakeAccounts(self.clock)
        self.policies = FakePolicies()
        self.tasks = TaskSupervisor()
        prices = PriceBook(Catalog({}), clock=self.clock)
        self.holds, estimator = Holds(clock=self.clock), Estimator()
        self.gate = Gate(cap=10, queue_s=0, metrics=Metrics(), clock=self.clock)
        self.lines = Lines(self.gate, clock=self.clock)
        self.drains = Drains(self.tasks.spawn, most=2)
        self.meter = Meter(
            self.accounts,
            lines=self.lines,
            holds=self.holds,
            estimator=estimator,
            clock=self.clock,
            supervisor=self.tasks,
            drains=self.drains,
        )
        self.admit = Admit(
            self.accounts,
            Demands(prices, estimator=estimator),
            policies=self.policies,
            lines=self.lines,
            holds=self.holds,
            clock=self.clock,
        )
        self.health = Health()
        self.changed = []
        self.verdicts = Verdicts(self.health, clock=self.clock, changed=self.changed.append)
        self.dispatch = Dispatch(prices, self.clock, verdicts=self.verdicts)
        self.tried = []
        lanes = Lanes(self.health, prices=prices, clock=self.clock, trying=self.tried.append, draw=lambda: 0.0)
        self.routed = Routed(self.dispatch, lanes=lanes, clock=self.clock, draw=lambda: 0.0)
        self.call = compose([self.meter, self.admit], self.routed)

    @property
    def events(self):
        return self.accounts.events

    async def attempt(self, exchange, choice):
        """Call one target, past all that chooses."""
        attempt = self.dispatch.begin(exchange, choice, self.health.lane(choice.provider, choice.lane_model))
        return await self.dispatch.open(exchange, attempt)

    async def settled(self):
        """Wait for supervised work and return the events."""
        async with asyncio.timeout(20):
            while len(self.tasks):  # noqa: ASYNC110 - the supervisor has no event to wait for
                await asyncio.sleep(0)
        return self.accounts.events

    def exchange(
        self,
        operation,
        *adapters,
        retries=2,
        stream=False,
        keep_usage=False,
        price=PRICE,
        document=None,
        timeouts=None,
        route=None,
        bills_on=False,
        **options,
    ):
        fields = {
            "model": "public",
            "messages": [{"role": "user", "content": "hi there, how are you?"}],
            "stream": stream,
        }
        fields |= document or {}
        targets = tuple(
            self.target(adapter, f"p{position}", price, timeouts or Timeouts(), bills_on=bills_on)
            for position, adapter in enumerate(adapters)
        )
        found = Route(
            name="public", label="public", targets=targets, owned_by="p0", retries=retries, balance="priority"
        )
        made = Exchange(
            request_id=uuid7_text(),
            principal=Principal(
                key_id=UUID(int=1), organization_id=UUID(int=2), team_id=UUID(int=3), tags={"by": "key"}
            ),
            operation=operation,
            route=structs.replace(found, **(route or {})),
            body=json.dumps(fields).encode(),
            document=fields,
            started_ns=self.clock.monotonic_ns(),
            asked=Asked(model="public", stream=stream, keep_usage=keep_usage),
        )
        made.options = Options(**options)
        return made

    def target(self, adapter, provider, price, timeouts, *, bills_on=False):
        where = Target(provider=provider, model="up", base_url="http://x", timeouts=timeouts)
        return RouteTarget(
            provider=provider,
            adapter=adapter,
            target=where,
            whole_target=where,
            relays=adapter.relays(where),
            lane_model=where.model,
            price=price,
            bills_after_disconnect=bills_on,
        )


async def read_out(answer):
    """Return all bytes of a live answer."""
    parts = []
    while not answer.live.is_finished:
        parts.append(await answer.live.read())
    answer.live.close()
    return b"".join(parts)


async def read_until_broken(answer):
    """Return what a live answer brings before it breaks, and what broke it."""
    parts = []
    try:
        while not answer.live.is_finished:
            parts.append(await answer.live.read())
    except ProviderError as error:
        return parts, error
    finally:
        answer.live.close()
    raise AssertionError("the answer did not break")
