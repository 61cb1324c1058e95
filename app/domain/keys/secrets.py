"""The text of a key. Law: format and checksum are judged without I/O; only a keyed hash of the text is ever stored.

    sk-gw-<public id: 10>-<secret: 43, 256 bits><checksum: 6>          inference
    sk-gw-admin-<public id: 10>-<secret: 43, 256 bits><checksum: 6>    administration

The public id is of `[0-9A-Za-z]`, the secret base64url, the checksum CRC-32 of everything before it in base 62.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Literal, NamedTuple

from providers.types import Secret

KeyKind = Literal["inference", "admin"]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = _ALPHABET.encode()
_PREFIX: dict[KeyKind, str] = {"inference": "sk-gw-", "admin": "sk-gw-admin-"}
_PUBLIC_ID_CHARS = 10
_SECRET_BYTES = 32
_CHECKSUM_CHARS = 6
_SHAPE = re.compile(rb"sk-gw-(admin-)?([0-9A-Za-z]{10})-[0-9A-Za-z_-]{43}[0-9A-Za-z]{6}")


class ParsedKey(NamedTuple):
    """A well-formed key; whether it exists is for the store to say."""

    kind: KeyKind
    public_id: str


class NewKey(NamedTuple):
    """A key just made; `text` is shown once."""

    public_id: str
    text: Secret


def make_key(kind: KeyKind) -> NewKey:
    """Return a new random key."""
    public_id = "".join(secrets.choice(_ALPHABET) for _ in range(_PUBLIC_ID_CHARS))
    stem = f"{_PREFIX[kind]}{public_id}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewKey(public_id, Secret(stem + _checksum(stem.encode()).decode()))


def parse_key(text: bytes) -> ParsedKey | None:
    """Return the kind and public id of a well-formed key, or None for anything else."""
    match = _SHAPE.fullmatch(text)
    if match is None or text[-_CHECKSUM_CHARS:] != _checksum(text[:-_CHECKSUM_CHARS]):
        return None
    is_admin, public_id = match.groups()
    return ParsedKey("admin" if is_admin else "inference", public_id.decode())


def key_mac(pepper: bytes, text: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA-256 of a key under `pepper`: what is stored, and what a presented key is held to."""
    return hmac.digest(pepper, text, "sha256")


def looks_signed(text: bytes) -> bool:
    """Tell whether a credential has the form of a JSON Web Token; no key of the gateway's own has."""
    return text.startswith(b"ey") and text.count(b".") == 2  # noqa: PLR2004 - header.claims.signature


class Pepper(NamedTuple):
    """The key of the stored hashes, and the id under which a row names it."""

    kid: str
    key: bytes


def derive_pepper(master: Secret) -> Pepper:
    """Return the pepper of an installation's master secret."""
    key = derive(master, purpose="key pepper 1")
    return Pepper(hashlib.sha256(key).hexdigest()[:16], key)


def derive(master: Secret, *, purpose: str) -> bytes:
    """Return 32 bytes for one purpose; two purposes never share a key."""
    return hmac.digest(master.reveal().encode(), f"llm-gateway {purpose}".encode(), "sha256")


def _checksum(stem: bytes) -> bytes:
    """Return the CRC-32 of `stem` as six base-62 digits."""
    rest, a = divmod(zlib.crc32(stem), 62)
    rest, b = divmod(rest, 62)
    rest, c = divmod(rest, 62)
    rest, d = divmod(rest, 62)
    f, e = divmod(rest, 62)
    return bytes((_DIGITS[f], _DIGITS[e], _DIGITS[d], _DIGITS[c], _DIGITS[b], _DIGITS[a]))
