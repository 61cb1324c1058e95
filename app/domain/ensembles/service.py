"""What may be done with ensembles. Law: the file's win, and only the file changes them; none is kept unexamined."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from uuid import UUID, uuid5

import msgspec

from app.db.engine import Database
from app.db.paging import Page
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.ensembles import repository
from app.domain.ensembles.schemas import CreateEnsemble, Ensemble, PatchEnsemble, StoredEnsemble, of_file
from app.domain.of_file import page_with_file
from app.kernel.errors import Conflict, InternalError, InvalidRequest
from app.kernel.ids import uuid7
from app.kernel.money import format_usd
from app.settings.model import Settings
from app.settings.policy import EnsembleSettings

_IDS_OF_FILE = UUID("1f7d2a86-94c1-5f0e-8a3b-6f0c5d6e7b21")
_FILE = "ensembles of the file"


class Examine(Protocol):
    """Examines an ensemble as the file's are examined."""

    def __call__(self, name: str, ensemble: EnsembleSettings, *, others: frozenset[str]) -> None:
        """Raise `InvalidRequest` naming the field at fault, or `Conflict` if a model has the name.

        `others` are the names of further ensembles, which no ensemble may ask.
        """
        ...

    def problem_of(self, ensemble: EnsembleSettings) -> str | None:
        """Return why an ensemble is not served, if it is not."""
        ...


class EnsembleService:
    """Models that answer together. Everybody may read them; those of the installation make them."""

    def __init__(self, database: Database, *, settings: Callable[[], Settings], examine: Examine | None) -> None:
        """Keep ensembles in the database; `settings` tells what the file says now.

        Without `examine` none can be written.
        """
        self._objects = AuditedObjects(database, repository.ensembles, kind="ensemble")
        self._settings = settings
        self._examine = examine

    async def find(self, principal: Principal, ensemble_id: UUID) -> Ensemble:
        """Return one; raises `NotFound`."""
        owned = next((each for each in self._of_file().values() if each.id == ensemble_id), None)
        return owned or self._shown(await self._objects.find(principal, ensemble_id))

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[Ensemble]:
        """Return some: those of the API, newest first, then those of the file, by name."""

        async def stored(at: str | None) -> Page[Ensemble]:
            page = await self._objects.page(principal, limit=limit, cursor=at, where={})
            return Page([self._shown(each) for each in page.items], page.cursor)

        return await page_with_file(_FILE, stored, self._of_file(), limit=limit, cursor=cursor)

    async def create(self, transaction: AuditedTransaction, spec: CreateEnsemble) -> Ensemble:
        """Make one; raises `Conflict` if its name is taken."""
        transaction.principal.require_installation()
        made = StoredEnsemble(
            **msgspec.structs.asdict(spec),
            id=uuid7(transaction.now_ns),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        made = await self._checked(transaction, made)
        return self._shown(await self._objects.create(transaction, made))

    async def patch(self, transaction: AuditedTransaction, ensemble_id: UUID, patch: PatchEnsemble) -> Ensemble:
        """Change one; requests that have begun end as they began."""
        before = await self._load(transaction, ensemble_id)
        after = await self._checked(transaction, patched(before, patch))
        return self._shown(await self._objects.update(transaction, before, after))

    async def delete(self, transaction: AuditedTransaction, ensemble_id: UUID) -> None:
        """Remove one; its name is then that of no model."""
        await self._objects.delete(transaction, await self._load(transaction, ensemble_id))

    async def _load(self, transaction: AuditedTransaction, ensemble_id: UUID) -> StoredEnsemble:
        transaction.principal.require_installation()
        if any(each.id == ensemble_id for each in self._of_file().values()):
            raise _owned()
        return await self._objects.load(transaction, ensemble_id)

    async def _checked(self, transaction: AuditedTransaction, ensemble: StoredEnsemble) -> StoredEnsemble:
        """Return the ensemble with its amount in one form; raises what stands against it."""
        if self._examine is None:
            raise InternalError("nothing examines ensembles here")
        try:
            settings = ensemble.as_settings()
        except ValueError as error:
            raise InvalidRequest(str(error), param="max_cost") from None
        if any("\0" in text for text in _texts(ensemble.check)):
            raise InvalidRequest("a check holds no NUL character", param="check")
        if ensemble.name in self._settings().ensembles:
            raise _owned()
        others = await repository.names_of_others(transaction.connection, ensemble)
        if ensemble.name in others:
            raise Conflict("there is an ensemble of this name already", code="duplicate_ensemble")
        self._examine(ensemble.name, settings, others=frozenset(others))
        if settings.max_cost_nusd is None:
            return ensemble
        return msgspec.structs.replace(ensemble, max_cost=format_usd(settings.max_cost_nusd))

    def _of_file(self) -> Mapping[str, Ensemble]:
        found = self._settings().ensembles.items()
        return {
            name: of_file(uuid5(_IDS_OF_FILE, name), name, ensemble, problem=self._problem_of(ensemble))
            for name, ensemble in found
        }

    def _shown(self, stored: StoredEnsemble) -> Ensemble:
        settings, problem = self._settings(), None
        for kind, names in (("a model", settings.models), ("an ensemble", settings.ensembles)):
            if stored.name in names:
                problem = f"the configuration file has {kind} of this name, which wins"
        problem = problem or self._problem_of(stored.as_settings())
        return Ensemble(**msgspec.structs.asdict(stored), problem=problem)

    def _problem_of(self, ensemble: EnsembleSettings) -> str | None:
        return None if self._examine is None else self._examine.problem_of(ensemble)


def _texts(value: Any) -> Iterator[str]:
    """Iterate over all texts in a JSON value; PostgreSQL keeps every one but those with a NUL."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _owned() -> Conflict:
    return Conflict("the configuration file owns this ensemble: change it there", code="config_owned")
