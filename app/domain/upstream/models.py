"""What may be done with models. Law: the file's win and only the file changes them; each names what exists."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from app.db.engine import Database
from app.db.paging import Page
from app.domain.audit.objects import AuditedObjects
from app.domain.audit.principal import Principal
from app.domain.audit.schemas import ObjectKind
from app.domain.audit.transaction import AuditedTransaction
from app.domain.ensembles.repository import all_ensembles, ensembles
from app.domain.of_file import page_with_file
from app.domain.upstream import repository
from app.domain.upstream.listing import id_in_file, named, origin_of, owned
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.overlay import beside
from app.domain.upstream.providers import name_of
from app.domain.upstream.schemas import Described, PublicName, StoredModel
from app.domain.upstream.views import described_model
from app.kernel.errors import Conflict, InvalidRequest
from app.kernel.ids import uuid7
from app.settings.document import below
from app.settings.model import ModelSettings, Settings

_KIND: ObjectKind = "model"
_OF_FILE = "models of the file"
_NOTHING = ModelSettings(targets=())


class ModelService:
    """Public model names of the installation."""

    def __init__(self, database: Database, *, reader: UpstreamReader, settings: Callable[[], Settings]) -> None:
        """Keep models in the database; `settings` tells what the file says now."""
        self._database = database
        self._objects = AuditedObjects(database, repository.models, kind=_KIND)
        self._reader = reader
        self._settings = settings

    async def find(self, principal: Principal, model_id: UUID) -> Described:
        """Return one; raises `NotFound`."""
        principal.require_installation()
        name = named(_KIND, self._settings().models, model_id)
        if name is not None:
            return self._of_file(name)
        stored = await self._objects.find(principal, model_id)
        return self._described(stored, await self._providers())

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[Described]:
        """Return some: those of the API, newest first, then those of the file, by name."""
        principal.require_installation()

        async def stored(cursor: str | None) -> Page[Described]:
            page = await self._objects.page(principal, limit=limit, cursor=cursor, where={})
            providers = await self._providers()
            return Page([self._described(each, providers) for each in page.items], page.cursor)

        of_file = {name: self._of_file(name) for name in self._settings().models}
        return await page_with_file(_OF_FILE, stored, of_file, limit=limit, cursor=cursor)

    async def create(self, transaction: AuditedTransaction, fields: Mapping[str, Any]) -> Described:
        """Make one from a name and settings as the file has them."""
        transaction.principal.require_installation()
        name = name_of(fields, PublicName)
        settings = self._settings()
        if name in settings.models or name in settings.ensembles:
            raise owned(_KIND)
        if await repository.models.any_where(transaction.connection, name=name):
            raise Conflict(f"there is a model {name!r} already", code="duplicate_model", param="name")
        if await ensembles.any_where(transaction.connection, name=name):
            raise Conflict(f"there is an ensemble {name!r} already", code="duplicate_ensemble", param="name")
        spec = {key: value for key, value in fields.items() if key != "name" and value is not None}
        given = await self._checked(transaction, name, spec)
        made = StoredModel(
            id=uuid7(transaction.now_ns),
            name=name,
            spec=spec,
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        await self._objects.create(transaction, made)
        return self._shown(made, given)

    async def patch(self, transaction: AuditedTransaction, model_id: UUID, fields: Mapping[str, Any]) -> Described:
        """Change one; absent fields stay, null takes one back to its default."""
        before = await self._load(transaction, model_id)
        if "name" in fields:
            raise InvalidRequest("a model keeps its name", code="unknown_parameter", param="name")
        spec = {key: value for key, value in {**before.spec, **fields}.items() if value is not None}
        given = await self._checked(transaction, before.name, spec)
        after = await self._objects.update(transaction, before, msgspec.structs.replace(before, spec=spec))
        return self._shown(after, given)

    async def delete(self, transaction: AuditedTransaction, model_id: UUID) -> None:
        """Remove one to which no model of the API falls back, and which no ensemble of the API asks."""
        stored = await self._load(transaction, model_id)
        for other in await repository.all_models(transaction.connection):
            if other.id != stored.id and stored.name in _fallbacks(self._reader.model(other.name, other.spec)):
                raise Conflict(f"the model {other.name!r} falls back to this one", code="model_in_use")
        for ensemble in await all_ensembles(transaction.connection):
            if stored.name in ensemble.as_settings().models:
                raise Conflict(f"the ensemble {ensemble.name!r} asks this one", code="model_in_use")
        await self._objects.delete(transaction, stored)

    # -- parts --------------------------------------------------------------------------------------------------------

    async def _load(self, transaction: AuditedTransaction, model_id: UUID) -> StoredModel:
        transaction.principal.require_installation()
        if named(_KIND, self._settings().models, model_id) is not None:
            raise owned(_KIND)
        return await self._objects.load(transaction, model_id)

    async def _checked(self, transaction: AuditedTransaction, name: str, spec: Mapping[str, Any]) -> ModelSettings:
        """Return the model as the file's reader and checks see it beside all others; raises `InvalidRequest`."""
        settings = self._settings()
        stored = await repository.read_stored(transaction.connection)
        merged = beside(settings, stored, reader=self._reader)
        known = () if settings.models else self._catalogued(merged)
        return self._reader.model(name, spec, beside=merged, known=known)

    def _catalogued(self, settings: Settings) -> list[str]:
        """Return the names that are served without being written: the catalogue's, bare and with their provider."""
        names: dict[str, None] = {}
        for name, provider in settings.providers.items():
            plugin = self._reader.plugin(name, {"adapter": provider.adapter})
            for model in self._reader.registry.catalog.models("" if plugin is None else plugin.catalog or ""):
                names |= {model.id: None, f"{name}/{model.id}": None}
        return [*names]

    async def _providers(self) -> frozenset[str]:
        """Return the names of all providers."""
        async with self._database.reading() as connection:
            stored = await repository.read_stored(connection)
        return frozenset(self._settings().providers) | {each.name for each in stored.providers}

    # -- views --------------------------------------------------------------------------------------------------------

    def _of_file(self, name: str) -> Described:
        settings = self._settings()
        origin = origin_of(settings, below("models", name))
        return described_model(name, settings.models[name], object_id=id_in_file(_KIND, name), origin=origin)

    def _shown(self, stored: StoredModel, given: ModelSettings, *, problem: str | None = None) -> Described:
        settings = self._settings()
        if stored.name in settings.models or stored.name in settings.ensembles:
            problem = "the configuration file has a model of this name, which wins"
        return described_model(stored.name, given, object_id=stored.id, stored=stored, problem=problem)

    def _described(self, stored: StoredModel, providers: frozenset[str]) -> Described:
        try:
            given = self._reader.model(stored.name, stored.spec)
        except InvalidRequest as error:
            return self._shown(stored, _NOTHING, problem=error.message)
        gone = sorted({each.provider for each in given.targets} - providers)
        return self._shown(stored, given, problem=f"there is no provider {gone[0]!r}" if gone else None)


def _fallbacks(model: ModelSettings) -> set[str]:
    fallbacks = model.fallbacks
    return {*fallbacks.any, *fallbacks.context_length, *fallbacks.content_policy}
