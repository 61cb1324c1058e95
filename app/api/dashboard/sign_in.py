"""The page that asks for an admin key. Law: the key goes from the browser to `/admin/v1/session`, and nowhere else."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from app.api.dashboard.parameters import InForce, Renderer

_START = "/admin/v1/session/oidc/start"


def sign_in_handler() -> HTTPRouteHandler:
    """Return the handler of `/sign-in`."""

    @get("/sign-in")
    async def show_sign_in(
        pages: Renderer,
        settings: InForce,
        next_: Annotated[str | None, QueryParameter(name="next", max_length=500)] = None,
    ) -> Response[Any]:
        admin, path = settings().admin, _own_path(next_)
        has_issuer = admin.url is not None and admin.jwt is not None and admin.jwt.client_id is not None
        start = f"{_START}?{urlencode({'return_to': path})}" if has_issuer else None
        return pages.page("sign_in.html", next=path, start=start)

    return show_sign_in


def _own_path(path: str | None) -> str:
    """Return the path to go on to: only ever one of this dashboard's."""
    is_ours = path is not None and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and path is not None else "/"
