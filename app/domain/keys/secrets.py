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
from typing import Literal, NamedTuple, Protocol

from providers.types import Secret

KeyKind = Literal["inference", "admin"]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = _ALPHABET.encode()
_PREFIX: dict[KeyKind, str] = {"inference": "sk-gw-", "admin": "sk-gw-admin-"}
_PUBLIC_ID_CHARS = 10
_SECRET_BYTES = 32
_CHECKSUM_CHARS = 6
_KID_CHARS = 16
_NOBODY = bytes(32)
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


class StoredMacs(Protocol):
    """What is stored of a secret: its hash, and the one under the pepper before, if it has one."""

    @property
    def secret_kid(self) -> str: ...  # noqa: D102 - the columns' own names
    @property
    def secret_mac(self) -> bytes: ...  # noqa: D102 - as above
    @property
    def former_kid(self) -> str | None: ...  # noqa: D102 - as above
    @property
    def former_mac(self) -> bytes | None: ...  # noqa: D102 - as above


class Peppers(NamedTuple):
    """The pepper of the master secret, and that of the one before while the master secret is rotated."""

    current: Pepper
    old: Pepper | None = None

    def match(self, token: bytes, stored: StoredMacs | None) -> Pepper | None:
        """Return the pepper under which a presented key is the stored one; None for a wrong one.

        One hash and one comparison in constant time, whatever is stored, and even if nothing is.
        """
        pepper, expected = self.find(stored) or (self.current, _NOBODY)
        is_it = hmac.compare_digest(key_mac(pepper.key, token), expected)
        return pepper if is_it and expected is not _NOBODY else None

    def find(self, stored: StoredMacs | None) -> tuple[Pepper, bytes] | None:
        """Return by which pepper a stored secret can be judged, and its hash under that; the current one first."""
        if stored is None:
            return None
        for pepper in self:
            if pepper is None:
                continue
            if stored.secret_kid == pepper.kid:
                return pepper, stored.secret_mac
            if stored.former_kid == pepper.kid and stored.former_mac is not None:
                return pepper, stored.former_mac
        return None


class Derived(NamedTuple):
    """Keys of 32 bytes for one purpose: `current` makes what is new, `old`, if there is one, made what is older."""

    current: bytes
    old: bytes | None = None

    @property
    def by_kid(self) -> dict[str, bytes]:
        """Both keys by their ids, the current one first."""
        return {key_id(key): key for key in self if key is not None}


class MasterSecrets(NamedTuple):
    """The master secret, and the one before while it is rotated."""

    current: Secret
    old: Secret | None = None

    def derive(self, *, purpose: str) -> Derived:
        """Return the keys for one purpose."""
        old = None if self.old is None else derive(self.old, purpose=purpose)
        return Derived(derive(self.current, purpose=purpose), old)

    def peppers(self) -> Peppers:
        """Return the peppers of both."""
        return Peppers(derive_pepper(self.current), None if self.old is None else derive_pepper(self.old))


def derive_pepper(master: Secret) -> Pepper:
    """Return the pepper of an installation's master secret."""
    key = derive(master, purpose="key pepper 1")
    return Pepper(key_id(key), key)


def key_id(key: bytes) -> str:
    """Return the 16 digits by which a row names the key that it was made with."""
    return hashlib.sha256(key).hexdigest()[:_KID_CHARS]


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
