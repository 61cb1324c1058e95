"""The tree of all settings: frozen, complete, every value checked.

Field names are those of `gateway.yaml`, but that money ends in `_nusd` (integers of nano-USD; strings of USD in the
file). Law: this is data; `app.settings.load` makes it, nothing changes it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.settings.faults import Fault
from app.settings.forms import derived, off_or
from app.settings.planes import AdminJwt, AdminPlane, GatewayJwt, GatewayPlane
from app.settings.policy import (
    BudgetSettings,
    CacheSettings,
    EnsembleSettings,
    LimitRule,
    LimitSettings,
    NetworkSettings,
    OnAccountingDown,
    PrivacySettings,
    RequestTraceSettings,
)
from app.settings.store_url import StoreUrl
from app.settings.tracing import TracingSettings
from app.settings.upstream import (
    Fallbacks,
    Hedge,
    ModelSettings,
    PriceSettings,
    ProviderSettings,
    TargetSettings,
    TimeoutSettings,
    Transform,
)
from providers.types import Secret, Timeouts

__all__ = [
    "AdminJwt",
    "AdminPlane",
    "BudgetSettings",
    "CacheSettings",
    "EnsembleSettings",
    "Fallbacks",
    "GatewayJwt",
    "GatewayPlane",
    "Hedge",
    "LimitRule",
    "LimitSettings",
    "LogLevel",
    "ModelSettings",
    "NetworkSettings",
    "OnAccountingDown",
    "PriceSettings",
    "PrivacySettings",
    "ProviderSettings",
    "RequestTraceSettings",
    "Settings",
    "StoreUrl",
    "TargetSettings",
    "TimeoutSettings",
    "TracingSettings",
    "Transform",
    "Transport",
]

Transport = Literal["own", "httpx"]
LogLevel = Literal["debug", "info", "warning", "error"]

_EMBEDDED_DATABASE = "sqlite+aiosqlite:///.gateway/gateway.db"
_EMBEDDED_STATE = "memory://"
_BODY_LIMIT_BYTES = 20 * 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the gateway is told at start or reload."""

    database: Annotated[
        StoreUrl,
        Meta(
            description="What lasts: SQLite for one machine, PostgreSQL for more. May be `env:NAME` or `file:/path`.",
            examples=["postgresql+asyncpg://gateway@db/gateway"],
        ),
    ] = StoreUrl(_EMBEDDED_DATABASE)
    state: Annotated[
        StoreUrl,
        Meta(
            description="What is shared and volatile: this process, or Redis. May be `env:NAME` or `file:/path`.",
            examples=[
                "redis://h:6379/0",
                "rediss://h:6379/0",
                "redis+cluster://h1,h2",
                "redis+sentinel://h1,h2/main/0",
            ],
        ),
    ] = StoreUrl(_EMBEDDED_STATE)
    gateway: Annotated[GatewayPlane, Meta(description="The inference plane.")] = GatewayPlane()
    admin: Annotated[AdminPlane, Meta(description="The admin plane.")] = AdminPlane()
    providers: Annotated[
        Mapping[str, ProviderSettings], Meta(description="Accounts at vendors, by a name of yours.")
    ] = {}
    models: Annotated[
        Mapping[str, ModelSettings],
        Meta(description="Public model names; none: every catalogue model of a configured provider is served."),
    ] = {}
    ensembles: Annotated[
        Mapping[str, EnsembleSettings], Meta(description="Public model names that several models answer together.")
    ] = {}
    limits: Annotated[LimitSettings, Meta(description="Limits of each organisation.")] = LimitSettings()
    budget: Annotated[BudgetSettings | None, Meta(description="The budget of each organisation; absent: none.")] = None
    cache: Annotated[CacheSettings, Meta(description="Whether answers are kept and given again.")] = CacheSettings()
    privacy: Annotated[PrivacySettings, Meta(description="What of the conversations is kept.")] = PrivacySettings()
    request_traces: Annotated[RequestTraceSettings, Meta(description="What is kept of recent requests.")] = (
        RequestTraceSettings()
    )
    network: Annotated[NetworkSettings, Meta(description="Where providers made through the API may point.")] = (
        NetworkSettings()
    )
    tracing: Annotated[TracingSettings | None, off_or("Whether requests are traced; absent or `false`: not.")] = None
    queue_s: Annotated[
        float,
        Meta(description="How long a request waits, fairly by tenant, before a 429 or 503; 0: not.", ge=0, le=600),
    ] = 0.0
    transport: Annotated[Transport, Meta(description="What carries upstream calls.")] = "own"
    log_level: Annotated[LogLevel, Meta(description="The least severe log line that is written.")] = "info"
    drain_s: Annotated[
        float, Meta(description="How long requests in flight may take to end after SIGTERM.", ge=0, le=3600)
    ] = 30.0
    inflight: Annotated[
        int, Meta(description="Requests that one worker serves at once; more are shed with a 503.", ge=1, le=100_000)
    ] = 400
    memory_limit_mb: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 24)] | None,
        Meta(
            description="One worker's memory, in MiB; near it, requests are shed. Absent: the cgroup's limit; 0: none."
        ),
    ] = None
    body_limit_bytes: Annotated[
        int, Meta(description="The largest request body; larger ones are a 413.", ge=1024, le=1024 * 1024 * 1024)
    ] = _BODY_LIMIT_BYTES
    spool: Annotated[
        str,
        Meta(
            description="A folder for usage that neither `state` nor `database` takes; with SQLite beside its file.",
            min_length=1,
        ),
    ] = ".gateway/spool"
    reconcile_s: Annotated[int, Meta(description="How often all books are compared, in seconds.", ge=1, le=86_400)] = (
        3_600
    )
    master_secret: Annotated[Secret | None, derived()] = None
    """`GATEWAY_MASTER_SECRET`: the pepper of key hashes and the key of stored credentials; at least 32 bytes."""
    old_master_secret: Annotated[Secret | None, derived()] = None
    """`GATEWAY_OLD_MASTER_SECRET`: the one before: keys and what is stored are good under it too while it is set."""
    admin_key: Annotated[Secret | None, derived()] = None
    """`GATEWAY_ADMIN_KEY`: an admin key used as given; at least 32 characters."""
    adapter_token: Annotated[Secret | None, derived()] = None
    """`GATEWAY_ADAPTER_TOKEN`: what callers of an adapter service must present."""
    origins: Annotated[Mapping[str, str], derived()] = {}
    """Where each value that is not a default came from, by path: `gateway.yaml:12` or `env GATEWAY_X`."""
    warnings: Annotated[tuple[Fault, ...], derived()] = ()
    """What is legal but has no effect, or not the one meant."""

    @property
    def has_shared_state(self) -> bool:
        """Whether volatile state is in Redis, so that several processes may share it."""
        return self.state.scheme != "memory"

    @property
    def has_sqlite(self) -> bool:
        """Whether the database is a local SQLite file, which the gateway itself migrates."""
        return self.database.scheme.startswith("sqlite")

    def origin(self, path: str) -> str:
        """Return where the value at `path` came from; that of its nearest recorded parent, else `default`."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return "default"

    def timeouts_for(self, *, model: str | None = None, provider: str | None = None) -> Timeouts:
        """Return the clocks of a call: the model's, else the provider's, else the defaults."""
        scopes: list[TimeoutSettings] = []
        if provider is not None and provider in self.providers:
            scopes.append(self.providers[provider].timeouts)
        if model is not None and model in self.models:
            scopes.append(self.models[model].timeouts)
        merged = Timeouts()
        for scope in scopes:
            given = {name: value for name, value in msgspec.structs.asdict(scope).items() if value is not None}
            merged = msgspec.structs.replace(merged, **given)
        return merged
