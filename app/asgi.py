"""Routes and layers of both planes: what one worker serves."""

import functools
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from app.api.admin.app import EXCEPTION_HANDLERS, admin_router
from app.api.admin.description import admin_document
from app.api.admin.desks import Desks
from app.api.admin.problems import spoken_problem
from app.api.anthropic.paths import MESSAGES_WIRE
from app.api.dashboard import dashboard_router
from app.api.docs import docs_handlers
from app.api.errors import headers_of, status_of
from app.api.gemini.paths import GENERATE_WIRE
from app.api.inference import headers_of_unrouted, inference_handlers
from app.api.inference_openapi import inference_document
from app.api.llm.requests import request_handlers
from app.api.openai.kept import kept_response_handlers
from app.api.openai.models import lists_anthropics, model_handlers
from app.api.openai.paths import CHAT_WIRE
from app.api.probes import probe_handlers
from app.api.understanding import Wire
from app.api.wires import WIRES
from app.gateway import Core, Gateway
from app.gateway.access_log import PROBES, access_line
from app.gateway.billing import open_billing
from app.gateway.cache_desk import open_cache_desk
from app.gateway.checkup import Checkup
from app.gateway.config_call import ConfigCall
from app.gateway.config_desk import ConfigDesk, Steering
from app.gateway.front_door import open_front_door
from app.gateway.trace_desk import open_trace_desk
from app.gateway.trial import Trial
from app.kernel.clock import Clock, SystemClock
from app.kernel.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from app.middleware.context import ContextRing, PlaneState, RequestContext
from app.middleware.cross_origin import CrossOrigin
from app.middleware.layered import Layered
from app.middleware.layers import installed_layers
from app.middleware.site import Site
from app.observability.answered import AnsweredRequest
from app.observability.logs import RequestLog
from app.observability.metrics import BUILD_INFO, INFLIGHT, LOG_DROPPED, REQUESTS, SHED, Metrics
from app.settings.model import Settings

GATEWAY, ADMIN = "gateway", "admin"
_SERVER_FAULT = 500
_LOG = logging.getLogger("gateway.http")
_BESIDES = 400
"""How many requests may be here beside those that are served or wait: on other paths, or with bodies being read."""
_RING_ID = b"x-request-id"  # the ring itself puts it on every answer


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane: its name, and the ASGI callable that answers it."""

    name: str
    app: Any


class GatewayApplication:
    """What one worker process runs. Make it inside the worker's running loop."""

    def __init__(self, settings: Settings, *, planes: Sequence[str], metrics_directory: Path | None = None) -> None:
        """Make the planes named; `metrics_directory` is shared with the other workers."""
        self.steering: Steering | None = None
        clock = SystemClock()
        kind = "-".join(planes) if len(planes) == 1 else "all"
        self._metrics = Metrics(metrics_directory, name=kind)
        self._metrics.number(BUILD_INFO, release()).set(1)
        self._core = Core(settings, clock=clock, metrics=self._metrics, serves_inference=GATEWAY in planes)
        self._settings = settings
        self._trial: Trial | None = None
        self._config_call = ConfigCall(
            self._core.stores,
            gateway=f"{socket.gethostname()}:{os.getppid()}",
            tasks=self._core.tasks,
            reload=self._reload_workers,
        )
        self._log = RequestLog(enabled=logs_requests(settings))
        self._gateway = Gateway(self._core, registry=self._core.registry, log=self._log) if GATEWAY in planes else None
        self._states = {name: PlaneState(cap=_most_requests(settings)) for name in planes}
        self.planes = [Plane(name, self._ring(name)) for name in planes]

    @property
    def inflight(self) -> int:
        """Requests that have begun and are not answered, and calls that go on although their clients have left."""
        unattended = self._gateway.unattended if self._gateway is not None else 0
        return unattended + sum(state.inflight for state in self._states.values())

    async def start(self) -> None:
        """Open the stores, the database and the ledger."""
        self._core.on_beat = self._bring_up_to_date
        await self._core.start()
        self._config_call.start()
        if self._gateway is not None:
            await self._gateway.books.start()
            self._gateway.pressure.start()

    def begin_drain(self) -> None:
        """Fail readiness and ask every client to close its connection; requests go on."""
        for state in self._states.values():
            state.is_draining = True

    async def reload(self, settings: Settings) -> None:
        """Serve new settings from the next request on, or, by raising, none of them."""
        self._core.tracing.check(settings.tracing)
        if self._gateway is not None:
            self._gateway.reload(settings)
        for state in self._states.values():
            state.cap = _most_requests(settings)
        self._core.reload(settings)
        logging.getLogger().setLevel(settings.log_level.upper())
        self._log.is_enabled = logs_requests(settings)
        self._settings = settings

    async def aclose(self) -> None:
        """Settle what is open, flush the ledger, close the pools."""
        self._config_call.stop()
        if self._gateway is not None:
            await self._gateway.aclose()
        if self._trial is not None:
            await self._trial.aclose()
        await self._core.aclose()
        self._log.flush()

    async def _reload_workers(self) -> Any:
        """Have every worker of this one's parent take the settings again."""
        if self.steering is None:
            raise TimeoutError
        return await self.steering.reload()

    # -- planes -------------------------------------------------------------------------------------------------------

    def _ring(self, name: str) -> Any:
        app = CrossOrigin(_layered(self._inference(), self._core.clock)) if name == GATEWAY else self._administration()
        hosts = self._settings.gateway.allowed_hosts if name == GATEWAY else self._settings.admin.allowed_hosts
        state = self._states[name]
        refuse = refuse_inference if name == GATEWAY else refuse_problem

        def count(seen: AnsweredRequest) -> None:
            self._metrics.number(REQUESTS, name, seen.route, "", "", str(seen.status)).add()
            if self._log.is_enabled and seen.route not in PROBES:
                at_ns = self._core.clock.now_ns()
                self._log.add(access_line(name, at_ns=at_ns, **seen._asdict()))

        shed = self._metrics.number(SHED, "requests")
        return ContextRing(
            app,
            state=state,
            clock=self._core.clock,
            refuse=refuse,
            allowed_hosts=hosts,
            count=count,
            on_shed=shed.add,
            tracing=self._core.tracing,
        )

    def _inference(self) -> Litestar:
        gateway = self._gateway
        if gateway is None:
            raise RuntimeError("the gateway plane needs a gateway")
        document = inference_document(version=release())
        handlers: list[Any] = [handler for wire in WIRES for handler in inference_handlers(wire, gateway)]
        handlers += model_handlers(gateway)
        handlers += kept_response_handlers(gateway)
        handlers += request_handlers(gateway, WIRES)
        handlers += docs_handlers(lambda: document)
        handlers += self._probes(GATEWAY)
        return Litestar(
            handlers,
            openapi_config=None,
            logging_config=None,
            exception_handlers=INFERENCE_EXCEPTION_HANDLERS,
            pdb_on_exception=False,
            debug=False,
        )

    def _administration(self) -> Litestar:
        services = self._core.services
        door = open_front_door(self._core)
        site = Site(self._core.settings.admin.url)
        self._trial = Trial(self._core)
        desks = Desks(
            examine=Checkup(self._core, makes_calls=self._gateway is not None),
            cache=open_cache_desk(self._core),
            traces=open_trace_desk(self._core),
            config=ConfigDesk(
                settings=lambda: self._core.settings,
                steering=lambda: self.steering,
                gateway=self._config_call.gateway,
                ask_others=self._config_call.ask_others,
            ),
            try_provider=self._trial,
            door=door,
        )

        def router() -> Router:
            return admin_router(services, authenticate=door.authenticate, desks=desks, site=site)

        dashboard = dashboard_router(
            services,
            authenticate=door.authenticate,
            site=site,
            desks=desks,
            billing=open_billing(self._core),
            settings=lambda: self._core.settings,
            served=lambda: self._core.served,
            clock=self._core.clock,
        )

        @functools.cache
        def document() -> bytes:
            return msgspec.json.encode(admin_document(router(), version=release()))

        return Litestar(
            [
                router(),
                dashboard,
                *self._probes(ADMIN),
                *docs_handlers(document),
            ],
            openapi_config=None,
            logging_config=None,
            exception_handlers=EXCEPTION_HANDLERS,
            debug=False,
        )

    def _bring_up_to_date(self) -> None:
        """Let this process's numbers say what is true now."""
        self._core.tracing.show()
        if self._gateway is not None:
            self._gateway.tally.flush()
            self._gateway.gate.show()
        self._metrics.number(LOG_DROPPED).set(self._log.dropped)
        for name, state in self._states.items():
            state.is_tight = self._gateway is not None and self._gateway.pressure.refuses_streams
            self._metrics.number(INFLIGHT, name).set(state.inflight - state.probes)

    def _probes(self, plane: str) -> list[Any]:
        state = self._states[plane] if plane in self._states else PlaneState(cap=1)
        return probe_handlers(
            is_ready=lambda: not state.is_draining and self._core.is_ready,
            degraded=lambda: self._core.degraded,
            metrics=self._metrics,
            kinds=frozenset({plane, "all"}),
            shows_metrics=lambda: (self._settings.gateway if plane == GATEWAY else self._settings.admin).metrics,
            before_scrape=self._bring_up_to_date,
        )


def _layered(app: Any, clock: Clock) -> Any:
    """Return an application within the layers that are installed: itself if there are none."""
    layers = installed_layers()
    return Layered(app, layers, refuse=refuse_inference, clock=clock) if layers else app


def logs_requests(settings: Settings) -> bool:
    """Return whether requests are logged at the level of the settings."""
    return settings.log_level in {"debug", "info"}


def _most_requests(settings: Settings) -> int:
    """Return how many requests a plane may have at once: as many may wait as are served."""
    return 2 * settings.inflight + _BESIDES


def release() -> str:
    """Return the installed version."""
    try:
        return version("llm-api-gateway")
    except PackageNotFoundError:
        return "0"


def refuse_inference(
    path: str, asked: Mapping[bytes, bytes], error: GatewayError, request_id: str, *, took_ns: int
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return an error as the gateway plane says it: in the dialect of the path, or of the headers of `asked`."""
    wire = MESSAGES_WIRE if lists_anthropics(path, asked) else _wire_of(path)
    ids = [(name, request_id.encode()) for name in wire.id_headers if name != _RING_ID]
    headers = [(b"content-type", b"application/json"), *ids, *headers_of(error)]
    if any(_is_served(wire, path) for wire in WIRES):
        headers += headers_of_unrouted(took_ns)
    return status_of(error), headers, wire.say_error(error, request_id)


def _wire_of(path: str) -> Wire:
    return next((wire for wire in WIRES if path.startswith(_shared(wire))), CHAT_WIRE)


def _shared(wire: Wire) -> str:
    """Return what all paths of a wire begin with: Google's have a version of the API of their own."""
    return "/v1beta" if wire is GENERATE_WIRE else wire.route


def _is_served(wire: Wire, path: str) -> bool:
    """Whether a path is one of a wire's own, and not only below it."""
    stem, variable, _ = wire.route.partition("{")
    return path.startswith(stem) if variable else path == stem


def refuse_problem(
    path: str, asked: Mapping[bytes, bytes], error: GatewayError, request_id: str, *, took_ns: int
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return an error as the admin plane says it."""
    del path, asked, took_ns
    said = spoken_problem(error, request_id=request_id)
    return said.status, [(name.encode(), value.encode()) for name, value in said.headers.items()], said.body


def _say_openai(request: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    context: RequestContext = request.scope["state"]["context"]
    took_ns = SystemClock().monotonic_ns() - context.started_ns
    status, pairs, body = refuse_inference(
        request.scope["path"], context.headers, error, context.request_id, took_ns=took_ns
    )
    headers = {name.decode(): value.decode() for name, value in pairs if name != b"content-type"}
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _say_openai_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Say an error of the framework's: it knows no path, or no method, or has failed."""
    if isinstance(error, NotFoundException):
        return _say_openai(request, NotFound("there is no such path", code="not_found"))
    if isinstance(error, MethodNotAllowedException):
        allow = (error.headers or {}).get("allow", "GET, HEAD")
        return _say_openai(request, MethodNotAllowed(headers=(("allow", allow),)))
    if error.status_code >= _SERVER_FAULT:
        return _say_unexpected(request, error)
    return _say_openai(request, InvalidRequest(error.detail or "the request is invalid"))


def _say_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Log a defect of ours with its traceback, and answer without its cause."""
    context: RequestContext = request.scope["state"]["context"]
    _LOG.error("request %s failed", context.request_id, exc_info=error)
    return _say_openai(request, InternalError())


INFERENCE_EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    GatewayError: _say_openai,
    HTTPException: _say_openai_http,
    Exception: _say_unexpected,
}
"""How the gateway plane says what is raised outside of a call, in the dialect of the path."""


class Role(Protocol):
    """What a worker is to do."""

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that it serves."""
        ...

    @property
    def shared(self) -> Path | None:
        """A folder that all workers of one parent share while it runs."""
        ...


def build_application(settings: Settings, role: Role) -> GatewayApplication:
    """Return the application of one worker."""
    return GatewayApplication(settings, planes=role.planes, metrics_directory=role.shared)


__all__ = ["GatewayApplication", "Plane", "build_application", "release"]
