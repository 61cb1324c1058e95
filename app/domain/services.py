"""The administrative services over one database, put together once for the admin API and for the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

from app.db.engine import Database
from app.domain.access.grants import GrantService
from app.domain.access.ownership import Ownership
from app.domain.access.people import People
from app.domain.access.sessions import SessionService
from app.domain.audit.answers import SEALED_AS, Answers
from app.domain.audit.chain import Seal
from app.domain.audit.drift import DriftReport
from app.domain.audit.schemas import ObjectKind
from app.domain.audit.transaction import Auditor, Notify
from app.domain.ensembles.service import EnsembleService, Examine
from app.domain.keys.admin_authentication import AdminKeyAuthenticator
from app.domain.keys.admin_service import AdminKeyService
from app.domain.keys.renewal import Renewals
from app.domain.keys.repository import KeyRepository
from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import MasterSecrets
from app.domain.keys.service import KeyService
from app.domain.prices.service import PriceService
from app.domain.quotas.service import QuotaService
from app.domain.quotas.use import LedgerReader, UseReader
from app.domain.remaining import Remaining
from app.domain.tenants.service import OrganizationService, TeamService
from app.domain.upstream.models import ModelService
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.providers import ProviderService
from app.domain.upstream.vault import Vault
from app.domain.usage.reports import UsageReports
from app.kernel.clock import Clock
from app.settings.model import Settings
from providers.registry import Registry
from providers.types import Secret


class Host(NamedTuple):
    """What the services ask of the process that they are in.

    `settings` returns those in force; `notify` is called after each commit with what changed; `use` tells what of
    limits and budgets is used now, without it the database does; `registry` knows the adapters; `examine` examines
    ensembles, without it none can be written.
    """

    settings: Callable[[], Settings] = Settings
    notify: Notify | None = None
    use: UseReader | None = None
    registry: Registry | None = None
    examine: Examine | None = None


NOBODY = Host()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """What administration needs. Writes take a transaction of `auditor`; reads take the principal who asks."""

    auditor: Auditor
    answers: Answers
    organizations: OrganizationService
    teams: TeamService
    keys: KeyService
    admin_keys: AdminKeyService
    key_repository: KeyRepository
    renewals: Renewals
    remaining: Remaining
    usage: UsageReports
    drift: DriftReport
    prices: PriceService
    providers: ProviderService
    models: ModelService
    upstream_reader: UpstreamReader
    ensembles: EnsembleService
    quotas: QuotaService
    authenticator: AdminKeyAuthenticator
    people: People
    grants: GrantService
    sessions: SessionService

    @classmethod
    def over(
        cls,
        database: Database,
        *,
        clock: Clock,
        master_secret: Secret,
        old_master_secret: Secret | None = None,
        host: Host = NOBODY,
    ) -> Self:
        """Return the services; what was sealed or hashed under `old_master_secret` is good too."""
        secrets = MasterSecrets(master_secret, old_master_secret)
        peppers = secrets.peppers()
        settings = host.settings
        seal = Seal(secrets.derive(purpose="audit seal 1"))
        auditor = Auditor(database, clock=clock, notify=host.notify or _tell_nobody, seal=seal)
        organizations, teams = OrganizationService(database), TeamService(database)
        keys = KeyService(database, peppers=peppers)
        reader = UpstreamReader(Vault(master_secret, old_master=old_master_secret), host.registry or Registry())
        key_repository = KeyRepository(database)
        renewals = Renewals(database, peppers=peppers)
        ownership = Ownership(settings)
        people = People(database, settings=settings)
        authenticator = AdminKeyAuthenticator(
            key_repository, peppers=peppers, clock=clock, renewals=renewals, environment_key=settings().admin_key
        )
        ledger = LedgerReader(database, clock=clock)
        return cls(
            auditor=auditor,
            drift=DriftReport(auditor),
            answers=Answers(Cipher(secrets.derive(purpose=SEALED_AS))),
            organizations=organizations,
            teams=teams,
            keys=keys,
            admin_keys=AdminKeyService(database, peppers=peppers, ownership=ownership),
            key_repository=key_repository,
            renewals=renewals,
            remaining=Remaining(database, secrets=secrets, clock=clock),
            usage=UsageReports(database, clock=clock),
            prices=PriceService(database, settings=settings),
            providers=ProviderService(database, reader=reader, settings=settings),
            models=ModelService(database, reader=reader, settings=settings),
            upstream_reader=reader,
            ensembles=EnsembleService(database, settings=settings, examine=host.examine),
            quotas=QuotaService(
                organizations=organizations,
                teams=teams,
                keys=keys,
                settings=settings,
                clock=clock,
                use=host.use or ledger,
                ledger=ledger,
            ),
            authenticator=authenticator,
            people=people,
            grants=GrantService(database, ownership=ownership),
            sessions=SessionService(
                database,
                auditor=auditor,
                authenticator=authenticator,
                people=people,
                keys=secrets.derive(purpose="sessions 1"),
                clock=clock,
            ),
        )


async def _tell_nobody(_kind: ObjectKind, _object_id: object) -> None:
    """Leave it to the change feed."""
