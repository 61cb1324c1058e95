"""What becomes of a field that another wire cannot say. Law: dropped and listed if harmless, else refused by name.

A writer of a dialect names the canonical fields that its wire lacks; the policy, which is the same for all, is here.
Canonical fields go by their names in OpenAI's chat completions (`max_tokens`, `reasoning_effort`, …), extras by the
names that the client gave them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from providers.errors import RequestRefused
from providers.types import ChatRequest, Message, OpaquePart, Part, Tool, ToolCallPart, ToolResultPart

HARMLESS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "parallel_tool_calls",
        "reasoning_effort",
        "user",
        "metadata",
    }
)
"""Canonical fields that tune an answer or label it: without them it is still an answer to what was asked."""

CANONICAL = HARMLESS | {
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "response_format",
    "stop",
    "tool_choice",
    "tools",
    "top_logprobs",
}
"""All canonical fields but the messages: of a wire with few words it is short to say that it cannot say the rest."""

HARMLESS_EXTRAS = frozenset(
    {
        # OpenAI: who pays, how fast, what is kept, how the prompt is cached, how long the prose is.
        "background",
        "client_metadata",
        "include",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options",
        "text",
        "top_logprobs",
        "truncation",
        "verbosity",
        # Anthropic.
        "betas",
        "cache_control",
        "context_management",
        "diagnostics",
        "inference_geo",
        "output_config",
        "speed",
        "thinking",
        # Gemini.
        "generationConfig.mediaResolution",
        "generationConfig.modelSelectionConfig",
        "generationConfig.routingConfig",
        "labels",
        "safetySettings",
        "safety_settings",
        "serviceTier",
    }
)
"""Fields of a dialect's own that another vendor may go without."""

BOOKKEEPING = frozenset(
    {
        "extra_content",
        "format",
        "id",
        "index",
        "instructions",
        "item",
        "phase",
        "reasoning",
        "reasoning_content",
        "status",
        "type",
    }
)
"""Extras of messages and parts that only help a dialect to say the same again."""

SUMMARY = "reasoning.summary"
"""What a writer reads that shows reasoning where it is asked for: then the wish of a Responses client is fulfilled."""

_MAX_NAME = 64
_MAX_WHAT = 128
_TOOLS_BOOKKEEPING = frozenset({"format", "namespace", "type"})
"""Extras of declared tools that are said elsewhere as well: in a description, or in the name."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "stop": ([],),
    "tools": ([],),
    "metadata": ({},),
}
"""Values that ask for nothing: what the wire does anyhow."""

_NEUTRAL_EXTRAS: Mapping[str, tuple[Any, ...]] = {"mcp_servers": ([],), "modalities": (["text"],)}
"""The same of fields of a dialect's own."""


def carry(
    request: ChatRequest, *, dialect: str, cannot: Collection[str] = (), reads: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the names of the fields of `request` that are left out on the wire of `dialect`.

    `cannot` are the canonical fields that the wire has no words for, `reads` the extras, of any dialect and at any
    depth, that its writer understands. Raises `RequestRefused` that names the first field whose loss would change what
    was asked for. A request in the dialect itself keeps its extras.
    """
    dropped = [name for name in sorted(cannot) if _is_lost(request, name)]
    if request.dialect != dialect:
        said = {*reads, *(("reasoning",) if SUMMARY in reads and _asks_for_summary(request) else ())}
        dropped += [name for name in request.extras if name not in said and _is_extra_lost(request, name)]
        dropped += sorted(_part_extras(request.messages) - set(reads))
        dropped += sorted(f"tools.{name}" for name in _tool_extras(request.tools) - set(reads))
    return tuple(dict.fromkeys(dropped))


UNSUPPORTED = "unsupported_parameter"
"""The code of a refusal of what a wire cannot say."""


def refuse(name: str, *, what: str | None = None) -> RequestRefused:
    """Return the error for a field that cannot be carried and may not be dropped."""
    return RequestRefused(
        f"{_inert(what or name, _MAX_WHAT)} cannot be sent to this provider",
        status=400,
        code=UNSUPPORTED,
        param=_inert(name, _MAX_NAME),
    )


def refuse_part(part: OpaquePart) -> RequestRefused:
    """Return the error for a part of a kind that only another dialect knows; it says the kind, and which part it is."""
    error = refuse("messages", what=f"a part of the kind {kind_of(part.value)!r}")
    error.subject = part.value
    return error


def kind_of(value: Any) -> str:
    """Return what kind a part says that it is, or what it holds: text of a client's, cut short and made printable."""
    said = value.get("type", next(iter(value), None)) if isinstance(value, Mapping) else None
    return (_inert(said, _MAX_NAME) if isinstance(said, str) else "") or "unknown"


def _inert(text: str, most: int) -> str:
    """Return the beginning of a text, of which a client may have written any part, without what is not printable."""
    return "".join([mark if mark.isprintable() else "?" for mark in text[:most]])


def _is_lost(request: ChatRequest, name: str) -> bool:
    value = canonical(request, name)
    if value is None or value in _NEUTRAL.get(name, ()):
        return False
    if name not in HARMLESS:
        raise refuse(name)
    return True


def canonical(request: ChatRequest, name: str) -> Any:
    """Return the value of a canonical field by its name in OpenAI's chat completions; `None` if it is not set."""
    match name:
        case "max_tokens":
            return request.max_output_tokens
        case "reasoning_effort":
            return request.reasoning
        case "response_format":
            return (
                None
                if request.response_format and request.response_format.kind == "text"
                else (request.response_format)
            )
        case "tools" | "tool_choice" | "parallel_tool_calls" | "n" | "user" | "metadata":
            return getattr(request, name)
        case _:
            return getattr(request.sampling, name)


def _is_extra_lost(request: ChatRequest, name: str) -> bool:
    if request.extras[name] is None or request.extras[name] in _NEUTRAL_EXTRAS.get(name, ()):
        return False
    if name not in HARMLESS_EXTRAS:
        raise refuse(name)
    return True


def _asks_for_summary(request: ChatRequest) -> bool:
    """Whether all that `reasoning` says beyond the canonical is in how much detail to show it."""
    said = request.extras.get("reasoning")
    return isinstance(said, dict) and said.keys() <= {"summary", "generate_summary"}


def _part_extras(messages: list[Message]) -> set[str]:
    """Return the names of what messages and their parts say beyond the canonical vocabulary."""
    named = {name for message in messages for owner in (message, *_parts_of(message)) for name in owner.extras}
    return named - BOOKKEEPING


def _tool_extras(tools: Iterable[Tool]) -> set[str]:
    """Return the names of what declared functions and custom tools say beyond the canonical vocabulary."""
    named = {name for tool in tools if tool.kind in {"function", "custom"} for name in tool.extras}
    return named - _TOOLS_BOOKKEEPING


def _parts_of(message: Message) -> Iterator[Part]:
    for part in message.content:
        yield part
        if isinstance(part, ToolResultPart):
            yield from part.content


def functions_only(request: ChatRequest) -> tuple[list[Tool], tuple[str, ...]]:
    """Return the tools that any vendor can offer, and the names of those that only their own vendor runs.

    A vendor's hosted tool is left out where functions or custom tools remain: an agent goes on without it. Raises
    `RequestRefused` where it is all that the request offers, or what it demands.
    """
    kept = [tool for tool in request.tools if tool.kind in {"function", "custom"}]
    hosted = tuple(dict.fromkeys(f"tools.{tool.kind}" for tool in request.tools if tool not in kept))
    if hosted and not kept:
        raise refuse("tools", what=f"the tool {hosted[0].removeprefix('tools.')}")
    choice = request.tool_choice
    if hosted and choice is not None and choice.name is not None and choice.name not in {tool.name for tool in kept}:
        raise refuse("tool_choice", what=f"the tool {choice.name}")
    return kept, hosted


def in_order(messages: Iterable[Message]) -> list[Message]:
    """Return messages with the results of tools right behind the calls that they answer.

    What the system or the user said before the last of them comes behind it: most vendors demand that nothing stands
    between, while clients of the Responses API may put anything there.
    """
    ordered: list[Message] = []
    waiting: list[Message] = []
    called: set[str] = set()
    for message in messages:
        if message.role == "tool":
            ordered.append(message)
            called -= {part.id for part in message.content if isinstance(part, ToolResultPart)}
        elif message.role == "assistant":
            ordered += [*waiting, message]
            waiting = []
            called = {part.id for part in message.content if isinstance(part, ToolCallPart)}
        else:
            waiting.append(message)
        if not called:
            ordered += waiting
            waiting = []
    return ordered + waiting


def image_type(media_type: str | None) -> str:
    """Return the registered name of an image's type, where clients use another for JPEG, or none."""
    return "image/jpeg" if media_type is None or media_type == "image/jpg" else media_type


def unsaid_names(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return `name` where a message says who speaks: for wires that have no word for it."""
    return ("name",) if any(message.name is not None for message in messages if message.role != "tool") else ()


def unsaid_failures(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return `is_error` where a tool failed: for wires on which only its own words tell."""
    parts = (part for message in messages for part in message.content)
    return ("is_error",) if any(isinstance(part, ToolResultPart) and part.is_error for part in parts) else ()


def as_user_text(instructions: str) -> str:
    """Return how a system message in the middle of a conversation is said where only its beginning may have one.

    It keeps its place, since what it says holds from there on.
    """
    return f"<system>\n{instructions}\n</system>"


__all__ = [
    "CANONICAL",
    "HARMLESS",
    "HARMLESS_EXTRAS",
    "SUMMARY",
    "UNSUPPORTED",
    "as_user_text",
    "canonical",
    "carry",
    "functions_only",
    "image_type",
    "in_order",
    "kind_of",
    "refuse",
    "refuse_part",
    "unsaid_failures",
    "unsaid_names",
]
