"""What a request asks, as the keys under which its answer is kept.

Law: pure. All that can change the answer is in the key: who may share it, the model with its targets, every parameter,
every turn. What only says how the answer travels, or who is asking, is not: so streamed and whole requests, and those
of every dialect, meet in one key.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from app.cache.unread import has_unread
from providers.types import ChatRequest, Message, TextPart

POLICY = 1
"""The version of these rules: a change makes all that was kept under the old ones unreachable."""
KEY_BYTES, PARTITION_BYTES = 32, 16
HOTTEST = 0.7
"""Who asks for a higher temperature wants another answer each time."""
LONGEST_CHARACTERS = 2_000
"""A longer last turn says too much for an embedding to stand for."""
_TRANSPORT = frozenset(
    {
        "store",
        "stream_options",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "background",
        "include_usage",
        "gateway",
        "cache",
        "labels",
    }
)
"""Members that say nothing of the answer."""
_ASKER = frozenset({"user", "metadata", "model", "stream"})
"""Members that say who asks, and what is in the key by another name."""
_PASSED_OVER = _TRANSPORT | _ASKER
_OF_DOCUMENTS = frozenset({"user", "model", "gateway"})
"""The same for what is no conversation."""
_BARE: tuple[tuple[str, Any], ...] = (("type", "message"), ("instructions", True), ("item", {}))
"""What the wire of responses notes of a turn, and says nothing of it."""
_MARKS = frozenset({"cache_control"})
"""What a part may say beside its text, as it concerns a vendor's prompt cache only."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a request. `key` is of 32 bytes, for the exact layer.

    `partition`, of 16 bytes, holds all but the words of the last turn, which are `text`; both are absent where only the
    very same request may have the same answer.
    """

    key: bytes
    partition: bytes | None = None
    text: str | None = None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What questions are told apart by beside their own words.

    `scope` names who shares answers, `operation` what is asked for, `model` the public name, `targets` what serves it
    and how the operator changes requests to it; `headers` are the client's that go on to a provider.
    """

    scope: str
    operation: str
    model: str
    targets: bytes
    headers: tuple[tuple[str, str], ...] = ()


def question_of(
    request: ChatRequest, ground: Ground, *, relayed: Mapping[str, Any] | None = None, is_semantic: bool = True
) -> Question:
    """Return the keys of a conversation, that of the semantic layer only if asked for.

    `relayed` is the client's body, if a provider may get it as it is. Raises `TypeError` or `ValueError` for what JSON
    cannot say.
    """
    said = _said(request)
    if relayed is not None and has_unread(relayed, passed_over=_PASSED_OVER):
        said["body"] = {name: value for name, value in relayed.items() if name not in _PASSED_OVER}
        said["dialect"] = request.dialect
    messages = [_bare(message) for message in request.messages]
    key = _hash(KEY_BYTES, ground, said, messages)
    text = _last_words(messages) if is_semantic else None
    if text is None:
        return Question(key=key)
    partition = _hash(PARTITION_BYTES, ground, said, messages[:-1])
    return Question(key=key, partition=partition, text=text)


def question_of_document(document: Mapping[str, Any], ground: Ground) -> Question:
    """Return the key of a request that is no conversation, such as one for embeddings."""
    said = {name: value for name, value in document.items() if name not in _OF_DOCUMENTS}
    return Question(key=_hash(KEY_BYTES, ground, said, []))


def wants_variety(request: ChatRequest) -> bool:
    """Whether a request asks for more than one answer, or for another one each time."""
    temperature = request.sampling.temperature
    return request.n > 1 or (temperature is not None and temperature > HOTTEST)


def _said(request: ChatRequest) -> dict[str, Any]:
    """Return all that a request says beside its turns. A dialect's own words mean something in that dialect only."""
    extras = {name: value for name, value in request.extras.items() if name not in _TRANSPORT}
    return {
        "tools": request.tools,
        "tool_choice": request.tool_choice,
        "parallel": request.parallel_tool_calls,
        "format": request.response_format,
        "sampling": request.sampling,
        "reasoning": request.reasoning,
        "cap": request.max_output_tokens,
        "n": request.n,
        "extras": extras,
        "dialect": request.dialect if extras else None,
    }


def _bare(message: Message) -> Message:
    """Return a turn without the notes of its wire that say nothing."""
    if not message.extras and not any(part.extras for part in message.content):
        return message
    content = [msgspec.structs.replace(part, extras=_told(part.extras)) for part in message.content]
    return msgspec.structs.replace(message, content=content, extras=_told(message.extras))


def _told(extras: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extras.items() if (name, value) not in _BARE}


def _hash(size: int, ground: Ground, said: Mapping[str, Any], messages: list[Message]) -> bytes:
    parts = [POLICY, ground.scope, ground.operation, ground.model, ground.targets.hex(), ground.headers, said, messages]
    return hashlib.blake2b(_encode(parts), digest_size=size).digest()


def _last_words(messages: list[Message]) -> str | None:
    """Return the text of the last turn, if it is a user's and nothing but text."""
    last = messages[-1] if messages else None
    if last is None or last.role != "user" or last.name is not None or last.extras:
        return None
    texts = [part.text for part in last.content if isinstance(part, TextPart) and part.extras.keys() <= _MARKS]
    if len(texts) != len(last.content):
        return None
    text = "\n".join(texts).strip()
    return text if 0 < len(text) <= LONGEST_CHARACTERS else None
