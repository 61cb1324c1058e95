"""Canonical requests in the words of Ollama's own API.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/openapi.yaml, read 2026-11.
"""

from typing import Any

import msgspec

from providers import custom_tools
from providers.carry import carry, functions_only, refuse, unsaid_failures, unsaid_names
from providers.ollama.messages import write_messages
from providers.reasoning import effort_of
from providers.types import ChatRequest, EmbeddingRequest, ReasoningOptions, ResponseFormat, Tool

DIALECT = "ollama"
_OPTION_EXTRAS = ("num_ctx", "num_keep", "min_p", "typical_p", "repeat_last_n", "repeat_penalty")
_TOP_EXTRAS = ("keep_alive", "truncate", "shift", "think")
_READS = frozenset({*_OPTION_EXTRAS, *_TOP_EXTRAS, "options"})
_CANNOT = frozenset({"logit_bias", "parallel_tool_calls", "n", "user", "metadata"})
_EMBEDDING_EXTRAS = frozenset({"keep_alive", "truncate", "options"})


class OllamaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an Ollama provider may set for requests that do not say it themselves.

    `num_ctx` is the context window in tokens that models are loaded with; without it the server's own setting holds,
    and longer prompts lose their beginning. `keep_alive` is how long a model stays loaded: a duration such as `10m`, or
    seconds; -1 for ever.
    """

    num_ctx: int | None = None
    keep_alive: str | int | None = None


def write_chat(request: ChatRequest, *, model: str, defaults: OllamaOptions) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /api/chat`, and the names of the fields that it leaves out."""
    tools, hosted = functions_only(request)
    choice = request.tool_choice.mode if request.tool_choice else "auto"
    cannot = _CANNOT | ({"tool_choice"} if choice in {"required", "named"} else set())
    dropped = carry(request, dialect=DIALECT, cannot=cannot, reads=_READS)
    fields: dict[str, Any] = {
        "model": model,
        "messages": write_messages(request.messages),
        "stream": request.stream,
        # The wire has no `tool_choice`: a model that is offered no tool calls none.
        "tools": [_write_tool(tool) for tool in tools] if choice != "none" and tools else None,
        "format": _write_format(request.response_format),
        "think": _write_thinking(request.reasoning),
        "options": _write_options(request, defaults=defaults) or None,
        "keep_alive": defaults.keep_alive,
        "logprobs": request.sampling.logprobs or None,
        "top_logprobs": request.sampling.top_logprobs or None,
    }
    fields |= {name: request.extras[name] for name in _TOP_EXTRAS if request.extras.get(name) is not None}
    unsaid = (*unsaid_names(request.messages), *unsaid_failures(request.messages))
    unsaid += ("strict",) if any(tool.strict for tool in tools) else ()
    return {name: value for name, value in fields.items() if value is not None}, (*hosted, *dropped, *unsaid)


def _write_tool(tool: Tool) -> dict[str, Any]:
    declared = custom_tools.as_function(tool)
    function = {"name": declared.name, "description": declared.description, "parameters": declared.parameters}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _write_format(value: ResponseFormat | None) -> str | dict[str, Any] | None:
    if value is None or value.kind == "text":
        return None
    return "json" if value.kind == "json_object" or value.schema is None else value.schema


def _write_thinking(options: ReasoningOptions | None) -> bool | str | None:
    """Return how long to think: no, yes, or a word. A model that knows only yes and no takes any word for yes."""
    if options is None:
        return None
    if options.effort == "none" or options.budget_tokens == 0:
        return False
    if options.effort is None and options.budget_tokens is None:
        return options.include or None
    return effort_of(options)


def _write_options(request: ChatRequest, *, defaults: OllamaOptions) -> dict[str, Any]:
    """Return the runtime options: the provider's, what the client named as Ollama does, and the canonical ones."""
    sampling, given = request.sampling, request.extras.get("options")
    named: dict[str, Any] = given if isinstance(given, dict) else {}
    canonical = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "num_predict": _cap(request.max_output_tokens, named.get("num_predict")),
        "stop": sampling.stop or None,
    }
    extras = {name: request.extras.get(name) for name in _OPTION_EXTRAS}
    said = {name: value for name, value in (canonical | extras).items() if value is not None}
    options = {"num_ctx": defaults.num_ctx, **named, **said}
    return {name: value for name, value in options.items() if value is not None}


def _cap(cap: int | None, named: Any) -> int | None:
    """Return the lower of two output caps; Ollama's words for none, which are negative, lift no other."""
    if cap is None or type(named) is not int or named < 0:
        return cap
    return min(cap, named)


def write_embeddings(
    request: EmbeddingRequest, *, model: str, defaults: OllamaOptions
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /api/embed`, and the names of the fields that it leaves out."""
    if any(not isinstance(text, str) for text in request.input):
        raise refuse("input", what="an array of token ids")
    fields: dict[str, Any] = {
        "model": model,
        "input": request.input,
        "dimensions": request.dimensions,
        "keep_alive": defaults.keep_alive,
        "options": {"num_ctx": defaults.num_ctx} if defaults.num_ctx else None,
    }
    fields |= {name: value for name, value in request.extras.items() if name in _EMBEDDING_EXTRAS}
    dropped = [name for name in request.extras if name not in _EMBEDDING_EXTRAS]
    dropped += ["user"] if request.user is not None else []
    return {name: value for name, value in fields.items() if value is not None}, tuple(dropped)


__all__ = ["DIALECT", "OllamaOptions", "write_chat", "write_embeddings"]
