"""Canonical requests as bodies of Converse.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.ConverseRequest.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from providers.bedrock.blocks import BlockWriter
from providers.bedrock.conversation import CACHE_CONTROL, ConversationWriter, cache_point
from providers.bedrock.families import Family, caches_prompts, family_of, has_strict_tools
from providers.bedrock.tuning import Tuning, tune
from providers.carry import carry, functions_only, refuse
from providers.custom_tools import as_function
from providers.errors import RequestRefused
from providers.schemas import clean
from providers.types import ChatRequest, ResponseFormat, Tool, ToolChoice

DIALECT = "bedrock"
_CANNOT = frozenset(
    {
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "n",
        "parallel_tool_calls",
        "seed",
        "user",
    }
)
_OBJECTS = ("guardrailConfig", "performanceConfig", "promptVariables", "serviceTier")
_OWN = frozenset(
    {*_OBJECTS, "additionalModelRequestFields", "additionalModelResponseFieldPaths", "projectIdentifier"}
) | {"requestMetadata"}
"""Fields of Converse's own, which a client of any dialect may send."""
_TIERS = frozenset({"priority", "default", "flex", "reserved"})
_LABEL = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_MAX_LABELS = 16
_STOP_SEQUENCE = "/stop_sequence"
_NOT_IN_A_FORMAT = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    }
)
_ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {}}


def write_chat(request: ChatRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `/converse` and `/converse-stream`, and the names of the fields that are left out.

    Raises `RequestRefused` for what cannot be carried.
    """
    family, tuning = family_of(model), tune(request, model=model)
    if request.response_format is not None and request.response_format.kind == "json_object":
        raise refuse("response_format", what="response_format json_object")
    tools, dropped = _tools(request, family, model=model)
    cannot = _CANNOT | tuning.cannot
    dropped += carry(request, dialect=DIALECT, cannot=cannot, reads=_reads(request, family, tuning))
    labels = _labels(request)
    if len(labels) < len(request.metadata):
        dropped += ("metadata",)
    offered = _tool_config(tools, request.tool_choice)
    blocks = BlockWriter(family, keeps_calls=offered is not None)
    system, turns = ConversationWriter(blocks, caches=caches_prompts(family)).write(request)
    body: dict[str, Any] = {
        "messages": turns,
        "system": system,
        "inferenceConfig": _inference_config(request, cannot),
        "toolConfig": offered,
        "additionalModelRequestFields": tuning.fields | _own_object(request, "additionalModelRequestFields"),
        "additionalModelResponseFieldPaths": _asked_back(request, family),
        "outputConfig": _output_config(request.response_format, tuning.effort),
        "requestMetadata": labels | _own_object(request, "requestMetadata"),
        "serviceTier": _service_tier(request),
        "projectIdentifier": request.extras.get("projectIdentifier"),
    } | {name: _own_object(request, name) for name in _OBJECTS if name in request.extras}
    kept = {name: value for name, value in body.items() if name == "messages" or value not in (None, {}, [])}
    return kept, tuple(dict.fromkeys(dropped))


def _reads(request: ChatRequest, family: Family, tuning: Tuning) -> frozenset[str]:
    """Return the extras that are said after all."""
    reads = _OWN | tuning.reads | {"context"}
    if caches_prompts(family):
        reads |= {CACHE_CONTROL}
    return reads | {"service_tier"} if _service_tier(request) else reads


def _inference_config(request: ChatRequest, cannot: Iterable[str]) -> dict[str, Any]:
    sampling = request.sampling
    config = {
        "maxTokens": request.max_output_tokens,
        "temperature": None if "temperature" in cannot else sampling.temperature,
        "topP": None if "top_p" in cannot else sampling.top_p,
        "stopSequences": sampling.stop or None,
    }
    return {name: value for name, value in config.items() if value is not None}


def _tools(request: ChatRequest, family: Family, *, model: str) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the tools that are offered, and the names of what is left out of them."""
    tools, dropped = functions_only(request)
    may_be_strict = has_strict_tools(family, model)
    written: list[dict[str, Any]] = []
    for tool in tools:
        written.append({"toolSpec": _tool_spec(as_function(tool), may_be_strict=may_be_strict)})
        if family in {"claude", "hidden"}:
            written += cache_point(tool.extras)
        lost = tool.extras.keys() - ({CACHE_CONTROL} if family in {"claude", "hidden"} else set())
        if tool.kind == "function":
            dropped += tuple(f"tools.{name}" for name in sorted(lost))
        if tool.strict and not may_be_strict:
            dropped += ("tools.strict",)
    return written, dropped


def _tool_spec(tool: Tool, *, may_be_strict: bool) -> dict[str, Any]:
    """Return a tool's declaration; a strict one has a schema of the subset that can be promised."""
    schema = tool.parameters or _ANY_OBJECT
    schema = schema if "type" in schema else {"type": "object", **schema}
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict and may_be_strict:
        return {**spec, "inputSchema": {"json": _promised(schema)}, "strict": True}
    return {**spec, "inputSchema": {"json": schema}}


def _promised(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of the subset that Bedrock enforces; it refuses any other.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html, read 2026-11.
    """
    return clean(schema, drop=_NOT_IN_A_FORMAT, keep={"minItems": (0, 1)}, closes_objects=True)


def _tool_config(tools: list[dict[str, Any]], choice: ToolChoice | None) -> dict[str, Any] | None:
    """Return the tools and how they may be called; `None` where none may be.

    Converse has no word for a choice of no tool, so that the tools are left out. It takes calls in the conversation
    only beside tools; `BlockWriter` then tells them in words, since offering tools would allow what was forbidden.
    """
    if not tools or (choice is not None and choice.mode == "none"):
        return None
    match choice:
        case ToolChoice(mode="required"):
            return {"tools": tools, "toolChoice": {"any": {}}}
        case ToolChoice(mode="named", name=str(name)):
            return {"tools": tools, "toolChoice": {"tool": {"name": name}}}
        case ToolChoice(mode="auto"):
            return {"tools": tools, "toolChoice": {"auto": {}}}
        case _:
            return {"tools": tools}


def _output_config(form: ResponseFormat | None, effort: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {} if effort is None else {"effort": effort}
    if form is None or form.kind != "json_schema":
        return config
    schema = {
        "schema": msgspec.json.encode(_promised(form.schema or {})).decode(),
        "name": form.name,
        "description": form.description,
    }
    named = {name: value for name, value in schema.items() if value is not None}
    return config | {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": named}}}


def _labels(request: ChatRequest) -> dict[str, str]:
    """Return the metadata that Bedrock takes as labels of the request in its logs."""
    fit = [
        (name, value) for name, value in request.metadata.items() if _LABEL.fullmatch(name) and _LABEL.fullmatch(value)
    ]
    return dict(fit[:_MAX_LABELS])


def _service_tier(request: ChatRequest) -> dict[str, str] | None:
    tier = request.extras.get("service_tier")
    return {"type": tier} if isinstance(tier, str) and tier in _TIERS else None


def _asked_back(request: ChatRequest, family: Family) -> list[str]:
    """Return the fields of the model's own answer to add: the stop sequence that Claude met."""
    given = request.extras.get("additionalModelResponseFieldPaths") or []
    if not isinstance(given, list):
        raise _malformed("additionalModelResponseFieldPaths")
    own = [_STOP_SEQUENCE] if request.sampling.stop and family in {"claude", "hidden"} else []
    return [*given, *(path for path in own if path not in given)]


def _own_object(request: ChatRequest, name: str) -> dict[str, Any]:
    value = request.extras.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed(name)
    return value


def _malformed(name: str) -> RequestRefused:
    return RequestRefused(f"{name} has the wrong form", status=400, param=name)


__all__ = ["DIALECT", "write_chat"]
