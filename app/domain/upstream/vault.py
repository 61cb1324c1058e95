"""Credentials at rest: an envelope for each provider.

Law: what is sealed opens only where it was sealed for. A random key seals a provider's secrets; the key-encryption key,
which follows from the master secret, wraps that key. Both carry whose they are and where they are sent as associated
data, so a row that was moved, exchanged for an older one or pointed elsewhere does not open.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.domain.keys.secrets import derive
from providers.types import Secret

_NONCE_BYTES = 12
_KEY_BITS = 256
_KID_CHARS = 16
_MARK_CHARS = 8

Secrets = Mapping[str, Any]
"""The secret settings of a provider, by name; each a text, a list of texts, or texts by name."""


class Unreadable(Exception):
    """A credential does not open: the master secret is another, or the row is not what was written."""


class Binding(NamedTuple):
    """What a credential is sealed for; `audience` is `scheme://host:port`, or what decides the address otherwise."""

    organization: str
    provider_id: UUID
    audience: str
    version: int

    def text(self) -> bytes:
        """Return the associated data."""
        return "|".join((self.organization, str(self.provider_id), self.audience, str(self.version))).encode()


class Envelope(NamedTuple):
    """What is stored: the id of the key-encryption key, the wrapped key, and the sealed secrets."""

    kid: str
    wrapped_key: bytes
    sealed: bytes


class Vault:
    """Seals under the master secret; opens what was sealed under it, or under the one before it."""

    def __init__(self, master: Secret, *, old_master: Secret | None = None) -> None:
        """Make one; with `old_master` what was sealed under that opens too, until `rotate-kek` has rewrapped it."""
        key = _key_of(master)
        self.kid = _kid(key)
        keys = [key] if old_master is None else [_key_of(old_master), key]
        self._ciphers = {_kid(each): AESGCM(each) for each in keys}
        self._marks = derive(master, purpose="provider credential marks 1")

    @property
    def kids(self) -> frozenset[str]:
        """The key-encryption keys that this vault has."""
        return frozenset(self._ciphers)

    def seal(self, secrets: Secrets, *, binding: Binding) -> Envelope:
        """Return the secrets sealed under a key of their own."""
        bound_to = binding.text()
        key = AESGCM.generate_key(bit_length=_KEY_BITS)
        return Envelope(
            kid=self.kid,
            wrapped_key=_encrypt(self._ciphers[self.kid], key, bound_to),
            sealed=_encrypt(AESGCM(key), msgspec.json.encode(secrets), bound_to),
        )

    def open(self, envelope: Envelope, *, binding: Binding) -> dict[str, Any]:
        """Return the secrets; raises `Unreadable`."""
        bound_to = binding.text()
        key = self._unwrapped(envelope, bound_to)
        try:
            secrets: dict[str, Any] = msgspec.json.decode(_decrypt(AESGCM(key), envelope.sealed, bound_to))
        except (InvalidTag, ValueError):
            raise Unreadable from None
        return secrets

    def rewrap(self, envelope: Envelope, *, binding: Binding) -> Envelope:
        """Return the same secrets with their key wrapped under the master secret; raises `Unreadable`."""
        self.open(envelope, binding=binding)
        bound_to = binding.text()
        wrapped = _encrypt(self._ciphers[self.kid], self._unwrapped(envelope, bound_to), bound_to)
        return envelope._replace(kid=self.kid, wrapped_key=wrapped)

    def mark(self, text: str) -> str:
        """Return eight digits of a keyed hash: they tell credentials apart, and nothing of them."""
        return hmac.new(self._marks, text.encode(), "sha256").hexdigest()[:_MARK_CHARS]

    def _unwrapped(self, envelope: Envelope, bound_to: bytes) -> bytes:
        cipher = self._ciphers.get(envelope.kid)
        if cipher is None:
            raise Unreadable
        try:
            return _decrypt(cipher, envelope.wrapped_key, bound_to)
        except (InvalidTag, ValueError):
            raise Unreadable from None


def _key_of(master: Secret) -> bytes:
    return derive(master, purpose="provider credentials 1")


def _kid(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:_KID_CHARS]


def _encrypt(cipher: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound_to)


def _decrypt(cipher: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
