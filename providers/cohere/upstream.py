"""Canonical requests in the words of Cohere's API, version 2.

Source: https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/embed, read 2026-11; cohere 7.3,
`v2.client`.
"""

from typing import Any

from providers import custom_tools
from providers.carry import carry, functions_only, refuse, unsaid_failures, unsaid_names
from providers.cohere.messages import write_messages
from providers.reasoning import budget_of
from providers.schemas import clean
from providers.types import ChatRequest, EmbeddingRequest, ReasoningOptions, ResponseFormat, Tool

DIALECT = "cohere"
_READS = frozenset({"citation_options", "documents", "priority", "safety_mode", "strict_tools", "thinking"})
_CANNOT = frozenset({"logit_bias", "metadata", "n", "parallel_tool_calls", "top_logprobs", "user"})
_EMBEDDING_EXTRAS = frozenset({"input_type", "max_tokens", "priority", "truncate"})
_REFUSED_KEYWORDS = frozenset(
    {"minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "exclusiveMinimum", "exclusiveMaximum"}
)
"""Source: https://docs.cohere.com/docs/structured-outputs, section "Unsupported schema features", read 2026-11."""


def write_chat(request: ChatRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /v2/chat`, and the names of the fields that it leaves out."""
    tools, hosted = functions_only(request)
    own = {name: request.extras[name] for name in _READS if _is_said(request, name)}
    dropped = carry(request, dialect=DIALECT, cannot=_CANNOT, reads=own)
    sampling = request.sampling
    fields: dict[str, Any] = {
        "model": model,
        "messages": write_messages(request.messages),
        "stream": request.stream,
        **_write_tools(request, tools),
        "response_format": _write_format(request.response_format),
        "thinking": _write_thinking(request.reasoning),
        "max_tokens": request.max_output_tokens,
        "stop_sequences": sampling.stop or None,
        "temperature": sampling.temperature,
        "p": sampling.top_p,
        "k": sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logprobs": sampling.logprobs or None,
    }
    said = {name: value for name, value in (fields | own).items() if value is not None}
    return said, (*hosted, *dropped, *unsaid_names(request.messages), *unsaid_failures(request.messages))


def _is_said(request: ChatRequest, name: str) -> bool:
    """Whether the client set a field that is Cohere's; `thinking` is Anthropic's too, whose budget has another name."""
    value = request.extras.get(name)
    return value is not None and not (name == "thinking" and isinstance(value, dict) and "budget_tokens" in value)


def _write_tools(request: ChatRequest, tools: list[Tool]) -> dict[str, Any]:
    """Return the tools and the choice among them: one that must be called is the only one on offer."""
    choice = request.tool_choice
    if choice is not None and choice.mode == "named":
        tools = [tool for tool in tools if tool.name == choice.name]
        if not tools:
            raise refuse("tool_choice", what=f"the tool {choice.name}")
    if not tools:
        return {}
    words = {"required": "REQUIRED", "named": "REQUIRED", "none": "NONE"}
    return {
        "tools": [_write_tool(tool) for tool in tools],
        "tool_choice": words.get(choice.mode) if choice else None,
        # Strictness holds for all tools or for none.
        "strict_tools": True if all(tool.strict for tool in tools) else None,
    }


def _write_tool(tool: Tool) -> dict[str, Any]:
    declared = custom_tools.as_function(tool)
    parameters = declared.parameters or {"type": "object", "properties": {}}
    function = {"name": declared.name, "description": declared.description, "parameters": parameters}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _write_format(value: ResponseFormat | None) -> dict[str, Any] | None:
    if value is None or value.kind == "text":
        return None
    if value.schema is None:
        return {"type": "json_object"}
    return {"type": "json_object", "json_schema": clean(value.schema, drop=_REFUSED_KEYWORDS)}


def _write_thinking(options: ReasoningOptions | None) -> dict[str, Any] | None:
    """Return how long to think: not at all, as long as it takes, or up to a budget."""
    if options is None:
        return None
    if options.effort == "none" or options.budget_tokens == 0:
        return {"type": "disabled"}
    if options.effort is None and options.budget_tokens is None:
        return {"type": "enabled"} if options.include else None
    return {"type": "enabled", "token_budget": budget_of(options)}


def write_embeddings(request: EmbeddingRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /v2/embed`, and the names of the fields that it leaves out.

    Cohere demands to know what the vectors are for; who does not say gets those of documents to search.
    """
    if any(not isinstance(text, str) for text in request.input):
        raise refuse("input", what="an array of token ids")
    fields: dict[str, Any] = {
        "model": model,
        "texts": request.input,
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": request.dimensions,
    }
    fields |= {name: value for name, value in request.extras.items() if name in _EMBEDDING_EXTRAS}
    dropped = [name for name in request.extras if name not in _EMBEDDING_EXTRAS]
    dropped += ["user"] if request.user is not None else []
    return {name: value for name, value in fields.items() if value is not None}, tuple(dropped)


__all__ = ["DIALECT", "write_chat", "write_embeddings"]
