"""JSON Web Tokens that stand for an inference key. Law: which key is a claim's to say; whether it works, the key's."""

import hashlib
import re
from typing import NamedTuple

from app.domain.keys.secrets import looks_signed
from app.domain.keys.signed_tokens import Proof, SignedTokens
from app.domain.keys.signing_keys import Fetch
from app.kernel.clock import Clock
from app.kernel.errors import Unauthenticated
from app.settings.planes import GatewayJwt

_NS = 1_000_000_000
_KEPT_NS = 60 * _NS
_MAX_KEPT = 10_000
_MAX_TOKEN_BYTES = 8 * 1024
_KEY_NAME = re.compile(r"[0-9A-Za-z]{10}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A public id, which ends with its secret, or the key's own id, which stays when the secret is rotated."""


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
        self._signed = SignedTokens(settings, fetch=fetch, clock=clock)
        self._issuer = settings.issuer.encode()
        self._kept: dict[bytes, _Verified] = {}

    def recognises(self, token: bytes) -> bool:
        """Whether a credential has the form of a token, and is not a key of the gateway's own."""
        return looks_signed(token)

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
        verified = self._read_claims(await self._signed.prove(token, audience=self._settings.audience))
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

    def _read_claims(self, proof: Proof) -> _Verified:
        """Return which key proved claims name; raises if they name none."""
        public_id = proof.claims.get(self._settings.key_claim)
        if not isinstance(public_id, str) or _KEY_NAME.fullmatch(public_id) is None:
            raise Unauthenticated
        return _Verified(public_id, self._clock.monotonic_ns() + _KEPT_NS, proof.ends_ns)
