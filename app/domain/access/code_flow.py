"""Sign-in at an issuer by browser: the authorization code flow with PKCE.

Law: a sign-in is finished once, in the browser that began it; no token of the issuer's ever reaches that browser.
State, nonce and verifier are all made from one random number, of which the database has a keyed hash, so that neither
the database nor the browser alone could finish a sign-in.
Source: OpenID Connect Core 1.0 sections 3.1 and 3.1.3.7; RFC 7636, 9207 and 9700, read 2026-11.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from app.db.engine import Database
from app.domain.access import repository
from app.domain.access.people import Person, read_person
from app.domain.access.schemas import SignInRecord
from app.domain.access.sessions import LIFETIME, RECENT
from app.domain.keys.signed_tokens import SignedTokens, moment_ns
from app.domain.keys.signing_keys import DISCOVERY, Fetch, may_be_trusted
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, InvalidRequest, NotFound, Unauthenticated, Unavailable
from app.settings.planes import AdminJwt
from providers.errors import ProviderError

Post = Callable[[str, tuple[tuple[str, str], ...], bytes], Awaitable[bytes]]
"""Posts a form with headers to a URL; raises `ProviderError`, `GatewayError` or `OSError` for anything but a 200."""

PATIENCE = timedelta(minutes=10)
_FRESH_NS = 3_600 * 1_000_000_000
_TOKEN_BYTES = 32
_MAX_CODE = 4_096
_MAX_RETURN = 512
_TROUBLES = (ProviderError, GatewayError, OSError, ValueError, msgspec.MsgspecError, RecursionError)
_BASIC = "client_secret_basic"


class _Discovery(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: [_BASIC])


class _Answer(msgspec.Struct):
    id_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where the browser is to go, and what it is to keep in a cookie until it is back."""

    url: str
    browser: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Who it was, when that was proved to the issuer, and where the person wanted to go."""

    person: Person
    signed_in_at: datetime
    return_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """How the issuer is asked."""

    fetch: Fetch
    post: Post
    tokens: SignedTokens


class CodeFlow:
    """Sign-ins at the issuer of `admin.jwt`. One for each worker process."""

    def __init__(
        self, settings: AdminJwt, *, issuer: Issuer, callback: str, database: Database, key: bytes, clock: Clock
    ) -> None:
        """Have people sent back to the URL `callback`; hash states under `key`."""
        self._settings = settings
        self._issuer = issuer
        self._callback = callback
        self._database = database
        self._key = key
        self._clock = clock
        self._found: _Discovery | None = None
        self._found_ns = 0

    async def begin(self, *, return_to: str, is_fresh: bool) -> Begun:
        """Return the address of the issuer's page; `is_fresh` makes it ask who it is even of somebody it knows."""
        require_own_path(return_to)
        discovered = await self._discover()
        state, browser = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock.now()
        record = SignInRecord(
            state_mac=self._mac("state", state),
            browser_mac=self._mac("browser", browser),
            return_to=return_to,
            is_fresh=is_fresh,
            expires_at=now + PATIENCE,
        )
        async with self._database.transaction() as connection:
            await repository.delete_old_sign_ins(connection, now)
            await repository.insert_sign_in(connection, record)
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._callback,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": self._derived("nonce", state),
            "code_challenge": _b64(hashlib.sha256(self._derived("verifier", state).encode()).digest()),
            "code_challenge_method": "S256",
            "max_age": "0" if is_fresh else str(int(LIFETIME.total_seconds())),
        }
        if is_fresh:
            asked["prompt"] = "login"
        mark = "&" if "?" in discovered.authorization_endpoint else "?"
        return Begun(url=f"{discovered.authorization_endpoint}{mark}{urlencode(asked)}", browser=browser)

    async def finish(self, *, state: str, code: str, browser: str | None, issuer: str | None = None) -> Finished:
        """Return who has signed in; raises `Unauthenticated` for a sign-in that was not begun here, or is over."""
        record = await self._take(state, browser)
        if issuer is not None and issuer != self._settings.issuer:
            raise _refused()
        if not 0 < len(code) <= _MAX_CODE:
            raise _refused()
        answer = await self._redeem(code, verifier=self._derived("verifier", state))
        proof = await self._issuer.tokens.prove(answer.id_token.encode(), audience=self._client_id)
        self._check(proof.claims, nonce=self._derived("nonce", state))
        return Finished(
            person=read_person(proof.claims, role_claim=self._settings.role_claim),
            signed_in_at=self._proved_at(proof.claims, is_fresh=record.is_fresh),
            return_to=record.return_to,
        )

    async def _take(self, state: str, browser: str | None) -> SignInRecord:
        """Return a sign-in, which nobody can finish after this."""
        async with self._database.transaction() as connection:
            record = await repository.take_sign_in(connection, self._mac("state", state))
        if record is None or browser is None or record.expires_at <= self._clock.now():
            raise _refused()
        if not hmac.compare_digest(record.browser_mac, self._mac("browser", browser)):
            raise _refused()
        return record

    async def _redeem(self, code: str, *, verifier: str) -> _Answer:
        discovered = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "code_verifier": verifier,
        }
        headers: tuple[tuple[str, str], ...] = ()
        secret = self._settings.client_secret
        if secret is not None and _BASIC in discovered.token_endpoint_auth_methods_supported:
            pair = f"{quote(self._client_id, safe='')}:{quote(secret.reveal(), safe='')}"
            headers = (("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),)
        else:
            form |= {"client_id": self._client_id} | ({} if secret is None else {"client_secret": secret.reveal()})
        try:
            body = await self._issuer.post(discovered.token_endpoint, headers, urlencode(form).encode())
            return msgspec.json.decode(body, type=_Answer)
        except _TROUBLES:
            raise Unauthenticated("the issuer did not confirm the sign-in", code="sign_in_refused") from None

    def _check(self, claims: dict[str, Any], *, nonce: str) -> None:
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
            raise _refused()
        if claims.get("azp", self._client_id) != self._client_id:
            raise _refused()

    def _proved_at(self, claims: dict[str, Any], *, is_fresh: bool) -> datetime:
        """Return when the person last proved to the issuer who it is; one that does not say is not recent."""
        now = self._clock.now()
        if "auth_time" not in claims:
            return now - RECENT
        proved_at = min(now, datetime.fromtimestamp(moment_ns(claims["auth_time"]) / 1e9, UTC))
        if is_fresh and now - proved_at >= RECENT:
            raise _refused()
        return proved_at

    async def _discover(self) -> _Discovery:
        """Return what the issuer says of itself, at most an hour old."""
        now_ns = self._clock.monotonic_ns()
        if self._found is not None and now_ns - self._found_ns < _FRESH_NS:
            return self._found
        issuer = self._settings.issuer
        try:
            found = msgspec.json.decode(await self._issuer.fetch(issuer.rstrip("/") + DISCOVERY), type=_Discovery)
        except _TROUBLES:
            raise Unavailable("the issuer does not answer", code="issuer_unavailable", retry_after_s=5) from None
        endpoints = (found.authorization_endpoint, found.token_endpoint)
        if found.issuer != issuer or not all(may_be_trusted(url, issuer=issuer) for url in endpoints):
            raise Unavailable("the issuer's description of itself is not to be believed", code="issuer_unavailable")
        self._found, self._found_ns = found, now_ns
        return found

    @property
    def _client_id(self) -> str:
        if self._settings.client_id is None:
            raise NotFound("sign-in by browser is not set up: admin.jwt.client_id", code="oidc_not_configured")
        return self._settings.client_id

    def _derived(self, purpose: str, state: str) -> str:
        return _b64(self._mac(purpose, state))

    def _mac(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256")


def require_own_path(return_to: str) -> None:
    """Raise `InvalidRequest` unless this is a path of this plane, however a browser may read it."""
    is_path = return_to.startswith("/") and not return_to.startswith("//")
    if not is_path or len(return_to) > _MAX_RETURN or not return_to.isascii() or not return_to.isprintable():
        raise InvalidRequest("return_to must be a path here", param="return_to")
    if any(letter in return_to for letter in "\\<>\"' "):
        raise InvalidRequest("return_to must be a path here", param="return_to")


def _refused() -> Unauthenticated:
    return Unauthenticated("this sign-in was not begun here, or it is over: begin again", code="invalid_sign_in")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
