"""Takes the stop sequence off the end of an answer. The server leaves it there; no other vendor does.

Source: https://github.com/huggingface/text-generation-inference/issues/1724, read 2026-11.
"""

from collections.abc import AsyncIterator

import msgspec

from providers.protocol import ChatStream
from providers.types import ChatEvent, Finished, Headers, TextDelta


class Trimmer:
    """Holds back the end of a text as long as it may become a stop sequence."""

    __slots__ = ("_has_begun", "_held", "_stops", "_strips")

    def __init__(self, stops: list[str], *, strips: bool) -> None:
        """Make one; `strips` is whether the space that leads an answer belongs to the prompt."""
        self._stops = stops
        self._strips = strips
        self._held = ""
        self._has_begun = False

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """Take an event; return those that are certain by now."""
        match event:
            case TextDelta():
                text = self._take(event.text)
                return [msgspec.structs.replace(event, text=text)] if text else []
            case Finished():
                return self._finish(event)
            case _:
                return [event]

    def _take(self, text: str) -> str:
        if self._strips and not self._has_begun:
            text = text.lstrip()
        self._has_begun = self._has_begun or bool(text)
        text = self._held + text
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _finish(self, event: Finished) -> list[ChatEvent]:
        """Return the end of the text, less the sequence that stopped it, which is named."""
        held = self._held
        matched = next((stop for stop in self._stops if held.endswith(stop)), None) if event.reason == "stop" else None
        if matched is None:
            return [*([TextDelta(text=held)] if held else []), event]
        rest = held.removesuffix(matched)
        named = msgspec.structs.replace(event, extras={**event.extras, "stop_sequence": matched})
        return [*([TextDelta(text=rest)] if rest else []), named]


def _overlap(text: str, stop: str) -> int:
    """Return how much of the end of `text` is a beginning of `stop`."""
    longest = min(len(text), len(stop))
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


class TrimmedStream:
    """An answer without the sequence that stopped it."""

    __slots__ = ("_inner", "_trimmer", "dropped", "headers")

    def __init__(self, inner: ChatStream, trimmer: Trimmer) -> None:
        self._inner = inner
        self._trimmer = trimmer
        self.headers: Headers = inner.headers
        self.dropped = inner.dropped

    async def __aiter__(self) -> AsyncIterator[ChatEvent]:
        """Yield the events of the answer. Raises `ProviderError`."""
        async for event in self._inner:
            for certain in self._trimmer.feed(event):
                yield certain

    def close(self) -> None:
        """Let go of the upstream call."""
        self._inner.close()


__all__ = ["TrimmedStream", "Trimmer"]
