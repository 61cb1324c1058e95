"""`/session`: a browser signs in and out, and is told who it is; `/sessions`: owners see and end them.

Law: a sign-in always makes a new token, and ends the session that the browser had.
"""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import SessionPage
from app.api.admin.parameters import Caller, Cursor, Door, Limit, Services, Writer
from app.api.admin.problems import PROBLEMS, WRITE_PROBLEMS
from app.api.admin.session_items import (
    SET_COOKIE,
    SIGN_IN_PROBLEMS,
    SignedIn,
    SignIn,
    address_of,
    cookie_response,
    describe,
    end_former,
    request_id_of,
    session_cookie,
)
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.guards.admin import OPEN, requires_role
from app.guards.sessions import require_own_page, session_of
from app.kernel.errors import Conflict, GatewayError, Unavailable


class SessionController(Controller):
    """Sign-in, sign-out, and who one is."""

    path = "/session"
    tags = ("Sessions",)
    return_dto = None

    @post(
        dto=JsonBody[SignIn],
        summary="Sign in with an admin key",
        responses=SIGN_IN_PROBLEMS,
        response_headers=[SET_COOKIE],
        opt={OPEN: True},
        security=[{}],
    )
    async def sign_in(
        self, request: Request[Any, Any, Any], services: Services, door: Door, data: JSONBody[SignIn]
    ) -> Response[SignedIn]:
        """Answer a cookie that stands for the key until it is signed out, at most 12 hours."""
        require_own_page(request, is_lenient=True)
        address = address_of(request)
        door.attempts.admit(address)
        try:
            made = await services.sessions.sign_in_by_key(data.key.encode(), request_id=request_id_of(request))
        except Unavailable:
            raise
        except GatewayError:
            door.attempts.count(address)
            raise
        await end_former(request, services)
        opened = made.opened
        body = msgspec.json.encode(describe(opened.principal, opened))
        return cookie_response(body, session_cookie(request, made), status=201)

    @get(summary="Read who calls", responses=PROBLEMS, guards=[requires_role(Role.VIEWER)])
    async def read_session(self, request: Request[Any, Any, Any], principal: Caller) -> Response[SignedIn]:
        """Say who calls, by which role and scope, and what a page of ours must send beside the cookie."""
        return read_response(describe(principal, session_of(request)))

    @delete(
        summary="Sign out",
        responses=WRITE_PROBLEMS,
        response_headers=[SET_COOKIE],
        status_code=204,
        guards=[requires_role(Role.VIEWER)],
    )
    async def sign_out(self, request: Request[Any, Any, Any], services: Services, principal: Caller) -> Response[None]:
        """End the session, at once and for good."""
        del principal
        session = session_of(request)
        if session is None:
            raise Conflict("this caller came with a credential, and has no session to end", code="no_session")
        await services.sessions.sign_out(session, request_id=request_id_of(request))
        return cookie_response(None, session_cookie(request, None), status=204)


class SessionListController(Controller):
    """The sessions of others."""

    path = "/sessions"
    tags = ("Sessions",)
    return_dto = None
    guards = (requires_role(Role.OWNER),)

    @get(summary="List sessions", responses=PROBLEMS)
    async def list_sessions(
        self, *, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[SessionPage]:
        """Those that have not ended, newest first; only those within the caller's scope."""
        return read_response(await services.sessions.page(principal, limit=limit, cursor=cursor))

    @delete("/{session_id:uuid}", summary="End a session", responses=WRITE_PROBLEMS, status_code=204)
    async def revoke_session(self, services: Services, write: Writer, session_id: FromPath[UUID]) -> Response[None]:
        """End somebody's session, from the next request on."""
        return await write(lambda transaction: services.sessions.revoke(transaction, session_id), status=204)
