"""`llm-gateway serve`: everything between the command line and the supervisor.

Law: what can be refused is refused before a worker is forked, with what to do about it.
"""

import contextlib
import functools
import ipaddress
import logging
import resource
import socket
from collections.abc import Callable
from pathlib import Path

from app.commands import banner, first_keys
from app.commands.database import ensure_schema, with_services
from app.commands.failure import CommandFailed
from app.commands.reloading import adopt, examiner, loader
from app.commands.shared_folder import shared_folder
from app.commands.sources import Sources, complete_settings, open_sources
from app.kernel.clock import SystemClock
from app.middleware.layers import BrokenLayer, InstalledLayer, installed_layers, listed
from app.observability.cells import fold
from app.observability.logs import configure_logging
from app.observability.tracing import ExtraMissing, Tracing
from app.server.contract import Application, Blueprint
from app.server.listeners import AddressUnavailable
from app.server.plan import Address, Plan, Planes, Role, plan_roles
from app.server.supervisor import Supervisor, WorkersFailed
from app.settings import Settings

Build = Callable[[Settings, Role], Application[Settings]]

_LOG = logging.getLogger("gateway.layers")
_CONNECTIONS_BEYOND_CAP = 500
_DESCRIPTORS_PER_REQUEST = 4
_DESCRIPTORS_WANTED = 65_536


def run(config: Path | None, *, planes: Planes, workers: int | None, build: Build, say: Callable[[str], None]) -> int:
    """Serve until told to stop; return the exit code.

    `build` makes the application of one worker, `say` prints a text for people.
    """
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    sources = open_sources(config, overrides={} if workers is None else {"gateway.workers": str(workers)})
    settings = complete_settings(sources)
    configure_logging(settings.log_level)
    raise_descriptor_limit(settings.inflight)
    require_extras(settings)
    layers = find_layers(planes)

    def on_ready() -> None:
        took_s = (clock.monotonic_ns() - began_ns) / 1e9
        say(f"\nReady in {took_s:.1f} s. Ctrl-C or SIGTERM drains and ends, SIGHUP reloads the settings.")

    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(shared_folder())
        blueprint = Blueprint(
            plan=plan_of(settings, planes=planes, shared=shared),
            settings=settings,
            build=build,
            load=loader(sources),
            adopt=adopt,
            examine=examiner(sources),
            on_ended=functools.partial(fold, shared),
        )
        supervisor = stack.enter_context(contextlib.closing(_bound(blueprint, on_ready)))
        _prepare(settings, sources, addresses=supervisor.addresses, layers=layers, say=say)
        try:
            return supervisor.run()
        except WorkersFailed as failed:
            raise CommandFailed(str(failed)) from None


def _bound(blueprint: Blueprint[Settings], on_ready: Callable[[], None]) -> Supervisor[Settings]:
    try:
        return Supervisor(blueprint, on_ready=on_ready)
    except AddressUnavailable as error:
        raise CommandFailed(str(error)) from None


def _prepare(
    settings: Settings,
    sources: Sources,
    *,
    addresses: tuple[Address, ...],
    layers: tuple[InstalledLayer, ...],
    say: Callable[[str], None],
) -> None:
    """Make the database ready, and print what there is to know; new keys are printed as soon as they exist."""
    ensure_schema(settings)
    state = with_services(settings, first_keys.look)
    refuse_open_admin(settings, addresses, has_admin_key=state.has_admin_key)
    if settings.has_sqlite:
        make = functools.partial(first_keys.make_first, wants_admin_key=settings.admin_key is None)
        state = with_services(settings, make)
    for fault in settings.warnings:
        say(f"warning: {fault}")
    say(banner.introduction(settings, addresses=addresses, path=sources.path, layers=layers))
    if layers:
        _LOG.info("layers around the inference API, the outermost first: %s", listed(layers))
    if state.inference_key is not None:
        say("\n" + banner.first_run(settings, state, addresses=addresses))


def plan_of(settings: Settings, *, planes: Planes, shared: Path | None = None) -> Plan:
    """Return the workers and addresses that the settings ask for."""
    roles = plan_roles(planes, workers=settings.gateway.workers, may_share=settings.has_shared_state, shared=shared)
    everywhere = {
        "gateway": Address(plane="gateway", host=settings.gateway.host, port=settings.gateway.port),
        "admin": Address(plane="admin", host=settings.admin.host, port=settings.admin.port),
    }
    served = {plane for role in roles for plane in role.planes}
    return Plan(
        roles=roles,
        addresses=tuple(address for plane, address in everywhere.items() if plane in served),
        drain_s=settings.drain_s,
        backpressure=2 * settings.inflight + _CONNECTIONS_BEYOND_CAP,
    )


def require_extras(settings: Settings) -> None:
    """Raise `CommandFailed` where the settings ask for what is not installed."""
    try:
        Tracing.check(settings.tracing)
    except ExtraMissing as error:
        raise CommandFailed(f"tracing: {error}") from None


def find_layers(planes: Planes) -> tuple[InstalledLayer, ...]:
    """Return the layers that will be around the gateway plane; raises `CommandFailed` for one that is broken."""
    try:
        return () if planes is Planes.ADMIN else installed_layers()
    except BrokenLayer as error:
        raise CommandFailed(f"{error}. Mend or uninstall it: no installed layer is ever left out.") from None


def refuse_open_admin(settings: Settings, addresses: tuple[Address, ...], *, has_admin_key: bool) -> None:
    """Raise `CommandFailed` if the gateway would be reachable from elsewhere while nobody administers it."""
    exposed = [address for address in addresses if not is_loopback(address.host)]
    if not exposed or has_admin_key or settings.admin_key is not None:
        return
    places = " and ".join(f"{address.plane}.host {address.host}" for address in exposed)
    raise CommandFailed(
        f"{places} can be reached from other machines, and there is no admin key. Set GATEWAY_ADMIN_KEY (32 characters "
        "or more), or make a key with `llm-gateway keys create --admin --name NAME`, or listen on 127.0.0.1."
    )


def is_loopback(host: str) -> bool:
    """Tell whether `host` is reachable only from this machine: a name is judged by all that it resolves to."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def raise_descriptor_limit(inflight: int) -> None:
    """Raise this process's limit of open files; raises `CommandFailed` if `inflight` requests need more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = inflight * _DESCRIPTORS_PER_REQUEST
    wanted = max(needed, _DESCRIPTORS_WANTED)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
            soft = possible
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise CommandFailed(
            f"a process may open {soft} files, but inflight: {inflight} needs {needed}. Raise the limit "
            f"(`ulimit -n {needed}`, or LimitNOFILE= in a unit), or lower `inflight`."
        )
