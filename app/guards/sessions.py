"""What a session's cookie alone does not allow. Law: browsers send cookies for whoever asks, so a cookie is no intent.

A page of ours must have asked, and for what matters most the person must have just signed in.
"""

import hmac
from typing import Any, Protocol

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.domain.access.sessions import OpenSession
from app.guards.admin import OPEN
from app.kernel.errors import Forbidden

Connection = ASGIConnection[Any, Any, Any, Any]

CSRF_HEADER = "x-csrf-token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Site(Protocol):
    def is_own(self, origin: str, *, host: str) -> bool: ...


def session_of(connection: Connection) -> OpenSession | None:
    """Return the session by which the caller was named, if it was one."""
    session = connection.scope["state"].get("session")
    return session if isinstance(session, OpenSession) else None


async def within_own_pages(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse to change anything by a session unless a page of ours asks: by its origin, its token and its form.

    What is open to everybody does nothing by the session.
    """
    session = session_of(connection)
    if session is None or handler.opt.get(OPEN, False) or connection.scope.get("method") in _SAFE:
        return
    require_own_page(connection, is_lenient=False)
    said = connection.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(said.encode(), session.csrf_token.encode()):
        raise Forbidden(f"{CSRF_HEADER} is not that of this session", code="csrf_token")
    media_type = connection.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Forbidden("a session sends application/json only: forms of other sites cannot", code="cross_site")


async def requires_recent_sign_in(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Refuse a session whose person has not proved who it is for ten minutes; keys and tokens prove it every time."""
    session = session_of(connection)
    if session is not None and not session.is_recent:
        raise Forbidden("sign in again: this needs a sign-in of the last ten minutes", code="sign_in_again")


async def changes_need_recent_sign_in(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse the same, but for reading."""
    if connection.scope.get("method") not in _SAFE:
        await requires_recent_sign_in(connection, handler)


def require_own_page(connection: Connection, *, is_lenient: bool) -> None:
    """Raise `Forbidden` for what another site's page asks; `is_lenient` allows callers that are no browsers."""
    origin, relation = connection.headers.get("origin"), connection.headers.get("sec-fetch-site")
    site: _Site = connection.scope["state"]["site"]
    is_foreign = origin is not None and not site.is_own(origin, host=connection.headers.get("host", ""))
    is_silent = origin is None and relation is None
    if is_foreign or relation not in {None, "same-origin"} or (is_silent and not is_lenient):
        raise Forbidden("another site's page may not ask for this", code="cross_site")
