"""Names the caller of the admin plane. Law: it refuses nobody; the guards say what is wrong with a credential."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.domain.audit.principal import Principal
from app.kernel.errors import GatewayError, InvalidRequest, Unauthenticated
from app.kernel.ids import uuid7_text

Authenticate = Callable[[bytes], Awaitable[Principal]]
"""Returns the principal of a bearer token, or raises what is wrong with it."""

_BEARER = b"bearer "
_TOKEN_MAX_BYTES = 8192


class AdminAuthentication:
    """ASGI middleware: leaves `principal`, or else `credential_fault`, and `request_id` in the scope's state."""

    def __init__(self, app: Any, authenticate: Authenticate) -> None:
        self._app = app
        self._authenticate = authenticate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Name the caller and go on."""
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            if "request_id" not in state:
                state["request_id"] = uuid7_text()
            try:
                state["principal"] = await self._authenticate(presented_token(scope["headers"]))
            except GatewayError as fault:
                state["credential_fault"] = fault
        await self._app(scope, receive, send)


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
