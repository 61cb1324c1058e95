"""Legacy text completions read into the canonical form, so that an answer can be given to more than its own client.

Law: log-probabilities and an echoed prompt are not read; whoever asks for these keeps the answer to itself.
Source: https://developers.openai.com/api/reference/resources/completions, read 2026-11.
"""

from typing import Any

from providers.answers import fields, integer, objects, read_object
from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.openai.errors import error_in_stream
from providers.openai.wire import FINISH_REASONS, usage_of
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    TextPart,
    UsageReported,
)


def read_text_completion(body: bytes) -> Completion:
    """Read an answer that was not streamed. Raises `BadAnswer`, and what an error in its place reports."""
    answer = read_object(body)
    choices = objects(answer.get("choices"))
    if not choices and answer.get("error"):
        raise error_in_stream(answer["error"])
    if not choices:
        raise BadAnswer("the provider's answer has no choices")
    return Completion(
        id=str(answer.get("id") or ""),
        model=str(answer.get("model") or ""),
        created=integer(answer.get("created")),
        choices=[
            Choice(
                index=integer(choice.get("index", position)),
                content=[TextPart(text=str(choice.get("text") or ""))],
                finish_reason=_reason_of(choice),
            )
            for position, choice in enumerate(choices)
        ],
        usage=usage_of(answer),
    )


class TextDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events."""

    __slots__ = ("_begun", "_finished", "_opened")

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._opened = False
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    def end(self) -> list[ChatEvent]:
        """Check that every choice came to its end. Raises `StreamInterrupted`."""
        if not self.is_done or not self._finished or self._begun - self._finished:
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
        chunk = read_object(data)
        if chunk.get("error") is not None:
            raise error_in_stream(chunk["error"])
        events: list[ChatEvent] = []
        if not self._opened:
            self._opened = True
            created = integer(chunk.get("created"))
            events.append(Started(id=str(chunk.get("id") or ""), model=str(chunk.get("model") or ""), created=created))
        for choice in objects(chunk.get("choices")):
            events += self._read_choice(choice)
        usage = usage_of(chunk)
        return [*events, UsageReported(usage=usage)] if usage is not None else events

    def _read_choice(self, choice: dict[str, Any]) -> list[ChatEvent]:
        index, text = integer(choice.get("index", 0)), choice.get("text")
        self._begun.add(index)
        events: list[ChatEvent] = [TextDelta(choice=index, text=text)] if isinstance(text, str) and text else []
        if fields(choice).get("finish_reason") and index not in self._finished:
            self._finished.add(index)
            events.append(Finished(choice=index, reason=_reason_of(choice)))
        return events


def _reason_of(choice: dict[str, Any]) -> FinishReason:
    return FINISH_REASONS.get(str(choice.get("finish_reason")), "other")
