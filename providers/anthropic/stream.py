"""A streamed answer of Anthropic's Messages API, read into events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11;
anthropic 2.14: types.RawMessageStreamEvent.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from providers.answers import fields, integer, read_object
from providers.anthropic.answers import CITATIONS, annotations_of, call_extras, refusal_of, signature_of
from providers.anthropic.errors import error_in_stream
from providers.anthropic.wire import ANSWER_TOOL, DIALECT, read_ending, usage_of
from providers.errors import StreamInterrupted
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.signatures import sign
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART
from providers.types import (
    ChatEvent,
    Finished,
    OpaquePart,
    RefusalPart,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)


class MessageDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events; an error in the stream is raised when what came before it is taken."""

    __slots__ = (
        "_after_text",
        "_blocks",
        "_calls",
        "_has_ended",
        "_opened",
        "_usage",
    )

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._after_text = False
        self._usage: Usage | None = None
        self._opened = False
        self._has_ended = False

    def end(self) -> list[ChatEvent]:
        """Check that the message came to its end. Raises `StreamInterrupted`."""
        if not self.is_done or not self._has_ended:
            raise StreamInterrupted
        return []

    def read_frame(self, frame: bytes) -> Iterator[ChatEvent]:
        """Yield what an event says."""
        data = sse.data_of(frame)
        if not data:
            return
        event = read_object(data)
        match event.get("type"):
            case "content_block_start":
                yield from self._begin(event)
            case "content_block_delta" | "content_block_stop" as kind:
                yield from self._continue(integer(event.get("index")), event, is_end=kind == "content_block_stop")
            case "message_start":
                yield from self._start(fields(event.get("message")))
            case "message_delta":
                yield from self._end(event)
            case "message_stop":
                self.is_done = True
            case "error":
                raise error_in_stream(event.get("error"))

    def _continue(self, index: int, event: dict[str, Any], *, is_end: bool) -> Iterator[ChatEvent]:
        block = self._blocks.pop(index, None) if is_end else self._blocks.get(index)
        if block is None:
            return
        yield from block.close() if is_end else block.grow(fields(event.get("delta")))
        if is_end and isinstance(block, _Text) and block.has_citations:
            self._after_text = False  # its citations have ended the part

    def _start(self, message: dict[str, Any]) -> Iterator[ChatEvent]:
        if self._opened:
            return
        self._opened = True
        yield Started(id=str(message.get("id") or ""), model=str(message.get("model") or ""), created=0)
        yield from self._count(message.get("usage"))

    def _count(self, reported: Any) -> Iterator[ChatEvent]:
        usage = usage_of(reported, before=self._usage)
        if usage is not None and usage != self._usage:
            self._usage = usage
            yield UsageReported(usage=usage)

    def _begin(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        block = fields(event.get("content_block"))
        opened = _open(block, call=self._calls)
        if self._after_text and isinstance(opened, _Text):
            # Blocks of text are parts of their own, as they are in an answer that is not streamed.
            yield TextDelta(text="", extras={CLOSES_PART: True})
        self._after_text = isinstance(opened, _Text)
        self._calls += isinstance(opened, _Call)
        self._blocks[integer(event.get("index"))] = opened
        yield from opened.begin()

    def _end(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        yield from self._count(event.get("usage"))
        ending = fields(event.get("delta"))
        if ending.get("stop_reason") is None or self._has_ended:
            return
        self._has_ended = True
        for part in refusal_of(ending):
            if isinstance(part, RefusalPart):
                yield TextDelta(text=part.text, refusal=True, extras=part.extras)
        reason, extras = read_ending(ending, has_calls=self._calls > 0)
        yield Finished(reason=reason, extras=extras)


class _Block:
    """A block that is still growing; one of a kind that only this dialect knows comes as a whole, at its end."""

    __slots__ = ("_input", "_value")

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = dict(value)
        self._input: list[str] = []

    def begin(self) -> Iterator[ChatEvent]:
        """Yield what the block says as it begins."""
        return iter(())

    def grow(self, delta: dict[str, Any]) -> Iterator[ChatEvent]:
        """Yield what a delta adds: texts and lists grow, anything else is replaced."""
        for name, more in delta.items():
            old = self._value.get(name)
            if name == "partial_json":
                self._input.append(str(more))
            elif name == "citation":
                self._value[CITATIONS] = [*(self._value.get(CITATIONS) or []), more]
            elif isinstance(old, str) and isinstance(more, str) and name != "type":
                self._value[name] = old + more
            elif name != "type":
                self._value[name] = old + more if isinstance(old, list) and isinstance(more, list) else more
        return iter(())

    def close(self) -> Iterator[ChatEvent]:
        """Yield what the block says as it ends."""
        if given := "".join(self._input):
            self._value["input"] = _decoded(given)
        part = OpaquePart(dialect=DIALECT, value=self._value)
        yield TextDelta(text="", extras={OPAQUE_PART: part, CLOSES_PART: True})


class _Text(_Block):
    """Text, and what it cites."""

    __slots__ = ("_citations",)

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self._citations: list[dict[str, Any]] = []

    @property
    def has_citations(self) -> bool:
        """Whether the text cites anything."""
        return bool(self._citations)

    def begin(self) -> Iterator[ChatEvent]:
        if isinstance(text := self._value.get("text"), str) and text:
            yield TextDelta(text=text)

    def grow(self, delta: dict[str, Any]) -> Iterator[ChatEvent]:
        if isinstance(text := delta.get("text"), str) and text:
            yield TextDelta(text=text)
        elif isinstance(citation := delta.get("citation"), dict):
            self._citations.append(citation)

    def close(self) -> Iterator[ChatEvent]:
        if self._citations:
            notes = annotations_of(self._citations)
            extras = {CITATIONS: self._citations, CLOSES_PART: True} | ({ANNOTATIONS: notes} if notes else {})
            yield TextDelta(text="", extras=extras)


class _Thinking(_Block):
    """Thoughts, and the signature that ends them."""

    __slots__ = ("_signature",)

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self._signature = str(value.get("signature") or "")

    def begin(self) -> Iterator[ChatEvent]:
        if isinstance(data := self._value.get("data"), str):
            yield ThinkingDelta(redacted=True, signature=sign(DIALECT, data))
        elif isinstance(text := self._value.get("thinking"), str) and text:
            yield ThinkingDelta(text=text)

    def grow(self, delta: dict[str, Any]) -> Iterator[ChatEvent]:
        if isinstance(text := delta.get("thinking"), str) and text:
            yield ThinkingDelta(text=text)
        self._signature += str(delta.get("signature") or "")

    def close(self) -> Iterator[ChatEvent]:
        if (signature := signature_of(self._signature)) is not None:
            yield ThinkingDelta(signature=signature)


class _Call(_Block):
    """A tool call; one without arguments streams none."""

    __slots__ = ("_has_arguments", "_index")

    def __init__(self, value: dict[str, Any], index: int) -> None:
        super().__init__(value)
        self._index = index
        self._has_arguments = False

    def begin(self) -> Iterator[ChatEvent]:
        id, name = str(self._value.get("id") or ""), str(self._value.get("name") or "")  # noqa: A001 - the wire's word
        yield ToolCallStarted(index=self._index, id=id, name=name, extras=call_extras(self._value))

    def grow(self, delta: dict[str, Any]) -> Iterator[ChatEvent]:
        if isinstance(more := delta.get("partial_json"), str) and more:
            self._has_arguments = True
            yield ToolCallDelta(index=self._index, arguments=more)

    def close(self) -> Iterator[ChatEvent]:
        if not self._has_arguments:
            given = msgspec.json.encode(self._value.get("input") or {}).decode()
            yield ToolCallDelta(index=self._index, arguments=given)


class _Answer(_Text):
    """The answer in JSON, as the arguments of the tool that stands for it."""

    __slots__ = ()

    def grow(self, delta: dict[str, Any]) -> Iterator[ChatEvent]:
        return super().grow({"text": delta.get("partial_json")})


def _open(block: dict[str, Any], *, call: int) -> _Block:
    """Return a block by its kind."""
    match block.get("type"):
        case "text":
            return _Text(block)
        case "thinking" | "redacted_thinking":
            return _Thinking(block)
        case "tool_use" if block.get("name") == ANSWER_TOOL:
            return _Answer(block)
        case "tool_use":
            return _Call(block, call)
        case _:
            return _Block(block)


def _decoded(text: str) -> Any:
    """Return JSON decoded; text that is none as it is."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


__all__ = ["MessageDecoder"]
