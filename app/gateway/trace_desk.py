"""What became of recent requests, for those who may see them. Law: outside of the caller's scope nothing is there."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from app.db.paging import decode_cursor, encode_cursor
from app.domain.audit.principal import Principal, Role
from app.domain.usage.periods import read_moment
from app.gateway.bodies import BodySealer, open_body_sealer
from app.gateway.retelling import retold
from app.kernel.errors import InvalidRequest, NotFound, Unavailable
from app.pipeline.explained_bodies import ExplainedBodies
from app.pipeline.explanation import Explanation
from app.settings.model import Settings
from app.stores.errors import StoreUnavailable
from app.stores.traces import KeptTrace, TraceQuery, TraceStore, is_id

_LISTING = "requests"
_MS_PER_S = 1_000


class TraceFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are asked for; `since` and `until` as they were written, None where nothing was."""

    since: str | None = None
    until: str | None = None
    organization_id: UUID | None = None
    team_id: UUID | None = None
    key_id: UUID | None = None
    model: str | None = None
    provider: str | None = None
    status: int | None = None
    error_code: str | None = None
    cache: str | None = None
    min_duration_ms: int = 0

    def query(self, scope: UUID | None) -> TraceQuery | None:
        """Return what is looked for within an organisation, or everywhere; nothing where none can be meant."""
        if scope is not None and self.organization_id not in (None, scope):
            return None
        since_ms, until_ms = _ms_of(self.since, name="from"), _ms_of(self.until, name="to")
        if since_ms is not None and until_ms is not None and since_ms > until_ms:
            raise InvalidRequest("`from` is after `to`", param="from")
        organization_id = scope or self.organization_id
        return TraceQuery(
            organization_id=None if organization_id is None else str(organization_id),
            team_id=None if self.team_id is None else str(self.team_id),
            key_id=None if self.key_id is None else str(self.key_id),
            model=self.model,
            provider=self.provider,
            status=self.status,
            error_code=self.error_code,
            cache=self.cache,
            min_duration_ms=self.min_duration_ms,
            since_ms=since_ms,
            until_ms=until_ms,
        )


class TracePage(msgspec.Struct, frozen=True):
    """Some requests, and the cursor of those that follow."""

    items: list[Explanation]
    cursor: str | None


class TraceDesk:
    """Reads traces, and bodies beside them. One for each process; `settings` returns those in force."""

    def __init__(self, store: TraceStore, *, settings: Callable[[], Settings], sealer: BodySealer) -> None:
        self._store = store
        self._settings = settings
        self._sealer = sealer

    async def page(
        self, principal: Principal, filters: TraceFilters, *, limit: int, cursor: str | None = None
    ) -> TracePage:
        """Return one page of the requests that an administrator may see, newest first."""
        before = None if cursor is None else decode_cursor(_LISTING, cursor, str)
        query = filters.query(principal.organization_id)
        if query is None:
            return TracePage([], None)
        try:
            found = await self._store.recent(query, before=before, limit=limit + 1)
        except StoreUnavailable as error:
            raise _away() from error
        items = [retold(each) for each in found[:limit]]
        return TracePage(items, encode_cursor(_LISTING, found[limit - 1].id) if len(found) > limit else None)

    async def read(self, principal: Principal, request_id: UUID) -> Explanation:
        """Return what became of one request; raises `NotFound` for those of others, and those that are not kept."""
        return await self._read(
            str(request_id), lambda found: principal.organization_id in (None, _uuid(found.mark.organization_id))
        )

    async def bodies(self, principal: Principal, told: Explanation) -> ExplainedBodies | None:
        """Return what was said in a request that `principal` was told of; nothing to viewers, or if it is not kept."""
        key, may_read = told.key, principal.role.includes(Role.ADMIN) and self._settings().privacy.store_bodies
        if not may_read or told.id is None or key is None:
            return None
        try:
            sealed = await self._store.bodies(told.id)
        except StoreUnavailable as error:
            raise _away() from error
        if sealed is None:
            return None
        return self._sealer.open(sealed, request_id=told.id, organization_id=key.organization_id)

    async def read_own(self, key_id: UUID, request_id: str) -> Explanation:
        """Return what became of a key's own request; raises `NotFound` for those of other keys."""
        return await self._read(request_id, lambda found: found.mark.key_id == str(key_id))

    async def _read(self, request_id: str, may_see: Callable[[KeptTrace], bool]) -> Explanation:
        try:
            found = await self._store.find(request_id) if is_id(request_id) else None
        except StoreUnavailable as error:
            raise _away() from error
        if found is not None and may_see(found):
            return retold(found)
        settings = self._settings().request_traces
        kept = f"they are kept for {settings.ttl_s} s" if settings.enabled else "`request_traces` is off"
        raise NotFound(f"there is no such request, or nothing of it is kept: {kept}", param="request_id")


def _ms_of(text: str | None, *, name: str) -> int | None:
    return None if text is None else int(read_moment(text, name=name).timestamp() * _MS_PER_S)


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None


def _away() -> Unavailable:
    return Unavailable("the store of traces does not answer", code="store_unavailable", retry_after_s=1)


def open_trace_desk(core: Any) -> TraceDesk:
    """Return the desk of a process."""
    return TraceDesk(core.stores.traces, settings=lambda: core.settings, sealer=open_body_sealer(core.settings))
