"""The admin API over a small application, on SQLite and on PostgreSQL, with one caller for every role and scope."""

import base64
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from accounting.records import BOUNDS, kept
from joserfc import jws
from joserfc.jwk import RSAKey
from litestar import Litestar
from servers import postgres

from app.api.admin.app import EXCEPTION_HANDLERS, admin_openapi, admin_router
from app.api.admin.desks import Desks
from app.api.dashboard import dashboard_router
from app.cache.answers import Sealer
from app.db import schema
from app.db.columns import metadata
from app.db.engine import Database
from app.domain.access.attempts import Attempts
from app.domain.access.code_flow import CodeFlow
from app.domain.access.code_flow import Issuer as IssuerCalls
from app.domain.audit.principal import Principal
from app.domain.keys.secrets import derive
from app.domain.keys.signed_tokens import SignedTokens
from app.domain.prices import PriceBook
from app.domain.prices.overlay import PriceOverlay
from app.domain.services import AdminServices, Host
from app.domain.upstream.overlay import StoredUpstream
from app.gateway.billing import Billing
from app.gateway.bodies import BodySealer
from app.gateway.cache_desk import CacheDesk
from app.gateway.calibration import Calibration
from app.gateway.config_desk import ConfigDesk
from app.gateway.config_view import ConfigWorker
from app.gateway.examining import EnsembleExaminer
from app.gateway.front_door import BearerAuthenticator, FrontDoor
from app.gateway.trace_desk import TraceDesk
from app.gateway.trial import Tried
from app.gateway.vitals import InstallationHealth, LedgerHealth
from app.kernel.clock import ManualClock
from app.middleware.site import Site
from app.pipeline.records import Whose
from app.settings.model import AdminJwt, AdminPlane, ProviderSettings, Settings
from app.stores.cache import CacheStore
from app.stores.memory_cache import MemoryCacheStore
from app.stores.memory_traces import MemoryTraceStore
from providers.registry import Registry
from providers.types import Secret

MASTER = Secret("a master secret of at least 32 bytes")
ENVIRONMENT_KEY = "an environment key of forty characters!!"
_DEFAULT_ORGANIZATION = """
    INSERT INTO organizations (id, name, status, created_at, updated_at, version)
    VALUES ('00000000-0000-7000-8000-000000000001', 'default', 'active', now(), now(), 1)
"""
ISSUER = "https://login.example.com"
JWT = AdminJwt(
    issuer=ISSUER, audience="llm-admin", role_claim="roles", roles={"idp-auditors": "viewer"}, client_id="gateway"
)
HEALTH = InstallationHealth(status="ok", providers=[], stores=[], ledger=LedgerHealth(lag_s=0.25, queue_depth=None))
_ISSUERS_KEY, _STRANGERS_KEY = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
ROLES = ("viewer", "admin", "owner")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    schema.upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres_server: postgres.Postgres) -> str:
    """One database for all tests here, emptied after each: making one for every test would take most of the time."""
    url = postgres_server.new_database()
    schema.upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        path = tmp_path / "gateway.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite+aiosqlite:///{path}"
    url: str = request.getfixturevalue("postgres_url")
    return url


class Issuer:
    """Signs tokens and redeems codes, in this process; `asked` are the forms that it was sent."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.key = _ISSUERS_KEY
        self.stranger = _STRANGERS_KEY
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []
        self.fetched: list[str] = []
        self.codes: dict[str, tuple[str, str]] = {}
        self.changed: dict[str, Any] = {}

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        documents = {
            f"{ISSUER}/.well-known/openid-configuration": {
                "issuer": ISSUER,
                "jwks_uri": f"{ISSUER}/keys",
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
            },
            f"{ISSUER}/keys": {"keys": [{**self.key.as_dict(private=False), "kid": "k", "alg": "RS256"}]},
        }
        return json.dumps(documents[url]).encode()

    async def post(self, url: str, headers: tuple[tuple[str, str], ...], form: bytes) -> bytes:
        assert url == f"{ISSUER}/token"
        said = dict(parse_qsl(form.decode()))
        self.asked.append((dict(headers), said))
        nonce, challenge = self.codes.pop(said["code"])  # once, as every issuer does
        digest = hashlib.sha256(said["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
        claims = {"aud": "gateway", "nonce": nonce, "auth_time": self.clock.now_ns() // 10**9} | self.changed
        return json.dumps(
            {"id_token": self.token(**claims), "access_token": "never shown", "token_type": "Bearer"}
        ).encode()

    def log_in(self, url: str) -> dict[str, str]:
        """Do what the issuer's page does with a person: return the parameters that the browser brings back."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self.asked)}-{len(self.codes)}"
        self.codes[code] = (asked["nonce"], asked["code_challenge"])
        return {"code": code, "state": asked["state"], "session_state": "x", "iss": ISSUER}

    def token(self, *, header: dict[str, Any] | None = None, key: RSAKey | None = None, **changed: Any) -> str:
        """Return a token; `...` leaves a claim out."""
        now_s = self.clock.now_ns() // 10**9
        good = {"iss": ISSUER, "aud": "llm-admin", "sub": "ada", "exp": now_s + 600, "nbf": now_s}
        claims = {name: value for name, value in {**good, **changed}.items() if value is not ...}
        head = {"alg": "RS256", "kid": "k", **(header or {})}
        registry = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(claims), key or self.key, registry=registry)


@dataclass
class Plane:
    """The admin plane under test."""

    app: Litestar
    services: AdminServices
    database: Database
    clock: ManualClock
    told: list[tuple[str, UUID]]
    issuer: Issuer
    settings: Settings = field(
        default_factory=lambda: Settings(
            admin=AdminPlane(jwt=JWT),
            admin_key=Secret(ENVIRONMENT_KEY),
            providers={"echo": ProviderSettings(adapter="echo")},
        )
    )
    steering: Any = None
    cache: CacheStore = field(default_factory=lambda: MemoryCacheStore(clock=ManualClock()))
    traces: MemoryTraceStore = field(default_factory=lambda: MemoryTraceStore(clock=ManualClock()))
    sealer: BodySealer = field(default_factory=lambda: BodySealer(Sealer(bytes(range(32)))))

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """A client that keeps cookies and says where its requests come from."""
        said = {"origin": "https://admin", "sec-fetch-site": "same-origin"} | headers
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://admin/admin/v1", headers=said)

    async def signed_in(self, key: str) -> httpx.AsyncClient:
        """A browser that has signed in with a key."""
        browser = self.browser()
        made = await browser.post("/session", json={"key": key})
        assert made.status_code == 201, made.text
        browser.headers["x-csrf-token"] = made.json()["csrf_token"]
        return browser

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://admin/admin/v1", headers=headers)


class Current:
    """The services of the running test: one application, which is dear to build, serves all tests in turn."""

    authenticate: BearerAuthenticator

    def __init__(self) -> None:
        self.services = AdminServices.__new__(AdminServices)
        self.door = FrontDoor.__new__(FrontDoor)
        self.cache_desk = CacheDesk.__new__(CacheDesk)
        self.trace_desk = TraceDesk.__new__(TraceDesk)
        self.config_desk = ConfigDesk.__new__(ConfigDesk)

    def become(
        self, services: AdminServices, cache_desk: CacheDesk, trace_desk: TraceDesk, config_desk: ConfigDesk
    ) -> None:
        for part in fields(services):
            object.__setattr__(self.services, part.name, getattr(services, part.name))
        vars(self.cache_desk).update(vars(cache_desk))
        vars(self.trace_desk).update(vars(trace_desk))
        vars(self.config_desk).update(vars(config_desk))

    async def examine(self) -> InstallationHealth:
        return HEALTH

    async def try_provider(self, principal: Principal, provider_id: UUID) -> Tried:
        await self.services.providers.open(principal, provider_id)
        return Tried(call="models", duration_ms=1.5, models=3)

    async def identify(self, token: bytes) -> Principal:
        return await self.authenticate(token)


@pytest.fixture(scope="session")
def current() -> Current:
    return Current()


@pytest.fixture(scope="session")
def app(current: Current) -> Litestar:
    return Litestar(
        [
            admin_router(
                current.services,
                authenticate=current.identify,
                desks=Desks(
                    examine=current.examine,
                    cache=current.cache_desk,
                    traces=current.trace_desk,
                    config=current.config_desk,
                    try_provider=current.try_provider,
                    door=current.door,
                ),
                site=Site(),
            )
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=admin_openapi("1.0"),
        logging_config=None,
    )


@pytest.fixture(scope="session")
def pages_app(current: Current) -> Litestar:
    """The admin API, for signing in, and the dashboard beside it, over the services of the running test."""
    desks = Desks(
        examine=current.examine,
        cache=current.cache_desk,
        traces=current.trace_desk,
        config=current.config_desk,
        try_provider=current.try_provider,
        door=current.door,
    )
    registry, clock = Registry(), ManualClock()
    settings = Settings(providers={"echo": ProviderSettings(adapter="echo")})
    billing = Billing(
        registry,
        book=PriceBook(registry.catalog, clock=clock),
        overlay=PriceOverlay,
        settings=lambda: settings,
    )
    dashboard = dashboard_router(
        current.services,
        authenticate=current.identify,
        site=Site(),
        desks=desks,
        billing=billing,
        settings=lambda: settings,
        served=lambda: settings,
        clock=clock,
    )
    api = admin_router(current.services, authenticate=current.identify, desks=desks, site=Site())
    return Litestar([api, dashboard], exception_handlers=EXCEPTION_HANDLERS, openapi_config=None, logging_config=None)


async def ask_nobody() -> list[ConfigWorker]:
    return []


async def calibrate(name: str) -> Calibration:
    return Calibration(f"{name}-1", 0.8)


@pytest.fixture
async def plane(url: str, app: Litestar, current: Current) -> AsyncIterator[Plane]:
    database = Database(url)
    clock = ManualClock()
    told: list[tuple[str, UUID]] = []

    async def notify(kind: str, object_id: UUID) -> None:
        told.append((kind, object_id))

    issuer = Issuer(clock)
    made = Plane(app, AdminServices.__new__(AdminServices), database, clock, told, issuer)
    services = made.services = AdminServices.over(
        database,
        clock=clock,
        master_secret=MASTER,
        host=Host(
            settings=lambda: made.settings,
            notify=notify,
            examine=EnsembleExaminer(lambda: made.settings, StoredUpstream),
        ),
    )
    cache_desk = CacheDesk(
        made.cache,
        organizations=services.organizations,
        usage=services.usage,
        settings=lambda: made.settings,
        calibration=calibrate,
    )
    trace_desk = TraceDesk(made.traces, settings=lambda: made.settings, sealer=made.sealer)
    config_desk = ConfigDesk(
        settings=lambda: made.settings, steering=lambda: made.steering, gateway="here:1", ask_others=ask_nobody
    )
    current.become(services, cache_desk, trace_desk, config_desk)
    tokens = SignedTokens(JWT, fetch=issuer.fetch, clock=clock)
    current.authenticate = BearerAuthenticator(services, jwt=JWT, tokens=tokens)
    current.door.attempts, current.door.starts = Attempts(clock), Attempts(clock, limit=60)
    current.door.code_flow = CodeFlow(
        JWT,
        issuer=IssuerCalls(fetch=issuer.fetch, post=issuer.post, tokens=tokens),
        callback="https://admin/admin/v1/session/oidc/callback",
        database=database,
        key=derive(MASTER, purpose="sign-ins 1"),
        clock=clock,
    )
    yield made
    if not database.is_sqlite:
        async with database.transaction() as connection:
            await connection.exec_driver_sql(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
            await connection.exec_driver_sql(_DEFAULT_ORGANIZATION)
    await database.aclose()


@pytest.fixture
async def root(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    """The owner of the installation."""
    async with plane.client(ENVIRONMENT_KEY) as client:
        yield client


OF_THE_INSTALLATION: dict[str, dict[str, Any]] = {
    "prices": {"model": "m", "input": "1"},
    "providers": {"name": "ours", "adapter": "echo"},
    "models": {"name": "ours", "targets": [{"provider": "ours", "model": "echo"}]},
    "ensembles": {"name": "e", "strategy": "race", "members": ["echo"]},
}


@dataclass
class World:
    """Two organisations, each with a team and a key, and callers of every role in the first and on the installation."""

    ours: dict[str, Any]
    theirs: dict[str, Any]
    callers: dict[str, httpx.AsyncClient]
    root: httpx.AsyncClient
    plane: Plane

    async def make_again(self, method: str, path: str) -> None:
        """Make what a request is about to take away."""
        resource = path.split("/")[3]
        if method == "DELETE" and resource in OF_THE_INSTALLATION:
            await self.make_anew(resource)
        elif method == "DELETE" and resource == "grants":
            await self.make_grant()
        elif resource == "sessions" and method != "GET":
            await self.make_session()

    async def make_session(self) -> None:
        """Sign in anew, as a test may have ended the session of this world."""
        spec = {"name": "x", "role": "viewer", "organization_id": self.ours["organizations"]["id"]}
        key = (await self.root.post("/admin-keys", json=spec)).json()
        made = await self.root.post("/session", json={"key": key["secret"]})
        self.ours["sessions"] = {"id": made.json()["session_id"]}

    async def make_grant(self) -> None:
        """Give a role anew, as a test may have taken it away."""
        spec = {"matches": "claim", "value": str(uuid4()), "role": "viewer"}
        spec["organization_id"] = self.ours["organizations"]["id"]
        self.ours["grants"] = (await self.root.post("/grants", json=spec)).json()

    async def make_anew(self, resource: str) -> None:
        """Make the one object of a kind that the installation has anew: a test may delete it."""
        again = ("providers", "models") if resource == "providers" else (resource,)
        for name in reversed(again):
            for made in (await self.root.get(f"/{name}")).json()["items"]:
                await self.root.delete(f"/{name}/{made['id']}")
        for name in again:
            self.ours[name] = (await self.root.post(f"/{name}", json=OF_THE_INSTALLATION[name])).json()


async def _populate(root: httpx.AsyncClient, name: str) -> dict[str, Any]:
    organization = (await root.post("/organizations", json={"name": name})).json()
    team = (await root.post("/teams", json={"name": name, "organization_id": organization["id"]})).json()
    key = (await root.post("/keys", json={"name": name, "team_id": team["id"]})).json()
    admin = {"name": name, "role": "viewer", "organization_id": organization["id"]}
    admin_key = (await root.post("/admin-keys", json=admin)).json()
    spec = {"matches": "claim", "value": f"{name} viewers", "role": "viewer", "organization_id": organization["id"]}
    grant = (await root.post("/grants", json=spec)).json()
    signed_in = await root.post("/session", json={"key": admin_key["secret"]})
    session = {"id": signed_in.json()["session_id"]}
    return {
        "organizations": organization,
        "teams": team,
        "keys": key,
        "admin-keys": admin_key,
        "grants": grant,
        "sessions": session,
    }


async def _trace(plane: Plane, objects: dict[str, Any]) -> dict[str, str]:
    """Keep a request of a key; return what it is called."""
    whose = Whose(*(objects[kind]["id"] for kind in ("organizations", "teams", "keys")))
    made = kept(whose, at_ms=plane.clock.now_ns() // 1_000_000)
    await plane.traces.put([made], BOUNDS)
    return {"id": made.id}


@pytest.fixture
async def world(plane: Plane, root: httpx.AsyncClient) -> AsyncIterator[World]:
    ours, theirs = await _populate(root, "ours"), await _populate(root, "theirs")
    callers: dict[str, httpx.AsyncClient] = {"nobody": plane.client(None)}
    sessions: dict[str, httpx.AsyncClient] = {}
    tokens: dict[str, httpx.AsyncClient] = {}
    for role in ROLES:
        for scope, organization_id in (("installation", None), ("ours", ours["organizations"]["id"])):
            spec = {"name": f"{scope} {role}", "role": role, "organization_id": organization_id}
            secret = (await root.post("/admin-keys", json=spec)).json()["secret"]
            callers[f"{scope} {role}"] = plane.client(secret)
            sessions[f"{scope} {role} session"] = await plane.signed_in(secret)
            grant = {"matches": "subject", "value": f"{scope} {role}", "role": role, "organization_id": organization_id}
            assert (await root.post("/grants", json=grant)).status_code == 201
            tokens[f"{scope} {role} token"] = plane.client(plane.issuer.token(sub=f"{scope} {role}"))
    for objects in (ours, theirs):
        objects["requests"] = await _trace(plane, objects)
    made = World(ours, theirs, callers | tokens | sessions, root, plane)
    for resource in OF_THE_INSTALLATION:
        await made.make_anew(resource)
    yield made
    for client in (callers | tokens | sessions).values():
        await client.aclose()
