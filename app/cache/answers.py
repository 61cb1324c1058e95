"""An answer as it is kept, and whether it may be. Law: only what is complete and harmless is kept.

A kept answer is canonical, so that it can be given again streamed or whole, in any dialect; beside that it holds the
body of a whole answer in the dialect in which it came, which is given again as it was.
"""

import os
import zlib

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from providers.types import Completion, TextPart, ThinkingPart

MAX_BYTES = 1 << 20
"""A longer answer is not kept."""
_NONCE_BYTES = 12
_DEFLATED_BYTES = 4_096
"""What is larger is worth compressing."""
_PLAIN, _DEFLATED = b"\x00", b"\x01"


class Answered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer and who gave it.

    `completion` is absent for what is no conversation. `body` is the whole answer on the wire `relay`, of the type
    `content_type`. `cost_nusd` is what it cost, absent if that is not known: what a hit saves. `dropped` are canonical
    names of what its provider was not told.
    """

    provider: str
    model: str
    upstream_model: str
    created_ms: int
    relay: str = ""
    completion: Completion | None = None
    body: bytes | None = None
    content_type: bytes = b"application/json"
    cost_nusd: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    dropped: tuple[str, ...] = ()


def is_safe(completion: Completion) -> bool:
    """Whether an answer may be given to others: one that ended by itself, in words, and refuses nothing."""
    if len(completion.choices) != 1:
        return False
    choice = completion.choices[0]
    if choice.finish_reason != "stop":
        return False
    has_text = any(isinstance(part, TextPart) and part.text.strip() for part in choice.content)
    return has_text and all(isinstance(part, TextPart | ThinkingPart) for part in choice.content)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answered).decode


class Sealer:
    """Seals what is kept. Keys are 32 bytes; what one place holds opens in no other."""

    def __init__(self, seal_key: bytes, *, old_key: bytes | None = None) -> None:
        """Make one; what was sealed under `old_key` opens too."""
        self._cipher = AESGCM(seal_key)
        self._old_cipher = None if old_key is None else AESGCM(old_key)

    def seal(self, data: bytes, *, place: bytes) -> bytes:
        """Return the data sealed for a place."""
        head, body = (_DEFLATED, zlib.compress(data, 1)) if len(data) > _DEFLATED_BYTES else (_PLAIN, data)
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + self._cipher.encrypt(nonce, body, head + place)

    def open(self, sealed: bytes, *, place: bytes) -> bytes | None:
        """Return what was sealed for a place; nothing for what was not, or under another key."""
        head, nonce, body = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if head not in (_PLAIN, _DEFLATED) or len(nonce) < _NONCE_BYTES:
            return None
        data = _opened(self._cipher, nonce, body, bound_to=head + place)
        if data is None and self._old_cipher is not None:
            # What is kept does not say by which key: it lives for minutes, and a wrong key costs microseconds.
            data = _opened(self._old_cipher, nonce, body, bound_to=head + place)
        if data is None:
            return None
        return zlib.decompress(data) if head == _DEFLATED else data

    def seal_answer(self, answer: Answered, *, place: bytes) -> bytes:
        """Return an answer as it is kept."""
        return self.seal(_encode(answer), place=place)

    def open_answer(self, sealed: bytes, *, place: bytes) -> Answered | None:
        """Return a kept answer; nothing for what cannot be one, such as that of another release."""
        data = self.open(sealed, place=place)
        try:
            return None if data is None else _decode(data)
        except msgspec.DecodeError:
            return None


def _opened(cipher: AESGCM, nonce: bytes, body: bytes, *, bound_to: bytes) -> bytes | None:
    try:
        return cipher.decrypt(nonce, body, bound_to)
    except InvalidTag:
        return None


def place_of(scope: str, entry_id: str) -> bytes:
    """Return what binds a sealed answer to its place."""
    return f"cached answer {entry_id} of {scope}".encode()
