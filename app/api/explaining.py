"""Explains what would become of a request: admission, cache, limits, route, price. Law: it calls and holds nothing.

The same functions decide as for a real request; where these act, this tells.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from app.api.errors import status_of
from app.api.openai.paths import CHAT_WIRE
from app.api.understanding import Call, able_for, narrowed
from app.domain.keys.principal import Principal
from app.domain.prices import cost
from app.guards.inference import within_fallbacks
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text
from app.kernel.money import format_usd
from app.limits.denials import Denial
from app.limits.estimate import Prompt
from app.limits.plan import Plan
from app.limits.preview import InUse, Preview, foresee
from app.pipeline.admit import cap_output
from app.pipeline.demand import Demands, asked_cap
from app.pipeline.exchange import Exchange
from app.pipeline.explained_limits import said_beforehand
from app.pipeline.explained_routes import NO_REFUSALS, Asking, Bound, ExplainedRoutes, source_of
from app.pipeline.explanation import ExplainedKey, ExplainedRefusal, ExplainedRequest, ExplainedRoute, Explanation
from app.pipeline.foresight import Foresight
from app.pipeline.lanes import Lanes
from app.pipeline.mentions import find_mentions
from app.pipeline.notes import Refusal
from app.pipeline.options import read_options
from app.pipeline.references import find_references
from app.pipeline.rehearsal import Rehearsed, refusal_of_all, rehearse
from app.routing.table import Route, RouteTable, RouteTarget
from app.stores.accounts import MONEY
from providers.types import Usage

_BYTES_PER_TOKEN = 4
_TOKENS = 1_000
"""Of an example that does not say how long it is."""
_ANSWERED = frozenset({"exact", "semantic", "coalesced"})
"""What the cache says of a request for which nobody is asked."""
_GATEWAY_FIELD = "gateway"


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
    if route.transform is not None or _GATEWAY_FIELD in document:
        exchange.edit(drop=frozenset({_GATEWAY_FIELD}).intersection(document))
    options = read_options({}, document.get(_GATEWAY_FIELD))
    session = options.session if example.session is None else example.session
    exchange.options = msgspec.structs.replace(options, session=session)
    exchange.references = find_references(document, find_mentions(document))
    exchange.route, found = within_fallbacks(principal, routes, exchange.route, asked=None)
    able = ((name, able_for(other, operation)) for name, other in found.items())
    exchange.alternatives = {name: other for name, other in able if other is not None}
    return exchange


class _Tried(NamedTuple):
    """What became of wording a request: by route, and what its client is told if nobody can be told it."""

    routes: Mapping[str, Rehearsed]
    refusal: GatewayError | None

    @property
    def unknown(self) -> list[str]:
        """What cannot be told of those whose adapters do not say."""
        targets = (each.order.route.targets[at] for each in self.routes.values() for at in each.unknown)
        return [
            f"what {target.name} refuses of the request: its adapter does not tell beforehand" for target in targets
        ]


class Explainer:
    """Explains requests under one configuration."""

    def __init__(
        self,
        routes: ExplainedRoutes,
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
        self, exchange: Exchange, plan: Plan, *, refusal: GatewayError | None = None, key: ExplainedKey | None
    ) -> Explanation:
        """Return what would become of a request that a plan binds; `refusal` is why it would not come even so far."""
        use = await self._preview.in_use(plan)
        allowed = frozenset(exchange.alternatives)
        asked_tokens, foreseen, asked = asked_cap(exchange), None, {}
        try:
            self._demands.within_ceiling(exchange)
            demand = self._demands.of(exchange, plan)
        except GatewayError as error:
            refusal = refusal or error
            cap = self._demands.cap_of(exchange, plan)
        else:
            cap = self._demands.cap_of(exchange, plan)
            foreseen = foresee(plan, demand, use)
            refusal = refusal or foreseen.refusal
            if plan.budgets and demand.cap and foreseen.refusal is None:
                cap = min(cap, foreseen.cap // demand.choices)
                cap_output(exchange, cap, asked=asked_tokens)
            elif plan.policy.output_cap is not None:
                cap_output(exchange, plan.policy.output_cap, asked=asked_tokens)
            asked = {
                window.key: foreseen.held_nusd if window.amount == MONEY else window.amount
                for window in plan.windows(input_tokens=demand.input_tokens, output_tokens=demand.output_tokens)
            }
        holds = foreseen is not None and demand.is_priced and plan.counts_money
        bound_nusd = foreseen.held_nusd if foreseen is not None and holds else self._demands.bound_nusd(exchange, cap)
        said = said_beforehand(plan, use, asked=asked, refused=_denial(refusal, plan))
        tried = self._tried(exchange)
        cache = await self._foresight(exchange)
        if refusal is None and cache.status not in _ANSWERED:
            refusal = tried.refusal
        routes = self._described(exchange, cap, tried=tried, allowed=allowed)
        return Explanation(
            dry_run=True,
            request=ExplainedRequest(
                model=exchange.asked.model,
                operation=exchange.operation.name,
                dialect=exchange.operation.dialect,
                size_bytes=exchange.text_bytes,
                input_tokens=exchange.measured().text_bytes // _BYTES_PER_TOKEN,
                output_tokens=cap,
                stream=exchange.stream,
                cost_bound=None if bound_nusd is None else format_usd(bound_nusd),
            ),
            key=key,
            outcome="admitted" if refusal is None else "refused",
            refusal=None if refusal is None else refused(refusal),
            route=routes[0],
            other_routes=routes[1:],
            cache=cache,
            limits=said.limits,
            concurrency=said.concurrency,
            budgets=said.budgets,
            unknown=[*self._unknown(plan, use), *tried.unknown],
        )

    # -- the routes ---------------------------------------------------------------------------------------------------

    def _tried(self, exchange: Exchange) -> _Tried:
        """Word the request for all that would be tried first: a route, or those of all models that answer together."""
        try:
            rehearsed = rehearse(exchange, self._lanes)
        except GatewayError as error:
            return _Tried({}, error)
        return _Tried({each.order.route.name: each for each in reversed(rehearsed)}, refusal_of_all(rehearsed))

    def _described(
        self, exchange: Exchange, cap: int, *, tried: _Tried, allowed: frozenset[str]
    ) -> list[ExplainedRoute]:
        """Return what would be tried first, and who would be asked last where several models answer together."""
        fanout = exchange.fanout
        source = source_of(exchange)
        asking = Asking(exchange.principal, source, exchange.alternatives, allowed)
        routes = [exchange.route] if fanout is None else list({route.name: route for route in fanout.routes}.values())
        described = []
        for route in routes:
            rehearsed = tried.routes.get(route.name)
            described.append(
                self._routes.described(
                    self._lanes.ordered(exchange, route) if rehearsed is None else rehearsed.order,
                    asking,
                    bounds=[self._costs(exchange, target, cap) for target in route.targets],
                    refusals=NO_REFUSALS if rehearsed is None else rehearsed.refusals,
                    knows_lanes=self._knows_lanes,
                )
            )
        return described

    def _costs(self, exchange: Exchange, target: RouteTarget, cap: int) -> Bound:
        price = self._demands.price_of(exchange, target)
        if price is None:
            return Bound()
        likely = Usage(input_tokens=exchange.measured().text_bytes // _BYTES_PER_TOKEN, output_tokens=cap)
        return Bound(cost(price, likely), self._demands.target_nusd(exchange, price, cap))

    def _unknown(self, plan: Plan, use: InUse) -> list[str]:
        found = []
        if not self._knows_lanes:
            found.append("breakers and pace: every running worker has its own; GET /admin/v1/health tells of them")
        if use.windows is None and (plan.rules or plan.slots or plan.budgets):
            found.append("what of limits is used, and what budgets hold: only the running gateway knows")
        return found


def refused(error: GatewayError) -> ExplainedRefusal:
    """Return why a request would be refused."""
    return ExplainedRefusal(status=status_of(error), code=error.code, message=error.message, param=error.param)


def key_of(principal: Principal) -> ExplainedKey:
    """Return whose key asks."""
    team = principal.team_id
    return ExplainedKey(
        id=str(principal.key_id),
        organization_id=str(principal.organization_id),
        team_id=None if team is None else str(team),
    )


def _denial(error: GatewayError | None, plan: Plan) -> Refusal | None:
    return Refusal(error.denied, plan, error.message) if isinstance(error, Denial) else None
