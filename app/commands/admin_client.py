"""The admin API of a running gateway, for commands about what only that knows. Law: the key is never shown."""

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from app.commands.failure import CommandFailed, listed
from app.commands.sources import open_sources, read_settings
from app.server.plan import Address

_PATIENCE_S = 30
_PREFIX = "/admin/v1"


class _Field(msgspec.Struct):
    """One field at fault."""

    message: str


class _Problem(msgspec.Struct):
    """What is shown of a refusal."""

    detail: str
    code: str = ""
    errors: list[_Field] = []


class AdminClient:
    """Calls the admin plane at `url` with an admin key, as `host` if that is given. One call, one connection."""

    def __init__(self, url: str, key: str, *, host: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandFailed(f"--url {url!r} is no address such as http://127.0.0.1:3040")
        self._url = url.rstrip("/")
        self._is_safe = parts.scheme == "https"
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/") + _PREFIX
        self._key = key
        self._host = {} if host is None else {"host": host}

    def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """Return what a path below `/admin/v1` answers; raises `CommandFailed` with the reason of a refusal."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, document: Mapping[str, Any]) -> bytes:
        """Post a JSON object, and return what the path answers; raises `CommandFailed`."""
        return self.post_bytes(path, msgspec.json.encode(document), "application/json")

    def post_bytes(self, path: str, body: bytes, media_type: str) -> bytes:
        """Post a document as it is, and return what the path answers; raises `CommandFailed`."""
        return self._call("POST", path, body=body, headers={"content-type": media_type})

    def _call(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
        headers = {**headers, **self._host, "authorization": f"Bearer {self._key}"}
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


def open_client(
    config: Path | None, *, url: str | None, key: str | None = None, needs_file: bool = True
) -> AdminClient:
    """Return a client of the gateway that the settings describe, or of the one at `url`, with their key or `key`.

    Without `needs_file` a file with faults is no hindrance, as the gateway is to say what it makes of it; the address
    is then that of the environment. Raises `CommandFailed` where no admin key is at hand.
    """
    sources = open_sources(config)
    try:
        settings = read_settings(sources)
    except CommandFailed:
        if needs_file:
            raise
        settings = read_settings(dataclasses.replace(sources, path=None))
    if key is None:
        if settings.admin_key is None:
            raise CommandFailed(
                "GATEWAY_ADMIN_KEY is not set: this asks a running gateway, which takes an admin key. A first `serve` "
                "prints one; `llm-gateway keys create --admin --name ops` makes another."
            )
        key = settings.admin_key.reveal()
    if url is not None:
        return AdminClient(url, key)
    here = Address(plane="admin", host=settings.admin.host, port=settings.admin.port)
    return AdminClient(here.url, key, host=_served_host(settings.admin.allowed_hosts))


def _served_host(allowed: tuple[str, ...]) -> str | None:
    """Return a name under which the admin plane is served, where not every name is: its address may be none."""
    if "*" in allowed:
        return None
    return next((name.replace("*", "llm-gateway", 1) for name in allowed), None)


def _reason(status: int, said: bytes) -> str:
    try:
        problem = msgspec.json.decode(said, type=_Problem)
    except msgspec.DecodeError:
        return f"the admin plane answered with the status {status}"
    more = listed(field.message for field in problem.errors) if len(problem.errors) > 1 else ""
    return f"the admin plane refused ({status} {problem.code}): {problem.detail}{more}"
