"""Access tokens of a service account, for calls to Google Cloud.

An assertion that the account's key signs is exchanged for a token, which is kept until shortly before it expires.
Source: https://developers.google.com/identity/protocols/oauth2/service-account#httprest, read 2026-11.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from providers.answers import read_object
from providers.errors import BadAnswer, CredentialRefused, ProviderError
from providers.gemini.errors import decode_error
from providers.protocol import Answer, Sender
from providers.types import Secret, Timeouts, UpstreamRequest

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM = ("content-type", "application/x-www-form-urlencoded")
_ASSERTED_S = 3_600
_SPARE_S = 300
"""A token is given up so long before its end, so that no call carries one that ends on its way."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_UNAUTHENTICATED = 401


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The key file of a service account, as Google Cloud makes it."""

    client_email: str
    private_key: str
    token_uri: str
    private_key_id: str | None = None
    project_id: str | None = None
    type: str = "service_account"


class BadKeyFile(ValueError):
    """The text is not the key file of a service account whose tokens are fetched over TLS."""


def read_account(credentials: Secret) -> ServiceAccount:
    """Read a key file. Raises `BadKeyFile`, which does not show it.

    Tokens are fetched in clear text from this machine only.
    """
    try:
        account = msgspec.json.decode(credentials.reveal(), type=ServiceAccount)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadKeyFile("the credentials are not the key file of a service account") from None
    uri = urlsplit(account.token_uri)
    if uri.scheme != "https" and (uri.scheme != "http" or uri.hostname not in _LOOPBACK):
        raise BadKeyFile("the token_uri of the service account is not an https address")
    if account.type != "service_account":
        raise BadKeyFile("the credentials are of another kind than a service account's")
    return account


class Tokens:
    """The access tokens of one service account, of which one is fetched at a time."""

    def __init__(self, account: ServiceAccount, sender: Sender, *, now: Callable[[], float]) -> None:
        self._account = account
        self._sender = sender
        self._now = now
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._expires_at = 0.0

    async def get(self, timeouts: Timeouts) -> str:
        """Return a token that is good for a while. Raises `ProviderError`."""
        if self._token is None or self._now() >= self._expires_at:
            async with self._lock:
                if self._token is None or self._now() >= self._expires_at:
                    await self._fetch(timeouts)
        return self._token or ""

    def refuse(self, token: str) -> None:
        """Give up a token that was refused, unless another has taken its place."""
        if token == self._token:
            self._token = None

    async def _fetch(self, timeouts: Timeouts) -> None:
        asked_at = self._now()
        form = urlencode({"grant_type": _GRANT, "assertion": self._assertion(int(asked_at))})
        request = UpstreamRequest(method="POST", url=self._account.token_uri, headers=(_FORM,), body=form.encode())
        answer = await self._sender.send(request, timeouts=timeouts)
        try:
            body = await answer.read_all()
        finally:
            answer.close()
        if answer.status != 200:  # noqa: PLR2004 - the one status of an answer with a token
            raise _refusal(answer, body)
        granted = read_object(body)
        token, lifetime_s = granted.get("access_token"), granted.get("expires_in")
        if not isinstance(token, str) or not isinstance(lifetime_s, int) or not token.isascii():
            raise BadAnswer("the token endpoint's answer holds no access token")
        self._token, self._expires_at = token, asked_at + max(0, lifetime_s - _SPARE_S)

    def _assertion(self, issued_at: int) -> str:
        """Return what the account says about itself, signed."""
        from joserfc import jwt  # noqa: PLC0415 - it takes 140 ms to import, and few need it
        from joserfc.errors import JoseError  # noqa: PLC0415 - the same
        from joserfc.jwk import RSAKey  # noqa: PLC0415 - the same

        account = self._account
        header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.private_key_id} if account.private_key_id else {})
        claims: dict[str, Any] = {
            "iss": account.client_email,
            "scope": _SCOPE,
            "aud": account.token_uri,
            "iat": issued_at,
            "exp": issued_at + _ASSERTED_S,
        }
        try:
            return jwt.encode(header, claims, RSAKey.import_key(account.private_key))
        except (JoseError, ValueError):
            raise CredentialRefused("the private key of the service account cannot sign") from None


def _refusal(answer: Answer, body: bytes) -> ProviderError:
    """Return why there is no token: a refused assertion is a matter of the credential, whatever its status."""
    error = decode_error(answer.status, answer.headers, body)
    if not error.retryable:
        return CredentialRefused(status=answer.status, vendor_code=error.vendor_code)
    return error


class AuthorizedSender:
    """A transport that sends every request with an access token, and once more if that was refused."""

    def __init__(self, sender: Sender, tokens: Tokens) -> None:
        self._sender = sender
        self._tokens = tokens

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Send a request; return when the head of the answer is there."""
        token = await self._tokens.get(timeouts)
        answer = await self._sender.send(_authorized(request, token), timeouts=timeouts)
        if answer.status != _UNAUTHENTICATED:
            return answer
        answer.close()
        self._tokens.refuse(token)
        token = await self._tokens.get(timeouts)
        return await self._sender.send(_authorized(request, token), timeouts=timeouts)


def _authorized(request: UpstreamRequest, token: str) -> UpstreamRequest:
    headers = (("authorization", f"Bearer {token}"), *request.headers)
    return msgspec.structs.replace(request, headers=headers)
