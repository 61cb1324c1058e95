"""Who looks at a page, and whether a form is ours. Law: a page without a caller leads to the sign-in page."""

import hmac
from typing import Any
from urllib.parse import quote, urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.api.dashboard.pages import Pages, Templates
from app.domain.audit.principal import Principal
from app.guards.sessions import CSRF_HEADER, require_own_page, session_of
from app.kernel.errors import Forbidden

Connection = ASGIConnection[Any, Any, Any, Any]
SIGN_IN = "/sign-in"
_READS = frozenset({"GET", "HEAD"})
_MARK = "hx-request"
"""No form of another site can send this header: its browser would have to ask us first, and we do not answer that."""


def visitor_of(connection: Connection) -> Principal | None:
    """Return who looks, if the middleware could tell."""
    principal = connection.scope["state"].get("principal")
    return principal if isinstance(principal, Principal) else None


def csrf_token_of(connection: Connection) -> str | None:
    """Return what a page must send beside the session's cookie; nothing if the visitor has no session."""
    session = session_of(connection)
    return None if session is None else session.csrf_token


def pages_for(templates: Templates, connection: Connection) -> Pages:
    """Return what makes pages for whoever looks."""
    session = session_of(connection)
    return Pages(
        templates,
        visitor=visitor_of(connection),
        csrf_token=csrf_token_of(connection),
        is_recent=session is None or session.is_recent,
        sign_in_path=sign_in_path_of(connection),
    )


def sign_in_path_of(connection: Connection) -> str:
    """Return the path of the page that signs in, and then leads back to the page that the visitor looks at."""
    path = own_path(_page_of(connection))
    return SIGN_IN if path == "/" else f"{SIGN_IN}?next={quote(path)}"


def own_path(path: str | None) -> str:
    """Return the path to go on to: only ever one of this dashboard's."""
    is_ours = path is not None and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and path is not None else "/"


def _page_of(connection: Connection) -> str:
    """Return the path of the page; a part of one says which page asked for it."""
    if connection.headers.get(_MARK) != "true":
        return connection.url.path
    try:
        return urlsplit(connection.headers.get("hx-current-url", "")).path
    except ValueError:
        return "/"


async def requires_own_page(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Refuse writes that no page of ours sent: a browser adds a visitor's session to whatever a site makes it send."""
    if connection.scope.get("method") in _READS:
        return
    require_own_page(connection, is_lenient=False)
    if connection.headers.get(_MARK) != "true":
        raise Forbidden("this was not sent by a page of this dashboard", code="cross_site")
    wanted = csrf_token_of(connection)
    said = connection.headers.get(CSRF_HEADER, "")
    if wanted is not None and not hmac.compare_digest(said.encode(), wanted.encode()):
        raise Forbidden("this page is of another session: load it again", code="csrf_token")
