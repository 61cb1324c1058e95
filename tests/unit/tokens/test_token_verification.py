"""Which tokens stand for a key. The attacks are rows 56-59 of the bad-input catalogue and their kin."""

import base64
import hmac

import pytest
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from app.domain.keys import signed_tokens
from app.domain.keys.secrets import looks_signed, make_key
from app.kernel.errors import Unauthenticated

PUBLIC_ID = "Ab3dEf9hIj"
NOW_S = 1_800_000_000


@pytest.mark.parametrize(
    ("alg", "kid"),
    [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("ES512", "p521"),
        ("EdDSA", "ed"),
        ("EdDSA", "ed448"),
        ("Ed25519", "ed"),
        ("Ed448", "ed448"),
    ],
)
async def test_every_asymmetric_algorithm_is_believed(verifier, issuer, alg, kid):
    token = issuer.sign(kid, alg=alg, key=issuer.keys[kid])
    assert await verifier.public_id(token) == PUBLIC_ID


@pytest.mark.parametrize("audience", ["llm-gateway", ["other", "llm-gateway"]])
async def test_the_audience_may_be_one_of_several(verifier, issuer, audience):
    assert await verifier.public_id(issuer.sign(aud=audience)) == PUBLIC_ID


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW_S - 59},
        {"nbf": NOW_S + 60},
        {"nbf": ...},
        {"exp": NOW_S + 0.5},
        {"iat": NOW_S + 10_000, "jti": "x", "nested": {"a": [1]}},
    ],
    ids=str,
)
async def test_clocks_may_differ_by_a_minute_and_other_claims_do_not_matter(verifier, issuer, changed):
    assert await verifier.public_id(issuer.sign(**changed)) == PUBLIC_ID


async def test_a_claim_may_name_the_key_by_its_own_id(verifier, issuer):
    own_id = "0190b2c4-7d1e-7c3a-9f00-000000000000"
    assert await verifier.public_id(issuer.sign(gateway_key=own_id)) == own_id


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://login.example.com/"},
        {"iss": "https://evil.example"},
        {"iss": ["https://login.example.com"]},
        {"iss": ...},
        {"aud": "llm-gateway-2"},
        {"aud": ["other"]},
        {"aud": [["llm-gateway"]]},
        {"aud": {"llm-gateway": 1}},
        {"aud": None},
        {"aud": ...},
        {"exp": NOW_S - 60},
        {"exp": ...},
        {"exp": None},
        {"exp": "1900000000"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"exp": 10**30},
        {"nbf": NOW_S + 61},
        {"nbf": "0"},
        {"nbf": None},
        {"gateway_key": ...},
        {"gateway_key": 7},
        {"gateway_key": ["Ab3dEf9hIj"]},
        {"gateway_key": "0190b2c4-7d1e-7c3a-9f00-00000000000"},
        {"gateway_key": "0190B2C4-7D1E-7C3A-9F00-000000000000"},
        {"gateway_key": "Ab3dEf9hIj\n"},
        {"gateway_key": "' OR 1=1--"},
        {"gateway_key": "sk-gw-Ab3dEf9hIj"},
    ],
    ids=str,
)
async def test_a_claim_that_is_wrong_or_missing_is_refused(verifier, issuer, changed):
    with pytest.raises(Unauthenticated) as caught:
        await verifier.public_id(issuer.sign(**changed))
    assert caught.value.message == Unauthenticated().message


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "HS512"},
        {"alg": "ES256K"},
        {"alg": "RS1"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["RS256"]},
        {"kid": None},
        {"kid": 7},
        {"kid": ["rsa"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
    ],
    ids=str,
)
async def test_a_header_that_cannot_be_believed_costs_no_fetch(verifier, issuer, header):
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign(header=header))
    assert issuer.fetched == []


@pytest.mark.parametrize("signature", [b"", b"AA"])
async def test_an_unsigned_token_is_refused(verifier, issuer, signature):
    head, body, _ = issuer.sign(header={"alg": "none"}).split(b".")
    with pytest.raises(Unauthenticated):
        await verifier.public_id(b".".join((head, body, signature)))
    assert issuer.fetched == []


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_the_public_key_is_no_shared_secret(verifier, issuer, alg):
    published = issuer.keys["rsa"].as_pem(private=False)
    signed, _, _ = issuer.sign(header={"alg": alg}).rpartition(b".")
    forged = base64.urlsafe_b64encode(hmac.digest(published, signed, f"sha{alg[2:]}")).rstrip(b"=")
    with pytest.raises(Unauthenticated):
        await verifier.public_id(signed + b"." + forged)
    assert issuer.fetched == []


@pytest.mark.parametrize(("kid", "alg"), [("p256", "RS256"), ("rsa", "ES256"), ("ed", "RS256"), ("p384", "ES256")])
async def test_a_key_of_another_type_is_not_tried(verifier, issuer, kid, alg):
    right = {"RS256": "rsa", "ES256": "p256"}[alg]
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign(kid, alg=alg, key=issuer.keys[right]))


async def test_ed25519_is_not_signed_by_the_other_curve(verifier, issuer):
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign("ed448", alg="Ed25519", key=issuer.keys["ed"]))


async def test_a_key_for_one_algorithm_signs_no_other(verifier, issuer):
    for entry in issuer.jwks:
        if entry["kid"] == "rsa":
            entry["alg"] = "PS256"
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign())
    assert await verifier.public_id(issuer.sign(alg="PS256")) == PUBLIC_ID


async def test_headers_that_name_a_key_are_ignored(verifier, issuer, new_rsa_key):
    own = {**new_rsa_key.as_dict(private=False), "kid": "rsa"}
    lures = {"jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "jwk": own, "x5c": ["AAAA"]}
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign(key=new_rsa_key, header=lures))
    assert await verifier.public_id(issuer.sign(header=lures)) == PUBLIC_ID
    assert not [url for url in issuer.fetched if "evil" in url]


async def test_a_signature_by_another_key_is_refused(verifier, issuer, new_rsa_key):
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign(key=new_rsa_key))


async def test_no_byte_of_a_token_may_change(verifier, issuer):
    token = issuer.sign()
    for at in range(0, len(token), 7):
        changed = token[:at] + (b"A" if token[at : at + 1] != b"A" else b"B") + token[at + 1 :]
        with pytest.raises(Unauthenticated):
            await verifier.public_id(changed)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"..",
        b"ey.ey.",
        b"ey.ey.ey.ey",
        b"ey.e\xff.ey",
        b"ey.e y.ey",
        b"e.e.e",
        b"eyJhbGciOiJSUzI1NiJ9",
        b"e" * 8193,
        b"\xff\xfe",
        b"ey.\n.ey",
    ],
)
async def test_what_is_no_token_is_refused_without_a_fetch(verifier, issuer, token):
    with pytest.raises(Unauthenticated):
        await verifier.public_id(token)
    assert issuer.fetched == []


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"[" * 3000, b"{}"),
        (b'{"alg":"RS256","kid":"rsa","x":' + b"[" * 3000, b"{}"),
        (b'{"alg":"RS256","kid":"rsa"}', b"[" * 3000),
        (b'{"alg":"RS256","kid":"rsa"}', b'{"a":' * 600),
        (b'{"alg":"RS256","kid":"rsa"}', b"[1]"),
        (b'{"alg":"RS256","kid":"rsa"}', b"null"),
        (b'{"alg":"RS256","kid":"rsa"}', b'{"exp":NaN}'),
        (b'{"alg":"RS256","kid":"rsa"}', b"\xff"),
        (b'["RS256","rsa"]', b"{}"),
        (b"\xff\xff", b"{}"),
    ],
)
async def test_a_hostile_document_is_refused(verifier, issuer, head, body):
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign_raw(head, body))


async def test_a_token_is_at_most_8_kib(verifier, issuer):
    fits = issuer.sign(pad="x" * 5_000)
    assert len(fits) < 8 * 1024
    assert await verifier.public_id(fits) == PUBLIC_ID
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign(pad="x" * 6_000))


async def test_x25519_is_for_agreement_and_verifies_nothing(verifier, issuer):
    issuer.jwks.append({**OKPKey.generate_key("X25519").as_dict(private=False), "kid": "x"})
    with pytest.raises(Unauthenticated):
        await verifier.public_id(issuer.sign("x", alg="EdDSA", key=issuer.keys["ed"]))


def test_a_token_is_told_from_a_key_by_its_form(issuer):
    assert looks_signed(issuer.sign())
    assert looks_signed(base64.urlsafe_b64encode(b'{"alg":"RS256"}') + b".e30.AA")
    assert not looks_signed(make_key("inference").text.reveal().encode())
    assert not looks_signed(b"ey.a.b.c.d")


def test_the_library_knows_every_algorithm_that_is_allowed():
    assert JWSRegistry.algorithms.keys() >= signed_tokens._ALGORITHMS
    assert not [name for name in signed_tokens._ALGORITHMS if name.startswith("HS") or name == "none"]
