"""`llm-gateway openapi`: the description of a plane, exactly as the plane serves it."""

import asyncio
import tempfile
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

import msgspec

from app.asgi import build_application
from app.commands.failure import CommandFailed
from app.server.plan import Role
from app.settings import Settings
from app.settings.store_url import StoreUrl
from providers.types import Secret

_PATH = "/openapi.json"
_UNUSED_SECRET = "x" * 32


def run(plane: str) -> str:
    """Return the OpenAPI document of a plane as indented JSON; touches no installation's files and calls nobody."""
    # An application takes its folder for itself, and that of the present installation may be in use.
    with tempfile.TemporaryDirectory(prefix="llm-gateway-openapi-") as folder:
        document = asyncio.run(_ask(plane, folder))
    return msgspec.json.format(document, indent=2).decode()


async def _ask(plane: str, folder: str) -> bytes:
    """Return what an application with default settings, never started, answers to the document's path."""
    settings = Settings(
        database=StoreUrl(f"sqlite+aiosqlite:///{folder}/gateway.db"),
        spool=f"{folder}/spool",
        master_secret=Secret(_UNUSED_SECRET),
        log_level="warning",
    )
    application = build_application(settings, Role(name=plane, index=0, planes=(plane,)))
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    try:
        (served,) = application.planes
        await served.app(_scope(), receive, send)
    finally:
        await application.aclose()
    body = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != HTTPStatus.OK:
        raise CommandFailed(f"the {plane} plane has no {_PATH}")
    return body


def _scope() -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
