"""The rows of kept responses and issued references."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, literal, select

from app.db.engine import Connection
from app.db.upsert import insert_ignore
from app.domain.responses.schemas import Issued
from app.domain.responses.tables import issued_references, kept_responses

_kept, _issued = kept_responses.c, issued_references.c
MAX_CHAIN = 500
"""How many responses a conversation may consist of."""
_SWEPT_ROWS = 1_000


class KeptRow(NamedTuple):
    """A kept response as it is stored: sealed."""

    id: str
    previous_id: str | None
    kid: str
    payload: bytes


class Link(NamedTuple):
    """A kept response as one link of a conversation."""

    id: str
    previous_id: str | None
    size_bytes: int


async def find_issued(
    connection: Connection, *, organization_id: UUID, ids: Collection[str], now: datetime
) -> dict[str, Issued]:
    """Return those of the ids that were issued to the organisation and have not expired."""
    statement = select(_issued.id, _issued.provider, _issued.response_id).where(
        _issued.organization_id == organization_id, _issued.id.in_(list(ids)), _issued.expires_at > now
    )
    rows = (await connection.execute(statement)).all()
    return {row.id: Issued(id=row.id, provider=row.provider, response_id=row.response_id) for row in rows}


async def insert_issued(
    connection: Connection, issued: Sequence[Issued], *, organization_id: UUID, now: datetime, expires_at: datetime
) -> None:
    """Remember ids; one that is known already stays as it is."""
    common = {"organization_id": organization_id, "created_at": now, "expires_at": expires_at}
    rows = [{"id": one.id, "provider": one.provider, "response_id": one.response_id, **common} for one in issued]
    if rows:
        await connection.execute(insert_ignore(connection, issued_references), rows)


async def insert_kept(
    connection: Connection, row: KeptRow, *, organization_id: UUID, now: datetime, expires_at: datetime
) -> None:
    """Keep a response; one that is kept already stays as it is."""
    values: dict[str, Any] = {"organization_id": organization_id, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert_ignore(connection, kept_responses).values(**row._asdict(), **values))


async def find_kept(
    connection: Connection, response_id: str, *, organization_id: UUID, now: datetime
) -> KeptRow | None:
    """Return a kept response."""
    return next(iter(await find_all_kept(connection, [response_id], organization_id=organization_id, now=now)), None)


async def find_all_kept(
    connection: Connection, ids: Sequence[str], *, organization_id: UUID, now: datetime
) -> list[KeptRow]:
    """Return those of the responses that are kept, in any order."""
    columns = (_kept.id, _kept.previous_id, _kept.kid, _kept.payload)
    within = (_kept.organization_id == organization_id, _kept.expires_at > now)
    rows = (await connection.execute(select(*columns).where(_kept.id.in_(list(ids)), *within))).all()
    return [KeptRow(row.id, row.previous_id, row.kid, row.payload) for row in rows]


async def find_chain(connection: Connection, response_id: str, *, organization_id: UUID, now: datetime) -> list[Link]:
    """Return a response and all that it went on from, the first one first; empty if it is not kept."""
    within = (_kept.organization_id == organization_id, _kept.expires_at > now)
    columns = (_kept.id, _kept.previous_id, func.length(_kept.payload).label("size_bytes"))
    chain = select(*columns, literal(0).label("depth")).where(_kept.id == response_id, *within).cte(recursive=True)
    older = select(*columns, chain.c.depth + 1).join(chain, _kept.id == chain.c.previous_id)
    chain = chain.union_all(older.where(*within, chain.c.depth < MAX_CHAIN))
    rows = (await connection.execute(select(chain).order_by(chain.c.depth.desc()))).all()
    return [Link(row.id, row.previous_id, row.size_bytes) for row in rows]


async def delete_of_organization(connection: Connection, organization_id: UUID) -> None:
    """Forget all that an organisation may refer to."""
    for table in (kept_responses, issued_references):
        await connection.execute(delete(table).where(table.c.organization_id == organization_id))


async def delete_response(connection: Connection, response_id: str, *, organization_id: UUID) -> None:
    """Forget a response, and the ids that belong to it."""
    await connection.execute(
        delete(kept_responses).where(_kept.organization_id == organization_id, _kept.id == response_id)
    )
    await connection.execute(
        delete(issued_references).where(
            _issued.organization_id == organization_id,
            (_issued.id == response_id) | (_issued.response_id == response_id),
        )
    )


async def delete_expired(connection: Connection, *, now: datetime) -> int:
    """Forget a batch of what has expired; returns how many rows went."""
    gone = 0
    for table in (kept_responses, issued_references):
        old = select(table.c.organization_id, table.c.id).where(table.c.expires_at <= now).limit(_SWEPT_ROWS)
        keys = [(row.organization_id, row.id) for row in (await connection.execute(old)).all()]
        for organization_id, row_id in keys:
            await connection.execute(
                delete(table).where(table.c.organization_id == organization_id, table.c.id == row_id)
            )
        gone += len(keys)
    return gone


async def delete_surplus(connection: Connection, *, organization_id: UUID, keep: int) -> int:
    """Forget the oldest responses of an organisation that has more than `keep`; returns how many went."""
    newest = select(_kept.id).where(_kept.organization_id == organization_id).order_by(_kept.created_at.desc())
    surplus = list((await connection.execute(newest.offset(keep).limit(_SWEPT_ROWS))).scalars())
    for response_id in surplus:
        await delete_response(connection, response_id, organization_id=organization_id)
    return len(surplus)


async def organizations_over(connection: Connection, *, keep: int) -> list[UUID]:
    """Return the organisations that have more than `keep` responses."""
    counted = select(_kept.organization_id).group_by(_kept.organization_id).having(func.count() > keep)
    return list((await connection.execute(counted)).scalars())
