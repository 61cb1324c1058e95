"""AWS Signature Version 4. Law: pure; a signature follows from the request, the credentials and the time alone.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, read 2026-11.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import msgspec

from providers.types import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"
_END = "aws4_request"
_UNRESERVED = "-_.~"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """What signs: a key's id and secret, and the token that belongs to a temporary one."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is good for: one service in one region."""

    region: str
    service: str


def amz_date(now_s: float) -> str:
    """Return the time in the form of `x-amz-date`; `now_s` is in seconds since the Unix epoch."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")


def canonical_request(method: str, url: str, *, headers: Mapping[str, str], body_sha256: str) -> str:
    """Return what is signed of a request.

    `url` is as it goes on the wire, percent-encoded; its path is encoded once more, as every service but S3 does it.
    `headers` are those to sign, `host` among them, by lower-case name.
    """
    parts = urlsplit(url)
    lines = [f"{name}:{' '.join(value.split())}\n" for name, value in sorted(headers.items())]
    return "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/" + _UNRESERVED),
            _canonical_query(parts.query),
            "".join(lines),
            ";".join(sorted(headers)),
            body_sha256,
        )
    )


def _canonical_query(query: str) -> str:
    """Return the parameters in order; they are encoded already."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{name}={value}" for name, _, value in sorted(pairs))


def authorization(
    method: str, url: str, *, headers: Mapping[str, str], body_sha256: str, key: AccessKey, scope: Scope
) -> str:
    """Return the value of the `authorization` header; `headers` are all that is signed, `x-amz-date` among them."""
    at = headers["x-amz-date"]
    credential_scope = f"{at[:8]}/{scope.region}/{scope.service}/{_END}"
    canonical = canonical_request(method, url, headers=headers, body_sha256=body_sha256)
    to_sign = "\n".join((_ALGORITHM, at, credential_scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signing_key = _signing_key(key.secret_access_key, at[:8], region=scope.region, service=scope.service)
    signature = hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest()
    return (
        f"{_ALGORITHM} Credential={key.access_key_id}/{credential_scope}, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={signature}"
    )


def _signing_key(secret: Secret, date: str, *, region: str, service: str) -> bytes:
    """Return the key of one day, region and service."""
    key = b"AWS4" + secret.reveal().encode()
    for part in (date, region, service, _END):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


__all__ = ["EMPTY_SHA256", "AccessKey", "Scope", "amz_date", "authorization", "canonical_request"]
