"""The fake provider's tokens: one for each word, so that a test can count them in its head."""

import re
from collections.abc import Iterable
from typing import Any

TOKENS_PER_MESSAGE = 3
TOKENS_PER_IMAGE = 85
_PIECE = re.compile(r"\S+\s*|\s+")


def pieces_of(text: str) -> list[str]:
    """Split a text into its tokens, which join to it again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """Return the number of tokens of a text."""
    return len(pieces_of(text))


def count_prompt_tokens(messages: Iterable[dict[str, Any]]) -> int:
    """Return the tokens of a conversation: those of its texts, 3 for each message and 85 for each image."""
    return sum(TOKENS_PER_MESSAGE + _content_tokens(message.get("content")) for message in messages)


def _content_tokens(content: Any) -> int:
    if isinstance(content, str):
        return count_tokens(content)
    if not isinstance(content, list):
        return 0
    images = [part for part in content if part.get("type") == "image_url"]
    return len(images) * TOKENS_PER_IMAGE + sum(count_tokens(part.get("text", "")) for part in content)


def text_of(content: Any) -> str:
    """Return the text of a message's content, whether a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
