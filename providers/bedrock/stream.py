"""Streamed answers of Converse, read into events.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.ConverseStreamOutput.
"""

from typing import Any

from providers.answers import fields, integer, read_object
from providers.bedrock.answer import signed
from providers.bedrock.errors import error_in_stream
from providers.bedrock.wire import ANSWER_TOOL, SERVER_TOOL, read_citation, read_ending, read_reason, read_usage
from providers.errors import StreamInterrupted
from providers.framing import eventstream
from providers.framing.decoder import FrameDecoder
from providers.framing.eventstream import Frame
from providers.stream import ANNOTATIONS, CLOSES_PART
from providers.types import (
    ChatEvent,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)


class _Block:
    """A content block that is open."""

    __slots__ = ("call", "citations", "has_arguments", "is_answer", "is_ignored", "length", "redacted", "signature")

    def __init__(self, *, call: int | None = None, is_answer: bool = False, is_ignored: bool = False) -> None:
        self.call = call
        self.is_answer = is_answer
        self.is_ignored = is_ignored
        self.has_arguments = False
        self.length = 0
        self.citations: list[dict[str, Any]] = []
        self.signature = ""
        self.redacted = ""


class EventDecoder(FrameDecoder[Frame]):
    """Reads a streamed answer; an error in the stream is raised when what came before it is taken.

    An answer is complete with `messageStop`; the usage may follow in `metadata`, the last event of all. Signatures and
    citations, which come in pieces, are told when their block ends.
    """

    __slots__ = ("_blocks", "_calls", "_has_stopped", "_last", "_opened")

    def __init__(self) -> None:
        super().__init__(eventstream.FrameSplitter())
        self._opened = self._has_stopped = False
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._last: tuple[type[ChatEvent], int] | None = None

    def end(self) -> list[ChatEvent]:
        """Check that the message was ended. Raises `StreamInterrupted`."""
        if not self._has_stopped or (self.frames.rest and not self.is_done):
            raise StreamInterrupted
        return []

    def read_frame(self, frame: Frame) -> list[ChatEvent]:
        """Return what an event says. Raises what an exception reports."""
        headers = frame.headers
        match headers.get(":message-type"):
            case "exception":
                raise error_in_stream(headers.get(":exception-type"), frame.payload)
            case "error":
                raise error_in_stream(headers.get(":error-code"), frame.payload)
            case _:
                return self._read_event(str(headers.get(":event-type")), frame.payload)

    def _read_event(self, name: str, payload: bytes) -> list[ChatEvent]:
        match name:
            case "messageStart":
                return self._start()
            case "contentBlockStart" | "contentBlockDelta" | "contentBlockStop" if not self._has_stopped:
                return [*self._start(), *self._read_block(name, read_object(payload))]
            case "messageStop" if not self._has_stopped:
                return [*self._start(), *self._stop(read_object(payload))]
            case "metadata":
                self.is_done = self._has_stopped
                usage = read_usage(read_object(payload))
                return [] if usage is None else [*self._start(), UsageReported(usage=usage)]
            case _:
                return []

    def _start(self) -> list[ChatEvent]:
        if self._opened:
            return []
        self._opened = True
        return [Started(id="", model="", created=0)]

    def _stop(self, event: dict[str, Any]) -> list[ChatEvent]:
        events = [told for index in sorted(self._blocks) for told in self._end_block(index)]
        self._has_stopped = True
        reason = read_reason(event.get("stopReason"), has_calls=self._calls > 0)
        return [*events, Finished(reason=reason, extras=read_ending(event))]

    def _read_block(self, name: str, event: dict[str, Any]) -> list[ChatEvent]:
        index = integer(event.get("contentBlockIndex"))
        if name == "contentBlockStop":
            return self._end_block(index)
        if name == "contentBlockStart":
            return self._start_block(index, fields(event.get("start")))
        block = self._blocks.setdefault(index, _Block())
        return [] if block.is_ignored else self._read_delta(index, block, fields(event.get("delta")))

    def _start_block(self, index: int, start: dict[str, Any]) -> list[ChatEvent]:
        call = start.get("toolUse")
        if not isinstance(call, dict) or call.get("type") == SERVER_TOOL:
            self._blocks[index] = _Block(is_ignored=bool(start))
            return []
        if call.get("name") == ANSWER_TOOL:
            self._blocks[index] = _Block(is_answer=True)
            return []
        number, self._calls = self._calls, self._calls + 1
        self._blocks[index] = _Block(call=number)
        self._last = None
        name, identity = str(call.get("name") or ""), str(call.get("toolUseId") or "")
        return [ToolCallStarted(index=number, id=identity, name=name)]

    def _read_delta(self, index: int, block: _Block, delta: dict[str, Any]) -> list[ChatEvent]:
        match delta:
            case {"text": str(text)}:
                return self._say(index, block, text)
            case {"toolUse": {"input": str(text)}} if block.is_answer:
                return self._say(index, block, text)
            case {"toolUse": {"input": str(piece)}} if block.call is not None and piece:
                block.has_arguments = True
                return [ToolCallDelta(index=block.call, arguments=piece)]
            case {"reasoningContent": {"text": str(text)}}:
                return [*self._begin(ThinkingDelta, index), ThinkingDelta(text=text)]
            case {"reasoningContent": {"signature": str(piece)}}:
                block.signature += piece
            case {"reasoningContent": {"redactedContent": str(piece)}}:
                block.redacted += piece
            case {"citation": dict(citation)}:
                block.citations.append(citation)
        return []

    def _say(self, index: int, block: _Block, text: str) -> list[ChatEvent]:
        block.length += len(text)
        return [*self._begin(TextDelta, index), TextDelta(text=text)] if text else []

    def _begin(self, kind: type[ChatEvent], index: int) -> list[ChatEvent]:
        """Return what ends the part before, if a block of the same kind follows it without anything between them."""
        last, self._last = self._last, (kind, index)
        if last is None or last[0] is not kind or last[1] == index:
            return []
        extras = {CLOSES_PART: True}
        return [TextDelta(text="", extras=extras) if kind is TextDelta else ThinkingDelta(extras=extras)]

    def _end_block(self, index: int) -> list[ChatEvent]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.call is not None and not block.has_arguments:
            return [ToolCallDelta(index=block.call, arguments="{}")]
        if signature := signed(block.redacted or block.signature):
            before, self._last = self._begin(ThinkingDelta, index), None
            return [*before, ThinkingDelta(redacted=bool(block.redacted), signature=signature)]
        notes = [note for citation in block.citations for note in read_citation(citation, length=block.length)]
        return [*self._begin(TextDelta, index), TextDelta(text="", extras={ANNOTATIONS: notes})] if notes else []


__all__ = ["EventDecoder"]
