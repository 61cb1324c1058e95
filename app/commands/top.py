"""`llm-gateway top`: looks at a running gateway again and again. Law: reads, and changes nothing.

Numbers are those of the gateway plane's `/metrics`, breakers and stores those of the admin API.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from app.commands.admin_client import AdminClient, open_client
from app.commands.failure import CommandFailed
from app.commands.sources import open_sources, read_settings
from app.commands.top_view import Difference, View, view_of
from app.gateway.vitals import InstallationHealth
from app.observability.reading import Scraped

_PATIENCE_S = 10
_MARK = "gateway_requests_total"
_ENV = "env:"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say which gateway is meant; `key` is an admin key, or `env:NAME`."""

    url: str | None
    gateway_url: str | None
    key: str | None


class Watch:
    """Looks at one gateway; each look is compared with the one before."""

    def __init__(self, config: Path | None, *, asked: Asked, now: Callable[[], float] = time.monotonic) -> None:
        """Take a first look; raises `CommandFailed` if that is refused or nobody answers."""
        self._admin: AdminClient = open_client(config, url=asked.url, key=_key(asked.key), needs_file=False)
        self._metrics_url = asked.gateway_url or read_settings(open_sources(config)).admin.gateway_url
        self._now = now
        self._health()
        self._before, self._at = self._scrape(), now()

    @property
    def where(self) -> str:
        """The gateway plane that is looked at."""
        return self._metrics_url

    def look(self) -> View:
        """Return what has changed since the last look; raises `CommandFailed`."""
        health, scraped, now = self._health(), self._scrape(), self._now()
        change = Difference(self._before, scraped, seconds=max(now - self._at, 0.001))
        self._before, self._at = scraped, now
        return view_of(change, health)

    def _health(self) -> InstallationHealth:
        return msgspec.json.decode(self._admin.get("/health", {}), type=InstallationHealth)

    def _scrape(self) -> Scraped:
        try:
            scraped = Scraped(read_metrics(self._metrics_url))
        except ValueError as error:
            raise CommandFailed(f"what {self._metrics_url}/metrics answers are no metrics: {error}") from error
        if _MARK not in scraped and not scraped.samples("gateway_build_info"):
            raise CommandFailed(f"what {self._metrics_url}/metrics answers are not the metrics of a gateway")
        return scraped


def read_metrics(url: str) -> str:
    """Return what `/metrics` of the gateway plane at `url` answers; raises `CommandFailed`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandFailed(f"--gateway-url {url!r} is no address such as http://127.0.0.1:3020")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        with closing(kind(parts.netloc.rpartition("@")[2], timeout=_PATIENCE_S)) as connection:
            connection.request("GET", parts.path.rstrip("/") + "/metrics")
            answer = connection.getresponse()
            said = answer.read()
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise CommandFailed(f"no gateway plane answers at {url}: {reason}; --gateway-url says where it is") from error
    if answer.status == HTTPStatus.NOT_FOUND:
        raise CommandFailed(f"{url} shows no metrics: `gateway.metrics` is false there, or it is no gateway plane")
    if answer.status != HTTPStatus.OK:
        raise CommandFailed(f"{url}/metrics answered with the status {answer.status}")
    return said.decode(errors="replace")


def _key(said: str | None) -> str | None:
    if said is None or not said.startswith(_ENV):
        return said
    name = said.removeprefix(_ENV)
    value = os.environ.get(name)
    if not value:
        raise CommandFailed(f"--key names the variable {name}, which is not set")
    return value


def once(config: Path | None, *, asked: Asked, interval_s: float, pause: Callable[[float], None] = time.sleep) -> View:
    """Return what happens within one interval; raises `CommandFailed`."""
    watch = Watch(config, asked=asked)
    pause(interval_s)
    return watch.look()


def as_json(view: View) -> str:
    """Return what `--json` prints."""
    return msgspec.json.format(msgspec.json.encode(view), indent=2).decode()
