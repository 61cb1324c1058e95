"""How texts of others are put before a model as data. Law: pure; no text can close its own wrapping or open another's.

Every wrapping carries a token that the texts cannot know: it is drawn for the one request, after the texts were
written, and is taken out of any text that should hold it all the same.
"""

import re
from collections.abc import Sequence
from typing import Final

from providers.types import Message, Part, RefusalPart, TextPart, ThinkingPart, ToolCallPart, ToolResultPart

_LEAST_TOKEN: Final = 16


def wrapped(text: str, *, name: str, token: str) -> str:
    """Return a text between two lines that name it. Raises `ValueError` for a token that could be guessed."""
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isalnum():
        raise ValueError(f"a token has at least {_LEAST_TOKEN} letters and digits")
    return f"<<<BEGIN {name} {token}>>>\n{without(text, token)}\n<<<END {name} {token}>>>"


def without(text: str, token: str) -> str:
    """Return a text in which a token does not occur, in capitals or not: a space stands for it."""
    return re.sub(re.escape(token), " ", text, flags=re.IGNORECASE | re.ASCII)


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation as text, one turn after the other; what is no text is named."""
    return "\n\n".join(f"[{message.role}]\n{_said(message.content)}" for message in messages)


def _said(parts: Sequence[Part]) -> str:
    return "\n".join(filter(None, map(_text_of, parts)))


def _text_of(part: Part) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case ThinkingPart():
            return ""
        case ToolCallPart():
            return f"(calls {part.name}: {part.arguments})"
        case ToolResultPart():
            return f"(result: {_said(part.content)})"
    return f"({type(part).__name__.removesuffix('Part').lower()})"
