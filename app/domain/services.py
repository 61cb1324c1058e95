"""The administrative services over one database, put together once for the admin API and for the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from app.db.engine import Database
from app.domain.audit.answers import Answers
from app.domain.audit.drift import DriftReport
from app.domain.audit.schemas import ObjectKind
from app.domain.audit.transaction import Auditor, Notify
from app.domain.ensembles.service import EnsembleService, Examine
from app.domain.keys.admin_service import AdminKeyService
from app.domain.keys.repository import KeyRepository
from app.domain.keys.secrets import derive, derive_pepper
from app.domain.keys.service import KeyService
from app.domain.prices.service import PriceService
from app.domain.quotas.service import QuotaService
from app.domain.quotas.use import LedgerReader, UseReader
from app.domain.tenants.service import OrganizationService, TeamService
from app.domain.usage.reports import UsageReports
from app.kernel.clock import Clock
from app.settings.model import Settings
from providers.types import Secret


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
    usage: UsageReports
    drift: DriftReport
    prices: PriceService
    ensembles: EnsembleService
    quotas: QuotaService

    @classmethod
    def over(
        cls,
        database: Database,
        *,
        clock: Clock,
        master_secret: Secret,
        notify: Notify | None = None,
        settings: Callable[[], Settings] | None = None,
        use: UseReader | None = None,
        examine: Examine | None = None,
    ) -> Self:
        """Return the services.

        `notify` is called after each commit with what changed; `settings` returns those in force; `use` tells what of
        limits and budgets is used now, without it the database does; `examine` examines ensembles, without it none can
        be written.
        """
        pepper = derive_pepper(master_secret)
        settings = settings or Settings
        auditor = Auditor(database, clock=clock, notify=notify or _tell_nobody)
        organizations, teams = OrganizationService(database), TeamService(database)
        keys = KeyService(database, pepper=pepper)
        ledger = LedgerReader(database, clock=clock)
        return cls(
            auditor=auditor,
            drift=DriftReport(auditor),
            answers=Answers(derive(master_secret, purpose="kept answers 1")),
            organizations=organizations,
            teams=teams,
            keys=keys,
            admin_keys=AdminKeyService(database, pepper=pepper),
            key_repository=KeyRepository(database),
            usage=UsageReports(database, clock=clock),
            prices=PriceService(database, settings=settings),
            ensembles=EnsembleService(database, settings=settings, examine=examine),
            quotas=QuotaService(
                organizations=organizations,
                teams=teams,
                keys=keys,
                settings=settings,
                clock=clock,
                use=use or ledger,
                ledger=ledger,
            ),
        )


async def _tell_nobody(_kind: ObjectKind, _object_id: object) -> None:
    """Leave it to the change feed."""
