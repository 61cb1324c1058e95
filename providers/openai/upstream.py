"""Canonical requests in the words of an OpenAI-compatible provider, and its answers read back.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

import base64
import struct
from collections.abc import Collection
from typing import Any

import msgspec

from providers.answers import fields, integer, objects, read_object
from providers.carry import HARMLESS, HARMLESS_EXTRAS, carry, functions_only, refuse, unsaid_failures
from providers.catalog import Quirks
from providers.custom_tools import as_function, names_of, wrap
from providers.errors import BadAnswer
from providers.openai import mistral, thoughts
from providers.openai.errors import error_in_stream
from providers.openai.foreign import cannot_think, fit_model, fit_user, fitted, never_thinks
from providers.openai.messages import take_signature, write_message
from providers.openai.parts import made_call_id, parse_part, parse_tool_call
from providers.openai.tools import write_tool, write_tool_choice
from providers.openai.wire import DIALECT, FINISH_REASONS, usage_of
from providers.reasoning import effort_of
from providers.types import (
    ChatRequest,
    Choice,
    Completion,
    EmbeddingRequest,
    Embeddings,
    Message,
    Part,
    RefusalPart,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
)

_EFFORTS = ("low", "medium", "high")
_READS = frozenset({"prompt_cache_key", "safety_identifier", "service_tier"})
"""Fields that the Responses API shares with OpenAI's chat completions."""


def write_chat(request: ChatRequest, *, model: str, quirks: Quirks) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /chat/completions` without the fields that make it a stream, and what is left out.

    Raises `RequestRefused` for what may not be left out.
    """
    same_dialect = request.dialect == DIALECT
    request, lost = (request, ()) if same_dialect or not quirks.is_openai else fit_model(request, model=model)
    tools, hosted = (request.tools, ()) if same_dialect else functions_only(request)
    reads = _READS | {"text"} if quirks.is_openai and request.dialect == "responses" else frozenset[str]()
    dropped = carry(request, dialect=DIALECT, cannot=_cannot(request, model=model, quirks=quirks), reads=reads)
    is_mistral = quirks.words == "mistral"
    said, unsaid = mistral.reworded(request, model=model) if is_mistral else (request, ())
    body = {"model": model, **_fields(said, tools=tools, quirks=quirks)}
    if not same_dialect:
        _fit_fields(body, quirks=quirks)
    body |= request.extras if same_dialect else _shared(request, reads)
    if is_mistral:
        mistral.rename_fields(body)
    return body, (*dropped, *hosted, *lost, *unsaid, *unsaid_failures(request.messages), *leave_out(body, quirks))


def _cannot(request: ChatRequest, *, model: str, quirks: Quirks) -> frozenset[str]:
    """Return the canonical fields that OpenAI's own API, or this model of it, refuses of other dialects."""
    if not quirks.is_openai or request.dialect == DIALECT:
        return frozenset()
    return frozenset({"top_k"}) | ({"reasoning_effort"} if cannot_think(request, model=model) else set())


def _fit_fields(body: dict[str, Any], *, quirks: Quirks) -> None:
    """Take out of `body` what is refused as it stands: a choice among no tools, and what this model has no word for."""
    if "tools" not in body:
        body.pop("tool_choice", None)
        body.pop("parallel_tool_calls", None)
    if quirks.is_openai and never_thinks(body["model"]):
        body.pop("reasoning_effort", None)
    if quirks.is_openai and "user" in body:
        body["user"] = fit_user(body["user"])


def _fields(request: ChatRequest, *, tools: list[Tool], quirks: Quirks) -> dict[str, Any]:
    """Return the canonical fields that are set, in this wire's words."""
    same_dialect = request.dialect == DIALECT
    custom = names_of(tools) if quirks.is_openai else frozenset[str]()
    sampling = msgspec.structs.asdict(request.sampling)
    stop, top_k = sampling.pop("stop"), sampling.pop("top_k")
    fields: dict[str, Any] = {
        "messages": _write_messages(request, quirks),
        **sampling,
        "top_k": top_k if same_dialect or not quirks.is_openai else None,
        "stop": stop or None,
        "tools": [
            write_tool(tool if quirks.is_openai else as_function(tool), same_dialect=same_dialect) for tool in tools
        ]
        or None,
        "tool_choice": write_tool_choice(request.tool_choice, custom=custom),
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": write_response_format(request.response_format),
        "reasoning_effort": effort_word(request),
        quirks.max_tokens_field: request.max_output_tokens,
        "n": None if request.n == 1 else request.n,
        "user": request.user,
        "metadata": request.metadata or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _write_messages(request: ChatRequest, quirks: Quirks) -> list[dict[str, Any]]:
    same_dialect = request.dialect == DIALECT
    messages = request.messages
    if not same_dialect:
        shows = quirks.words == "mistral"
        messages = fitted(messages, knows_developers=quirks.is_openai, shows_in_results=shows)
    if not quirks.is_openai:
        messages = [_with_functions(message) for message in messages]
    written = [
        wire for message in messages for wire in write_message(message, same_dialect=same_dialect, signs=quirks.signs)
    ]
    return written if same_dialect else [wire for wire in written if _says_something(wire)]


def _says_something(wire: dict[str, Any]) -> bool:
    """Whether a message says anything: one whose thoughts alone were there is refused without them."""
    return bool(wire["content"] or wire.keys() & {"tool_calls", "refusal", thoughts.DETAILS} or wire["role"] == "tool")


def _with_functions(message: Message) -> Message:
    """Return a message whose calls of custom tools are calls of the functions that stand for them."""
    if not any(isinstance(part, ToolCallPart) and part.extras.get("type") == "custom" for part in message.content):
        return message
    content = [wrap(part) if isinstance(part, ToolCallPart) else part for part in message.content]
    return msgspec.structs.replace(message, content=content)


def effort_word(request: ChatRequest) -> str | None:
    """Return how hard to think: OpenAI's own word as it came, another's as one that all of its models know."""
    options = request.reasoning
    if options is None or (options.effort is None and options.budget_tokens is None):
        return None
    if options.effort is not None and request.dialect in {DIALECT, "responses"}:
        return options.effort
    return effort_of(options, known=_EFFORTS)


def _shared(request: ChatRequest, reads: Collection[str]) -> dict[str, Any]:
    """Return the fields of a Responses request that mean the same here."""
    shared = {name: request.extras[name] for name in _READS & set(reads) if request.extras.get(name) is not None}
    text = request.extras.get("text") if "text" in reads else None
    verbosity = text.get("verbosity") if isinstance(text, dict) else None
    return shared if verbosity is None else {**shared, "verbosity": verbosity}


def leave_out(body: dict[str, Any], quirks: Quirks) -> tuple[str, ...]:
    """Take out of `body` what the vendor refuses and what is harmless to lose; return its names."""
    refused = sorted(quirks.unsupported & body.keys())
    for name in refused:
        if name not in HARMLESS | HARMLESS_EXTRAS:
            raise refuse(name)
        del body[name]
    return tuple(refused)


def write_response_format(value: ResponseFormat | None) -> dict[str, Any] | None:
    """Return the wire's form of a response format."""
    if value is None or value.kind != "json_schema":
        return {"type": value.kind} if value else None
    schema = {"name": value.name, "schema": value.schema, "strict": value.strict, "description": value.description}
    return {"type": value.kind, "json_schema": {name: field for name, field in schema.items() if field is not None}}


def read_completion(body: bytes) -> Completion:
    """Read an answer that was not streamed.

    Raises `BadAnswer` for what is no chat completion, and what an error in its place reports.
    """
    answer = read_object(body)
    choices = answer.get("choices")
    if not choices and answer.get("error"):
        raise error_in_stream(answer["error"])
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise BadAnswer("the provider's answer has no choices")
    return Completion(
        id=str(answer.get("id") or ""),
        model=str(answer.get("model") or ""),
        created=integer(answer.get("created")),
        choices=[
            _read_choice(choice, position, answer_id=str(answer.get("id") or ""))
            for position, choice in enumerate(choices)
        ],
        usage=usage_of(answer),
    )


def _read_choice(choice: dict[str, Any], position: int, *, answer_id: str) -> Choice:
    index = integer(choice.get("index", position))
    message = fields(choice.get("message"))
    content: list[Part] = []
    blocks = thoughts.read_details(message.get(thoughts.DETAILS))
    plain = message.get("reasoning_content") or message.get("reasoning")
    if plain and not any(block.text for block in blocks):
        content.append(ThinkingPart(text=str(plain)))
    content += blocks
    content += _read_content(message.get("content"), notes=objects(message.get("annotations")))
    content = take_signature(content, message)
    if refusal := message.get("refusal"):
        content.append(RefusalPart(text=str(refusal)))
    calls = objects(message.get("tool_calls"))
    if function := fields(message.get("function_call")):
        calls.append({"id": function.get("name"), "function": function})
    for number, call in enumerate(calls):
        content.append(
            parse_tool_call(call if call.get("id") else {**call, "id": made_call_id(answer_id, index, number)})
        )
    return Choice(
        index=index,
        content=content,
        finish_reason=FINISH_REASONS.get(str(choice.get("finish_reason")), "other"),
        logprobs=choice.get("logprobs"),
    )


def _read_content(content: Any, *, notes: list[dict[str, Any]]) -> list[Part]:
    """Return the parts of an answer's content: text, or a list of parts. Annotations belong to the first text."""
    if isinstance(content, str):
        return [TextPart(text=content, annotations=notes)]
    parts: list[Part] = []
    for piece in objects(content):
        thought = thoughts.read_thinking(piece)
        parts.append(parse_part(piece) if thought is None else thought)
    return parts


def write_embeddings(request: EmbeddingRequest, *, model: str) -> dict[str, Any]:
    """Return the body of `POST /embeddings`."""
    body: dict[str, Any] = {"model": model, "input": request.input, "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    return body | (request.extras if request.dialect == DIALECT else {})


def read_embeddings(body: bytes) -> Embeddings:
    """Read embeddings, as floats or base64, in the order of their index. Raises `BadAnswer`."""
    answer = read_object(body)
    try:
        items = sorted(answer["data"], key=lambda item: integer(item.get("index")))
        vectors = [_read_vector(item["embedding"]) for item in items]
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, struct.error):
        raise BadAnswer("the provider's answer holds no embeddings") from None
    return Embeddings(model=str(answer.get("model") or ""), vectors=vectors, usage=usage_of(answer))


def _read_vector(vector: Any) -> list[float]:
    if isinstance(vector, str):
        packed = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    if not isinstance(vector, list):
        raise TypeError("a vector is a list of numbers")
    return [float(number) for number in vector]


def read_models(body: bytes) -> list[str]:
    """Read the ids in a list of models. Raises `BadAnswer`."""
    answer = read_object(body)
    items = answer.get("data", answer.get("models"))
    if not isinstance(items, list):
        raise BadAnswer("the provider's answer is no list of models")
    names = [item.get("id") or item.get("name") for item in objects(items)]
    return [name for name in names if isinstance(name, str)]
