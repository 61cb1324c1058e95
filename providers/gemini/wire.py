"""The words of generateContent that both halves share.

Google reads the names of its messages in camel case and in snake case; here they are in camel case once they are read.
Source: https://ai.google.dev/api/generate-content, read 2026-11; google-genai 3.6: types.GenerateContentResponse.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.answers import count, objects, service_tier, shares, without
from providers.types import FinishReason, Usage

DIALECT = "gemini"
GENERATE = "gemini.generate"

FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}
"""Why an answer ended; every other word (`MALFORMED_FUNCTION_CALL`, `LANGUAGE`, …) is `other`."""

PLAIN_REASONS = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", "MAX_TOKENS", "SAFETY", "OTHER"})
"""The words that the canonical reason alone brings back."""

REASON = "finishReason"
NOTES = ("finishMessage", "groundingMetadata", "urlContextMetadata", "citationMetadata")
"""What a candidate says beside its content, and a client of this dialect is told again."""

_CAPITAL = re.compile(r"(?<!^)[A-Z]")
_SNAKE = re.compile(r"_([a-z0-9])")
_STANDARD = str.maketrans("-_", "+/")
_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


_TIERS = {"ON_DEMAND": "standard", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}
"""Service tiers, by what Vertex calls the traffic."""


class WireUsage(msgspec.Struct, rename="camel"):
    """Token counts, and which of them were of which modality. What is 0 is left out."""

    prompt_token_count: Any = None
    candidates_token_count: Any = None
    cached_content_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    prompt_tokens_details: Any = None
    cache_tokens_details: Any = None
    candidates_tokens_details: Any = None
    tool_use_prompt_tokens_details: Any = None
    traffic_type: Any = None
    service_tier: Any = None


def read_usage(wire: WireUsage | None) -> Usage | None:
    """Return disjoint counts; `None` if the vendor's are missing or absurd.

    The prompt's tokens include those of a cached content; thoughts stand beside the candidates' tokens, and what a
    hosted tool brought into the prompt stands beside the prompt's. The details of the prompt and of what a tool brought
    are apart, as are those of what was cached.
    """
    if wire is None:
        return None
    prompt = count(wire.prompt_token_count)
    output = 0 if wire.candidates_token_count is None else count(wire.candidates_token_count)
    if prompt is None or output is None:
        return None
    cached = min(count(wire.cached_content_token_count) or 0, prompt)
    thoughts = count(wire.thoughts_token_count) or 0
    given = prompt - cached + (count(wire.tool_use_prompt_token_count) or 0)
    audio_in, image_in = shares(given, _given(wire, "AUDIO"), _given(wire, "IMAGE"))
    made = wire.candidates_tokens_details
    audio_out, image_out = shares(output, _tokens_of(made, "AUDIO"), _tokens_of(made, "IMAGE"))
    return Usage(
        input_tokens=given,
        output_tokens=output + thoughts,
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
        audio_input_tokens=audio_in,
        image_input_tokens=image_in,
        audio_output_tokens=audio_out,
        image_output_tokens=image_out,
        service_tier=_tier_of(wire),
    )


def _given(wire: WireUsage, modality: str) -> int:
    """Return how many tokens of a modality went in that were not cached."""
    prompt = without(_tokens_of(wire.prompt_tokens_details, modality), _tokens_of(wire.cache_tokens_details, modality))
    return prompt + _tokens_of(wire.tool_use_prompt_tokens_details, modality)


def _tokens_of(details: Any, modality: str) -> int:
    return sum(count(item.get("tokenCount")) or 0 for item in objects(details) if item.get("modality") == modality)


def _tier_of(wire: WireUsage) -> str | None:
    """Return the service tier in the words that requests and price lists have for it.

    Source: google-genai 3.6: types.TrafficType, types.ServiceTier.
    """
    told = service_tier(wire.service_tier)
    if told is not None:
        return told.lower()
    return _TIERS.get(wire.traffic_type) if isinstance(wire.traffic_type, str) else None


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """Return the usage in an answer or a piece of one; `None` if it has none that can be believed."""
    try:
        return read_usage(msgspec.convert(answer.get("usageMetadata"), WireUsage | None))
    except msgspec.ValidationError:
        return None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the wire's form of disjoint counts."""
    written: dict[str, Any] = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cache_read_tokens:
        written["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        written["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.audio_input_tokens or usage.image_input_tokens:
        details = _modalities(usage.prompt_tokens, audio=usage.audio_input_tokens, image=usage.image_input_tokens)
        written["promptTokensDetails"] = details
    if usage.audio_output_tokens or usage.image_output_tokens:
        said = usage.output_tokens - usage.reasoning_tokens
        details = _modalities(said, audio=usage.audio_output_tokens, image=usage.image_output_tokens)
        written["candidatesTokensDetails"] = details
    return written


def _modalities(tokens: int, *, audio: int, image: int) -> list[dict[str, Any]]:
    """Return the details of a count; what was neither sound nor picture is called text."""
    counts = {"TEXT": max(0, tokens - audio - image), "AUDIO": audio, "IMAGE": image}
    return [{"modality": name, "tokenCount": number} for name, number in counts.items() if number]


def camel(name: str) -> str:
    """Return a field's name in camel case."""
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def snake(name: str) -> str:
    """Return a field's name in snake case."""
    return _CAPITAL.sub(lambda found: "_" + found[0].lower(), name)


def named(message: Any) -> dict[str, Any]:
    """Return the fields of a message by their names in camel case; nothing of what is no message.

    Only the message's own: what is inside a field may be the client's own words.
    """
    return {camel(name): value for name, value in message.items()} if isinstance(message, dict) else {}


def standard_base64(data: str) -> str:
    """Return data in the standard alphabet of Base64, as all vendors read it; Google reads the one for URLs as well."""
    if "-" in data or "_" in data:
        data = data.translate(_STANDARD)
    return data + "=" * (-len(data) % 4)


def generation(model: str) -> tuple[int, int]:
    """Return the generation of a model by its name, such as (2, 5); (3, 0) for a name that does not tell.

    Aliases (`gemini-flash-latest`) and names of tuned models do not tell; those that are served today are of 3 or
    later, or answer to its words.
    """
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (3, 0)
