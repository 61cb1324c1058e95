"""What may be done with providers. Law: the file's win and only the file changes them; a credential is never read out.

A provider of the installation may be dedicated to one organisation, but belongs to none: only roles on the installation
see and make providers.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.db.engine import Connection, Database
from app.db.paging import Page
from app.domain.audit.objects import AuditedObjects
from app.domain.audit.principal import Principal
from app.domain.audit.schemas import ObjectKind
from app.domain.audit.transaction import AuditedTransaction
from app.domain.of_file import page_with_file
from app.domain.upstream import repository
from app.domain.upstream.listing import id_in_file, named, origin_of, owned
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.places import Allowed, allowed_place
from app.domain.upstream.schemas import CredentialMark, Described, ProviderName, Reach, StoredProvider
from app.domain.upstream.vault import Envelope, Unreadable
from app.domain.upstream.views import described_provider
from app.kernel.errors import Conflict, InvalidRequest
from app.kernel.ids import uuid7
from app.settings.document import below
from app.settings.model import ProviderSettings, Settings

_KIND: ObjectKind = "provider"
_OF_FILE = "providers of the file"
_KEYS = ("api_key", "api_keys")


class Opened(NamedTuple):
    """A provider ready to be called: its name, its settings with its secrets, where it may be (of the file: None)."""

    name: str
    settings: ProviderSettings
    reach: Reach | None


class ProviderService:
    """Providers of the installation."""

    def __init__(self, database: Database, *, reader: UpstreamReader, settings: Callable[[], Settings]) -> None:
        """Keep providers in the database; `settings` tells what the file says now."""
        self._database = database
        self._objects = AuditedObjects(database, repository.providers, kind=_KIND)
        self._reader = reader
        self._settings = settings

    async def find(self, principal: Principal, provider_id: UUID) -> Described:
        """Return one; raises `NotFound`."""
        principal.require_installation()
        name = named(_KIND, self._settings().providers, provider_id)
        if name is not None:
            return self._of_file(name)
        stored = await self._objects.find(principal, provider_id)
        async with self._database.reading() as connection:
            return await self._described(connection, stored)

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[Described]:
        """Return some: those of the API, newest first, then those of the file, by name."""
        principal.require_installation()

        async def stored(cursor: str | None) -> Page[Described]:
            page = await self._objects.page(principal, limit=limit, cursor=cursor, where={})
            async with self._database.reading() as connection:
                return Page([await self._described(connection, each) for each in page.items], page.cursor)

        of_file = {name: self._of_file(name) for name in self._settings().providers}
        return await page_with_file(_OF_FILE, stored, of_file, limit=limit, cursor=cursor)

    async def open(self, principal: Principal, provider_id: UUID) -> Opened:
        """Return one with its secrets, to be called and never shown. Raises `NotFound`, and `Conflict` if it cannot."""
        principal.require_installation()
        name = named(_KIND, self._settings().providers, provider_id)
        if name is not None:
            return Opened(name, self._settings().providers[name], None)
        stored = await self._objects.find(principal, provider_id)
        async with self._database.reading() as connection:
            envelope = await repository.find_envelope(connection, stored.id)
        try:
            return Opened(stored.name, self._reader.opened(stored, envelope), stored.reach)
        except Unreadable:
            raise Conflict(_UNREADABLE, code="credential_unreadable") from None

    async def create(self, transaction: AuditedTransaction, fields: Mapping[str, Any]) -> Described:
        """Make one from a name and settings as the file has them."""
        transaction.principal.require_installation()
        name = name_of(fields, ProviderName)
        if name in self._settings().providers:
            raise owned(_KIND)
        if await repository.providers.any_where(transaction.connection, name=name):
            raise Conflict(f"there is a provider {name!r} already", code="duplicate_provider", param="name")
        document = {key: value for key, value in fields.items() if key != "name" and value is not None}
        place = self._place(transaction, name, document)
        if place is not None and "base_url" in document:
            document["base_url"] = place.url
        given = self._reader.provider(name, document)
        spec, secrets = self._reader.split(name, document)
        made = StoredProvider(
            id=uuid7(transaction.now_ns),
            name=name,
            spec=spec,
            reach="public" if place is None else place.reach,
            credentials=_dated(self._reader.marks(given), transaction, []),
            credential_version=1,
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        await self._objects.create(transaction, made)
        await self._seal(transaction, made, secrets)
        return self._shown(made, given)

    async def patch(self, transaction: AuditedTransaction, provider_id: UUID, fields: Mapping[str, Any]) -> Described:
        """Change one; absent fields stay, null removes. Calls that have begun end as they began."""
        before = await self._load(transaction, provider_id)
        envelope = await repository.find_envelope(transaction.connection, before.id)
        document = self._patched(before, envelope, fields)
        place = None
        if "base_url" in fields or "adapter" in fields:
            place = self._place(transaction, before.name, document)
            if place is not None and "base_url" in document:
                document["base_url"] = place.url
        given = self._reader.provider(before.name, document)
        spec, secrets = self._reader.split(before.name, document)
        after = msgspec.structs.replace(
            before,
            spec=spec,
            reach=before.reach if place is None else place.reach,
            credentials=_dated(self._reader.marks(given), transaction, before.credentials),
        )
        self._require_credentials(before, after, fields)
        if self._needs_sealing(before, after, fields):
            after = msgspec.structs.replace(after, credential_version=before.credential_version + 1)
        after = await self._objects.update(transaction, before, after)
        if after.credential_version != before.credential_version:
            await self._seal(transaction, after, secrets)
        return self._shown(after, given)

    async def delete(self, transaction: AuditedTransaction, provider_id: UUID) -> None:
        """Remove one that no model of the API names."""
        stored = await self._load(transaction, provider_id)
        for model in await repository.all_models(transaction.connection):
            if any(target["provider"] == stored.name for target in model.spec["targets"]):
                raise Conflict(f"the model {model.name!r} has a target at this provider", code="provider_in_use")
        await repository.put_envelope(transaction.connection, stored.id, None)
        await self._objects.delete(transaction, stored)

    # -- parts --------------------------------------------------------------------------------------------------------

    async def _load(self, transaction: AuditedTransaction, provider_id: UUID) -> StoredProvider:
        transaction.principal.require_installation()
        if named(_KIND, self._settings().providers, provider_id) is not None:
            raise owned(_KIND)
        return await self._objects.load(transaction, provider_id)

    def _place(self, transaction: AuditedTransaction, name: str, document: Mapping[str, Any]) -> Allowed | None:
        """Return where the provider may be: by its base URL, else by its adapter's; none if neither is one."""
        url = document.get("base_url")
        if url is None:
            plugin = self._reader.plugin(name, document)
            url = None if plugin is None else plugin.base_url
        if not isinstance(url, str) or not url:
            return None
        cidrs = self._settings().network.allowed_private_cidrs
        return allowed_place(url, principal=transaction.principal, cidrs=cidrs)

    def _patched(self, before: StoredProvider, envelope: Envelope | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole document after a patch, its secrets in it; raises `InvalidRequest` if they are needed."""
        try:
            document = self._reader.document(before, envelope)
        except Unreadable:
            document = dict(before.spec)
            lost = self._reader.secret_names(before.name, before.spec) & document.keys()
            missing = sorted(name for name in lost if not _is_given(name, fields))
            if missing:
                raise InvalidRequest(
                    f"{_UNREADABLE}: send it anew", code="credential_required", param=missing[0]
                ) from None
        if any(fields.get(key) is not None for key in _KEYS):
            document = {key: value for key, value in document.items() if key not in _KEYS}
        return {key: value for key, value in {**document, **fields}.items() if value is not None}

    def _require_credentials(self, before: StoredProvider, after: StoredProvider, fields: Mapping[str, Any]) -> None:
        """Raise `InvalidRequest` where a credential would go elsewhere than whoever sent it has meant."""
        has_moved = before.spec.get("base_url") != after.spec.get("base_url")
        bound = self._reader.binding(before).audience, self._reader.binding(after).audience
        if not has_moved and bound[0] == bound[1]:
            return
        held = self._reader.secret_names(before.name, before.spec) & before.spec.keys()
        missing = sorted(name for name in held if not _is_given(name, fields))
        if missing:
            raise InvalidRequest(
                f"what the provider's credential is sent to changes: send `{missing[0]}` anew with it",
                code="credential_required",
                param=missing[0],
            )

    def _needs_sealing(self, before: StoredProvider, after: StoredProvider, fields: Mapping[str, Any]) -> bool:
        names = self._reader.secret_names(before.name, before.spec) | self._reader.secret_names(after.name, after.spec)
        return bool(names & fields.keys()) or self._reader.binding(before) != self._reader.binding(after)

    async def _seal(self, transaction: AuditedTransaction, stored: StoredProvider, secrets: dict[str, Any]) -> None:
        envelope = self._reader.vault.seal(secrets, binding=self._reader.binding(stored)) if secrets else None
        await repository.put_envelope(transaction.connection, stored.id, envelope)

    # -- views --------------------------------------------------------------------------------------------------------

    def _of_file(self, name: str) -> Described:
        settings = self._settings()
        given = settings.providers[name]
        return described_provider(
            name,
            given,
            object_id=id_in_file(_KIND, name),
            origin=origin_of(settings, below("providers", name)),
            marks=self._reader.marks(given),
        )

    def _shown(self, stored: StoredProvider, given: ProviderSettings, *, problem: str | None = None) -> Described:
        if stored.name in self._settings().providers:
            problem = "the configuration file has a provider of this name, which wins"
        return described_provider(
            stored.name, given, object_id=stored.id, stored=stored, marks=stored.credentials, problem=problem
        )

    async def _described(self, connection: Connection, stored: StoredProvider) -> Described:
        try:
            given = self._reader.masked(stored)
        except InvalidRequest as error:
            return self._shown(stored, ProviderSettings(adapter=stored.spec.get("adapter", "")), problem=error.message)
        try:
            self._reader.document(stored, await repository.find_envelope(connection, stored.id))
        except Unreadable:
            return self._shown(stored, given, problem=_UNREADABLE)
        return self._shown(stored, given)


_UNREADABLE = "the credential does not open: the master secret is another than the one it was sealed under"


def name_of(fields: Mapping[str, Any], kind: Any) -> str:
    """Return the name of a new object; raises `InvalidRequest`."""
    if "name" not in fields:
        raise InvalidRequest("Object missing required field `name`", param="name")
    try:
        name: str = msgspec.convert(fields["name"], kind)
    except msgspec.ValidationError:
        raise InvalidRequest("name is not one that it may have", param="name") from None
    if not name.isprintable():
        # It is looked for in the database before the reader of the file sees it, and PostgreSQL takes no NUL in a text.
        raise InvalidRequest("name holds a character that cannot be seen", param="name")
    return name


def _is_given(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether a patch says what becomes of a secret; of the two ways to write credentials either will do."""
    return name in fields or (name in _KEYS and any(key in fields for key in _KEYS))


def _dated(
    marks: list[CredentialMark], transaction: AuditedTransaction, before: list[CredentialMark]
) -> list[CredentialMark]:
    """Return the marks with the time of each: that of before for a credential that was there, else now."""
    known = {mark.fingerprint: mark.created_at for mark in before}
    now = transaction.now
    return [msgspec.structs.replace(mark, created_at=known.get(mark.fingerprint, now)) for mark in marks]
