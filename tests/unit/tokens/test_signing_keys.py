"""When an issuer's keys are fetched, how long they are believed, and what is kept of a verified token."""

import asyncio
import json
import logging
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from app.domain.keys import tokens
from app.domain.keys.tokens import TokenVerifier
from app.kernel.errors import GatewayError, Unauthenticated, Unavailable
from app.settings.planes import GatewayJwt
from providers.errors import ConnectFailed

PUBLIC_ID = "Ab3dEf9hIj"
ISSUER = "https://login.example.com"
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
JWKS_URL = f"{ISSUER}/keys"
_HOUR_S = 3_600


def jwk(key: Any, kid: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid}


async def test_the_keys_are_discovered_from_the_issuer(verifier, issuer):
    await verifier.public_id(issuer.sign())
    assert issuer.fetched == [DISCOVERY_URL, JWKS_URL]


async def test_a_configured_address_needs_no_discovery(issuer, clock):
    settings = GatewayJwt(issuer=ISSUER, audience="llm-gateway", key_claim="gateway_key", jwks_url=JWKS_URL)
    verifier = TokenVerifier(settings, fetch=issuer.fetch, clock=clock)
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID
    assert issuer.fetched == [JWKS_URL]


async def test_the_keys_are_fetched_once_an_hour(verifier, issuer, clock):
    await verifier.public_id(issuer.sign())
    clock.advance(_HOUR_S - 1)
    await verifier.public_id(issuer.sign())
    assert issuer.rounds == 1
    clock.advance(1)
    await verifier.public_id(issuer.sign())
    assert issuer.rounds == 2


async def test_many_callers_share_one_fetch_even_if_the_first_of_them_leaves(verifier, issuer):
    issuer.gate = asyncio.Event()
    token = issuer.sign()
    first = asyncio.ensure_future(verifier.public_id(token))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(verifier.public_id(token)) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    issuer.gate.set()
    assert await asyncio.gather(*others) == [PUBLIC_ID] * 50
    assert first.cancelled()
    assert issuer.fetched == [DISCOVERY_URL, JWKS_URL]


async def test_a_known_key_does_not_wait_for_the_fetch_of_an_unknown_one(verifier, issuer, clock):
    await verifier.public_id(issuer.sign())
    clock.advance(61)
    issuer.gate = asyncio.Event()
    waiting = asyncio.ensure_future(verifier.public_id(issuer.sign("unknown")))
    await asyncio.sleep(0)
    assert await verifier.public_id(issuer.sign(jti="another")) == PUBLIC_ID
    issuer.gate.set()
    with pytest.raises(Unauthenticated):
        await waiting


async def test_unknown_key_ids_cost_one_fetch_a_minute(verifier, issuer, clock):
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await verifier.public_id(issuer.sign(f"unknown-{number}"))
    assert issuer.rounds == 1
    clock.advance(59)
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign("unknown"))
    assert issuer.rounds == 1
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign("unknown"))
    assert issuer.rounds == 2


async def test_a_new_key_is_believed_within_a_minute_and_a_withdrawn_one_no_more(verifier, issuer, clock, new_rsa_key):
    await verifier.public_id(issuer.sign())
    issuer.jwks = [jwk(new_rsa_key, "new")]
    clock.advance(60)
    assert await verifier.public_id(issuer.sign("new", key=new_rsa_key)) == PUBLIC_ID
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign())


async def test_two_keys_may_share_an_id(verifier, issuer, new_rsa_key):
    issuer.jwks = [jwk(new_rsa_key, "rsa"), jwk(issuer.keys["p256"], "rsa"), jwk(issuer.keys["rsa"], "rsa")]
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID
    assert await verifier.public_id(issuer.sign("rsa", alg="ES256", key=issuer.keys["p256"])) == PUBLIC_ID


@pytest.mark.parametrize(
    "failure", [ConnectFailed(), OSError("refused"), TimeoutError(), GatewayError(), ValueError("bad")], ids=repr
)
async def test_an_issuer_that_was_never_reached_makes_tokens_uncheckable(verifier, issuer, clock, failure):
    issuer.failure = failure
    for _ in range(10):
        with pytest.raises(Unavailable) as caught:
            await verifier.public_id(issuer.sign())
    assert caught.value.code == "jwks_unavailable"
    assert caught.value.retry_after_s == 5
    assert len(issuer.fetched) == 1
    clock.advance(5)
    issuer.failure = None
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID


async def test_keys_outlive_their_issuer_by_a_day(verifier, issuer, clock):
    await verifier.public_id(issuer.sign())
    issuer.failure = OSError("refused")
    clock.advance(24 * _HOUR_S - 1)
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID
    assert await verifier.public_id(issuer.sign(jti="2")) == PUBLIC_ID
    assert len(issuer.fetched) == 3, "a failing issuer is asked again after a minute, not for each token"
    clock.advance(1)
    with pytest.raises(Unavailable):
        await verifier.public_id(issuer.sign(jti="3"))


async def test_a_key_that_may_be_new_cannot_be_judged_while_the_issuer_is_down(verifier, issuer, clock):
    await verifier.public_id(issuer.sign())
    issuer.failure = OSError("refused")
    clock.advance(60)
    with pytest.raises(Unavailable):
        await verifier.public_id(issuer.sign("unknown"))
    assert await verifier.public_id(issuer.sign(jti="2")) == PUBLIC_ID


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example", "jwks_uri": JWKS_URL},
        {"issuer": ISSUER, "jwks_uri": "http://login.example.com/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://10.0.0.1/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": "https://user:word@login.example.com/keys"},
        {"issuer": ISSUER, "jwks_uri": "/keys"},
        {"issuer": ISSUER},
        {"jwks_uri": JWKS_URL},
        ["x"],
    ],
    ids=str,
)
async def test_a_discovery_document_cannot_send_us_anywhere(verifier, issuer, discovery):
    issuer.discovery = discovery
    with pytest.raises(Unavailable):
        await verifier.public_id(issuer.sign())
    assert issuer.fetched == [DISCOVERY_URL]


async def test_plain_http_is_for_the_issuers_own_origin(issuer, clock):
    home = "http://127.0.0.1:9000/realm"
    issuer.documents = {
        f"{home}/.well-known/openid-configuration": json.dumps(
            {"issuer": home, "jwks_uri": "http://127.0.0.1:9000/certs"}
        ).encode(),
        "http://127.0.0.1:9000/certs": json.dumps({"keys": issuer.jwks}).encode(),
    }
    settings = GatewayJwt(issuer=home, audience="llm-gateway", key_claim="gateway_key")
    verifier = TokenVerifier(settings, fetch=issuer.fetch, clock=clock)
    assert await verifier.public_id(issuer.sign(iss=home)) == PUBLIC_ID


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"keys": 7}', b'{"keys": [7]}', b"[" * 100_000, b" " * 300_000, b'{"keys": "\xff"}'],
    ids=lambda body: repr(body[:12]),
)
async def test_a_key_set_that_is_none_leaves_the_old_one(verifier, issuer, clock, body):
    await verifier.public_id(issuer.sign())
    issuer.documents[JWKS_URL] = body
    clock.advance(_HOUR_S)
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID


async def test_what_is_no_public_signing_key_is_left_out(verifier, issuer):
    good = jwk(issuer.keys["rsa"], "rsa")
    private = {**issuer.keys["rsa"].as_dict(private=True), "kid": "private"}
    issuer.jwks = [
        {},
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        {"kty": "AKP", "kid": "later", "pub": "AAAA"},
        {**good, "kid": "for-encryption", "use": "enc"},
        {**good, "kid": "signs-only", "key_ops": ["sign"]},
        {**good, "kid": "ops", "key_ops": 7},
        {**good, "kid": "no-n", "n": None},
        {**good, "kid": "short", "n": "AQAB"},
        {**good, "kid": "even", "e": "AA"},
        {**jwk(issuer.keys["p256"], "off-curve"), "y": "AAAA"},
        {**good, "kid": 7},
        {**good, "kty": ["RSA"], "kid": "listed"},
        private,
        {**good, "use": "sig", "key_ops": ["verify"], "x5c": ["junk"], "alg": "RS256"},
    ]
    assert await verifier.public_id(issuer.sign()) == PUBLIC_ID
    assert await verifier.public_id(issuer.sign("private")) == PUBLIC_ID
    for kid in ("oct", "later", "for-encryption", "signs-only", "ops", "no-n", "short", "even", "off-curve", "listed"):
        with pytest.raises(Unauthenticated):
            await verifier.public_id(issuer.sign(kid))
    kept = verifier._signed._keys._keys["private"][0].key
    assert not kept.is_private, "a private key that an issuer published by mistake is not kept"


async def test_a_verified_token_is_not_verified_again_for_a_minute(verifier, issuer, clock, monkeypatch):
    verified: list[str] = []
    rs256 = JWSRegistry.algorithms["RS256"]
    monkeypatch.setitem(JWSRegistry.algorithms, "RS256", _Counting(rs256, verified))
    token = issuer.sign(exp=clock.now_ns() // 10**9 + 600)
    for _ in range(3):
        await verifier.public_id(token)
    clock.advance(59)
    await verifier.public_id(token)
    assert len(verified) == 1
    clock.advance(1)
    await verifier.public_id(token)
    assert len(verified) == 2


async def test_a_verified_token_is_not_kept_beyond_its_end(verifier, issuer, clock):
    token = issuer.sign(exp=clock.now_ns() // 10**9 + 10)
    await verifier.public_id(token)
    assert len(verifier._kept) == 1
    clock.advance(10)
    assert await verifier.public_id(token) == PUBLIC_ID, "the leeway"
    assert verifier._kept == {}
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await verifier.public_id(token)


async def test_two_tokens_with_the_same_beginning_are_two(verifier, issuer):
    """A cache by a part of the token let one user be another (CVE-2026-35030)."""
    first, second = (
        issuer.sign_raw(
            b'{"alg":"RS256","kid":"rsa"}',
            json.dumps({"pad": "x" * 3_000, **issuer.claims(gateway_key=public_id)}).encode(),
        )
        for public_id in ("aaaaaaaaaa", "bbbbbbbbbb")
    )
    assert first[:2_000] == second[:2_000]
    assert await verifier.public_id(first) == "aaaaaaaaaa"
    assert await verifier.public_id(second) == "bbbbbbbbbb"
    with pytest.raises(Unauthenticated):
        await verifier.public_id(first[:-2] + b"AA")


async def test_the_memory_of_verified_tokens_is_bounded(verifier, issuer, monkeypatch):
    monkeypatch.setattr(tokens, "_MAX_KEPT", 5)
    for number in range(8):
        await verifier.public_id(issuer.sign("ed", alg="Ed25519", key=issuer.keys["ed"], jti=str(number)))
    assert len(verifier._kept) == 5


async def test_a_failure_is_logged_without_the_token(verifier, issuer, caplog):
    issuer.failure = OSError("refused")
    token = issuer.sign()
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable):
        await verifier.public_id(token)
    assert "refused" in caplog.text
    assert token.decode().split(".")[2] not in caplog.text


class _Counting:
    """An algorithm that counts."""

    def __init__(self, inner: Any, seen: list[str]) -> None:
        self._inner = inner
        self._seen = seen

    def check_key(self, key: RSAKey) -> None:
        self._inner.check_key(key)

    def verify(self, signed: bytes, signature: bytes, key: RSAKey) -> bool:
        self._seen.append("verified")
        return bool(self._inner.verify(signed, signature, key))

    def sign(self, signed: bytes, key: RSAKey) -> bytes:
        return bytes(self._inner.sign(signed, key))
