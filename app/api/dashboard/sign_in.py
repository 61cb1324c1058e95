"""The page that asks for an admin key. Law: the key goes from the browser to `/admin/v1/session`, and nowhere else.

Somebody who is signed in comes here to prove anew who it is.
"""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from app.api.dashboard.parameters import AnyRequest, InForce, Renderer
from app.api.dashboard.visitor import SIGN_IN, own_path
from app.guards.sessions import session_of

_START = "/admin/v1/session/oidc/start"


def sign_in_handler() -> HTTPRouteHandler:
    """Return the handler of `/sign-in`."""

    @get(SIGN_IN)
    async def show_sign_in(
        request: AnyRequest,
        pages: Renderer,
        settings: InForce,
        next_: Annotated[str | None, QueryParameter(name="next", max_length=500)] = None,
    ) -> Response[Any]:
        admin, path = settings().admin, own_path(next_)
        has_issuer = admin.url is not None and admin.jwt is not None and admin.jwt.client_id is not None
        asked = {"return_to": path} | ({"fresh": "true"} if session_of(request) else {})
        start = f"{_START}?{urlencode(asked)}" if has_issuer else None
        return pages.page("sign_in.html", next=path, start=start)

    return show_sign_in
