"""An issuer of tokens that lives in the test, with keys made on the spot."""

import asyncio
import base64
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from app.domain.keys.tokens import TokenVerifier
from app.kernel.clock import ManualClock
from app.settings.planes import GatewayJwt

ISSUER = "https://login.example.com"
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
JWKS_URL = f"{ISSUER}/keys"
AUDIENCE = "llm-gateway"
PUBLIC_ID = "Ab3dEf9hIj"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(key: Key, kid: str, **extra: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid, **extra}


class Issuer:
    """Signs tokens, and serves its documents to `fetch`, which is counted and may be made to fail or to wait."""

    def __init__(self, clock: ManualClock, keys: dict[str, Key]) -> None:
        self.clock = clock
        self.keys = keys
        self.jwks: list[dict[str, Any]] = [public_jwk(key, kid) for kid, key in keys.items()]
        self.discovery: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": JWKS_URL}
        self.documents: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        known = {DISCOVERY_URL: json.dumps(self.discovery), JWKS_URL: json.dumps({"keys": self.jwks})}
        return self.documents.get(url) or known[url].encode()

    @property
    def rounds(self) -> int:
        return self.fetched.count(JWKS_URL)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now_s = self.clock.now_ns() // 1_000_000_000
        claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now_s + 600, "nbf": now_s, "gateway_key": PUBLIC_ID}
        return {name: value for name, value in {**claims, **changed}.items() if value is not ...}

    def sign(
        self, kid: str = "rsa", *, alg: str = "RS256", key: Key | None = None, header: Any = None, **changed: Any
    ) -> bytes:
        """Return a token; `...` leaves a claim out."""
        head = {"alg": alg, "kid": kid, "typ": "JWT", **(header or {})}
        return self.sign_raw(json.dumps(head).encode(), json.dumps(self.claims(**changed)).encode(), alg=alg, key=key)

    def sign_raw(self, head: bytes, body: bytes, *, alg: str = "RS256", key: Key | None = None) -> bytes:
        signed = f"{b64(head)}.{b64(body)}".encode()
        signature = JWSRegistry.algorithms[alg].sign(signed, key or self.keys["rsa"])
        return signed + b"." + b64(signature).encode()


@pytest.fixture(scope="session")
def signing_keys() -> dict[str, Key]:
    return {
        "rsa": RSAKey.generate_key(2048),
        "p256": ECKey.generate_key("P-256"),
        "p384": ECKey.generate_key("P-384"),
        "p521": ECKey.generate_key("P-521"),
        "ed": OKPKey.generate_key("Ed25519"),
        "ed448": OKPKey.generate_key("Ed448"),
    }


@pytest.fixture(scope="session")
def new_rsa_key() -> RSAKey:
    """A key that the issuer has not published yet, or one of an attacker."""
    return RSAKey.generate_key(2048)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock, signing_keys: dict[str, Key]) -> Issuer:
    return Issuer(clock, dict(signing_keys))


@pytest.fixture
def settings() -> GatewayJwt:
    return GatewayJwt(issuer=ISSUER, audience=AUDIENCE, key_claim="gateway_key")


@pytest.fixture
def verifier(settings: GatewayJwt, issuer: Issuer, clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(settings, fetch=issuer.fetch, clock=clock)
