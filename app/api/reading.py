"""Paths that are only read. Law: HEAD is answered wherever GET is, without the body. Source: RFC 9110, 9.3.2."""

from collections.abc import Awaitable, Callable

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler

Read = Callable[..., Awaitable[Response[bytes]]]


def reads(path: str) -> Callable[[Read], HTTPRouteHandler]:
    """Return the decorator of a handler that reads what is at a path."""
    return route(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False, status_code=200)
