"""How many tokens a request is, roughly, where its provider cannot be asked. Law: never a tokenizer, and pure."""

from collections.abc import Iterable

import msgspec

from providers.types import ChatRequest, FilePart, ImagePart, OpaquePart, Part, ToolResultPart

_BYTES_PER_TOKEN = 4
_IMAGE_TOKENS = 1_600
"""What an image is at most. Source: https://platform.claude.com/docs/en/build-with-claude/vision, read 2026-11."""
_BASE64_BYTES_PER_TOKEN = 16
"""A document's bytes are mostly not text; a PDF of a hundred kilobytes is some thousands of tokens."""


def estimate_tokens(request: ChatRequest) -> int:
    """Return roughly how many tokens the prompt of a request is: messages, tools and the form of the answer."""
    parts = [part for message in request.messages for part in message.content]
    form = request.response_format
    text_bytes = len(msgspec.json.encode(request.tools)) if request.tools else 0
    text_bytes += len(msgspec.json.encode(form.schema)) if form is not None and form.schema else 0
    return max(1, -(-text_bytes // _BYTES_PER_TOKEN) + sum(_tokens(part) for part in parts))


def _tokens(part: Part) -> int:
    match part:
        case ImagePart():
            return _IMAGE_TOKENS
        case FilePart(data=str(data)):
            return -(-len(data) // _BASE64_BYTES_PER_TOKEN)
        case ToolResultPart():
            return _text_tokens([part.id]) + sum(_tokens(piece) for piece in part.content)
        case OpaquePart():
            return -(-len(msgspec.json.encode(part.value)) // _BYTES_PER_TOKEN)
        case _:
            said = (getattr(part, name, None) for name in ("text", "name", "arguments", "url", "data"))
            return _text_tokens(text for text in said if isinstance(text, str))


def _text_tokens(texts: Iterable[str]) -> int:
    return -(-sum(len(text.encode()) for text in texts) // _BYTES_PER_TOKEN)


__all__ = ["estimate_tokens"]
