"""The admin API over a small application, on SQLite and on PostgreSQL, with one caller for every role and scope."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from servers import postgres

from app.api.admin.app import EXCEPTION_HANDLERS, admin_openapi, admin_router
from app.db import schema
from app.db.columns import metadata
from app.db.engine import Database
from app.domain.audit.principal import Principal
from app.domain.keys.admin_authentication import AdminKeyAuthenticator
from app.domain.keys.secrets import derive_pepper
from app.domain.services import AdminServices
from app.gateway.cache_desk import CacheDesk
from app.gateway.calibration import Calibration
from app.gateway.examining import EnsembleExaminer
from app.gateway.vitals import InstallationHealth, LedgerHealth
from app.kernel.clock import ManualClock
from app.settings.model import ProviderSettings, Settings
from app.stores.cache import CacheStore
from app.stores.memory_cache import MemoryCacheStore
from providers.types import Secret

MASTER = Secret("a master secret of at least 32 bytes")
ENVIRONMENT_KEY = "an environment key of forty characters!!"
_DEFAULT_ORGANIZATION = """
    INSERT INTO organizations (id, name, status, created_at, updated_at, version)
    VALUES ('00000000-0000-7000-8000-000000000001', 'default', 'active', now(), now(), 1)
"""
HEALTH = InstallationHealth(status="ok", providers=[], stores=[], ledger=LedgerHealth(lag_s=0.25, queue_depth=None))
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


@dataclass
class Plane:
    """The admin plane under test."""

    app: Litestar
    services: AdminServices
    database: Database
    clock: ManualClock
    told: list[tuple[str, UUID]] = field(default_factory=list)
    settings: Settings = field(default_factory=lambda: Settings(providers={"echo": ProviderSettings(adapter="echo")}))
    cache: CacheStore = field(default_factory=lambda: MemoryCacheStore(clock=ManualClock()))

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://admin/admin/v1", headers=headers)


class Current:
    """The services of the running test: one application, which is dear to build, serves all tests in turn."""

    authenticate: AdminKeyAuthenticator

    def __init__(self) -> None:
        self.services = AdminServices.__new__(AdminServices)
        self.cache_desk = CacheDesk.__new__(CacheDesk)

    def become(self, services: AdminServices, cache_desk: CacheDesk) -> None:
        for part in fields(services):
            object.__setattr__(self.services, part.name, getattr(services, part.name))
        vars(self.cache_desk).update(vars(cache_desk))

    async def examine(self) -> InstallationHealth:
        return HEALTH

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
                examine=current.examine,
                cache_desk=current.cache_desk,
            )
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=admin_openapi("1.0"),
        logging_config=None,
    )


async def calibrate(name: str) -> Calibration:
    return Calibration(f"{name}-1", 0.8)


@pytest.fixture
async def plane(url: str, app: Litestar, current: Current) -> AsyncIterator[Plane]:
    database = Database(url)
    clock = ManualClock()
    told: list[tuple[str, UUID]] = []

    async def notify(kind: str, object_id: UUID) -> None:
        told.append((kind, object_id))

    services = AdminServices.over(
        database,
        clock=clock,
        master_secret=MASTER,
        notify=notify,
        settings=lambda: made.settings,
        examine=EnsembleExaminer(lambda: made.settings),
    )
    made = Plane(app, services, database, clock, told)
    cache_desk = CacheDesk(
        made.cache,
        organizations=services.organizations,
        usage=services.usage,
        settings=lambda: made.settings,
        calibration=calibrate,
    )
    current.become(services, cache_desk)
    current.authenticate = AdminKeyAuthenticator(
        services.key_repository,
        pepper=derive_pepper(MASTER),
        clock=clock,
        environment_key=Secret(ENVIRONMENT_KEY),
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
    "ensembles": {"name": "e", "strategy": "race", "members": ["echo"]},
}


@dataclass
class World:
    """Two organisations, each with a team and a key, and callers of every role in the first and on the installation."""

    ours: dict[str, Any]
    theirs: dict[str, Any]
    callers: dict[str, httpx.AsyncClient]
    root: httpx.AsyncClient

    async def make_anew(self, resource: str) -> None:
        """Make the price or ensemble of this world anew: an installation has one of each, which a test may delete."""
        for made in (await self.root.get(f"/{resource}")).json()["items"]:
            await self.root.delete(f"/{resource}/{made['id']}")
        self.ours[resource] = (await self.root.post(f"/{resource}", json=OF_THE_INSTALLATION[resource])).json()


async def _populate(root: httpx.AsyncClient, name: str) -> dict[str, Any]:
    organization = (await root.post("/organizations", json={"name": name})).json()
    team = (await root.post("/teams", json={"name": name, "organization_id": organization["id"]})).json()
    key = (await root.post("/keys", json={"name": name, "team_id": team["id"]})).json()
    admin = {"name": name, "role": "viewer", "organization_id": organization["id"]}
    admin_key = (await root.post("/admin-keys", json=admin)).json()
    return {"organizations": organization, "teams": team, "keys": key, "admin-keys": admin_key}


@pytest.fixture
async def world(plane: Plane, root: httpx.AsyncClient) -> AsyncIterator[World]:
    ours, theirs = await _populate(root, "ours"), await _populate(root, "theirs")
    callers: dict[str, httpx.AsyncClient] = {"nobody": plane.client(None)}
    for role in ROLES:
        for scope, organization_id in (("installation", None), ("ours", ours["organizations"]["id"])):
            spec = {"name": f"{scope} {role}", "role": role, "organization_id": organization_id}
            made = await root.post("/admin-keys", json=spec)
            callers[f"{scope} {role}"] = plane.client(made.json()["secret"])
    made = World(ours, theirs, callers, root)
    for resource in OF_THE_INSTALLATION:
        await made.make_anew(resource)
    yield made
    for client in callers.values():
        await client.aclose()
