"""`llm-gateway adapter NAME`: one provider's adapter as a service of its own, on the native wire.

Law: the provider's credential stays in this process; off loopback nobody is answered without the token.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from app.commands.adapter_service import PLANE, AdapterApplication, open_one, target_of
from app.commands.failure import CommandFailed
from app.commands.serve import is_loopback, raise_descriptor_limit
from app.commands.sources import Sources, open_sources, read_settings
from app.observability.logs import configure_logging
from app.server.contract import Blueprint, SettingsRefused
from app.server.listeners import AddressUnavailable
from app.server.plan import Address, Plan, Role
from app.server.supervisor import Supervisor, WorkersFailed
from app.settings import Settings, SettingsError
from app.settings.environment import ADAPTER_TOKEN
from app.settings.model import ProviderSettings
from app.settings.suggestions import did_you_mean, shown
from providers.errors import ConnectFailed
from providers.plugin import Plugin
from providers.protocol import Answer
from providers.registry import Registry, UnknownAdapter
from providers.types import Secret, Timeouts, UpstreamRequest

_CONNECTIONS_BEYOND_CAP = 500
_MIN_TOKEN_CHARACTERS = 32
_NEEDS_RESTART = ("transport", "drain_s", "inflight")
_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not bound


def run(name: str, config: Path | None, *, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve the adapter until told to stop; return the exit code."""
    sources = open_sources(config)
    settings = offered(name, read_settings(sources), sources=sources)
    refuse_open_service(settings, host)
    configure_logging(settings.log_level)
    raise_descriptor_limit(settings.inflight)
    blueprint = Blueprint(
        plan=_plan(settings, Address(plane=PLANE, host=host, port=port)),
        settings=settings,
        build=lambda settings, _role: AdapterApplication(settings),
        load=_loader(name, sources),
        adopt=adopt,
    )
    with contextlib.closing(_bound(blueprint, say=say)) as supervisor:
        say(introduction(settings, address=supervisor.addresses[0], registry=sources.registry))
        try:
            return supervisor.run()
        except WorkersFailed as failed:
            raise CommandFailed(str(failed)) from None


def _plan(settings: Settings, address: Address) -> Plan:
    return Plan(
        roles=(Role(name=PLANE, index=0, planes=(PLANE,)),),
        addresses=(address,),
        drain_s=settings.drain_s,
        backpressure=settings.inflight + _CONNECTIONS_BEYOND_CAP,
    )


def _bound(blueprint: Blueprint[Settings], *, say: Callable[[str], None]) -> Supervisor[Settings]:
    try:
        return Supervisor(
            blueprint,
            on_ready=lambda: say("\nReady. Ctrl-C or SIGTERM drains and ends, SIGHUP reads the settings again."),
        )
    except AddressUnavailable:
        where = blueprint.plan.addresses[0].authority
        raise CommandFailed(
            f"{where} cannot be listened on: it is in use, or not an address of this machine. "
            "Choose others with --port and --host."
        ) from None


# --- Which provider


def offered(name: str, settings: Settings, *, sources: Sources) -> Settings:
    """Return the settings with one provider, which `name` means: a configured one, else an adapter with its usual key.

    Raises `CommandFailed` where there is none, or where something is missing to call it.
    """
    registry = sources.registry
    provider = settings.providers.get(name) or _of_adapter(name, settings, sources=sources)
    plugin = registry.find(provider.adapter or name)
    if provider.base_url is None and plugin.base_url is None:
        raise CommandFailed(f"{name} has no address of its own: {_in_file(name, plugin, 'base_url: …')}")
    if plugin.needs_key and not provider.credentials:
        variable = plugin.key_variables[0] if plugin.key_variables else "NAME"
        usual = f"set {variable}, or " if plugin.key_variables else ""
        in_file = _in_file(name, plugin, f'api_key: "env:{variable}"')
        raise CommandFailed(f"{name} needs a credential: {usual}{in_file}")
    return msgspec.structs.replace(settings, providers={name: provider}, models={}, ensembles={})


def _of_adapter(name: str, settings: Settings, *, sources: Sources) -> ProviderSettings:
    """Return the provider that an adapter and its usual key make."""
    registry = sources.registry
    try:
        plugin = registry.find(name)
    except UnknownAdapter:
        known = [*settings.providers, *registry.names()]
        hint = did_you_mean(name, known, otherwise=f"the adapters are {', '.join(registry.names())}")
        raise CommandFailed(f"there is no provider and no adapter {shown(name)}; {hint}") from None
    if any(field.required for field in msgspec.structs.fields(plugin.options)):
        raise CommandFailed(f"{name} needs options: {_in_file(name, plugin, '…')}")
    return ProviderSettings(adapter=name, api_key=_usual_key(plugin, sources.environ), options=plugin.options())


def _usual_key(plugin: Plugin, environ: Mapping[str, str]) -> Secret | None:
    texts = (environ.get(variable, "").strip() for variable in plugin.key_variables)
    return next((Secret(text) for text in texts if text), None)


def _in_file(name: str, plugin: Plugin, field: str) -> str:
    return f"write `providers: {{{name}: {{adapter: {plugin.name}, {field}}}}}` to a file and name it with --config"


# --- Who may call


def refuse_open_service(settings: Settings, host: str) -> None:
    """Raise `CommandFailed` if strangers could spend the provider's credential."""
    if is_loopback(host):
        return
    if settings.adapter_token is None:
        raise CommandFailed(
            f"{host} can be reached from other machines, and whoever reaches this service spends the provider's "
            f"credential. Set {ADAPTER_TOKEN} here and as the provider's api_key in the gateway "
            "(`openssl rand -base64 48` makes one), or listen on 127.0.0.1."
        )
    if len(settings.adapter_token.reveal()) < _MIN_TOKEN_CHARACTERS:
        raise CommandFailed(
            f"{ADAPTER_TOKEN} can be guessed: beyond this machine it must have {_MIN_TOKEN_CHARACTERS} characters or "
            "more (`openssl rand -base64 48` makes one)."
        )


# --- What may change


def _loader(name: str, sources: Sources) -> Callable[[], Settings]:
    """Return what reads the settings again; it raises `SettingsRefused`."""

    def load() -> Settings:
        try:
            return offered(name, sources.read(), sources=sources)
        except SettingsError as error:
            raise SettingsRefused([str(fault) for fault in error.faults if fault.severity == "error"]) from None
        except CommandFailed as error:
            raise SettingsRefused([str(error)]) from None

    return load


def adopt(running: Settings, loaded: Settings) -> tuple[Settings, list[str]]:
    """Return the loaded settings with the running values of what needs a restart, and the names of what differs."""
    kept = {name: getattr(running, name) for name in _NEEDS_RESTART}
    ignored = [name for name, value in kept.items() if getattr(loaded, name) != value]
    return msgspec.structs.replace(loaded, **kept), ignored


# --- What is printed


def introduction(settings: Settings, *, address: Address, registry: Registry) -> str:
    """Return what is served, and the lines of YAML that plug it into a gateway."""
    provider = open_one(settings, registry=registry, sender=_NoTransport())
    relays = sorted(provider.adapter.relays(target_of(provider)))
    shown_url = address.url
    if address.host in _WILDCARDS:
        shown_url = f"http://ADDRESS-OF-THIS-MACHINE:{address.port}"
    fields = ["adapter: native", f'base_url: "{shown_url}"']
    if settings.adapter_token is not None:
        fields.append(f'api_key: "env:{ADAPTER_TOKEN}"')
    if relays:
        fields.append(f"relays: [{', '.join(relays)}]")
    lines = [
        f"The adapter {provider.plugin.name} is served at {address.url}. To use it, a gateway's file says:",
        "",
        "  providers:",
        f"    {provider.name}: {{{', '.join(fields)}}}",
    ]
    return "\n".join(lines)


class _NoTransport:
    """The transport of an adapter that is only asked about itself."""

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Refuse."""
        del timeouts
        raise ConnectFailed(f"{request.url} is not called from here")
