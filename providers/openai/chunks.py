"""Chat completion chunks of an OpenAI-compatible provider, read into events.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from typing import Any

from providers.answers import fields, integer, objects, read_object
from providers.custom_tools import CUSTOM
from providers.errors import StreamInterrupted
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.openai import thoughts
from providers.openai.errors import error_in_stream
from providers.openai.parts import made_call_id, read_arguments
from providers.openai.wire import FINISH_REASONS, closes, usage_of
from providers.stream import ANNOTATIONS
from providers.types import (
    ChatEvent,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)


class ChunkDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events; an error in the stream is raised when what came before it is taken."""

    __slots__ = (
        "_begun",
        "_calls",
        "_finished",
        "_has_closed",
        "_id",
        "_opened",
        "_thoughts",
        "_tier",
    )

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._has_closed = False
        self._id = ""
        self._opened = False
        self._tier: Any = None
        self._begun: set[int] = set()
        self._calls: dict[int, _Calls] = {}
        self._thoughts: dict[int, _Thoughts] = {}
        self._finished: set[int] = set()

    def end(self) -> list[ChatEvent]:
        """Check that the end was announced, or plain from the last chunk (`wire.closes`), and every choice came to it.

        Raises `StreamInterrupted`.
        """
        has_ended = self.is_done or (self._has_closed and not self.frames.rest.strip())
        if not has_ended or not self._finished or self._begun - self._finished:
            raise StreamInterrupted
        return []

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what a chunk says."""
        data = sse.data_of(frame)
        if not data:
            return []
        if data.strip() == b"[DONE]":
            self.is_done = True
            return []
        return self._read_chunk(read_object(data))

    def _read_chunk(self, chunk: dict[str, Any]) -> list[ChatEvent]:
        if chunk.get("error") is not None:
            raise error_in_stream(chunk["error"])
        self._tier = chunk.get("service_tier") or self._tier
        choices, usage = objects(chunk.get("choices")), usage_of(chunk, tier=self._tier)
        self._has_closed = closes(chunk.get("usage"), [choice.get("finish_reason") for choice in choices])
        events: list[ChatEvent] = []
        if not self._opened and (choices or usage is not None or chunk.get("id")):
            self._opened = True
            created = integer(chunk.get("created"))
            self._id = str(chunk.get("id") or "")
            events.append(Started(id=self._id, model=str(chunk.get("model") or ""), created=created))
        for choice in choices:
            events += self._read_choice(choice)
        return [*events, UsageReported(usage=usage)] if usage is not None else events

    def _read_choice(self, choice: dict[str, Any]) -> list[ChatEvent]:
        index = integer(choice.get("index", 0))
        self._begun.add(index)
        delta = fields(choice.get("delta"))
        events: list[ChatEvent] = []
        plain = delta.get("reasoning_content") or delta.get("reasoning")
        if plain or delta.get(thoughts.DETAILS):
            said = self._thoughts.setdefault(index, _Thoughts(index))
            events += said.read(str(plain or ""), thoughts.read_details(delta.get(thoughts.DETAILS)))
        content = delta.get("content")
        if content or choice.get("logprobs") or delta.get("annotations"):
            events += _read_text(index, content, logprobs=choice.get("logprobs"), notes=delta.get("annotations"))
        signature, _ = thoughts.read_thought_signature(delta.get(thoughts.EXTRA))
        if signature is not None and isinstance(content, str):
            events.append(TextDelta(choice=index, text="", signature=signature))
        if refusal := delta.get("refusal"):
            events.append(TextDelta(choice=index, text=str(refusal), refusal=True))
        calls = objects(delta.get("tool_calls"))
        if function := fields(delta.get("function_call")):
            calls.append({"id": function.get("name"), "function": function})
        if calls:
            known = self._calls.setdefault(index, _Calls(index, answer_id=self._id))
            events += [event for call in calls for event in known.read(call)]
        reason = choice.get("finish_reason")
        if reason and index not in self._finished:
            self._finished.add(index)
            events.append(Finished(choice=index, reason=FINISH_REASONS.get(str(reason), "other")))
        return events


def _read_text(choice: int, content: Any, *, logprobs: Any, notes: Any) -> list[ChatEvent]:
    """Return what a delta's content says: text, or a list of parts."""
    extras = {ANNOTATIONS: objects(notes)} if notes else {}
    if isinstance(content, str) or not content:
        return [TextDelta(choice=choice, text=content or "", logprobs=logprobs, extras=extras)]
    events: list[ChatEvent] = []
    for piece in objects(content):
        thought = thoughts.read_thinking(piece)
        if thought is not None:
            events.append(ThinkingDelta(choice=choice, text=thought.text, signature=thought.signature))
        elif isinstance(text := piece.get("text"), str):
            events.append(TextDelta(choice=choice, text=text, logprobs=logprobs, extras=extras))
    return events


class _Thoughts:
    """The reasoning of one streamed choice, which a delta may say twice: as text, and as blocks.

    A block that is signed later repeats its text whole, or not at all.
    """

    __slots__ = ("_choice", "_said")

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._said = ""

    def read(self, plain: str, blocks: list[ThinkingPart]) -> list[ChatEvent]:
        """Return what a delta adds: its text, or what its blocks say beyond it, and their signatures."""
        events: list[ChatEvent] = [ThinkingDelta(choice=self._choice, text=plain)] if plain else []
        self._said += plain
        for block in blocks:
            new = "" if plain or block.text == self._said else block.text
            self._said += new
            if new or block.signature is not None:
                events.append(self._delta(block, new))
            if block.signature is not None:
                self._said = ""
        return events

    def _delta(self, block: ThinkingPart, text: str) -> ThinkingDelta:
        return ThinkingDelta(
            choice=self._choice, text=text, signature=block.signature, redacted=block.redacted, extras=block.extras
        )


class _Calls:
    """The tool calls of one streamed choice, numbered in the order in which they began.

    A delta belongs to the call that last began at its `index`. Some vendors leave the index out, or give several calls
    the same one; a name with another id begins another call, and so does a name without id and index.
    """

    __slots__ = ("_answer_id", "_choice", "_count", "_open")

    def __init__(self, choice: int, *, answer_id: str) -> None:
        self._choice = choice
        self._answer_id = answer_id
        self._count = 0
        self._open: dict[int, tuple[int, str]] = {}

    def read(self, call: dict[str, Any]) -> list[ChatEvent]:
        """Return what a delta of a tool call says."""
        place = integer(call.get("index", 0))
        custom = fields(call.get("custom"))
        is_custom = bool(custom) or call.get("type") == "custom"
        function = custom if is_custom else fields(call.get("function"))
        name, given = str(function.get("name") or ""), str(call.get("id") or "")
        events: list[ChatEvent] = []
        known = self._open.get(place)
        is_other = given != known[1] if known is not None and given else call.get("index") is None
        if known is None or (name and is_other):
            given = given or made_call_id(self._answer_id, self._choice, self._count)
            known = self._open[place] = (self._count, given)
            self._count += 1
            signature, _ = thoughts.read_thought_signature(call.get(thoughts.EXTRA))
            events.append(
                ToolCallStarted(
                    choice=self._choice,
                    index=known[0],
                    id=known[1],
                    name=name,
                    signature=signature,
                    extras=CUSTOM if is_custom else {},
                )
            )
        if arguments := read_arguments(function.get("input") if is_custom else function.get("arguments")):
            events.append(ToolCallDelta(choice=self._choice, index=known[0], arguments=arguments))
        return events
