"""Requests at their end, as a worker hands them over to be counted, logged and told of.

Law: they have what a request through the whole pipeline has: times, usage, prices, and what was reserved for it.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec

from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.domain.prices import PriceBook
from app.domain.tenants.policies import Budget, Limits
from app.gateway.tally import Finished
from app.kernel.clock import SystemClock
from app.kernel.ids import uuid7_text
from app.limits.accounts import Grant
from app.limits.plan import Plan
from app.limits.policy import policy_of
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.notes import LayerStep, Notes
from app.pipeline.operation import Asked
from app.routing.table import Route, RouteTarget
from app.stores.accounts import Balance, Granted, Reservation
from app.stores.memory import MemoryUsageQueue
from app.stores.memory_accounts import MemoryAccountStore
from providers.registry import Registry
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import Target, Usage

BODY = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "word " * 400}], "stream": True})
CLOCK = SystemClock()
REGISTRY = Registry()
PRICES = PriceBook(REGISTRY.catalog, clock=CLOCK)
_MODEL = "gpt-4o-mini"
_PRICE = PRICES.find("openai", _MODEL)
_MODELS = 20
_PLUGIN = REGISTRY.find("openai")
_ADAPTER = _PLUGIN.open(ScriptedSender(ScriptedAnswer()), _PLUGIN.options())
_TARGET = Target(provider="openai", model=_MODEL, base_url="https://api.example/v1")
_CHOICE = RouteTarget(
    provider="openai", adapter=_ADAPTER, target=_TARGET, whole_target=_TARGET, adapter_name="openai", price=_PRICE
)
_ROUTES = [
    Route(name=f"model-{number}", label=f"model-{number}", targets=(_CHOICE,), owned_by="openai")
    for number in range(_MODELS)
]
_PRINCIPAL = Principal(key_id=UUID(int=7), organization_id=UUID(int=2))
_LIMITS = Limits(requests_per_minute=600, tokens_per_minute=200_000, concurrency=50)
_PLAN = Plan(policy_of(_PRINCIPAL, limits=_LIMITS, budget=Budget(amount="100")), "")
_KEEPER = MemoryAccountStore(MemoryUsageQueue(clock=CLOCK), clock=CLOCK)


class Case(NamedTuple):
    """A kind of request. `is_limited` is whether two limits and a budget bind it."""

    name: str
    status: int
    stream: bool
    attempts: int
    is_limited: bool = False


CASES = (
    Case("refused before it is read", 401, stream=False, attempts=0),
    Case("unary, one attempt", 200, stream=False, attempts=1),
    Case("unary, with limits", 200, stream=False, attempts=1, is_limited=True),
    Case("stream, one attempt", 200, stream=True, attempts=1),
    Case("stream, retried, limits", 200, stream=True, attempts=2, is_limited=True),
)


def finished(case: Case, number: int) -> Finished:
    """Return the `number`th request of a case."""
    exchange = _exchange(case, _ROUTES[number % _MODELS]) if case.attempts else None
    now_ns = 1_800_000_000_000_000_000 + number
    notes = Notes() if exchange is None else exchange.notes
    return Finished(now_ns, uuid7_text(), "/v1/chat/completions", exchange, case.status, None, 900_000_000, notes=notes)


def note(done: Finished) -> None:
    """Note what the layers note of a request on its way, with the looks at the clock that nothing else needs."""
    exchange, notes, clock = done.exchange, done.notes, CLOCK
    if exchange is None or notes is None:
        return
    steps = notes.steps
    steps.append(LayerStep("authentication", "passed", 0, clock.monotonic_ns()))
    steps.append(LayerStep("body", "passed", 0, clock.monotonic_ns()))
    if exchange.grant is not None:
        steps.append(LayerStep("limits", "passed", clock.monotonic_ns(), clock.monotonic_ns()))
    steps.append(LayerStep("upstream", "answered", 0, 800_000_000))
    began_ns, ended_ns = clock.monotonic_ns(), clock.monotonic_ns()
    steps.append(LayerStep("settlement", "passed", began_ns, ended_ns))
    notes.settled_ns = ended_ns


def _exchange(case: Case, route: Route) -> Exchange:
    exchange = Exchange(
        request_id=uuid7_text(),
        principal=_PRINCIPAL,
        operation=CHAT_WIRE.operation,
        route=route,
        body=BODY,
        document={"model": route.name},
        started_ns=0,
        asked=Asked(model=route.name, stream=case.stream),
    )
    if case.is_limited:
        exchange.grant = _grant()
    for number in range(1, case.attempts + 1):
        is_last = number == case.attempts
        attempt = Attempt(number, route=route, choice=_CHOICE, price=_PRICE, started_ns=1_000_000 * number)
        attempt.ended_ns, attempt.outcome = 800_000_000, "ok" if is_last else "error"
        if is_last:
            attempt.first_ns, attempt.cost_nusd, attempt.usage_source = 300_000_000, 150_000, "provider"
            attempt.usage, exchange.served = Usage(input_tokens=400, output_tokens=60), attempt
        exchange.attempts.append(attempt)
    return exchange


def _grant() -> Grant:
    windows = _PLAN.windows(input_tokens=400, output_tokens=256)
    balances = tuple(Balance(5_000_000, 20_000) for _ in _PLAN.budgets)
    granted = Granted(
        at_ms=1_800_000_000_000, cap=4_096, held_nusd=60_000, used=tuple(7 for _ in windows), balances=balances
    )
    reservation = Reservation(partition=1, id="0" * 32, windows=windows, slots=_PLAN.slots)
    return Grant(reservation, granted, plan=_PLAN, budgets=_PLAN.budgets, keeper=_KEEPER)
