"""Canonical requests in the words of an OpenAI-compatible provider, and its answers read back.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

import base64
import struct
from typing import Any

import msgspec

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing import sse
from providers.openai.errors import error_in_stream
from providers.openai.parts import parse_content, parse_tool_call, write_message
from providers.openai.wire import DIALECT, FINISH_REASONS, WireUsage, read_usage
from providers.types import (
    ChatEvent,
    ChatRequest,
    Choice,
    Completion,
    EmbeddingRequest,
    Embeddings,
    Finished,
    Part,
    RefusalPart,
    ResponseFormat,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    Tool,
    ToolCallDelta,
    ToolCallStarted,
    ToolChoice,
    Usage,
    UsageReported,
)


def write_chat(request: ChatRequest, *, model: str, max_tokens_field: str) -> dict[str, Any]:
    """Return the body of `POST /chat/completions`, without streaming options."""
    sampling = msgspec.structs.asdict(request.sampling)
    stop = sampling.pop("stop")
    effort = request.reasoning.effort if request.reasoning else None
    fields: dict[str, Any] = {
        "model": model,
        "messages": [wire for message in request.messages for wire in write_message(message)],
        **sampling,
        "stop": stop or None,
        "tools": [write_tool(tool) for tool in request.tools] or None,
        "tool_choice": write_tool_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": write_response_format(request.response_format),
        "reasoning_effort": effort,
        max_tokens_field: request.max_output_tokens,
        "n": request.n if request.n > 1 else None,
        "user": request.user,
        "metadata": request.metadata or None,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    return body | (request.extras if request.dialect == DIALECT else {})


def write_tool(tool: Tool) -> dict[str, Any]:
    """Return the wire's form of a declared tool."""
    if tool.kind != "function":
        return tool.extras
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def write_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    """Return the wire's form of a tool choice."""
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    return {"type": "function", "function": {"name": choice.name}}


def write_response_format(value: ResponseFormat | None) -> dict[str, Any] | None:
    """Return the wire's form of a response format."""
    if value is None or value.kind != "json_schema":
        return {"type": value.kind} if value else None
    schema = {"name": value.name, "schema": value.schema, "strict": value.strict, "description": value.description}
    return {"type": value.kind, "json_schema": {name: field for name, field in schema.items() if field is not None}}


def read_completion(body: bytes) -> Completion:
    """Read an answer that was not streamed. Raises `BadAnswer` for what is no chat completion."""
    answer = read_object(body)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise BadAnswer("the provider's answer has no choices")
    return Completion(
        id=str(answer.get("id") or ""),
        model=str(answer.get("model") or ""),
        created=_integer(answer.get("created")),
        choices=[_read_choice(choice, position) for position, choice in enumerate(choices)],
        usage=usage_of(answer),
    )


def read_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `BadAnswer` for anything else."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the provider's answer is not JSON") from None
    if not isinstance(answer, dict):
        raise BadAnswer("the provider's answer is not a JSON object")
    return answer


def usage_of(answer: dict[str, Any]) -> Usage | None:
    """Return the usage in an answer or chunk; `None` if it has none that can be believed."""
    try:
        return read_usage(msgspec.convert(answer.get("usage"), WireUsage | None))
    except msgspec.ValidationError:
        return None


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _read_choice(choice: dict[str, Any], position: int) -> Choice:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content: list[Part] = []
    if thoughts := message.get("reasoning_content") or message.get("reasoning"):
        content.append(ThinkingPart(text=str(thoughts)))
    content += parse_content(message.get("content")) if isinstance(message.get("content"), str | list) else []
    if refusal := message.get("refusal"):
        content.append(RefusalPart(text=str(refusal)))
    content += [parse_tool_call(call) for call in message.get("tool_calls") or []]
    return Choice(
        index=_integer(choice.get("index", position)),
        content=content,
        finish_reason=FINISH_REASONS.get(str(choice.get("finish_reason")), "other"),
        logprobs=choice.get("logprobs"),
    )


class ChunkDecoder:
    """Reads a streamed answer into events; an error in the stream is raised when what came before it is taken."""

    __slots__ = ("_calls", "_failure", "_finished", "_frames", "_is_done", "_opened")

    def __init__(self) -> None:
        self._frames = sse.FrameSplitter()
        self._is_done = False
        self._failure: ProviderError | None = None
        self._opened = False
        self._calls: set[tuple[int, int]] = set()
        self._finished: set[int] = set()

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take bytes in any cut; return the events that they complete."""
        try:
            frames = self._frames.split(data)
        except sse.FrameTooLarge:
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
        if self._failure is not None:
            raise self._failure
        events: list[ChatEvent] = []
        for frame in frames:
            try:
                events += self._read_frame(frame)
            except ProviderError as error:
                if not events:
                    raise
                self._failure = error
                break
        return events

    def finish(self) -> list[ChatEvent]:
        """Check that the end was announced. Raises `StreamInterrupted`, or what the stream itself reported."""
        if self._failure is not None:
            raise self._failure
        if not self._is_done:
            raise StreamInterrupted
        return []

    def _read_frame(self, frame: bytes) -> list[ChatEvent]:
        data = sse.data_of(frame)
        if data is None or self._is_done:
            return []
        if data.strip() == b"[DONE]":
            self._is_done = True
            return []
        return self._read_chunk(read_object(data))

    def _read_chunk(self, chunk: dict[str, Any]) -> list[ChatEvent]:
        if chunk.get("error") is not None:
            raise error_in_stream(chunk["error"])
        events: list[ChatEvent] = []
        if not self._opened:
            self._opened = True
            created = _integer(chunk.get("created"))
            events.append(Started(id=str(chunk.get("id") or ""), model=str(chunk.get("model") or ""), created=created))
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            events += self._read_choice(choice) if isinstance(choice, dict) else []
        usage = usage_of(chunk)
        return [*events, UsageReported(usage=usage)] if usage is not None else events

    def _read_choice(self, choice: dict[str, Any]) -> list[ChatEvent]:
        index = _integer(choice.get("index", 0))
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        events: list[ChatEvent] = []
        if thoughts := delta.get("reasoning_content") or delta.get("reasoning"):
            events.append(ThinkingDelta(choice=index, text=str(thoughts)))
        if (text := delta.get("content")) or choice.get("logprobs"):
            text = text if isinstance(text, str) else ""
            events.append(TextDelta(choice=index, text=text, logprobs=choice.get("logprobs")))
        if refusal := delta.get("refusal"):
            events.append(TextDelta(choice=index, text=str(refusal), refusal=True))
        for call in delta.get("tool_calls") or []:
            events += self._read_call(index, call)
        reason = choice.get("finish_reason")
        if reason and index not in self._finished:
            self._finished.add(index)
            events.append(Finished(choice=index, reason=FINISH_REASONS.get(str(reason), "other")))
        return events

    def _read_call(self, choice: int, call: dict[str, Any]) -> list[ChatEvent]:
        index = _integer(call.get("index", 0))
        function = call.get("function") or {}
        events: list[ChatEvent] = []
        if (choice, index) not in self._calls:
            self._calls.add((choice, index))
            identifier = str(call.get("id") or f"call_{choice}_{index}")
            events.append(
                ToolCallStarted(choice=choice, index=index, id=identifier, name=str(function.get("name") or ""))
            )
        if arguments := function.get("arguments"):
            events.append(ToolCallDelta(choice=choice, index=index, arguments=str(arguments)))
        return events


def write_embeddings(request: EmbeddingRequest, *, model: str) -> dict[str, Any]:
    """Return the body of `POST /embeddings`."""
    body: dict[str, Any] = {"model": model, "input": request.input, "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    return body | (request.extras if request.dialect == DIALECT else {})


def read_embeddings(body: bytes) -> Embeddings:
    """Read embeddings, as floats or base64. Raises `BadAnswer`."""
    answer = read_object(body)
    try:
        vectors = [_read_vector(item["embedding"]) for item in answer["data"]]
    except (KeyError, TypeError, ValueError, struct.error):
        raise BadAnswer("the provider's answer holds no embeddings") from None
    return Embeddings(model=str(answer.get("model") or ""), vectors=vectors, usage=usage_of(answer))


def _read_vector(vector: Any) -> list[float]:
    if isinstance(vector, str):
        packed = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return [float(number) for number in vector]


def read_models(body: bytes) -> list[str]:
    """Read the ids in a list of models. Raises `BadAnswer`."""
    answer = read_object(body)
    items = answer.get("data", answer.get("models"))
    if not isinstance(items, list):
        raise BadAnswer("the provider's answer is no list of models")
    names = [item.get("id") or item.get("name") for item in items if isinstance(item, dict)]
    return [name for name in names if isinstance(name, str)]
