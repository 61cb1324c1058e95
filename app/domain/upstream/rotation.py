"""Stored credentials under a new key-encryption key.

Law: in small audited transactions, each whole, so that it may be stopped and begun again at any time; a credential that
was sent anew in the meantime is left as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from app.domain.audit.principal import COMMAND_LINE
from app.domain.audit.transaction import AuditedTransaction, Auditor
from app.domain.upstream import repository
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.schemas import StoredProvider
from app.domain.upstream.vault import Envelope, Unreadable

_AT_ONCE = 50


class Wrapping(msgspec.Struct, frozen=True):
    """Which key-encryption key a credential is under, for the audit."""

    kid: str


@dataclass(slots=True)
class Progress:
    """How far a rotation is; `unreadable` are the providers whose credentials no secret opens."""

    done: int = 0
    total: int = 0
    unreadable: list[tuple[UUID, str]] = field(default_factory=list)


async def rotate(
    auditor: Auditor, reader: UpstreamReader, *, request_id: str, show: Callable[[Progress], None]
) -> Progress:
    """Rewrap everything that is under another key; `show` is called after each transaction."""
    progress = Progress()
    after: UUID | None = None
    is_first = True
    while True:
        async with auditor.transaction(COMMAND_LINE, request_id=request_id) as transaction:
            if is_first:
                counts = await repository.count_by_kid(transaction.connection)
                progress.total, progress.done = sum(counts.values()), counts.get(reader.vault.kid, 0)
                is_first = False
            batch = await repository.wrapped_otherwise(
                transaction.connection, kid=reader.vault.kid, after=after, limit=_AT_ONCE
            )
            for stored, envelope in batch:
                await _rewrap(transaction, stored, envelope, reader=reader, progress=progress)
        show(progress)
        if len(batch) < _AT_ONCE:
            return progress
        after = batch[-1][0].id


async def _rewrap(
    transaction: AuditedTransaction,
    stored: StoredProvider,
    envelope: Envelope,
    *,
    reader: UpstreamReader,
    progress: Progress,
) -> None:
    try:
        new = reader.vault.rewrap(envelope, binding=reader.binding(stored))
    except Unreadable:
        progress.unreadable.append((stored.id, stored.name))
        return
    if not await repository.exchange_envelope(transaction.connection, stored.id, old=envelope, new=new):
        return
    progress.done += 1
    await transaction.record(
        "rotate",
        kind="provider",
        object_id=stored.id,
        organization_id=None,
        before=Wrapping(envelope.kid),
        after=Wrapping(new.kid),
    )
