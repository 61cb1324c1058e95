"""The admin API of a running gateway, for commands about what only that knows. Law: the key is never shown."""

from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from app.commands.failure import CommandFailed
from app.commands.sources import open_sources, read_settings
from app.server.plan import Address

_PATIENCE_S = 30
_PREFIX = "/admin/v1"


class _Problem(msgspec.Struct):
    """What is shown of a refusal."""

    detail: str
    code: str = ""


class AdminClient:
    """Calls the admin plane at `url` with an admin key. One call, one connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandFailed(f"--url {url!r} is no address such as http://127.0.0.1:3040")
        self._url = url.rstrip("/")
        self._is_safe = parts.scheme == "https"
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/") + _PREFIX
        self._key = key

    def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """Return what a path below `/admin/v1` answers; raises `CommandFailed` with the reason of a refusal."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, document: Mapping[str, Any]) -> bytes:
        """Post a JSON object, and return what the path answers; raises `CommandFailed`."""
        return self._call("POST", path, msgspec.json.encode(document))

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["content-type"] = "application/json"
        kind = HTTPSConnection if self._is_safe else HTTPConnection
        try:
            with closing(kind(self._authority, timeout=_PATIENCE_S)) as connection:
                connection.request(method, self._path + path, body=body, headers=headers)
                answer = connection.getresponse()
                said = answer.read()
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise CommandFailed(f"no admin plane answers at {self._url}: {reason}; is the gateway running?") from error
        if answer.status != HTTPStatus.OK:
            raise CommandFailed(_reason(answer.status, said))
        return said


def open_client(config: Path | None, *, url: str | None) -> AdminClient:
    """Return a client of the gateway that the settings describe, or of the one at `url`.

    Raises `CommandFailed` where no admin key is at hand.
    """
    settings = read_settings(open_sources(config))
    if settings.admin_key is None:
        raise CommandFailed(
            "GATEWAY_ADMIN_KEY is not set: this asks a running gateway, which takes an admin key. A first `serve` "
            "prints one; `llm-gateway keys create --admin --name ops` makes another."
        )
    here = Address(plane="admin", host=settings.admin.host, port=settings.admin.port)
    return AdminClient(url or here.url, settings.admin_key.reveal())


def _reason(status: int, said: bytes) -> str:
    try:
        problem = msgspec.json.decode(said, type=_Problem)
    except msgspec.DecodeError:
        return f"the admin plane answered with the status {status}"
    return f"the admin plane refused ({status} {problem.code}): {problem.detail}"
