"""Whatever administrators of one organisation do, in any order, their reach never grows."""

import asyncio
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.db.engine import Database
from app.domain.access.schemas import CreateGrant, Grant, PatchGrant
from app.domain.audit.principal import COMMAND_LINE, Principal, Role
from app.domain.ensembles.schemas import CreateEnsemble
from app.domain.keys.admin_authentication import AdminKeyAuthenticator
from app.domain.keys.schemas import CreateAdminKey, CreateKey, PatchAdminKey, PatchKey
from app.domain.keys.secrets import MasterSecrets
from app.domain.prices.schemas import CreatePrice
from app.domain.services import AdminServices, Host
from app.domain.tenants.policies import Budget, Limits
from app.domain.tenants.schemas import CreateOrganization, CreateTeam, PatchOrganization, PatchTeam
from app.kernel.clock import ManualClock
from app.kernel.errors import GatewayError
from app.settings.policy import EnsembleSettings
from providers.types import Secret

MASTER = Secret("m" * 32)
ACTIONS = st.sampled_from(
    [
        "create organization",
        "unsuspend organization",
        "create team",
        "patch team",
        "create key",
        "patch key",
        "create admin",
        "promote",
        "rotate admin",
        "rotate foreign admin",
        "become",
        "unlimit organization",
        "unbudget organization",
        "limit foreign team",
        "create price",
        "create ensemble",
        "create provider",
        "create model",
        "grant",
        "promote grant",
        "take over foreign grant",
        "end foreign grant",
    ]
)
steps = st.lists(
    st.tuples(ACTIONS, st.sampled_from(list(Role)), st.booleans(), st.integers(0, 9)), min_size=1, max_size=25
)


class Attackers:
    """Callers who start with one role in one organisation and take over every key that they can make or rotate."""

    def __init__(self, services: AdminServices, authenticate: AdminKeyAuthenticator) -> None:
        self.services = services
        self.authenticate = authenticate
        self.people: list[Principal] = []
        self.ids: list[UUID] = []
        self.home = self.foreign = UUID(int=0)
        self.foreign_admin = self.foreign_team = self.foreign_grant = UUID(int=0)
        self.grants: list[Grant] = []

    async def settle(self, role: Role) -> None:
        made = []
        for name in ("home", "foreign"):
            async with self.services.auditor.transaction(COMMAND_LINE, request_id="r") as transaction:
                organization = await self.services.organizations.create(
                    transaction,
                    CreateOrganization(name=name, limits=Limits(concurrency=1), budget=Budget(amount="1")),
                )
                team = await self.services.teams.create(
                    transaction, CreateTeam(name=name, organization_id=organization.id)
                )
                spec = CreateAdminKey(name=name, role=role, organization_id=organization.id)
                made.append((organization.id, team.id, await self.services.admin_keys.create(transaction, spec)))
        (self.home, _, first), (self.foreign, self.foreign_team, second) = made
        self.foreign_admin = second.id
        async with self.services.auditor.transaction(COMMAND_LINE, request_id="r") as transaction:
            theirs = CreateGrant(matches="subject", value="them", role=role, organization_id=self.foreign)
            self.foreign_grant = (await self.services.grants.create(transaction, theirs)).id
        await self.take(first.secret)
        self.ids.append(first.id)

    async def take(self, secret: str) -> None:
        self.people.append(await self.authenticate(secret.encode()))

    async def step(self, action: str, role: Role, *, is_foreign: bool, who: int) -> None:
        me = self.people[who % len(self.people)]
        place = self.foreign if is_foreign else None
        own = self.ids[who % len(self.ids)]
        services = self.services
        calls: dict[str, Any] = {
            "create organization": lambda t: services.organizations.create(t, CreateOrganization(name="x")),
            "unsuspend organization": lambda t: services.organizations.patch(
                t, place or self.home, PatchOrganization(status="active", budget=None)
            ),
            "create team": lambda t: services.teams.create(t, CreateTeam(name="x", organization_id=place)),
            "patch team": lambda t: services.teams.patch(t, self.foreign_team, PatchTeam(name="taken")),
            "create key": lambda t: services.keys.create(t, CreateKey(name="x", organization_id=place)),
            "patch key": lambda t: services.keys.patch(t, own, PatchKey(team_id=self.foreign_team)),
            "create admin": lambda t: services.admin_keys.create(
                t, CreateAdminKey(name="x", role=role, organization_id=place)
            ),
            "promote": lambda t: services.admin_keys.patch(t, own, PatchAdminKey(role=role)),
            "rotate admin": lambda t: services.admin_keys.rotate(t, own, grace_s=0),
            "rotate foreign admin": lambda t: services.admin_keys.rotate(t, self.foreign_admin, grace_s=0),
            "become": lambda t: services.admin_keys.patch(t, self.foreign_admin, PatchAdminKey(role=Role.OWNER)),
            "unlimit organization": lambda t: services.quotas.remove_limits(
                t, "organization", scope_id=place or self.home
            ),
            "unbudget organization": lambda t: services.quotas.remove_budget(
                t, "organization", scope_id=place or self.home
            ),
            "limit foreign team": lambda t: services.quotas.set_limits(
                t, "team", scope_id=self.foreign_team, limits=Limits(concurrency=1)
            ),
            "grant": lambda t: services.grants.create(
                t, CreateGrant(matches="subject", value=str(uuid4()), role=role, organization_id=place)
            ),
            "promote grant": lambda t: services.grants.patch(
                t, self.grants[-1].id if self.grants else self.foreign_grant, PatchGrant(role=role)
            ),
            "take over foreign grant": lambda t: services.grants.patch(t, self.foreign_grant, PatchGrant(role=role)),
            "end foreign grant": lambda t: services.grants.delete(t, self.foreign_grant),
            "create price": lambda t: services.prices.create(t, CreatePrice(model="m", input="0")),
            "create ensemble": lambda t: services.ensembles.create(
                t, CreateEnsemble(name="e", strategy="race", members=["echo"])
            ),
            "create provider": lambda t: services.providers.create(t, {"name": "echo"}),
            "create model": lambda t: services.models.create(t, {"name": "m", "targets": []}),
        }
        async with services.auditor.transaction(me, request_id="r") as transaction:
            result = await calls[action](transaction)
        if isinstance(result, Grant):
            self.grants.append(result)
        if hasattr(result, "secret") and result.secret.startswith("sk-gw-admin-"):
            await self.take(result.secret)
            self.ids.append(result.id)


@pytest.fixture(scope="module")
def template(sqlite_template: Path) -> Path:
    return sqlite_template


def take_any(name: str, ensemble: EnsembleSettings, *, others: frozenset[str]) -> None:
    """Find no fault: only rights are in the way."""


async def run(path: Path, role: Role, sequence: list[tuple[str, Role, bool, int]]) -> None:
    database = Database(f"sqlite+aiosqlite:///{path}")
    clock = ManualClock()
    services = AdminServices.over(database, clock=clock, master_secret=MASTER, host=Host(examine=take_any))
    peppers = MasterSecrets(MASTER).peppers()
    attackers = Attackers(services, AdminKeyAuthenticator(services.key_repository, peppers=peppers, clock=clock))
    try:
        await attackers.settle(role)
        for action, wanted, is_foreign, who in sequence:
            try:
                await attackers.step(action, wanted, is_foreign=is_foreign, who=who)
            except GatewayError:
                continue
        for person in attackers.people:
            assert person.organization_id == attackers.home
            assert role.includes(person.role)
        for grant in attackers.grants:
            assert grant.organization_id == attackers.home
            assert role.includes(grant.role)
        theirs = await services.grants.find(COMMAND_LINE, attackers.foreign_grant)
        assert (theirs.role, theirs.version) == (role, 1)
        foreign = await services.admin_keys.find(COMMAND_LINE, attackers.foreign_admin)
        assert (foreign.role, foreign.version) == (role, 1)
        assert (await services.teams.find(COMMAND_LINE, attackers.foreign_team)).name == "foreign"
        home = await services.organizations.find(COMMAND_LINE, attackers.home)
        assert (home.limits, home.budget) == (Limits(concurrency=1), Budget(amount="1"))
        assert (await services.prices.page(COMMAND_LINE, limit=9, cursor=None)).items == []
        assert (await services.ensembles.page(COMMAND_LINE, limit=9, cursor=None)).items == []
        assert (await services.providers.page(COMMAND_LINE, limit=9, cursor=None)).items == []
        assert (await services.models.page(COMMAND_LINE, limit=9, cursor=None)).items == []
        everything = await services.organizations.page(COMMAND_LINE, limit=200, cursor=None)
        assert len(everything.items) == 3
    finally:
        await database.aclose()


def check(template: Path, folder: Path, role: Role, sequence: list[tuple[str, Role, bool, int]]) -> None:
    path = folder / "gateway.db"
    for old in folder.glob("gateway.db*"):
        old.unlink()
    shutil.copy(template, path)
    asyncio.run(run(path, role, sequence))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(role=st.sampled_from(list(Role)), sequence=steps)
def test_no_sequence_of_calls_reaches_further(
    template: Path, tmp_path: Path, role: Role, sequence: list[tuple[str, Role, bool, int]]
) -> None:
    check(template, tmp_path, role, sequence)


@pytest.mark.long
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(role=st.sampled_from(list(Role)), sequence=steps)
def test_no_long_sequence_of_calls_reaches_further(
    template: Path, tmp_path: Path, role: Role, sequence: list[tuple[str, Role, bool, int]]
) -> None:
    check(template, tmp_path, role, sequence)
