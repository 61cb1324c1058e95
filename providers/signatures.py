"""Signatures of reasoning and tool calls: what a vendor wants back unchanged, and what only that vendor believes.

A canonical signature is `signer:value`, where the signer is the dialect whose vendor made it (`anthropic`, `gemini`,
`responses`); Claude's are valid wherever Claude runs, so Bedrock's are `anthropic` too. A client of the signer's own
dialect sees the bare value; a client of another dialect gets it sealed, in Base64, since Google's clients decode
theirs. Law: no signature ever reaches a vendor that did not make it; it would be refused.
"""

import base64
import binascii

_MARK = b"gw1."
_SEALED = base64.b64encode(_MARK)[:5].decode()
_STANDARD = str.maketrans("-_", "+/")


def sign(signer: str, value: str) -> str:
    """Return the canonical form of a signature that a vendor of the dialect `signer` sent."""
    return f"{signer}:{value}"


def value_for(signature: str | None, signer: str) -> str | None:
    """Return the bare value for a vendor of the dialect `signer`; `None` if another made it, or there is none."""
    if signature is None or not signature.startswith(signer + ":"):
        return None
    return signature[len(signer) + 1 :]


def seal(signature: str, dialect: str) -> str:
    """Return what a client of `dialect` is given to send back: bare if its own vendor signed, else sealed."""
    signer, _, value = signature.partition(":")
    if signer == dialect:
        return value
    return base64.b64encode(_MARK + signature.encode()).decode()


def unseal(text: str | None, dialect: str) -> str | None:
    """Return the canonical signature of what a client of `dialect` sent back; `None` for nothing."""
    if not text:
        return None
    if text.startswith(_SEALED):
        try:
            # Google's clients for Python write what they decoded in the alphabet for URLs.
            opened = base64.b64decode(text.translate(_STANDARD), validate=True)
        except (binascii.Error, ValueError):
            opened = b""
        if opened.startswith(_MARK):
            return opened[len(_MARK) :].decode(errors="replace")
    return sign(dialect, text)


def holds_seal(body: bytes) -> bool:
    """Whether a body may hold a sealed signature, which nobody but the gateway can read."""
    return _SEALED.encode() in body


__all__ = ["holds_seal", "seal", "sign", "unseal", "value_for"]
