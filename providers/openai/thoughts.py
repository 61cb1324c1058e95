"""Signed reasoning on the chat wire, which OpenAI's own API does not have: Google's form, and OpenRouter's.

Google signs tool calls and text in `extra_content.google.thought_signature`. OpenRouter lists the blocks of reasoning
in `reasoning_details`, each in the format of the vendor that signed it; what the gateway itself lists there is sealed
and of no vendor's format.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11.
Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.answers import objects
from providers.openai.wire import DIALECT
from providers.signatures import seal, sign, unseal, value_for
from providers.types import ThinkingPart

GOOGLE = "gemini"
MISTRAL = "mistral"
EXTRA = "extra_content"
DETAILS = "reasoning_details"
FORMAT = "format"
_NO_FORMAT = "unknown"
_SIGNERS = {
    "anthropic-claude-v1": "anthropic",
    "google-gemini-v1": GOOGLE,
    "openai-responses-v1": "responses",
    "azure-openai-responses-v1": "responses",
}
_FORMATS = {"anthropic": "anthropic-claude-v1", GOOGLE: "google-gemini-v1", "responses": "openai-responses-v1"}
_TEXT, _SUMMARY, _ENCRYPTED = "reasoning.text", "reasoning.summary", "reasoning.encrypted"
_SAID = frozenset({"type", "text", "summary", "data", "signature", FORMAT})


def read_thought_signature(extra: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Return Google's signature in an `extra_content`, and what else is in there."""
    if not isinstance(extra, dict):
        return None, None
    google = extra.get("google")
    value = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(google, dict) or not isinstance(value, str) or not value:
        return None, extra
    inner = {name: field for name, field in google.items() if name != "thought_signature"}
    rest = {**extra, "google": inner} if inner else {name: field for name, field in extra.items() if name != "google"}
    return unseal(value, GOOGLE), rest or None


def write_thought_signature(value: str, rest: Any = None) -> dict[str, Any]:
    """Return an `extra_content` that holds a signature beside what else was in there."""
    fields = rest if isinstance(rest, dict) else {}
    google = fields.get("google")
    inner = google if isinstance(google, dict) else {}
    return {**fields, "google": {**inner, "thought_signature": value}}


def signature_for_google(signature: str | None) -> str | None:
    """Return the value of a signature that Google made."""
    return value_for(signature, GOOGLE)


def seal_for_client(signature: str) -> str:
    """Return a call's signature for a client of this wire, which knows Google's."""
    return seal(signature, GOOGLE)


def read_details(details: Any) -> list[ThinkingPart]:
    """Return the blocks of reasoning that `reasoning_details` lists; of kinds that are known."""
    return [part for item in objects(details) if (part := read_detail(item)) is not None]


def read_detail(item: Mapping[str, Any]) -> ThinkingPart | None:
    """Return one block of reasoning; its extras say it again as it was, unless the gateway had sealed it."""
    kind = item.get("type")
    if kind not in (_TEXT, _SUMMARY, _ENCRYPTED):
        return None
    form = str(item.get(FORMAT) or _NO_FORMAT)
    value = item.get("data") if kind == _ENCRYPTED else item.get("signature")
    opened = unseal(value, DIALECT) if isinstance(value, str) else None
    extras = {name: field for name, field in item.items() if name not in _SAID}
    if opened is None or opened.startswith(DIALECT + ":"):
        extras[FORMAT] = form
        opened = sign(_SIGNERS.get(form, DIALECT), value) if opened and isinstance(value, str) else None
    if kind == _SUMMARY:
        extras["type"] = kind
    text = item.get("summary") if kind == _SUMMARY else item.get("text")
    is_redacted = kind == _ENCRYPTED
    return ThinkingPart(
        text="" if is_redacted else str(text or ""), signature=opened, redacted=is_redacted, extras=extras
    )


def write_details(parts: Iterable[ThinkingPart], *, knows_formats: bool) -> list[dict[str, Any]]:
    """Return the blocks as a vendor gets them: those that came in its format, and if it `knows_formats` all signed."""
    written = []
    for part in parts:
        form = part.extras.get(FORMAT)
        if form is None and knows_formats and part.signature is not None:
            form = _FORMATS.get(part.signature.partition(":")[0])
        if form is not None:
            value = part.signature.partition(":")[2] if part.signature else None
            written.append(_detail(part, value=value, form=form))
    return written


def is_detail(part: ThinkingPart) -> bool:
    """Whether a block came in `reasoning_details` in a vendor's own words."""
    return FORMAT in part.extras


def seal_details(parts: Iterable[ThinkingPart]) -> list[dict[str, Any]]:
    """Return the signed blocks as a client gets them, to be sent back as they are."""
    return [seal_detail(part, index=at) for at, part in enumerate(part for part in parts if part.signature)]


def seal_detail(part: ThinkingPart, *, index: int) -> dict[str, Any]:
    """Return one signed block as a client gets it; of no vendor's format, but where its signature is bare."""
    signature = part.signature or ""
    form = part.extras.get(FORMAT) if signature.startswith(DIALECT + ":") else None
    bare = ThinkingPart(text=part.text, redacted=part.redacted)
    return _detail(bare, value=seal(signature, DIALECT), form=str(form or _NO_FORMAT)) | {"index": index}


def _detail(part: ThinkingPart, *, value: str | None, form: str) -> dict[str, Any]:
    rest = {name: field for name, field in part.extras.items() if name not in _SAID}
    if part.redacted:
        return {"type": _ENCRYPTED, "data": value, **rest, FORMAT: form}
    if part.extras.get("type") == _SUMMARY:
        return {"type": _SUMMARY, "summary": part.text, **rest, FORMAT: form}
    signed = {} if value is None else {"signature": value}
    return {"type": _TEXT, "text": part.text, **signed, **rest, FORMAT: form}


def read_thinking(piece: Mapping[str, Any]) -> ThinkingPart | None:
    """Return the reasoning in a part of Mistral's form; `None` if it is another part.

    Source: https://docs.mistral.ai/capabilities/reasoning, read 2026-11; mistralai 3.7, `client.models.ThinkChunk`.
    """
    if piece.get("type") != "thinking":
        return None
    said, signature = piece.get("thinking"), piece.get("signature")
    text = said if isinstance(said, str) else "".join(str(inner.get("text") or "") for inner in objects(said))
    signed = sign(MISTRAL, signature) if isinstance(signature, str) and signature else None
    return ThinkingPart(text=text, signature=signed)
