"""Tokens that an issuer has signed. Law: a token is judged by its issuer's keys and by nothing it says.

Headers that name a key (`jku`, `x5u`, `jwk`, `x5c`) are ignored. Every refusal is the same, so that it teaches nothing.
Source: RFC 7515, 7519 and 8725, read 2026-11.
"""

import base64
import re
from typing import Any, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from app.domain.keys.signing_keys import Fetch, SigningKey, SigningKeys
from app.kernel.clock import Clock
from app.kernel.errors import Unauthenticated
from app.settings.planes import AdminJwt, GatewayJwt

_NS = 1_000_000_000
_LEEWAY_NS = 60 * _NS
_LAST_S = 10**12
_MAX_TOKEN_BYTES = 8 * 1024
_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"}
)
_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class _Header(msgspec.Struct):
    alg: str
    kid: str
    crit: Any = msgspec.UNSET


class _Parts(NamedTuple):
    """A well-formed token whose algorithm is allowed; nothing in it is proved yet."""

    algorithm: str
    kid: str
    signed: bytes
    signature: bytes
    claims: dict[str, Any]


class Proof(NamedTuple):
    """What a token says, proved, and when that ends (wall nanoseconds)."""

    claims: dict[str, Any]
    ends_ns: int


class SignedTokens:
    """Proves tokens of one issuer. One for each worker process."""

    def __init__(self, settings: GatewayJwt | AdminJwt, *, fetch: Fetch, clock: Clock) -> None:
        """Believe the settings' issuer, whose keys `fetch` reads."""
        self._issuer = settings.issuer
        self._clock = clock
        self._keys = SigningKeys(settings, fetch=fetch, clock=clock)

    async def prove(self, token: bytes, *, audience: str) -> Proof:
        """Return the claims of a token that is the issuer's, for this audience, now.

        Raises `Unauthenticated` for any other, and `Unavailable` when the issuer's keys cannot be had.
        """
        if len(token) > _MAX_TOKEN_BYTES:
            raise Unauthenticated
        parts = _take_apart(token)
        keys = await self._keys.find(parts.kid)
        if not any(_is_signed(parts, by=key) for key in keys):
            raise Unauthenticated
        return self._check(parts.claims, audience=audience)

    def _check(self, claims: dict[str, Any], *, audience: str) -> Proof:
        named = claims.get("aud")
        now_ns = self._clock.now_ns()
        ends_ns, starts_ns = moment_ns(claims.get("exp")), moment_ns(claims.get("nbf", 0))
        if (
            claims.get("iss") != self._issuer
            or audience not in (named if isinstance(named, list) else [named])
            or now_ns >= ends_ns + _LEEWAY_NS
            or now_ns < starts_ns - _LEEWAY_NS
        ):
            raise Unauthenticated
        return Proof(claims, ends_ns)


def _take_apart(token: bytes) -> _Parts:
    """Return the parts of a token; raises for one that cannot be valid whatever the issuer's keys are."""
    match = _SHAPE.fullmatch(token)
    if match is None:
        raise Unauthenticated
    head, body, signature = match.groups()
    try:
        header = msgspec.json.decode(_decode(head), type=_Header)
        claims = msgspec.json.decode(_decode(body), type=dict[str, Any])
        parts = _Parts(header.alg, header.kid, head + b"." + body, _decode(signature), claims)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise Unauthenticated from None
    if header.alg not in _ALGORITHMS or header.crit is not msgspec.UNSET:
        raise Unauthenticated
    return parts


def _decode(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _is_signed(parts: _Parts, *, by: SigningKey) -> bool:
    """Tell whether the key made the signature, by an algorithm that is both the token's and the key's own."""
    if by.algorithm not in {None, parts.algorithm}:
        return False
    algorithm = JWSRegistry.algorithms[parts.algorithm]
    try:
        algorithm.check_key(by.key)
        return algorithm.verify(parts.signed, parts.signature, by.key)
    except (JoseError, ValueError):
        return False


def moment_ns(value: Any) -> int:
    """Return a time of the claims in nanoseconds since the Unix epoch; raises for what is no number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_S:
        raise Unauthenticated
    return int(value * _NS)
