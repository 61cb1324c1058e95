"""The live answers of an attempt: bytes that pass through, or events said in the client's dialect."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec

from app.kernel.errors import GatewayError
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.opening import Opening
from app.pipeline.operation import Passed, StreamRenderer
from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.protocol import ChatDecoder, ChatStream, Inspector, RelayStream
from providers.types import (
    ChatEvent,
    Completion,
    Finished,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from providers.types.usage import MAX_TOKENS

UNREADABLE = (ProviderError, msgspec.MsgspecError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading an odd answer may raise. It is relayed as it is, and must not fail because nobody else can have it."""
_CONTENT = (TextDelta, ThinkingDelta, ToolCallStarted, ToolCallDelta, Finished)


class Settler(Protocol):
    """What an attempt's end is said to: it notes the outcome, and what was used."""

    def end_well(self, exchange: Exchange, attempt: Attempt, usage: Usage | None, tokens_seen: int) -> None:
        """Note that an attempt is complete."""

    def end_badly(
        self,
        exchange: Exchange,
        attempt: Attempt,
        error: ProviderError,
        tokens_seen: int = 0,
        *,
        usage: Usage | None = None,
    ) -> None:
        """Note that an attempt failed."""

    def cancel(self, exchange: Exchange, attempt: Attempt, *, usage: Usage | None = None, tokens_seen: int = 0) -> None:
        """Note that the caller left or its time ran out."""


def counted_so_far(exchange: Exchange, inspector: Inspector) -> Usage | None:
    """Return what is known of a broken answer that is made of pictures or sounds: its inspector counts those itself.

    Nothing of any other: what breaks there is estimated alike, streamed or not, translated or not.
    """
    usage = inspector.usage
    if usage is None or not exchange.operation.is_media:
        return None
    output_tokens = max(usage.output_tokens, min(inspector.output_tokens_seen, MAX_TOKENS))
    return msgspec.structs.replace(usage, output_tokens=output_tokens, estimated=True)


class RelayedBody:
    """A live answer whose bytes pass through."""

    __slots__ = (
        "_attempt",
        "_bills_on",
        "_decoder",
        "_exchange",
        "_held",
        "_last",
        "_settler",
        "is_finished",
        "recorded",
        "stream",
    )

    def __init__(
        self, settler: Settler, exchange: Exchange, attempt: Attempt, stream: RelayStream, *, bills_on: bool = False
    ) -> None:
        """Take an answer over; `bills_on` is whether the provider bills it whole even if it is cut."""
        self._bills_on = bills_on
        self._settler = settler
        self._exchange = exchange
        self._attempt = attempt
        self.stream = stream
        self._held = b""
        self._last = b""
        self._decoder: ChatDecoder | None = None
        self.recorded: list[ChatEvent] | None = None
        reader = exchange.operation.reader
        if exchange.is_recorded and reader is not None:
            self._decoder, self.recorded = reader.decoder(exchange.asked.framing), []
        self.is_finished = False

    @property
    def tokens_seen(self) -> int:
        """Roughly how many output tokens were delivered."""
        return self.stream.inspector.output_tokens_seen

    @property
    def is_owed(self) -> bool:
        """Whether the provider bills what is still to come."""
        return self._bills_on and self._attempt.outcome is None

    async def open(self) -> None:
        """Read until there is content."""
        inspector = self.stream.inspector
        held = []
        while not inspector.has_content and not inspector.is_finished:
            held.append(await self.stream.read())
        self._held = b"".join(held)
        if not inspector.has_content:
            raise BadAnswer("the provider's answer is empty")

    async def hold_back(self) -> Completion | None:
        """Read on until it says what may win of several; return the whole answer if it ends without that.

        An answer that has ended has been settled, and is still to be read.
        """
        exchange, inspector = self._exchange, self.stream.inspector
        reader = exchange.operation.reader
        if reader is None:
            return None
        decoder, opening = reader.decoder(exchange.asked.framing), Opening()
        opening.take(self._held, _said(decoder, self._held, is_last=inspector.is_finished))
        while not opening.is_over and not inspector.is_finished:
            data = await self.stream.read()
            opening.take(data, _said(decoder, data, is_last=inspector.is_finished))
        self._held = opening.data
        found = None if opening.is_over else _ended(opening, exchange, usage=inspector.usage)
        if found is not None:
            self._settle()
        return found

    async def read(self) -> bytes:
        """Return the next bytes."""
        data, self._held = self._held, b""
        inspector = self.stream.inspector
        if not data:
            try:
                data = await self.stream.read()
            except ProviderError as error:
                self.note_break(error)
                raise
        self._last = data
        if self.recorded is not None:
            self._record(data, is_last=inspector.is_finished)
        if inspector.is_finished and not self.is_finished:
            self.is_finished = True
            self._exchange.issued += inspector.issued
            if self._attempt.outcome is None:
                self._settle()
        return data

    def _settle(self) -> None:
        inspector = self.stream.inspector
        tokens = inspector.output_tokens_seen
        self._settler.end_well(self._exchange, self._attempt, inspector.usage, tokens)
        self.stream.close()

    def _record(self, data: bytes, *, is_last: bool) -> None:
        """Keep what the bytes say; an answer that cannot be read is its client's alone."""
        decoder, recorded = self._decoder, self.recorded
        if decoder is None or recorded is None:
            return
        events = _said(decoder, data, is_last=is_last)
        if events is None:
            self.recorded = None
        else:
            recorded += events

    def note_break(self, error: ProviderError) -> None:
        """Note that the answer broke, and with it the attempt."""
        inspector = self.stream.inspector
        usage = counted_so_far(self._exchange, inspector)
        self._settler.end_badly(self._exchange, self._attempt, error, inspector.output_tokens_seen, usage=usage)

    def fail(self, say_break: Callable[[Exchange, GatewayError, Passed], bytes], error: GatewayError) -> bytes:
        """Return what ends the answer if it breaks now."""
        return say_break(self._exchange, error, Passed(self.stream.inspector.issued, self._last))

    def close(self) -> None:
        """Let go of the upstream call; before the end that is a cancellation."""
        inspector = self.stream.inspector
        tokens = inspector.output_tokens_seen
        try:
            self.stream.close()
        finally:
            self._settler.cancel(self._exchange, self._attempt, usage=inspector.usage, tokens_seen=tokens)


def _said(decoder: ChatDecoder, data: bytes, *, is_last: bool) -> list[ChatEvent] | None:
    """Return what the next bytes of an answer say; `None` where they cannot be read."""
    try:
        events = decoder.feed(data)
        return events + decoder.finish() if is_last else events
    except UNREADABLE:
        return None


def _ended(opening: Opening, exchange: Exchange, *, usage: Usage | None) -> Completion | None:
    """Return the whole answer that was held back; `None` where it cannot be read as one, so is given as it is."""
    try:
        found = opening.completion()
    except StreamInterrupted:
        return None
    return msgspec.structs.replace(found, created=found.created or exchange.created_s, usage=found.usage or usage)


class TranslatedBody:
    """A live answer whose events are rendered in the client's dialect."""

    __slots__ = (
        "_attempt",
        "_bills_on",
        "_events",
        "_exchange",
        "_has_said",
        "_held",
        "_renderer",
        "_settler",
        "_tokens_seen",
        "_usage",
        "is_finished",
        "recorded",
        "stream",
    )

    def __init__(
        self,
        settler: Settler,
        exchange: Exchange,
        attempt: Attempt,
        stream: ChatStream,
        renderer: StreamRenderer,
        *,
        bills_on: bool = False,
    ) -> None:
        """Take an answer over; `bills_on` is whether the provider bills it whole even if it is cut."""
        self._bills_on = bills_on
        self._settler = settler
        self._exchange = exchange
        self._attempt = attempt
        self.stream = stream
        self._events: AsyncIterator[Any] = stream.__aiter__()
        self._renderer = renderer
        self._held = b""
        self._usage: Usage | None = None
        self._tokens_seen = 0
        self._has_said = False
        self.recorded: list[ChatEvent] | None = [] if exchange.is_recorded or exchange.is_part else None
        self.is_finished = False

    @property
    def tokens_seen(self) -> int:
        """Roughly how many output tokens were delivered."""
        return self._tokens_seen

    @property
    def is_owed(self) -> bool:
        """Whether the provider bills what is still to come."""
        return self._bills_on and self._attempt.outcome is None

    async def open(self) -> None:
        """Read until there is content that the client's dialect has words for, or a whole answer without any."""
        held = []
        while not self._has_said:
            data = await self._step()
            if data is None:
                if self._tokens_seen == 0:
                    raise BadAnswer("the provider's answer is empty")
                held.append(self._finish())
                break
            held.append(data)
        self._held = b"".join(held)

    async def hold_back(self) -> Completion | None:
        """Read on until it says what may win of several; return the whole answer if it ends without that.

        An answer that has ended has been settled; it is to be said anew, when all is known of the others.
        """
        opening, recorded = Opening(), [] if self.recorded is None else self.recorded
        opening.take(self._held, recorded)
        while not opening.is_over and not self.is_finished:
            seen = len(recorded)
            data = await self._step()
            opening.take(self._finish() if data is None else data, recorded[seen:])
        self._held = opening.data
        if not self._exchange.is_recorded:
            self.recorded = None
        return None if opening.is_over else _ended(opening, self._exchange, usage=self._usage)

    async def read(self) -> bytes:
        """Return the next bytes."""
        data, self._held = self._held, b""
        while not data and not self.is_finished:
            try:
                step = await self._step()
            except ProviderError as error:
                self.note_break(error)
                raise
            data = self._finish() if step is None else step
        return data

    async def _step(self) -> bytes | None:
        """Return what the next event is in the client's dialect (perhaps nothing); `None` when there is none."""
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            # A generator is over with its first error; the stream goes on where it was, for whoever reads its rest.
            self._events = self.stream.__aiter__()
            raise
        if self.recorded is not None:
            self.recorded.append(event)
        if isinstance(event, _CONTENT):
            self._tokens_seen += 1
            said = self._renderer.feed(event)
            self._has_said = self._has_said or bool(said)
            return said
        if isinstance(event, UsageReported):
            self._usage = event.usage
        elif not event.created:
            event = msgspec.structs.replace(event, created=self._exchange.created_s)
        return self._renderer.feed(event)

    def note_break(self, error: ProviderError) -> None:
        """Note that the answer broke, and with it the attempt."""
        self._settler.end_badly(self._exchange, self._attempt, error, self._tokens_seen)

    def _finish(self) -> bytes:
        self.is_finished = True
        self._settler.end_well(self._exchange, self._attempt, self._usage, self._tokens_seen)
        self.stream.close()
        return self._renderer.finish()

    def close(self) -> None:
        """Let go of the upstream call; before the end that is a cancellation."""
        try:
            self.stream.close()
        finally:
            self._settler.cancel(self._exchange, self._attempt, usage=self._usage, tokens_seen=self._tokens_seen)
