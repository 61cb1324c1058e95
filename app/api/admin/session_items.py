"""What the session's handlers take and say."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie, ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from app.api.admin.problems import MEDIA_TYPE, PROBLEMS, WRITE_PROBLEMS, Problem
from app.domain.access.sessions import LIFETIME, NewSession, OpenSession
from app.domain.audit.principal import Principal, Role
from app.domain.services import AdminServices
from app.guards.sessions import session_of
from app.middleware.site import SESSION, SIGN_IN, Site

_SECRET = Annotated[str, Meta(min_length=1, max_length=512, description="An admin key.")]
_THROTTLED = {
    429: ResponseSpec(
        Problem, description="Too many failures from this address.", media_type=MEDIA_TYPE, generate_examples=False
    )
}
SET_COOKIE = ResponseHeader(name="Set-Cookie", description="The session's token.", documentation_only=True)
SIGN_IN_PROBLEMS = WRITE_PROBLEMS | _THROTTLED
BROWSER_PROBLEMS = PROBLEMS | _THROTTLED


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What signs a browser in."""

    key: _SECRET


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. What is about the session is null for a caller who came with a key or a token."""

    kind: str
    name: str
    role: Role
    organization_id: Annotated[UUID | None, Meta(description="The scope; null is the installation.")]
    session_id: UUID | None = None
    csrf_token: Annotated[str | None, Meta(description="For the header `X-CSRF-Token` of all that changes.")] = None
    is_recent: Annotated[bool, Meta(description="Whether the sign-in is recent enough for roles and credentials.")]
    expires_at: datetime | None = None


def describe(principal: Principal, session: OpenSession | None) -> SignedIn:
    """Return who calls."""
    return SignedIn(
        kind=principal.kind,
        name=principal.name,
        role=principal.role,
        organization_id=principal.organization_id,
        session_id=None if session is None else session.session.id,
        csrf_token=None if session is None else session.csrf_token,
        is_recent=session is None or session.is_recent,
        expires_at=None if session is None else session.session.expires_at,
    )


def session_cookie(request: Request[Any, Any, Any], made: NewSession | None) -> Cookie:
    """Return the cookie of a new session, or the one that takes it away."""
    return site_of(request).make_cookie(
        SESSION,
        "" if made is None else made.token,
        host=request.headers.get("host", ""),
        same_site="strict",
        max_age_s=0 if made is None else int(LIFETIME.total_seconds()),
    )


def sign_in_cookie(request: Request[Any, Any, Any], browser: str | None, *, max_age_s: int = 0) -> Cookie:
    """Return the cookie of a sign-in under way, or the one that takes it away.

    It is lax, since the issuer's page sends the browser back.
    """
    host = request.headers.get("host", "")
    return site_of(request).make_cookie(SIGN_IN, browser or "", host=host, same_site="lax", max_age_s=max_age_s)


def site_of(request: Request[Any, Any, Any]) -> Site:
    """Return the plane as browsers see it."""
    site: Site = request.scope["state"]["site"]
    return site


def cookie_response(
    body: bytes | None, *cookies: Cookie, status: int, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Return an answer that sets cookies: JSON, unless its headers say otherwise."""
    said = {"cache-control": "no-store"} | (headers or {})
    return Response(body, status_code=status, headers=said, cookies=cookies, media_type="application/json")


async def end_former(request: Request[Any, Any, Any], services: AdminServices) -> None:
    """End the session that the browser had before it signed in again."""
    former = session_of(request)
    if former is not None:
        await services.sessions.sign_out(former, request_id=request_id_of(request))


def address_of(request: Request[Any, Any, Any]) -> str:
    """Return the address of whoever is at the other end of the connection."""
    client = request.scope.get("client")
    return client[0] if client else ""


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id of the request."""
    return str(request.scope["state"]["request_id"])
