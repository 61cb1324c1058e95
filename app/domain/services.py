"""The administrative services over one database, put together once for the admin API and for the command line."""

from dataclasses import dataclass
from typing import Self

from app.db.engine import Database
from app.domain.audit.answers import Answers
from app.domain.audit.schemas import ObjectKind
from app.domain.audit.transaction import Auditor, Notify
from app.domain.keys.admin_service import AdminKeyService
from app.domain.keys.repository import KeyRepository
from app.domain.keys.secrets import derive, derive_pepper
from app.domain.keys.service import KeyService
from app.domain.tenants.service import OrganizationService, TeamService
from app.domain.usage.reports import UsageReports
from app.kernel.clock import Clock
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

    @classmethod
    def over(cls, database: Database, *, clock: Clock, master_secret: Secret, notify: Notify | None = None) -> Self:
        """Return the services; `notify` is called after each commit with what changed."""
        pepper = derive_pepper(master_secret)
        return cls(
            auditor=Auditor(database, clock=clock, notify=notify or _tell_nobody),
            answers=Answers(derive(master_secret, purpose="kept answers 1")),
            organizations=OrganizationService(database),
            teams=TeamService(database),
            keys=KeyService(database, pepper=pepper),
            admin_keys=AdminKeyService(database, pepper=pepper),
            key_repository=KeyRepository(database),
            usage=UsageReports(database, clock=clock),
        )


async def _tell_nobody(_kind: ObjectKind, _object_id: object) -> None:
    """Leave it to the change feed."""
