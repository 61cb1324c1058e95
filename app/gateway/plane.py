"""The data plane of one worker: routes, the pipeline, and what its requests are counted by."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from app.domain.prices import PriceBook
from app.gateway.bodies import open_body_sealer
from app.gateway.books import Books
from app.gateway.caching import Caching
from app.gateway.core import Core
from app.gateway.pressure import Pressure
from app.gateway.recorder import Recorder
from app.gateway.recording import Recording
from app.gateway.routes import Provider, RouteBuilder, open_provider
from app.gateway.tally import Finished, Tally
from app.gateway.tokens import open_tokens
from app.gateway.traces import Traces
from app.gateway.transport import Transports
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.limits.preview import Preview
from app.observability.logs import RequestLog
from app.observability.metrics import FANOUT_LEGS
from app.observability.tracing.record import Content
from app.pipeline.admit import Admit
from app.pipeline.answer import Answer
from app.pipeline.cached import Cached
from app.pipeline.demand import Demands
from app.pipeline.dispatch import Dispatch
from app.pipeline.drains import Drains
from app.pipeline.exchange import Exchange
from app.pipeline.explained_routes import ExplainedRoutes
from app.pipeline.fanned import Fanned
from app.pipeline.flights import Flights
from app.pipeline.foresight import Foresight, Hindsight, Sight
from app.pipeline.gate import Gate, Visit
from app.pipeline.lanes import Lanes
from app.pipeline.lines import Lines
from app.pipeline.meter import Meter
from app.pipeline.notes import LayerStep, stopped
from app.pipeline.once import Once
from app.pipeline.radio import Radio
from app.pipeline.ring import compose
from app.pipeline.routed import Routed
from app.pipeline.stored import Stored
from app.pipeline.verdicts import Verdicts
from app.routing.table import Route, RouteTable, RouteTarget
from app.settings.model import Settings
from providers.errors import ProviderError
from providers.registry import Registry

_LISTING_S = 3.0
_MAX_LISTED = 1_000
_FAREWELL_S = 3.0
_LOOK_S = 0.02
"""How long requests that outlived the drain may take to say so, and how often that is looked at."""


class OpenRequest(Protocol):
    """A request in flight."""

    def shut_down(self) -> None:
        """Tell its client that the process ends, and end it."""
        ...


class Gateway:
    """Answers inference requests. Make it inside the running loop; `reload` swaps everything it reads at once."""

    def __init__(self, core: Core, *, registry: Registry, log: RequestLog) -> None:
        self.core = core
        self.clock: Clock = core.clock
        self.directory = core.directory
        self.tally = Tally(core.metrics, log)
        self.traces = Traces(core.tracing, core.clock)
        self.body_limit_bytes = core.settings.body_limit_bytes
        self.tokens = open_tokens(core)
        self.open_requests: set[OpenRequest] = set()
        self._registry = registry
        self._prices = PriceBook(registry.catalog, clock=core.clock)
        self._transports = Transports(registry)
        self._file = self._configuration = core.settings
        self._listed: dict[str, list[str]] = {}
        self.routes = self._build(core.settings)
        books = self.books = Books(core)
        self.drains = Drains(core.tasks.spawn)
        self.pressure = Pressure(core.settings)
        self.gate = Gate(
            cap=core.settings.inflight,
            queue_s=core.settings.queue_s,
            metrics=core.metrics,
            clock=core.clock,
            pressure=self.pressure,
        )
        lines = Lines(self.gate, clock=core.clock)
        meter = Meter(
            books.accounts,
            lines=lines,
            holds=books.holds,
            estimator=books.estimator,
            clock=core.clock,
            supervisor=core.tasks,
            drains=self.drains,
        )
        self.demands = Demands(self._prices, estimator=books.estimator)
        self.preview = Preview(core.stores.accounts, core.opener, clock=core.clock)
        admit = Admit(
            books.accounts,
            self.demands,
            policies=books.policies,
            lines=lines,
            holds=books.holds,
            clock=core.clock,
        )
        verdicts = Verdicts(core.health, clock=core.clock, changed=core.board.changed)
        dispatch = Dispatch(self._prices, core.clock, verdicts=verdicts)
        lanes = Lanes(core.health, prices=self._prices, clock=core.clock, trying=core.board.trying)
        self.routed = Routed(dispatch, lanes=lanes, clock=core.clock)
        self.caching = Caching(core, tally=self.tally, prices=self._prices, target_of=self._target_of)
        flights = Flights()
        self.radio = Radio(self.caching.shelf, signals=core.stores.signals, flights=flights, supervisor=core.tasks)
        cached = Cached(
            self.caching.shelf,
            likes=self.caching.likes,
            flights=flights,
            radio=self.radio,
            wishes=self.caching.wishes,
            free=admit,
            clock=core.clock,
            supervisor=core.tasks,
        )
        fanned = Fanned(health=core.health, clock=core.clock, counted=self._count_leg)
        self.explained_routes = ExplainedRoutes(self._prices)
        self.recorder = Recorder(
            core.stores.traces,
            core.settings,
            record=Recording(self.explained_routes, hindsight=Hindsight(self.caching.wishes)),
            sealer=open_body_sealer(core.settings),
            degraded=self._degraded,
            clock=core.clock,
            spawn=core.tasks.spawn,
        )
        self.tally.recorded = self.recorder.add
        stored = self.stored = Stored(core.responses, may_store=lambda: self.stores_responses)
        core.prices.on_change = core.ensembles.on_change = self._rebuild
        core.upstream.on_change = self._restock
        core.examiner.find = self._route_of
        self._answer = compose([meter, stored, cached, admit, fanned], self.routed)
        self.once = Once(
            self.answer,
            answers=core.answers,
            told=admit.told,
            clock=core.clock,
            supervisor=core.tasks,
            open_requests=self.open_requests,
        )

    @property
    def stores_responses(self) -> bool:
        """Whether the operator lets responses be kept."""
        return self._configuration.privacy.store_responses

    @property
    def fanout_width(self) -> int:
        """How many models one request may ask at most."""
        return self._configuration.limits.fanout_width

    @property
    def foresight(self) -> Foresight:
        """What foresees the cache's part in a request; it asks no provider to compare questions."""
        caching = self.caching
        return Foresight(caching.wishes, sight=Sight(caching.shelf, None if caching.asks_provider else caching.likes))

    @property
    def unattended(self) -> int:
        """How many calls go on although none of their clients has stayed."""
        return self.once.unattended + len(self.drains)

    async def answer(self, exchange: Exchange) -> Answer:
        """Answer a request that has been understood, when there is a place for it; `end` must follow in any case.

        Raises `Unavailable` where there is none, or where nobody could take its usage down.
        """
        if not self.core.can_account:
            raise Unavailable(
                "neither the state store nor the database answers", code="accounting_unavailable", retry_after_s=1
            )
        visit = exchange.visit = Visit(
            exchange.principal.organization_id, deadline_ns=exchange.deadline_ns, is_stream=exchange.stream
        )
        steps, clock = exchange.notes.steps, self.clock
        began_ns = clock.monotonic_ns() if self.gate.is_full else 0
        try:
            await self.gate.enter(visit)
        except BaseException as error:
            ended_ns = clock.monotonic_ns()
            steps.append(stopped("gate", error, began_ns=began_ns or ended_ns, ended_ns=ended_ns))
            raise
        if began_ns:
            steps.append(LayerStep("gate", "waited", began_ns, clock.monotonic_ns()))
        return await self._answer(exchange)

    def listen(self, exchange: Exchange) -> None:
        """Have content recorded in the trace of a request, if that is wanted of its caller."""
        tracer, trace = self.core.tracing.tracer, exchange.trace
        if trace is not None and trace.is_sampled and tracer is not None and tracer.wants_content(exchange.principal):
            trace.content = Content()

    def end(self, finished: Finished) -> None:
        """Give back the place of a request of which nothing is under way any more, and count it."""
        exchange = finished.exchange
        if exchange is not None and exchange.visit is not None:
            self.gate.leave(exchange.visit)
        if finished.trace is not None and finished.trace.is_sampled:
            self.traces.add(finished, finished.trace)
        self.tally.add(finished)

    def reload(self, settings: Settings) -> None:
        """Serve new settings from the next request on; requests in flight end on the old ones."""
        self.traces.flush()
        self.routes = self._build(settings)
        self.body_limit_bytes = settings.body_limit_bytes
        self.books.policies.replace(settings)
        self.caching.replace(settings)
        self.recorder.replace(settings)
        self.gate.resize(cap=settings.inflight, queue_s=settings.queue_s)
        self.pressure.replace(settings)

    def _build(self, settings: Settings) -> RouteTable:
        """Return the routes of a configuration; the transport stays unless the authorities to trust have changed."""
        served = self.core.upstream.current.under(settings)
        providers = self._open_providers(settings, served)
        builder = self._builder(served, providers, file=settings, listed={})
        table = builder.table()
        self._file, self._configuration, self._providers, self._listed = settings, served, providers, {}
        if unlisted := builder.unlisted():
            self.core.tasks.spawn(self._ask_for_models(served, unlisted))
        return table

    def _open_providers(self, settings: Settings, served: Settings) -> dict[str, Provider]:
        """Return all providers, each over the transport that may go where it is."""
        stored = self.core.upstream.current
        opened = {}
        for name, given in served.providers.items():
            sender = self._transports.sender(served, name, reach=stored.reach(name, settings))
            opened[name] = open_provider(name, given, self._registry, sender)
        return opened

    def _builder(
        self,
        served: Settings,
        providers: Mapping[str, Provider],
        *,
        file: Settings,
        listed: Mapping[str, list[str]],
    ) -> RouteBuilder:
        """Return what makes the routes of a configuration, and of what the admin API has made."""
        return RouteBuilder(
            served,
            providers,
            self._registry,
            listed=listed,
            prices=self.core.prices.current,
            ensembles=self.core.ensembles.current,
            names_models=bool(file.models),
        )

    def _degraded(self) -> list[str]:
        return self.core.degraded if self.core.is_degraded else []

    def _count_leg(self, strategy: str, model: str, outcome: str) -> None:
        self.core.metrics.number(FANOUT_LEGS, strategy, model, outcome).add()

    def _target_of(self, name: str) -> RouteTarget | None:
        """Return the first target of a model."""
        route = self._route_of(name)
        return None if route is None else route.targets[0]

    def _route_of(self, name: str) -> Route | None:
        return self.routes.find(name)

    def _rebuild(self) -> None:
        """Serve what the admin API has made from the next request on; those in flight end as they began."""
        self.routes = self._builder(self._configuration, self._providers, file=self._file, listed=self._listed).table()

    def _restock(self) -> None:
        """Serve the providers and models of the admin API as they now are; requests in flight end on the old ones."""
        self.routes = self._build(self._file)
        self.core.board.let_all_in()

    async def _ask_for_models(self, settings: Settings, targets: list[RouteTarget]) -> None:
        """Add the models that self-hosted servers say they have; one that does not answer is served by name only."""
        listed: dict[str, list[str]] = {}
        for choice in targets:
            with contextlib.suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(_LISTING_S):
                    listed[choice.provider] = (await choice.adapter.models(choice.target))[:_MAX_LISTED]
        if any(listed.values()) and self._configuration is settings:
            self._listed = listed
            self._rebuild()

    async def aclose(self) -> None:
        """End the requests that are still open, close the transports, count what has ended."""
        self.pressure.stop()
        self.drains.close()
        for request in tuple(self.open_requests):
            request.shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                while self.open_requests:  # noqa: ASYNC110 - at most a few looks, at the very end
                    await asyncio.sleep(_LOOK_S)
        self.caching.close()
        self.radio.close()
        await self.core.tasks.drain(patience_s=_FAREWELL_S)
        await self.books.aclose()
        await self._transports.aclose()
        self.tally.flush()
        await self.recorder.flush()
        self.recorder.close()
        self.traces.flush(is_last=True)
