"""`llm-gateway explain`: how a request would be admitted, routed and priced. Law: it calls no provider."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from app.api.explaining import Example, Explainer, exchange_of
from app.commands.database import ensure_schema, unreachable
from app.commands.failure import CommandFailed
from app.commands.keys import find_id
from app.commands.sources import Sources, complete_settings, open_sources
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.audit.schemas import Change
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.principal import Principal, principal_of
from app.domain.keys.secrets import derive_pepper, parse_key
from app.domain.prices import PriceBook, PriceOverlay
from app.domain.prices.repository import PriceRepository
from app.domain.services import AdminServices
from app.gateway.routes import RouteBuilder, open_providers
from app.guards.inference import requires_model
from app.kernel.clock import SystemClock
from app.kernel.errors import GatewayError
from app.limits.estimate import Estimator
from app.limits.opener import LedgerOpener
from app.limits.plan import Plan
from app.limits.policies import Policies
from app.limits.policy import Policy
from app.limits.preview import Preview
from app.pipeline.demand import Demands
from app.pipeline.explanation import ExplainedFallback, Explanation
from app.pipeline.lanes import Lanes
from app.routing.health import Health, Lane
from app.routing.table import Route, RouteTable
from app.settings import Settings
from app.settings.suggestions import did_you_mean
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from providers.errors import ConnectFailed
from providers.protocol import Answer
from providers.types import Timeouts, UpstreamRequest

_FROM_ENVIRONMENT = "env:"
_OPERATOR = Principal(key_id=UUID(int=0), organization_id=UUID(int=0), name="the operator", may_route=True)


class _Nobody:
    """A transport that reaches nobody."""

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Refuse."""
        del request, timeouts
        raise ConnectFailed("an explanation calls nobody")


def run(config: Path | None, *, example: Example, key: str | None) -> Explanation:
    """Return what would become of a request; raises `CommandFailed` for a model or a key that does not exist."""
    sources = open_sources(config)
    settings = complete_settings(sources)
    ensure_schema(settings)
    try:
        return asyncio.run(_explain(settings, sources, example=example, key=_revealed(key)))
    except DatabaseUnavailable as error:
        raise CommandFailed(unreachable(settings, error)) from error


def _revealed(key: str | None) -> str | None:
    """Return a key as it was typed, or that of a variable, so that a secret need not be typed."""
    if key is None or not key.startswith(_FROM_ENVIRONMENT):
        return key
    name = key.removeprefix(_FROM_ENVIRONMENT)
    if not os.environ.get(name):
        raise CommandFailed(f"--key: the environment has no {name}")
    return os.environ[name]


async def _explain(settings: Settings, sources: Sources, *, example: Example, key: str | None) -> Explanation:
    clock = SystemClock()
    database = Database(settings.database.reveal())
    stores = open_stores(settings.state.reveal(), clock=clock)
    try:
        is_shared = settings.has_shared_state and await _is_up(stores)
        overlay = PriceOverlay(await PriceRepository(database).read_all())
        providers = open_providers(settings, registry=sources.registry, sender=_Nobody())
        routes = RouteBuilder(settings, providers, sources.registry, prices=overlay).table()
        prices = PriceBook(sources.registry.catalog, clock=clock)
        explainer = Explainer(
            routes,
            lanes=Lanes(Health(), prices=prices, clock=clock, trying=_ignore),
            demands=Demands(prices, estimator=Estimator()),
            preview=Preview(
                stores.accounts if is_shared else None, LedgerOpener(stores.accounts, database), clock=clock
            ),
            knows_lanes=False,
        )
        served = _served(routes, example.model)
        if key is None:
            plan = Plan(Policy(partition=0), served.name)
            exchange = exchange_of(example, principal=_OPERATOR, route=served, routes=routes)
            return await explainer(exchange, plan, key=None)
        principal, refusal = await _principal(settings, database, key=key)
        route = served
        if refusal is None:
            try:
                route = requires_model(principal, routes, example.model)
            except GatewayError as error:
                refusal = error
        exchange = exchange_of(example, principal=principal, route=route, routes=routes)
        plan = Policies(settings).plan(principal, route.name)
        return await explainer(exchange, plan, refusal=refusal, key=_told(principal))
    except GatewayError as error:
        raise CommandFailed(error.message) from error
    finally:
        await stores.aclose()
        await database.aclose()


async def _is_up(stores: Any) -> bool:
    try:
        await stores.start()
    except StoreUnavailable:
        return False
    return True


def _ignore(_lane: Lane) -> None:
    """Tell nobody: nothing is tried."""


def _served(routes: RouteTable, model: str) -> Route:
    route = routes.find(model)
    if route is None:
        names = [each.name for each in routes]
        hint = did_you_mean(model, names, otherwise="`llm-gateway check` lists what the file says")
        raise CommandFailed(f"there is no model {model[:100]!r}; {hint}")
    return route


async def _principal(settings: Settings, database: Database, *, key: str) -> tuple[Principal, GatewayError | None]:
    """Return whose key it is, and why it would be refused at the door; raises `CommandFailed` for an unknown one."""
    if settings.master_secret is None:
        raise CommandFailed("GATEWAY_MASTER_SECRET is not set")
    clock = SystemClock()
    services = AdminServices.over(database, clock=clock, master_secret=settings.master_secret)
    key_id = await find_id(services, key, is_admin=False)
    pepper = derive_pepper(settings.master_secret)
    directory = KeyDirectory(services.key_repository, changes=_no_changes, pepper=pepper, clock=clock)
    try:
        if parse_key(key.encode()) is not None:
            return await directory.authenticate(key.encode()), None
        return await directory.principal(str(key_id)), None
    except GatewayError as error:
        return await _as_if_good(services, key_id), error


async def _as_if_good(services: AdminServices, key_id: UUID) -> Principal:
    """Return what a key that is refused would amount to otherwise."""
    record = await services.key_repository.find_by_id(key_id)
    if record is None:
        raise CommandFailed(f"there is no key {key_id}")
    return principal_of(record)


async def _no_changes(_seq: int) -> Sequence[Change]:
    return ()


def _told(principal: Principal) -> dict[str, str | None]:
    team = principal.team_id
    return {
        "id": str(principal.key_id),
        "name": principal.name,
        "organization_id": str(principal.organization_id),
        "team_id": None if team is None else str(team),
    }


# -- showing ----------------------------------------------------------------------------------------------------------


def as_json(explanation: Explanation) -> str:
    """Return what `--json` prints."""
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode()


def as_text(explanation: Explanation) -> str:
    """Return the explanation for people."""
    parts = [_head(explanation), _targets(explanation), _fallbacks(explanation), _quotas(explanation)]
    notes = "\n".join(f"not known here: {each}" for each in explanation.unknown)
    return "\n\n".join(part for part in [*parts, notes] if part)


def _head(explanation: Explanation) -> str:
    request, route, refusal = explanation.request, explanation.route, explanation.refusal
    how = "streamed" if request.stream else "not streamed"
    rows = [
        ["model", request.model],
        ["key", "none: the operator, whom no limit binds" if explanation.key is None else _key(explanation.key)],
        ["request", f"{request.input_tokens} tokens in, at most {request.output_tokens} out, {how}"],
        ["outcome", "admitted" if refusal is None else f"refused: {refusal.status} {refusal.code}: {refusal.message}"],
        ["cost", "no price" if request.cost_bound is None else f"at most {_usd(request.cost_bound)} USD"],
        ["route", _route(explanation)],
        ["timeouts", ", ".join(f"{name} {value:g}" for name, value in msgspec.structs.asdict(route.timeouts).items())],
    ]
    if route.transform is not None:
        rows.append(["transform", msgspec.json.encode(route.transform).decode()])
    return _aligned(rows)


def _key(key: Any) -> str:
    return f"{key['id']} {key['name']}"


def _route(explanation: Explanation) -> str:
    route = explanation.route
    hedge = "off" if route.hedge is None else msgspec.json.encode(route.hedge).decode()
    breaker = "on" if route.breaker else "off"
    retries = "1 retry" if route.retries == 1 else f"{route.retries} retries"
    return f"{route.balance}, {retries}, breaker {breaker}, hedge {hedge}, sticky {route.sticky}"


def _targets(explanation: Explanation) -> str:
    rows = [["#", "target", "weight", "credentials", "in/1M", "out/1M", "likely", "at most", "why"]]
    for place, each in enumerate(explanation.route.targets, 1):
        price = each.price
        rows.append(
            [
                str(place),
                each.target,
                str(each.weight),
                str(each.credentials),
                *(["-", "-"] if price is None else [_usd(price.input), _usd(price.output)]),
                "-" if each.likely_cost is None else _usd(each.likely_cost),
                "-" if each.cost_bound is None else _usd(each.cost_bound),
                each.reason,
            ]
        )
    return _aligned(rows)


def _fallbacks(explanation: Explanation) -> str:
    found = {kind: chain for kind, chain in explanation.route.fallbacks.items() if chain}
    if not found:
        return ""
    rows = [[f"fallbacks ({kind})", " > ".join(map(_fallback, chain))] for kind, chain in found.items()]
    return _aligned(rows)


def _fallback(fallback: ExplainedFallback) -> str:
    return fallback.model if fallback.is_used else f"{fallback.model} (not: {fallback.reason})"


def _quotas(explanation: Explanation) -> str:
    rows = [["binds", "of", "limit", "used", "this request"]]
    for limit in explanation.limits:
        model = "" if limit.model is None else f" of {limit.model}"
        what = f"{limit.dimension}{model} in {limit.window_s} s"
        rows.append([limit.scope, what, str(limit.limit), _or_dash(limit.used), str(limit.asked)])
    rows += [
        [slots.scope, "requests at once", str(slots.limit), _or_dash(slots.in_flight), "1"]
        for slots in explanation.concurrency
    ]
    for budget in explanation.budgets:
        what = "USD in total" if budget.period == "total" else f"USD a {budget.period}"
        used = _usd(budget.used) + ("" if budget.held is None else f" + {_usd(budget.held)} held")
        cost = explanation.request.cost_bound
        rows.append([budget.scope, what, _usd(budget.amount), used, "-" if cost is None else _usd(cost)])
    return _aligned(rows) if len(rows) > 1 else ""


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _usd(text: str) -> str:
    """Return an amount without the zeros at its end, but with cents."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    table = [[cell if cell.isprintable() else repr(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
