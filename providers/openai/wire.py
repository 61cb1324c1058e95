"""The shapes of OpenAI's wire that the gateway reads. What it does not read is not here: it passes through.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from providers.answers import fields, service_tier, shares, without
from providers.types import FinishReason, Usage

DIALECT = "openai"
CHAT = "openai.chat"
EMBEDDINGS = "openai.embeddings"
COMPLETIONS = "openai.completions"
MODERATIONS = "openai.moderations"
RERANK = "openai.rerank"
IMAGES = "openai.images"
SPEECH = "openai.speech"
TRANSCRIPTIONS = "openai.transcriptions"
TRANSLATIONS = "openai.translations"

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class PromptDetails(msgspec.Struct, gc=False):
    """Of which the prompt's tokens were."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None
    cached_tokens_details: Any = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Of which the answer's tokens were."""

    reasoning_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None


class WireUsage(msgspec.Struct):
    """Token counts as vendors send them: sometimes wrong, negative, floats or strings.

    Tokens read from a cache are in the details; DeepSeek also has `prompt_cache_hit_tokens`, Moonshot `cached_tokens`.
    """

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Any = None
    cached_tokens: Any = None


class UsageOnly(msgspec.Struct):
    """An answer or a chunk of which only the usage matters, whether it has choices, or that it is none but an error."""

    choices: list[msgspec.Raw] | None = None
    usage: WireUsage | None = None
    service_tier: Any = None
    error: Any = None


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
    service_tier: Any = None
    error: Any = None


decode_usage_only = msgspec.json.Decoder(UsageOnly).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode


def closes(usage: Any, reasons: Collection[Any]) -> bool:
    """Whether a chunk leaves nothing to come: it counts the tokens, and all of its choices have a finish reason.

    After it a body may end without `[DONE]`, as the streams of `transformers serve` do. Servers that say `[DONE]` count
    in a chunk without choices, so that a stream of theirs that ends before it is known to be cut.
    Source: transformers 5.23, `cli/serving/chat_completion.py`, read 2026-11.
    """
    return usage is not None and bool(reasons) and all(reasons)


_MAX_COUNT = 100_000_000


def count(value: Any) -> int | None:
    """Return a token count that a vendor sent, or `None` if it cannot be one."""
    if type(value) is int:
        return value if 0 <= value <= _MAX_COUNT else None
    if not isinstance(value, float) or not 0 <= value <= _MAX_COUNT:
        return None
    return int(value) if value == int(value) else None


def read_usage(wire: WireUsage | None, *, tier: Any = None) -> Usage | None:
    """Return disjoint counts; `None` if the vendor's are missing or absurd, so that they must be estimated.

    `tier` is the service tier that the answer names, outside of its usage. Where it is not told what of the cached
    tokens was text, they are taken to be text before they are taken to be sound or pictures.
    """
    if wire is None:
        return None
    prompt = count(wire.prompt_tokens)
    output = 0 if wire.completion_tokens is None else count(wire.completion_tokens)
    if prompt is None or output is None:
        return None
    read = min(_cached(wire), prompt)
    details = wire.prompt_tokens_details or PromptDetails()
    write = min(count(details.cache_write_tokens) or 0, prompt - read)
    cached = fields(details.cached_tokens_details)
    audio_in, image_in = shares(
        prompt - read - write,
        without(details.audio_tokens, cached.get("audio_tokens")),
        without(details.image_tokens, cached.get("image_tokens")),
    )
    completion = wire.completion_tokens_details or CompletionDetails()
    reasoning = count(completion.reasoning_tokens) or 0
    if _stands_apart(wire, reasoning=reasoning, said=prompt + output):
        output += reasoning
    reasoning, audio_out, image_out = shares(output, reasoning, completion.audio_tokens, completion.image_tokens)
    return Usage(
        input_tokens=prompt - read - write,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        image_input_tokens=image_in,
        audio_output_tokens=audio_out,
        image_output_tokens=image_out,
        service_tier=service_tier(tier),
    )


def _cached(wire: WireUsage) -> int:
    """Return how many of the prompt's tokens came from a cache, by the first name that holds a count."""
    details = wire.prompt_tokens_details
    if details is not None and (found := count(details.cached_tokens)) is not None:
        return found
    if (found := count(wire.prompt_cache_hit_tokens)) is not None:
        return found
    return count(wire.cached_tokens) or 0


def _stands_apart(wire: WireUsage, *, reasoning: int, said: int) -> bool:
    """Whether reasoning is counted beside the completion's tokens and not among them, as xAI does; the total tells.

    Source: https://docs.x.ai/docs/key-information/consumption-and-rate-limits, read 2026-11.
    """
    return reasoning > 0 and count(wire.total_tokens) == said + reasoning


def usage_of(answer: dict[str, Any], *, tier: Any = None) -> Usage | None:
    """Return the usage in an answer or chunk; `None` if it has none that can be believed.

    `tier` is the service tier that an earlier chunk named, where this one may not.
    """
    try:
        wire = msgspec.convert(answer.get("usage"), WireUsage | None)
        return read_usage(wire, tier=answer.get("service_tier") or tier)
    except msgspec.ValidationError:
        return None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the wire's form of disjoint counts, of chat completions; it has no word for tokens of pictures made."""
    more = {"cache_write_tokens": usage.cache_write_tokens, "image_tokens": usage.image_input_tokens}
    details = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.audio_input_tokens}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": details | {name: tokens for name, tokens in more.items() if tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }
