"""`/docs`: Swagger UI from our own files. Law: it works without the internet, and asks no other host.

The files' paths hold a hash of their contents, so a browser keeps them for ever and never shows an old one.
"""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

PAGE_PATH = "/docs"
DOCUMENT_PATH = "/openapi.json"
_STATIC_PATH = "/docs/static"
_HASH_DIGITS = 16
_FOLDER = files("app.api.docs") / "static"


class _File(NamedTuple):
    """A file of the page: its place in the folder, and what it is."""

    name: str
    media_type: str
    is_zipped: bool = False

    def read(self, *, zipped: bool = False) -> bytes:
        """Return its bytes, or those of the compressed file beside it."""
        return (_FOLDER / (f"{self.name}.gz" if zipped else self.name)).read_bytes()


_FILES = {
    "favicon": _File("swagger-ui/favicon-32x32.png", "image/png"),
    "theme": _File("swagger-ui/swagger-ui.css", "text/css", is_zipped=True),
    "bundle": _File("swagger-ui/swagger-ui-bundle.js", "text/javascript", is_zipped=True),
    "style": _File("page.css", "text/css"),
    "script": _File("page.js", "text/javascript"),
}

_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_PAGE_HEADERS = _HEADERS | {
    # Swagger UI's style sheet holds its icons as data: URLs; everything else comes from this plane.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
_FILE_HEADERS = _HEADERS | {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}


def docs_handlers(spec: Callable[[], bytes]) -> list[HTTPRouteHandler]:
    """Return the handlers of `/docs`, of its files, and of `/openapi.json`, which says what `spec` returns.

    `spec` is called for each request. None of these paths needs a credential.
    """
    paths = {key: f"{_STATIC_PATH}/{_hash(file)}/{file.name.rpartition('/')[2]}" for key, file in _FILES.items()}
    page = Template((_FOLDER / "page.html").read_text(encoding="utf-8")).substitute(paths).encode()
    return [_page(page), _document(spec), *(_static(paths[key], file) for key, file in _FILES.items())]


def _hash(file: _File) -> str:
    return hashlib.sha256(file.read()).hexdigest()[:_HASH_DIGITS]


def _page(page: bytes) -> HTTPRouteHandler:
    @get(PAGE_PATH, include_in_schema=False)
    async def show_documentation() -> Response[bytes]:
        return Response(page, media_type="text/html", headers=_PAGE_HEADERS)

    return show_documentation


def _document(spec: Callable[[], bytes]) -> HTTPRouteHandler:
    @get(DOCUMENT_PATH, include_in_schema=False)
    async def show_document() -> Response[bytes]:
        return Response(spec(), media_type="application/json", headers={**_HEADERS, "cache-control": "no-cache"})

    return show_document


def _static(path: str, file: _File) -> HTTPRouteHandler:
    @get(path, include_in_schema=False)
    async def show_file(request: Request[Any, Any, Any]) -> Response[bytes]:
        zipped = file.is_zipped and "gzip" in request.headers.get("accept-encoding", "")
        headers = _FILE_HEADERS | ({"content-encoding": "gzip"} if zipped else {})
        return Response(file.read(zipped=zipped), media_type=file.media_type, headers=headers)

    return show_file
