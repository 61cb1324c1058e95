"""`llm-gateway explain`: how a request would be admitted, cached, routed and priced. Law: it calls no provider."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.api.explaining import Example, Explainer, exchange_of, key_of
from app.commands.database import ensure_schema, unreachable
from app.commands.explain_cache import CacheSight, blind, open_store
from app.commands.failure import CommandFailed
from app.commands.keys import find_id
from app.commands.sources import Sources, complete_settings, open_sources
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.audit.schemas import Change
from app.domain.ensembles.repository import EnsembleRepository
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.principal import Principal, principal_of
from app.domain.keys.secrets import MasterSecrets, parse_key
from app.domain.prices import PriceBook, PriceOverlay
from app.domain.prices.repository import PriceRepository
from app.domain.services import AdminServices
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.overlay import opened
from app.domain.upstream.repository import UpstreamRepository
from app.domain.upstream.vault import Vault
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
from app.pipeline.exchange import Exchange
from app.pipeline.explained_routes import ExplainedRoutes
from app.pipeline.explanation import ExplainedKey, Explanation
from app.pipeline.foresight import Foresight
from app.pipeline.lanes import Lanes
from app.routing.health import Health, Lane
from app.routing.table import Route, RouteTable
from app.settings import Settings
from app.settings.suggestions import did_you_mean
from app.stores.cache import CacheStore
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


def read_body(data: bytes) -> dict[str, Any]:
    """Return the request in a JSON text; raises `CommandFailed` for what is no JSON object."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"--body holds no JSON object: {error}") from None


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
        names_models, settings = bool(settings.models), await _with_stored(settings, database, sources)
        providers = open_providers(settings, registry=sources.registry, sender=_Nobody())
        ensembles = await EnsembleRepository(database).read_all()
        builder = RouteBuilder(
            settings,
            providers,
            sources.registry,
            prices=overlay,
            ensembles=ensembles,
            names_models=names_models,
        )
        routes = builder.table()
        request = await _request(settings, database, routes, example=example, key=key)
        prices = PriceBook(sources.registry.catalog, clock=clock)
        opener = LedgerOpener(stores.accounts, database)
        shared = stores.cache if is_shared else None
        async with _foresight(settings, shared, example=example, request=request) as foresight:
            explainer = Explainer(
                ExplainedRoutes(prices),
                lanes=Lanes(Health(), prices=prices, clock=clock, trying=_ignore),
                demands=Demands(prices, estimator=Estimator()),
                preview=Preview(stores.accounts if is_shared else None, opener, clock=clock),
                foresight=foresight,
                knows_lanes=False,
            )
            return await explainer(request.exchange, request.plan, refusal=request.refusal, key=request.key)
    except GatewayError as error:
        raise CommandFailed(error.message) from error
    finally:
        await stores.aclose()
        await database.aclose()


async def _with_stored(settings: Settings, database: Database, sources: Sources) -> Settings:
    """Return the settings with the providers and models of the admin API under them; nobody is called."""
    if settings.master_secret is None:
        return settings
    vault = Vault(settings.master_secret, old_master=settings.old_master_secret)
    stored = await UpstreamRepository(database).read_all()
    return opened(stored, reader=UpstreamReader(vault, sources.registry)).under(settings)


class _Request(NamedTuple):
    """What is explained: the request, what binds it, why it would be refused at the door, and whose it is."""

    exchange: Exchange
    plan: Plan
    refusal: GatewayError | None
    key: ExplainedKey | None


async def _request(
    settings: Settings, database: Database, routes: RouteTable, *, example: Example, key: str | None
) -> _Request:
    route = _served(routes, example.model)
    if key is None:
        exchange = exchange_of(example, principal=_OPERATOR, route=route, routes=routes)
        return _Request(exchange, Plan(Policy(partition=0), route.name), None, None)
    principal, refusal = await _principal(settings, database, key=key)
    if refusal is None:
        try:
            route = requires_model(principal, routes, example.model)
        except GatewayError as error:
            refusal = error
    exchange = exchange_of(example, principal=principal, route=route, routes=routes)
    return _Request(exchange, Policies(settings).plan(principal, route.name), refusal, key_of(principal))


@asynccontextmanager
async def _foresight(
    settings: Settings, shared: CacheStore | None, *, example: Example, request: _Request
) -> AsyncIterator[Foresight]:
    """Give what foresees the cache, as far as it can be seen from here."""
    if request.key is None or not example.has_text:
        yield blind(settings, "no_text" if request.key is not None else "no_key")
        return
    clock = SystemClock()
    async with open_store(settings, shared, clock=clock) as store:
        if store is None:
            yield blind(settings, "elsewhere")
            return
        sight = CacheSight(settings, store, clock=clock)
        try:
            yield await sight.foresight(request.exchange)
        finally:
            await sight.aclose()


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
    secrets = MasterSecrets(settings.master_secret, settings.old_master_secret)
    services = AdminServices.over(database, clock=clock, master_secret=secrets.current, old_master_secret=secrets.old)
    key_id = await find_id(services, key, is_admin=False)
    directory = KeyDirectory(services.key_repository, changes=_no_changes, peppers=secrets.peppers(), clock=clock)
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
