"""JSON Web Tokens that stand for an inference key. Law: a token is judged by its issuer's keys and by nothing it says.

Headers that name a key (`jku`, `x5u`, `jwk`, `x5c`) are ignored. Every refusal is the same, so that it teaches nothing.
Source: RFC 7515, 7519 and 8725, read 2026-11.
"""

import base64
import hashlib
import re
from typing import Any, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from app.domain.keys.signing_keys import Fetch, SigningKey, SigningKeys
from app.kernel.clock import Clock
from app.kernel.errors import Unauthenticated
from app.settings.planes import GatewayJwt

_NS = 1_000_000_000
_LEEWAY_NS = 60 * _NS
_KEPT_NS = 60 * _NS
_LAST_S = 10**12
_MAX_KEPT = 10_000
_MAX_TOKEN_BYTES = 8 * 1024
_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"}
)
_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KEY_NAME = re.compile(r"[0-9A-Za-z]{10}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A public id, which ends with its secret, or the key's own id, which stays when the secret is rotated."""


def looks_like_jwt(token: bytes) -> bool:
    """Tell whether a credential has the form of a signed token; no key of the gateway's own has."""
    return token.startswith(b"ey") and token.count(b".") == 2  # noqa: PLR2004 - header.claims.signature


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


class _Verified(NamedTuple):
    """What a token stood for; `until_ns` is monotonic, `ends_ns` wall time."""

    public_id: str
    until_ns: int
    ends_ns: int


class TokenVerifier:
    """Tells which key a token stands for. One for each worker process."""

    def __init__(self, settings: GatewayJwt, *, fetch: Fetch, clock: Clock) -> None:
        """Believe the settings' issuer, whose keys `fetch` reads."""
        self._settings = settings
        self._clock = clock
        self._keys = SigningKeys(settings, fetch=fetch, clock=clock)
        self._issuer = settings.issuer.encode()
        self._kept: dict[bytes, _Verified] = {}

    def recognises(self, token: bytes) -> bool:
        """Whether a credential has the form of a token, and is not a key of the gateway's own."""
        return looks_like_jwt(token)

    async def public_id(self, token: bytes) -> str:
        """Return the public id of the key that the token stands for; whether it exists is for the directory to say.

        Raises `Unauthenticated` for any token that is not valid now, and `Unavailable` when the issuer's keys cannot
        be had.
        """
        if len(token) > _MAX_TOKEN_BYTES:
            raise Unauthenticated
        digest = hashlib.sha256(self._issuer + b"\0" + token).digest()
        known = self._kept.get(digest)
        if known is not None and self._is_current(known):
            return known.public_id
        parts = _take_apart(token)
        keys = await self._keys.find(parts.kid)
        if not any(_is_signed(parts, by=key) for key in keys):
            raise Unauthenticated
        verified = self._read_claims(parts.claims)
        self._keep(digest, verified)
        return verified.public_id

    def _is_current(self, known: _Verified) -> bool:
        return self._clock.monotonic_ns() < known.until_ns and self._clock.now_ns() < known.ends_ns

    def _keep(self, digest: bytes, verified: _Verified) -> None:
        self._kept.pop(digest, None)
        if not self._is_current(verified):
            return
        if len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = verified

    def _read_claims(self, claims: dict[str, Any]) -> _Verified:
        """Return what proved claims say; raises unless they are this issuer's, for this audience, now."""
        audience = claims.get("aud")
        public_id = claims.get(self._settings.key_claim)
        now_ns = self._clock.now_ns()
        ends_ns, starts_ns = _moment_ns(claims.get("exp")), _moment_ns(claims.get("nbf", 0))
        if (
            claims.get("iss") != self._settings.issuer
            or self._settings.audience not in (audience if isinstance(audience, list) else [audience])
            or now_ns >= ends_ns + _LEEWAY_NS
            or now_ns < starts_ns - _LEEWAY_NS
            or not isinstance(public_id, str)
            or _KEY_NAME.fullmatch(public_id) is None
        ):
            raise Unauthenticated
        return _Verified(public_id, self._clock.monotonic_ns() + _KEPT_NS, ends_ns)


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


def _moment_ns(value: Any) -> int:
    """Return a time of the claims in nanoseconds since the Unix epoch; raises for what is no number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_S:
        raise Unauthenticated
    return int(value * _NS)
