"""The dashboard's scripts and styles. Law: all are our own; a path holds a hash of its content."""

import hashlib
from importlib.resources import files
from typing import NamedTuple

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

FOLDER = files("app.api.dashboard") / "static"
_PATH = "/static"
_HASH_DIGITS = 16
_SCRIPT, _STYLE = "text/javascript", "text/css"
_HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Asset(NamedTuple):
    """A file: its place in the folder, and what it is."""

    name: str
    media_type: str


_ASSETS = {
    "style": _Asset("dashboard.css", _STYLE),
    "script": _Asset("dashboard.js", _SCRIPT),
    "playground": _Asset("playground.js", _SCRIPT),
    "icon": _Asset("icon.svg", "image/svg+xml"),
    "htmx": _Asset("htmx/htmx.min.js", _SCRIPT),
    "uplot": _Asset("uplot/uPlot.iife.min.js", _SCRIPT),
    "uplot_style": _Asset("uplot/uPlot.min.css", _STYLE),
}


def asset_paths() -> dict[str, str]:
    """Return the path of each asset by the name that the templates know it by."""
    return {key: f"{_PATH}/{_hash(asset)}/{asset.name.rpartition('/')[2]}" for key, asset in _ASSETS.items()}


def asset_handlers() -> list[HTTPRouteHandler]:
    """Return the handlers of all assets; none needs a credential."""
    paths = asset_paths()
    return [_handler(paths[key], asset) for key, asset in _ASSETS.items()]


def _hash(asset: _Asset) -> str:
    return hashlib.sha256((FOLDER / asset.name).read_bytes()).hexdigest()[:_HASH_DIGITS]


def _handler(path: str, asset: _Asset) -> HTTPRouteHandler:
    content = (FOLDER / asset.name).read_bytes()

    @get(path, include_in_schema=False)
    async def show_asset() -> Response[bytes]:
        return Response(content, media_type=asset.media_type, headers=_HEADERS)

    return show_asset
