"""What a failing database means to a caller.

Law: only a database that cannot serve becomes `Unavailable`; a defect in our SQL stays an exception to be fixed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.kernel.errors import Unavailable

_RETRY_AFTER_S = 1
_SQLITE_CANNOT_SERVE = frozenset({5, 6, 8, 10, 13, 14, 15})
"""BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL. Source: sqlite.org/rescode.html, read 2026-11."""

_POSTGRES_CANNOT_SERVE = ("08", "53", "57", "58", "25006", "40001", "40P01", "55P03")
"""SQLSTATE prefixes: connection, resources, operator intervention (and cancelled by a timeout), system, read-only,
serialization, deadlock, lock timeout. Source: postgresql.org/docs/current/errcodes-appendix.html, read 2026-11.
"""


class DatabaseUnavailable(Unavailable):
    """The database cannot serve this now."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__(retry_after_s=_RETRY_AFTER_S)


@contextmanager
def database_faults() -> Iterator[None]:
    """Raise `DatabaseUnavailable` where the database refused, hung, vanished or ran out of room."""
    try:
        yield
    except (OSError, TimeoutError, PoolTimeout) as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if not is_outage(error):
            raise
        raise DatabaseUnavailable from error


def is_outage(error: DBAPIError) -> bool:
    """Tell whether the database could not serve, rather than that the statement was wrong."""
    if error.connection_invalidated:
        return True
    cause: BaseException | None = error.orig
    while cause is not None:
        if isinstance(cause, OSError):
            return True
        code = getattr(cause, "sqlite_errorcode", None) if isinstance(cause, sqlite3.Error) else None
        if code is not None:
            return code & 0xFF in _SQLITE_CANNOT_SERVE
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_POSTGRES_CANNOT_SERVE)
        cause = cause.__cause__
    return False
