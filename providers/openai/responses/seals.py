"""Signatures inside `encrypted_content`, the one place that every client of this wire sends back unchanged.

A client keeps of a reasoning item little more than its summary and its encrypted content. So the seal of a foreign
signature says as well what it signs: reasoning that is there, reasoning whose text is encrypted, or the part before or
behind it, for vendors that sign text and tool calls themselves.
"""

from typing import Literal

from providers.openai.responses.wire import DIALECT
from providers.signatures import seal, unseal, value_for

Place = Literal["here", "redacted", "before", "behind"]
_PLACES: tuple[Place, ...] = ("redacted", "before", "behind")


def seal_content(signature: str, place: Place = "here") -> str:
    """Return the encrypted content that carries a canonical signature to a client and back."""
    is_bare = place == "here" or value_for(signature, DIALECT) is not None
    return seal(signature if is_bare else f"{place}+{signature}", DIALECT)


def open_content(content: str) -> tuple[str | None, Place]:
    """Return the canonical signature in an encrypted content, and what it signs."""
    signature = unseal(content, DIALECT)
    for place in _PLACES:
        if signature is not None and signature.startswith(place + "+"):
            return signature[len(place) + 1 :], place
    return signature, "here"


def is_foreign(content: object) -> bool:
    """Whether an encrypted content holds the seal of a signature that no vendor of this wire made."""
    return isinstance(content, str) and bool(content) and value_for(unseal(content, DIALECT), DIALECT) is None
