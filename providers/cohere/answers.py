"""Cohere's answers that are not streamed, read.

Source: https://docs.cohere.com/reference/chat, read 2026-11; cohere 7.3, `v2.types.V2ChatResponse`.
"""

from typing import Any

import msgspec

from providers.answers import count, fields, objects, read_object, vector
from providers.cohere.errors import error_in_stream
from providers.cohere.wire import FAILED, FINISH_REASONS, read_citation, read_logprobs, read_usage
from providers.errors import BadAnswer
from providers.types import Choice, Completion, Embeddings, Part, TextPart, ThinkingPart, ToolCallPart, Usage


def read_completion(body: bytes) -> Completion:
    """Read an answer, which names neither its model nor its time. Raises `BadAnswer`, or what it reports itself."""
    answer = read_object(body)
    message, reason = answer.get("message"), str(answer.get("finish_reason") or "")
    if not isinstance(message, dict):
        raise BadAnswer("the provider's answer has no message")
    if reason in FAILED:
        raise error_in_stream(answer.get("error"), reason=reason)
    choice = Choice(
        index=0,
        content=_read_content(message),
        finish_reason=FINISH_REASONS.get(reason, "other"),
        logprobs=read_logprobs(objects(answer.get("logprobs"))),
    )
    usage = read_usage(answer.get("usage"))
    return Completion(id=str(answer.get("id") or ""), model="", created=0, choices=[choice], usage=usage)


def _read_content(message: dict[str, Any]) -> list[Part]:
    """Return what was thought and said, the plan, and the calls that it is for."""
    given = message.get("content")
    blocks = [{"type": "text", "text": given}] if isinstance(given, str) else objects(given)
    citations = objects(message.get("citations"))
    content: list[Part] = []
    for position, block in enumerate(blocks):
        if block.get("type") == "thinking":
            content.append(ThinkingPart(text=str(block.get("thinking") or "")))
        elif block.get("type") == "text":
            notes = _citations_of(citations, position=position, blocks=blocks)
            content.append(TextPart(text=str(block.get("text") or ""), annotations=notes))
    if plan := message.get("tool_plan"):
        content.append(TextPart(text=str(plan)))
    return content + [_read_call(call) for call in objects(message.get("tool_calls"))]


def _citations_of(
    citations: list[dict[str, Any]], *, position: int, blocks: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the citations of the text at `position`; those that name no text are of the first."""
    texts = [at for at, block in enumerate(blocks) if block.get("type") == "text"]
    owned = [(at if (at := citation.get("content_index")) in texts else texts[0], citation) for citation in citations]
    return [note for at, citation in owned if at == position for note in read_citation(citation)]


def _read_call(call: dict[str, Any]) -> ToolCallPart:
    function = fields(call.get("function"))
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    return ToolCallPart(id=str(call.get("id") or ""), name=str(function.get("name") or ""), arguments=arguments or "{}")


def read_embeddings(body: bytes) -> Embeddings:
    """Read embeddings. Raises `BadAnswer`."""
    answer = read_object(body)
    vectors = fields(answer.get("embeddings")).get("float")
    if not isinstance(vectors, list):
        raise BadAnswer("the provider's answer holds no embeddings")
    billed = count(fields(fields(answer.get("meta")).get("billed_units")).get("input_tokens"))
    usage = None if billed is None else Usage(input_tokens=billed)
    return Embeddings(model="", vectors=[vector(item) for item in vectors], usage=usage)


def read_models(body: bytes) -> list[str]:
    """Read the names in a list of models. Raises `BadAnswer`."""
    models = read_object(body).get("models")
    if not isinstance(models, list):
        raise BadAnswer("the provider's answer is no list of models")
    return [name for item in objects(models) if isinstance(name := item.get("name"), str)]


__all__ = ["read_completion", "read_embeddings", "read_models"]
