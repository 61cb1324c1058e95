"""Canonical requests in the words of a provider's Responses API, and its whole answers read back.

What is asked here is never stored by the provider: the gateway keeps what its clients want kept, and reasoning comes
back encrypted instead.
Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from typing import Any

from providers.answers import fields, integer, objects, read_object
from providers.carry import carry, functions_only, unsaid_failures, unsaid_names
from providers.catalog import Quirks
from providers.custom_tools import as_function
from providers.errors import BadAnswer
from providers.openai.foreign import cannot_think, fit_model, fit_user, never_thinks
from providers.openai.responses.items import parse_output
from providers.openai.responses.tools import write_choice, write_tools
from providers.openai.responses.wire import DIALECT, ENCRYPTED, INCOMPLETE_REASONS, LOGPROBS, failure_of, read_usage
from providers.openai.responses.write import write_items
from providers.openai.upstream import effort_word, leave_out
from providers.types import (
    ChatRequest,
    Choice,
    Completion,
    FinishReason,
    Part,
    RefusalPart,
    ResponseFormat,
    ThinkingPart,
    ToolCallPart,
)

_CANNOT = frozenset({"frequency_penalty", "logit_bias", "n", "presence_penalty", "seed", "stop", "top_k"})
_SHARED = frozenset(
    {
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
    }
)
"""Fields of OpenAI's chat completions that mean the same here."""


def write_response(
    request: ChatRequest, *, model: str, quirks: Quirks, signer: str = DIALECT
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /responses` without `stream`, and what is left out.

    Raises `RequestRefused` for what may not be left out.
    """
    same_dialect = request.dialect == DIALECT
    shared = _SHARED if request.dialect == "openai" and quirks.is_openai else frozenset[str]()
    is_foreign = quirks.is_openai and not same_dialect
    request, lost = fit_model(request, model=model) if is_foreign else (request, ())
    cannot = _CANNOT | ({"reasoning_effort"} if is_foreign and cannot_think(request, model=model) else set())
    dropped = carry(request, dialect=DIALECT, cannot=cannot, reads={*shared, "verbosity", "store"})
    unsaid = () if same_dialect else (*unsaid_names(request.messages), *unsaid_failures(request.messages))
    tools, hosted = (request.tools, ()) if same_dialect else functions_only(request)
    if not quirks.is_openai:
        tools = [as_function(tool) for tool in tools]
    instructions, items = write_items(request, has_custom=quirks.is_openai, signer=signer)
    said: dict[str, Any] = {
        "model": model,
        "instructions": instructions,
        "input": items,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_logprobs": request.sampling.top_logprobs if request.sampling.logprobs else None,
        "tools": write_tools(tools, same_dialect=same_dialect) or None,
        "tool_choice": write_choice(request.tool_choice, tools),
        "parallel_tool_calls": request.parallel_tool_calls,
        "text": _write_text(request) or None,
        "reasoning": None if is_foreign and never_thinks(model) else _write_reasoning(request) or None,
        "include": _include(request, thinks=not (is_foreign and never_thinks(model))) or None,
        "max_output_tokens": request.max_output_tokens,
        "user": fit_user(request.user) if is_foreign else request.user,
        "metadata": request.metadata or None,
    }
    body = {name: value for name, value in said.items() if value is not None}
    body |= {name: request.extras[name] for name in sorted(shared) if request.extras.get(name) is not None}
    if same_dialect:
        body = request.extras | body
    body["store"] = False
    return body, (*dropped, *hosted, *lost, *unsaid, *leave_out(body, quirks))


def _write_text(request: ChatRequest) -> dict[str, Any]:
    """Return what is said of the answer's text: its form, and how many words it may use."""
    said = dict(fields(request.extras.get("text"))) if request.dialect == DIALECT else {}
    if (verbosity := request.extras.get("verbosity")) is not None:
        said["verbosity"] = verbosity
    form = write_format(request.response_format)
    return said if form is None else {**said, "format": form}


def write_format(value: ResponseFormat | None) -> dict[str, Any] | None:
    """Return the wire's form of a response format."""
    if value is None or value.kind != "json_schema":
        return {"type": value.kind} if value else None
    said = {"schema": value.schema, "strict": value.strict, "description": value.description}
    written = {name: field for name, field in said.items() if field is not None}
    return {"type": value.kind, "name": value.name or "answer", **written}


def _write_reasoning(request: ChatRequest) -> dict[str, Any]:
    said = dict(fields(request.extras.get("reasoning"))) if request.dialect == DIALECT else {}
    if (effort := effort_word(request)) is not None:
        said["effort"] = effort
    if request.dialect != DIALECT and request.reasoning is not None and request.reasoning.include:
        said["summary"] = "auto"
    return said


def _include(request: ChatRequest, *, thinks: bool) -> list[str]:
    """Return what the answer shall hold. Models that do not reason refuse a request for encrypted reasoning."""
    thinks = thinks and (
        request.reasoning is not None
        or any(isinstance(part, ThinkingPart) for message in request.messages for part in message.content)
    )
    asked = request.extras.get("include") if request.dialect == DIALECT else None
    wanted = [ENCRYPTED] if thinks else []
    if request.sampling.logprobs:
        wanted.append(LOGPROBS)
    return [*wanted, *(asked if isinstance(asked, list) else [])]


def read_response(body: bytes, *, signer: str = DIALECT) -> Completion:
    """Read an answer that was not streamed. Raises `BadAnswer`, or what a failed response reports."""
    return completion_of(read_object(body), signer=signer)


def completion_of(answer: dict[str, Any], *, signer: str) -> Completion:
    """Return what a response says. Raises `BadAnswer`, or what a failed one reports."""
    if answer.get("status") == "failed" or (answer.get("error") is not None and answer.get("output") is None):
        raise failure_of(answer.get("error"))
    output = answer.get("output")
    if not isinstance(output, list) or len(objects(output)) != len(output):
        raise BadAnswer("the provider's answer has no output")
    content = [part for item in output for part in parse_output(item, signer=signer)]
    logprobs = [token for item in output for part in objects(item.get("content")) for token in logprobs_of(part)]
    choice = Choice(
        index=0,
        content=content,
        finish_reason=reason_of(answer, content),
        logprobs={"content": logprobs, "refusal": None} if logprobs else None,
    )
    return Completion(
        id=str(answer.get("id") or ""),
        model=str(answer.get("model") or ""),
        created=integer(answer.get("created_at")),
        choices=[choice],
        usage=read_usage(answer.get("usage"), tier=answer.get("service_tier")),
    )


def logprobs_of(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the log-probabilities of a text or of a delta in the shape of chat completions."""
    return [{"bytes": None, "top_logprobs": [], **token} for token in objects(part.get("logprobs"))]


def reason_of(answer: dict[str, Any], content: list[Part]) -> FinishReason:
    """Return why a response ended."""
    if answer.get("status") not in (None, "completed"):
        return INCOMPLETE_REASONS.get(str(fields(answer.get("incomplete_details")).get("reason")), "other")
    if any(isinstance(part, ToolCallPart) for part in content):
        return "tool_calls"
    return "refusal" if any(isinstance(part, RefusalPart) for part in content) else "stop"
