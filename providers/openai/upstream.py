"""Canonical requests in the words of an OpenAI-compatible provider, and its answers read back.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

import base64
import struct
from typing import Any

import msgspec

from providers.errors import BadAnswer, ProviderError, RequestRefused, StreamInterrupted
from providers.framing import sse
from providers.openai.errors import error_in_stream
from providers.openai.parts import parse_part, parse_tool_call, read_arguments, write_message
from providers.openai.wire import DIALECT, FINISH_REASONS, WireUsage, closes, read_usage
from providers.stream import ANNOTATIONS
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
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    Tool,
    ToolCallDelta,
    ToolCallStarted,
    ToolChoice,
    Usage,
    UsageReported,
)

_MAX_INTEGER = 1 << 53


def write_chat(request: ChatRequest, *, model: str, max_tokens_field: str) -> dict[str, Any]:
    """Return the body of `POST /chat/completions`, without the fields that make it a stream."""
    same_dialect = request.dialect == DIALECT
    sampling = msgspec.structs.asdict(request.sampling)
    stop = sampling.pop("stop")
    effort = request.reasoning.effort if request.reasoning else None
    fields: dict[str, Any] = {
        "model": model,
        "messages": [
            wire for message in request.messages for wire in write_message(message, same_dialect=same_dialect)
        ],
        **sampling,
        "stop": stop or None,
        "tools": [write_tool(tool, same_dialect=same_dialect) for tool in request.tools] or None,
        "tool_choice": write_tool_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": write_response_format(request.response_format),
        "reasoning_effort": effort,
        max_tokens_field: request.max_output_tokens,
        "n": None if request.n == 1 else request.n,
        "user": request.user,
        "metadata": request.metadata or None,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    return body | (request.extras if same_dialect else {})


def write_tool(tool: Tool, *, same_dialect: bool = True) -> dict[str, Any]:
    """Return the wire's form of a declared tool. Raises `RequestRefused` for another dialect's built-in tool."""
    if tool.kind != "function" and not same_dialect:
        raise RequestRefused(f"the tool {tool.kind} cannot be sent to this provider", status=400, param="tools")
    if tool.kind != "function":
        return tool.extras
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    wire = {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}
    return wire | (tool.extras if same_dialect else {})


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
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
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
    """Return a whole number that a vendor sent; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_INTEGER < value < _MAX_INTEGER:
        return 0
    return int(value)


def _objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; none of what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_choice(choice: dict[str, Any], position: int) -> Choice:
    message = _object(choice.get("message"))
    content: list[Part] = []
    if thoughts := message.get("reasoning_content") or message.get("reasoning"):
        content.append(ThinkingPart(text=str(thoughts)))
    content += _read_content(message.get("content"), notes=_objects(message.get("annotations")))
    if refusal := message.get("refusal"):
        content.append(RefusalPart(text=str(refusal)))
    content += [parse_tool_call(call) for call in _objects(message.get("tool_calls"))]
    if function := _object(message.get("function_call")):
        content.append(parse_tool_call({"id": function.get("name"), "function": function}))
    return Choice(
        index=_integer(choice.get("index", position)),
        content=content,
        finish_reason=FINISH_REASONS.get(str(choice.get("finish_reason")), "other"),
        logprobs=choice.get("logprobs"),
    )


def _read_content(content: Any, *, notes: list[dict[str, Any]]) -> list[Part]:
    """Return the parts of an answer's content: text, or a list of parts. Annotations belong to the first text."""
    if isinstance(content, str):
        return [TextPart(text=content, annotations=notes)]
    parts: list[Part] = []
    for piece in _objects(content):
        thoughts = _thoughts_of(piece)
        parts.append(parse_part(piece) if thoughts is None else ThinkingPart(text=thoughts))
    return parts


def _thoughts_of(piece: dict[str, Any]) -> str | None:
    """Return the reasoning in a part of Mistral's form; `None` if it is another part.

    Source: https://docs.mistral.ai/capabilities/reasoning, read 2026-11.
    """
    if piece.get("type") != "thinking":
        return None
    thoughts = piece.get("thinking")
    if isinstance(thoughts, str):
        return thoughts
    return "".join(str(inner.get("text") or "") for inner in _objects(thoughts))


class ChunkDecoder:
    """Reads a streamed answer into events; an error in the stream is raised when what came before it is taken."""

    __slots__ = ("_begun", "_calls", "_failure", "_finished", "_frames", "_has_closed", "_is_done", "_opened")

    def __init__(self) -> None:
        self._frames = sse.FrameSplitter()
        self._is_done = False
        self._has_closed = False
        self._failure: ProviderError | None = None
        self._opened = False
        self._begun: set[int] = set()
        self._calls: dict[int, _Calls] = {}
        self._finished: set[int] = set()

    @property
    def is_finished(self) -> bool:
        """Whether `[DONE]` or an error has been read: what follows does not matter."""
        return self._is_done or self._failure is not None

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take bytes in any cut; return the events that they complete."""
        if self._failure is not None:
            raise self._failure
        try:
            frames = self._frames.split(data)
        except sse.FrameTooLarge:
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
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
        """Check that the end was announced, or plain from the last chunk (`wire.closes`), and every choice came to it.

        Raises `StreamInterrupted`, or what the stream itself reported.
        """
        if self._failure is not None:
            raise self._failure
        has_ended = self._is_done or (self._has_closed and not self._frames.rest.strip())
        if not has_ended or not self._finished or self._begun - self._finished:
            raise StreamInterrupted
        return []

    def _read_frame(self, frame: bytes) -> list[ChatEvent]:
        data = sse.data_of(frame)
        if not data or self._is_done:
            return []
        if data.strip() == b"[DONE]":
            self._is_done = True
            return []
        return self._read_chunk(read_object(data))

    def _read_chunk(self, chunk: dict[str, Any]) -> list[ChatEvent]:
        if chunk.get("error") is not None:
            raise error_in_stream(chunk["error"])
        choices, usage = _objects(chunk.get("choices")), usage_of(chunk)
        self._has_closed = closes(chunk.get("usage"), [choice.get("finish_reason") for choice in choices])
        events: list[ChatEvent] = []
        if not self._opened and (choices or usage is not None or chunk.get("id")):
            self._opened = True
            created = _integer(chunk.get("created"))
            events.append(Started(id=str(chunk.get("id") or ""), model=str(chunk.get("model") or ""), created=created))
        for choice in choices:
            events += self._read_choice(choice)
        return [*events, UsageReported(usage=usage)] if usage is not None else events

    def _read_choice(self, choice: dict[str, Any]) -> list[ChatEvent]:
        index = _integer(choice.get("index", 0))
        self._begun.add(index)
        delta = _object(choice.get("delta"))
        events: list[ChatEvent] = []
        if thoughts := delta.get("reasoning_content") or delta.get("reasoning"):
            events.append(ThinkingDelta(choice=index, text=str(thoughts)))
        if (content := delta.get("content")) or choice.get("logprobs") or delta.get("annotations"):
            events += _read_text(index, content, logprobs=choice.get("logprobs"), notes=delta.get("annotations"))
        if refusal := delta.get("refusal"):
            events.append(TextDelta(choice=index, text=str(refusal), refusal=True))
        if calls := delta.get("tool_calls"):
            known = self._calls.setdefault(index, _Calls(index))
            events += [event for call in _objects(calls) for event in known.read(call)]
        reason = choice.get("finish_reason")
        if reason and index not in self._finished:
            self._finished.add(index)
            events.append(Finished(choice=index, reason=FINISH_REASONS.get(str(reason), "other")))
        return events


def _read_text(choice: int, content: Any, *, logprobs: Any, notes: Any) -> list[ChatEvent]:
    """Return what a delta's content says: text, or a list of parts."""
    extras = {ANNOTATIONS: _objects(notes)} if notes else {}
    if isinstance(content, str) or not content:
        return [TextDelta(choice=choice, text=content or "", logprobs=logprobs, extras=extras)]
    events: list[ChatEvent] = []
    for piece in _objects(content):
        thoughts = _thoughts_of(piece)
        if thoughts is not None:
            events.append(ThinkingDelta(choice=choice, text=thoughts))
        elif isinstance(text := piece.get("text"), str):
            events.append(TextDelta(choice=choice, text=text, logprobs=logprobs, extras=extras))
    return events


class _Calls:
    """The tool calls of one streamed choice, numbered in the order in which they began.

    A delta belongs to the call that last began at its `index`. Some vendors leave the index out, or give several calls
    the same one; a name with another id begins another call.
    """

    __slots__ = ("_choice", "_count", "_open")

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._count = 0
        self._open: dict[int, tuple[int, str]] = {}

    def read(self, call: dict[str, Any]) -> list[ChatEvent]:
        """Return what a delta of a tool call says."""
        place = _integer(call.get("index", 0))
        custom = _object(call.get("custom"))
        function = custom or _object(call.get("function"))
        name, given = str(function.get("name") or ""), str(call.get("id") or "")
        events: list[ChatEvent] = []
        known = self._open.get(place)
        if known is None or (name and given and given != known[1]):
            known = self._open[place] = (self._count, given or f"call_{self._choice}_{self._count}")
            self._count += 1
            extras = {"type": "custom"} if custom else {}
            events.append(ToolCallStarted(choice=self._choice, index=known[0], id=known[1], name=name, extras=extras))
        if arguments := read_arguments(function.get("input") if custom else function.get("arguments")):
            events.append(ToolCallDelta(choice=self._choice, index=known[0], arguments=arguments))
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
    """Read embeddings, as floats or base64, in the order of their index. Raises `BadAnswer`."""
    answer = read_object(body)
    try:
        items = sorted(answer["data"], key=lambda item: _integer(item.get("index")))
        vectors = [_read_vector(item["embedding"]) for item in items]
    except (AttributeError, KeyError, TypeError, ValueError, struct.error):
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
    names = [item.get("id") or item.get("name") for item in _objects(items)]
    return [name for name in names if isinstance(name, str)]
