"""The shapes of OpenAI's wire that the gateway reads. What it does not read is not here: it passes through.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from typing import Any

import msgspec

from providers.types import FinishReason, Usage

DIALECT = "openai"
CHAT = "openai.chat"
EMBEDDINGS = "openai.embeddings"

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class PromptDetails(msgspec.Struct, gc=False):
    """Of which the prompt's tokens were. DeepSeek's and others' own names are read in `WireUsage`."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Of which the answer's tokens were."""

    reasoning_tokens: Any = None


class WireUsage(msgspec.Struct):
    """Token counts as vendors send them: sometimes wrong, negative, floats or strings."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Any = None


class UsageOnly(msgspec.Struct):
    """An answer or a chunk of which only the usage matters."""

    usage: WireUsage | None = None


class Delta(msgspec.Struct):
    """What a chunk adds to a choice; several vendors name reasoning differently."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class ChunkChoice(msgspec.Struct):
    """One choice of a chunk."""

    delta: Delta | None = None
    finish_reason: str | None = None
    text: Any = None


class Chunk(msgspec.Struct):
    """A streamed chunk, as far as the inspector reads it."""

    choices: list[ChunkChoice] = []
    usage: WireUsage | None = None
    error: Any = None


decode_usage_only = msgspec.json.Decoder(UsageOnly).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode

_MAX_COUNT = 100_000_000


def count(value: Any) -> int | None:
    """Return a token count that a vendor sent, or `None` if it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_COUNT:
        return None
    return int(value) if value == int(value) else None


def read_usage(wire: WireUsage | None) -> Usage | None:
    """Return disjoint counts; `None` if the vendor's are missing or absurd, so that they must be estimated."""
    if wire is None:
        return None
    prompt = count(wire.prompt_tokens)
    output = 0 if wire.completion_tokens is None else count(wire.completion_tokens)
    if prompt is None or output is None:
        return None
    details = wire.prompt_tokens_details
    cached = count(details.cached_tokens) if details else count(wire.prompt_cache_hit_tokens)
    written = count(details.cache_write_tokens) if details else None
    read = min(cached or 0, prompt)
    write = min(written or 0, prompt - read)
    completion = wire.completion_tokens_details
    reasoning = count(completion.reasoning_tokens) if completion else None
    return Usage(
        input_tokens=prompt - read - write,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=min(reasoning or 0, output),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the wire's form of disjoint counts, of chat completions."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0},
    }
