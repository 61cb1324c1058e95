"""What is kept sealed: AES-256-GCM, under a key that follows from the master secret.

Law: the current key seals and each row names its key, so that while the master secret is rotated both open.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.domain.keys.secrets import Derived, key_id

_NONCE_BYTES = 12


class Cipher:
    """Seals and opens for one purpose; `kid` names the key that seals."""

    def __init__(self, keys: Derived) -> None:
        self.kid = key_id(keys.current)
        self._ciphers = {kid: AESGCM(key) for kid, key in keys.by_kid.items()}

    def seal(self, plain: bytes, *, bound_to: bytes) -> bytes:
        """Return the text sealed for a place: the nonce, then what `plain` became."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[self.kid].encrypt(nonce, plain, bound_to)

    def open(self, sealed: bytes, *, kid: str | None, bound_to: bytes) -> bytes | None:
        """Return what the key `kid` sealed for a place; None if it is not known here, or sealed something else."""
        cipher = None if kid is None else self._ciphers.get(kid)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError):
            return None
