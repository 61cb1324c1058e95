"""Explains what would become of a request: admission, cache, limits, route, price. Law: it calls and holds nothing.

The same functions decide as for a real request; where these act, this tells.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isinf
from typing import Any

import msgspec

from app.api.errors import status_of
from app.api.inference import Call, able_for, narrowed
from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.domain.prices import Price, bound, cost
from app.guards.inference import within_fallbacks
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text
from app.kernel.money import format_usd
from app.limits.estimate import Prompt
from app.limits.plan import Plan
from app.limits.preview import InUse, Preview, foresee
from app.pipeline.demand import Demands
from app.pipeline.exchange import Exchange
from app.pipeline.explanation import (
    ExplainedBudget,
    ExplainedConcurrency,
    ExplainedFallback,
    ExplainedLimit,
    ExplainedPrice,
    ExplainedRefusal,
    ExplainedRequest,
    ExplainedRoute,
    ExplainedTarget,
    Explanation,
)
from app.pipeline.foresight import Foresight
from app.pipeline.lanes import Lanes
from app.pipeline.mentions import find_mentions
from app.pipeline.options import read_options
from app.pipeline.references import find_references
from app.pipeline.routed import fallbacks_of
from app.routing.breaker import State
from app.routing.candidates import Candidate, Ranked
from app.routing.table import Route, RouteTable, RouteTarget
from app.stores.accounts import MONEY
from providers.errors import ContentBlocked, ContextTooLong, ProviderError, ProviderOverloaded
from providers.types import Usage

_BYTES_PER_TOKEN = 4
_TOKENS = 1_000
"""Of an example that does not say how long it is."""
_MS_PER_S = 1_000
_FAILURES: Mapping[str, ProviderError] = {
    "any": ProviderOverloaded(),
    "context_length": ContextTooLong(),
    "content_policy": ContentBlocked(),
}


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request that is made up: so many tokens, and at most so many in answer.

    `prompt` is what its user says, `body` all of a request but its model; without either it has no text of its own, and
    1,000 tokens unless `input_tokens` says otherwise.
    """

    model: str
    input_tokens: int | None = None
    prompt: str | None = None
    body: dict[str, Any] | None = None
    max_tokens: int | None = None
    stream: bool = True
    session: str | None = None

    @property
    def has_text(self) -> bool:
        """Whether it says what is asked."""
        return self.prompt is not None or self.body is not None


def _document_of(example: Example) -> dict[str, Any]:
    text = "an example" if example.prompt is None else example.prompt
    document: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "stream": example.stream}
    if example.body is not None:
        document |= example.body
        if example.prompt is not None:
            document["messages"] = [{"role": "user", "content": text}]
    if example.max_tokens is not None:
        document["max_completion_tokens"] = example.max_tokens
    return document | {"model": example.model}


def exchange_of(example: Example, *, principal: Principal, route: Route, routes: RouteTable) -> Exchange:
    """Return the chat request that an example stands for.

    Raises `InvalidRequest` for a model that cannot chat, and for a body that is none of a chat.
    """
    document = _document_of(example)
    operation = CHAT_WIRE.operation
    asked = CHAT_WIRE.read(document, Call("", ""))
    exchange = Exchange(
        request_id=uuid7_text(),
        principal=principal,
        operation=operation,
        route=narrowed(route, operation),
        body=msgspec.json.encode(document),
        document=document,
        started_ns=0,
        asked=asked,
    )
    if not example.has_text or example.input_tokens is not None:
        exchange.prompt = Prompt((example.input_tokens or _TOKENS) * _BYTES_PER_TOKEN)
    options = read_options({}, document.get("gateway"))
    session = options.session if example.session is None else example.session
    exchange.options = msgspec.structs.replace(options, session=session)
    exchange.references = find_references(document, find_mentions(document))
    exchange.route, found = within_fallbacks(principal, routes, exchange.route, asked=None)
    able = ((name, able_for(other, operation)) for name, other in found.items())
    exchange.alternatives = {name: other for name, other in able if other is not None}
    return exchange


class Explainer:
    """Explains requests under one configuration."""

    def __init__(
        self,
        routes: RouteTable,
        *,
        lanes: Lanes,
        demands: Demands,
        preview: Preview,
        foresight: Foresight,
        knows_lanes: bool,
    ) -> None:
        """Make one; `knows_lanes` is whether `lanes` are those of a process that makes calls."""
        self._routes = routes
        self._lanes = lanes
        self._demands = demands
        self._preview = preview
        self._foresight = foresight
        self._knows_lanes = knows_lanes

    async def __call__(
        self,
        exchange: Exchange,
        plan: Plan,
        *,
        refusal: GatewayError | None = None,
        key: Mapping[str, str | None] | None,
    ) -> Explanation:
        """Return what would become of a request that a plan binds; `refusal` is why it would not come even so far."""
        use = await self._preview.in_use(plan)
        allowed = set(exchange.alternatives)
        held_nusd: int | None = None
        cap = self._demands.cap_of(exchange, plan)
        asked: Mapping[str, int] = {}
        try:
            demand = self._demands.of(exchange, plan)
        except GatewayError as error:
            refusal = refusal or error
        else:
            foreseen = foresee(plan, demand, use)
            refusal = refusal or foreseen.refusal
            held_nusd = foreseen.held_nusd if demand.is_priced and plan.counts_money else None
            if plan.budgets and demand.cap and foreseen.refusal is None:
                cap = min(cap, foreseen.cap // demand.choices)
            asked = {
                window.key: held_nusd or 0 if window.amount == MONEY else window.amount
                for window in plan.windows(input_tokens=demand.input_tokens, output_tokens=demand.output_tokens)
            }
        bound_nusd = self._bound(exchange, cap) if held_nusd is None else held_nusd
        return Explanation(
            request=ExplainedRequest(
                model=exchange.asked.model,
                input_tokens=exchange.measured().text_bytes // _BYTES_PER_TOKEN,
                output_tokens=cap,
                stream=exchange.stream,
                cost_bound=None if bound_nusd is None else format_usd(bound_nusd),
            ),
            key=key,
            outcome="admitted" if refusal is None else "refused",
            refusal=None if refusal is None else _refusal(refusal),
            route=self._route(exchange, cap, allowed=allowed),
            cache=await self._foresight(exchange),
            limits=_limits(plan, use, asked=asked),
            concurrency=_concurrency(plan, use),
            budgets=_budgets(plan, use),
            unknown=self._unknown(plan, use),
        )

    # -- the route ----------------------------------------------------------------------------------------------------

    def _route(self, exchange: Exchange, cap: int, *, allowed: set[str]) -> ExplainedRoute:
        route = exchange.route
        candidates = self._lanes.candidates(exchange, route)
        return ExplainedRoute(
            balance=route.balance,
            sticky=route.sticky,
            retries=route.retries,
            breaker=route.breaker,
            hedge=None if route.hedge is None else msgspec.to_builtins(route.hedge),
            timeouts=route.timeouts,
            transform=None if route.transform is None else msgspec.to_builtins(route.transform),
            targets=[
                self._target(exchange, candidates[place.position], place, cap)
                for place in self._lanes.ranked(exchange, route)
            ],
            fallbacks={
                kind: self._chain(exchange, route, failure, tried={route.name}, allowed=allowed)
                for kind, failure in _FAILURES.items()
            },
        )

    def _target(self, exchange: Exchange, candidate: Candidate, place: Ranked, cap: int) -> ExplainedTarget:
        target = exchange.route.targets[place.position]
        price = self._demands.price_of(exchange, target)
        state: State = "half_open" if candidate.is_probing else "open" if candidate.is_open else "closed"
        likely = Usage(input_tokens=exchange.measured().text_bytes // _BYTES_PER_TOKEN, output_tokens=cap)
        most_nusd = self._most(exchange, target, cap)
        return ExplainedTarget(
            target=target.name,
            weight=target.weight,
            credentials=len(target.credentials),
            score=None if isinf(place.score) else place.score,
            reason=place.reason,
            breaker=state if self._knows_lanes else None,
            left_alone_s=candidate.cooled_s if self._knows_lanes else None,
            price=None if price is None else _price(price),
            likely_cost=None if price is None else format_usd(cost(price, likely)),
            cost_bound=None if most_nusd is None else format_usd(most_nusd),
        )

    def _chain(
        self, exchange: Exchange, route: Route, failure: ProviderError, *, tried: set[str], allowed: set[str]
    ) -> list[ExplainedFallback]:
        """Return what would be tried after a route, and after each of these, if all of them fail in the same way."""
        found: list[ExplainedFallback] = []
        for name in fallbacks_of(route, failure):
            if name in tried:
                continue
            other = exchange.alternatives.get(name)
            if other is None:
                reason = self._objection(exchange, name, allowed=allowed)
                found.append(ExplainedFallback(model=name, after=route.name, targets=[], is_used=False, reason=reason))
                continue
            tried.add(name)
            targets = [target.name for target in other.targets]
            found.append(ExplainedFallback(model=name, after=route.name, targets=targets, is_used=True))
            found += self._chain(exchange, other, failure, tried=tried, allowed=allowed)
        return found

    def _objection(self, exchange: Exchange, name: str, *, allowed: set[str]) -> str:
        if name in allowed:
            return "it has no price, and a budget applies"
        if not exchange.principal.may_use(name):
            return "the key may not use it"
        return "it is not served to this organisation, or cannot do what is asked"

    # -- the price ----------------------------------------------------------------------------------------------------

    def _bound(self, exchange: Exchange, cap: int) -> int | None:
        """Return the most that any candidate can cost; nothing if one of them has no price."""
        most = [self._most(exchange, target, cap) for target in exchange.every_target()]
        known = [each for each in most if each is not None]
        return max(known) if len(known) == len(most) else None

    def _most(self, exchange: Exchange, target: RouteTarget, cap: int) -> int | None:
        price = self._demands.price_of(exchange, target)
        if price is None:
            return None
        return bound(price, input_tokens=exchange.measured().tokens_at_most, output_tokens=cap)

    def _unknown(self, plan: Plan, use: InUse) -> list[str]:
        found = []
        if not self._knows_lanes:
            found.append("breakers and pace: every running worker has its own; GET /admin/v1/health tells of them")
        if use.windows is None and (plan.rules or plan.slots or plan.budgets):
            found.append("what of limits is used, and what budgets hold: only the running gateway knows")
        return found


def _refusal(error: GatewayError) -> ExplainedRefusal:
    return ExplainedRefusal(status=status_of(error), code=error.code, message=error.message)


def _price(price: Price) -> ExplainedPrice:
    rates = price.rates
    return ExplainedPrice(
        version=price.version,
        input=format_usd(rates.input_nusd),
        output=format_usd(rates.output_nusd),
        cache_read=format_usd(rates.cache_read_nusd),
        cache_write=format_usd(rates.cache_write_nusd),
    )


def _limits(plan: Plan, use: InUse, *, asked: Mapping[str, int]) -> list[ExplainedLimit]:
    found = []
    for index, rule in enumerate(plan.rules):
        is_money = rule.dimension == "cost"
        used = None if use.windows is None else use.windows[index].used
        amount = asked.get(rule.key, 0)
        found.append(
            ExplainedLimit(
                scope=rule.scope,
                dimension=rule.dimension,
                window_s=rule.window_ms // _MS_PER_S,
                model=rule.model,
                algorithm=rule.algorithm,
                limit=format_usd(rule.limit) if is_money else rule.limit,
                asked=format_usd(amount) if is_money else amount,
                used=format_usd(used) if is_money and used is not None else used,
            )
        )
    return found


def _concurrency(plan: Plan, use: InUse) -> list[ExplainedConcurrency]:
    return [
        ExplainedConcurrency(
            scope=each.scope,
            limit=each.slots.limit,
            in_flight=None if use.in_flight is None else use.in_flight[index],
        )
        for index, each in enumerate(plan.policy.in_flight)
    ]


def _budgets(plan: Plan, use: InUse) -> list[ExplainedBudget]:
    found = []
    for budget, balance in zip(plan.budgets, use.balances, strict=True):
        ends_ms = budget.account(use.at_ms).end_ms
        found.append(
            ExplainedBudget(
                scope=budget.scope,
                amount=format_usd(budget.amount_nusd),
                period=budget.period,
                used=format_usd(balance.used_nusd),
                held=None if use.windows is None else format_usd(balance.held_nusd),
                resets_at=datetime.fromtimestamp(ends_ms // _MS_PER_S, UTC) if ends_ms else None,
            )
        )
    return found
