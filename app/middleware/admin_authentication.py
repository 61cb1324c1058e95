"""Names the caller of the admin plane. Law: it refuses nobody; the guards say what is wrong with a credential."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.domain.access.sessions import OpenSession
from app.domain.audit.principal import Principal
from app.kernel.errors import GatewayError, InvalidRequest, Unauthenticated
from app.kernel.ids import uuid7_text
from app.middleware.site import SESSION, Site

Authenticate = Callable[[bytes], Awaitable[Principal]]
"""Returns the principal of a bearer token, or raises what is wrong with it."""

FindSession = Callable[[str], Awaitable[OpenSession]]
"""Returns the session of a cookie's token, or raises what is wrong with it."""

_BEARER = b"bearer "
_TOKEN_MAX_BYTES = 8192


class AdminAuthentication:
    """ASGI middleware: leaves `principal`, or else `credential_fault`, and `request_id` in the scope's state.

    Whom a cookie named has a `session` there too. A credential in a header goes before a cookie.
    """

    def __init__(self, app: Any, authenticate: Authenticate, *, find_session: FindSession, site: Site) -> None:
        self._app = app
        self._authenticate = authenticate
        self._find_session = find_session
        self._site = site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Name the caller and go on."""
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            if "request_id" not in state:
                state["request_id"] = uuid7_text()
            state["site"] = self._site
            try:
                await self._name(scope["headers"], state)
            except GatewayError as fault:
                state["credential_fault"] = fault
        await self._app(scope, receive, send)

    async def _name(self, headers: list[tuple[bytes, bytes]], state: dict[str, Any]) -> None:
        """Put who calls into the state; raises what is wrong with the credential."""
        has_header = any(name in {b"authorization", b"x-api-key"} for name, _ in headers)
        cookie = None if has_header else self._site.read_cookie(SESSION, headers=headers)
        if cookie is None:
            state["principal"] = await self._authenticate(presented_token(headers))
            return
        session = await self._find_session(cookie)
        state["principal"], state["session"] = session.principal, session


def presented_token(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the credential in `Authorization: Bearer` or `x-api-key`; raises if there is none, or more than one."""
    authorizations = [value for name, value in headers if name == b"authorization"]
    tokens = [value for name, value in headers if name == b"x-api-key"] + authorizations
    if not tokens:
        raise Unauthenticated("an admin key is needed: Authorization: Bearer …", code="missing_api_key")
    if len(tokens) > 1:
        raise InvalidRequest("more than one credential was sent", code="ambiguous_credentials")
    token = tokens[0]
    if authorizations:
        if token[: len(_BEARER)].lower() != _BEARER:
            raise Unauthenticated("the Authorization scheme must be Bearer")
        token = token[len(_BEARER) :].strip()
    if not token or len(token) > _TOKEN_MAX_BYTES:
        raise Unauthenticated
    return token
