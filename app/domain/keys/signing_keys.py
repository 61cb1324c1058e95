"""The public keys with which an issuer signs its tokens. Law: what a stranger sends can cost one fetch a minute.

Keys are kept for an hour, and for a day while the issuer cannot be reached.
Source: RFC 7517; OpenID Connect Discovery 1.0 section 4, read 2026-11.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, Unavailable
from app.kernel.waiting import outcome_of
from app.settings.planes import AdminJwt, GatewayJwt
from providers.errors import ProviderError

Fetch = Callable[[str], Awaitable[bytes]]
"""Reads a URL; raises `ProviderError`, `GatewayError` or `OSError` for anything but a 200."""

_LOG = logging.getLogger("gateway.tokens")
_NS = 1_000_000_000
_FRESH_NS = 3_600 * _NS
_STALE_NS = 24 * _FRESH_NS
_REFETCH_NS = 60 * _NS
_RETRY_NS = 5 * _NS
_FETCH_S = 5.0
_MAX_DOCUMENT_BYTES = 256 * 1024
_RSA_BITS = range(2048, 8193)
DISCOVERY = "/.well-known/openid-configuration"
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_TROUBLES = (ProviderError, GatewayError, OSError, ValueError, msgspec.MsgspecError, RecursionError)


class SigningKey(NamedTuple):
    """A public key, and the one algorithm that it is for; absent: any that fits its type."""

    key: Key
    algorithm: str | None


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class SigningKeys:
    """An issuer's keys, fetched when they are first wanted. One for each worker process."""

    def __init__(self, settings: GatewayJwt | AdminJwt, *, fetch: Fetch, clock: Clock) -> None:
        """Read the keys of the settings' issuer by `fetch`."""
        self._settings = settings
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, list[SigningKey]] = {}
        self._fetched_ns: int | None = None
        self._next_try_ns = clock.monotonic_ns()
        self._is_failing = False
        self._pending: asyncio.Future[None] | None = None

    async def find(self, kid: str) -> list[SigningKey]:
        """Return the keys of this id: none if the issuer has no such key.

        Raises `Unavailable` when nobody can tell.
        """
        if self._is_wanting(kid):
            await self._refresh()
        keys = self._keys.get(kid, []) if self._age_ns() < _STALE_NS else []
        if not keys and self._is_failing:
            raise Unavailable(
                "the token cannot be checked now", code="jwks_unavailable", retry_after_s=_RETRY_NS // _NS
            )
        return keys

    def _age_ns(self) -> int:
        return _STALE_NS if self._fetched_ns is None else self._clock.monotonic_ns() - self._fetched_ns

    def _is_wanting(self, kid: str) -> bool:
        """Whether an answer must wait for a fetch: one that is under way, or a new one if it is time."""
        if kid in self._keys and self._age_ns() < _FRESH_NS:
            return False
        return self._pending is not None or self._clock.monotonic_ns() >= self._next_try_ns

    async def _refresh(self) -> None:
        """Fetch the keys once, however many ask at the same time, and whoever of them leaves."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._load())
            self._pending.add_done_callback(self._end_refresh)
        await outcome_of(self._pending)

    def _end_refresh(self, _: asyncio.Future[None]) -> None:
        self._pending = None

    async def _load(self) -> None:
        """Fetch the keys, or note that they cannot be had."""
        try:
            async with asyncio.timeout(_FETCH_S):
                self._keys = _read_keys(await self._read(await self._find_url()))
        except _TROUBLES as error:
            _LOG.warning("the signing keys of %s cannot be had: %r", self._settings.issuer, error)
            self._is_failing = True
        else:
            self._fetched_ns = self._clock.monotonic_ns()
            self._is_failing = False
        pause_ns = _REFETCH_NS if self._age_ns() < _STALE_NS else _RETRY_NS
        self._next_try_ns = self._clock.monotonic_ns() + pause_ns

    async def _find_url(self) -> str:
        """Return where the keys are: as configured, or as the issuer says of itself."""
        settings = self._settings
        if settings.jwks_url is not None:
            return settings.jwks_url
        body = await self._read(settings.issuer.rstrip("/") + DISCOVERY)
        found = msgspec.json.decode(body, type=_Discovery)
        if found.issuer != settings.issuer:
            raise ValueError("the discovery document is another issuer's")
        if not may_be_trusted(found.jwks_uri, issuer=settings.issuer):
            raise ValueError("jwks_uri is neither https nor of the issuer's origin")
        return found.jwks_uri

    async def _read(self, url: str) -> bytes:
        body = await self._fetch(url)
        if len(body) > _MAX_DOCUMENT_BYTES:
            raise ValueError("the document is too large")
        return body


def may_be_trusted(url: str, *, issuer: str) -> bool:
    """Tell whether `url` is to be believed: nobody on the way can change them, or it is the issuer's own origin."""
    there, home = urlsplit(url), urlsplit(issuer)
    if not there.hostname or "@" in there.netloc:
        return False
    return there.scheme == "https" or (there.scheme, there.netloc) == (home.scheme, home.netloc)


def _read_keys(body: bytes) -> dict[str, list[SigningKey]]:
    """Return the keys of a key set by their ids. What is not a public key for signatures is left out."""
    keys: dict[str, list[SigningKey]] = {}
    for entry in msgspec.json.decode(body, type=_KeySet).keys:
        kid, algorithm = entry.get("kid"), entry.get("alg")
        key = _read_key(entry)
        if key is not None and isinstance(kid, str):
            keys.setdefault(kid, []).append(SigningKey(key, algorithm if isinstance(algorithm, str) else None))
    return keys


def _read_key(entry: dict[str, Any]) -> Key | None:
    """Return the public half of a key, if it is one that verifies signatures and is strong enough."""
    members = _PUBLIC_MEMBERS.get(str(entry.get("kty")))
    if members is None or entry.get("use", "sig") != "sig":
        return None
    try:
        if "verify" not in entry.get("key_ops", ("verify",)):
            return None
        if entry["kty"] == "RSA" and _bits(entry["n"]) not in _RSA_BITS:
            return None
        return JWKRegistry.import_key({name: entry[name] for name in ("kty", *members)})
    except (JoseError, KeyError, TypeError, ValueError):
        return None


def _bits(number: str) -> int:
    """Return the length of a base64url number."""
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()
