"""Canonical requests as bodies of Converse.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.ConverseRequest.
"""

import re
from collections.abc import Iterable
from typing import Any

from providers.bedrock.blocks import BlockWriter
from providers.bedrock.conversation import CACHE_CONTROL, ConversationWriter
from providers.bedrock.families import Family, caches_prompts, family_of
from providers.bedrock.output import write_output
from providers.bedrock.tools import forces_tool, write_tool_config, write_tools
from providers.bedrock.tuning import Tuning, tune
from providers.carry import carry
from providers.errors import RequestRefused
from providers.types import ChatRequest, ImagePart

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


def write_chat(request: ChatRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `/converse` and `/converse-stream`, and the names of the fields that are left out.

    Raises `RequestRefused` for what cannot be carried.
    """
    family = family_of(model)
    output = write_output(request, family, model=model)
    tuning = tune(request, model=model, forces_tool=forces_tool(request.tool_choice, answer=output.tool))
    cannot = _CANNOT | tuning.cannot
    entries, lost = write_tools(request, family, model=model)
    dropped = carry(request, dialect=DIALECT, cannot=cannot, reads=_reads(request, family, tuning))
    labels = _labels(request)
    offered = write_tool_config(entries, request.tool_choice, answer=output.tool)
    blocks = BlockWriter(family, keeps_calls=bool(offered))
    system, turns = ConversationWriter(blocks, caches=caches_prompts(family)).write(request)
    body: dict[str, Any] = {
        "messages": turns,
        "system": [*system, {"text": output.words}] if output.words else system,
        "inferenceConfig": _inference_config(request, cannot),
        "toolConfig": offered,
        "additionalModelRequestFields": tuning.fields | _own_object(request, "additionalModelRequestFields"),
        "additionalModelResponseFieldPaths": _asked_back(request, family),
        "outputConfig": _if_set(effort=tuning.effort, textFormat=output.format),
        "requestMetadata": labels | _own_object(request, "requestMetadata"),
        "serviceTier": _service_tier(request),
        "projectIdentifier": request.extras.get("projectIdentifier"),
    } | {name: _own_object(request, name) for name in _OBJECTS if name in request.extras}
    kept = {name: value for name, value in body.items() if name == "messages" or value not in (None, {}, [])}
    return kept, tuple(dict.fromkeys((*dropped, *lost, *output.lost, *_unsaid(request, labels))))


def _unsaid(request: ChatRequest, labels: dict[str, str]) -> tuple[str, ...]:
    """Return what the wire has no place for inside messages and labels."""
    images = (part for message in request.messages for part in message.content if isinstance(part, ImagePart))
    odd = {
        "metadata": len(labels) < len(request.metadata),
        "name": any(message.name is not None for message in request.messages if message.role != "tool"),
        "detail": any(image.detail not in (None, "auto") for image in images),
    }
    return tuple(name for name, is_lost in odd.items() if is_lost)


def _reads(request: ChatRequest, family: Family, tuning: Tuning) -> frozenset[str]:
    """Return the extras that are said after all."""
    reads = _OWN | tuning.reads | {"context"}
    if caches_prompts(family):
        reads |= {CACHE_CONTROL}
    return reads | {"service_tier"} if _service_tier(request) else reads


def _inference_config(request: ChatRequest, cannot: Iterable[str]) -> dict[str, Any]:
    sampling = request.sampling
    return _if_set(
        maxTokens=request.max_output_tokens,
        temperature=None if "temperature" in cannot else sampling.temperature,
        topP=None if "top_p" in cannot else sampling.top_p,
        stopSequences=sampling.stop or None,
    )


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


def _if_set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _malformed(name: str) -> RequestRefused:
    return RequestRefused(f"{name} has the wrong form", status=400, param=name)


__all__ = ["DIALECT", "write_chat"]
