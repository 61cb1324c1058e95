"""Answers that no provider was asked for: how they are said in the client's dialect, and what is told of them."""

import itertools

import msgspec

from app.cache.answers import Answered
from app.cache.replaying import in_pieces
from app.pipeline.answer import Answer, Hit
from app.pipeline.exchange import Exchange
from app.pipeline.flights import Flight, LeaderFailed
from app.pipeline.operation import StreamRenderer
from providers.types import ChatEvent, Completion, Started, UsageReported

STREAM_TYPES = {
    "sse": b"text/event-stream; charset=utf-8",
    "array": b"application/json; charset=utf-8",
    "raw": b"application/octet-stream",
}

_PIECES_AT_ONCE = 64


def can_say(exchange: Exchange, answered: Answered) -> bool:
    """Whether a kept answer can be said in the form that a request asks for."""
    if answered.completion is not None:
        return exchange.operation.renderer is not None
    return answered.body is not None and not exchange.stream and answered.relay == exchange.operation.relay


def say(exchange: Exchange, answered: Answered) -> Answer:
    """Return a kept answer as this client gets it: as it was, where it came the same way."""
    completion, operation = answered.completion, exchange.operation
    is_same = answered.relay == operation.relay and not exchange.stream and not operation.echoes
    if completion is None or (is_same and answered.body is not None):
        return Answer(body=answered.body, content_type=answered.content_type)
    if operation.renderer is None:
        raise TypeError("only what can be said is given again")
    if not exchange.stream:
        return Answer(body=operation.renderer.whole(exchange, completion))
    exchange.say_failure = None
    body = _Replayed(completion, operation.renderer.stream(exchange))
    return Answer(live=body, content_type=STREAM_TYPES[exchange.asked.framing])


class _Replayed:
    """A kept answer as a stream: without pauses, for there is nothing to wait for."""

    __slots__ = ("_events", "_renderer", "is_finished")

    def __init__(self, completion: Completion, renderer: StreamRenderer) -> None:
        self._events = in_pieces(completion)
        self._renderer = renderer
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes: not all at once, so that a long answer holds nobody else up."""
        data = b""
        while not data and not self.is_finished:
            events = list(itertools.islice(self._events, _PIECES_AT_ONCE))
            data = b"".join([self._renderer.feed(event) for event in events])
            if len(events) < _PIECES_AT_ONCE:
                self.is_finished = True
                data += self._renderer.finish()
        return data

    def close(self) -> None:
        """Do nothing: no call is open."""


class FollowedBody:
    """Another's answer as it comes, in this client's dialect. Settled like any other: nothing of it was bought here."""

    __slots__ = ("_exchange", "_flight", "_has_left", "_has_usage", "_hit", "_position", "_renderer", "is_finished")

    def __init__(self, flight: Flight, *, exchange: Exchange, hit: Hit, renderer: StreamRenderer) -> None:
        """Follow a flight that has been joined."""
        self._flight = flight
        self._exchange = exchange
        self._hit = hit
        self._renderer = renderer
        self._position = 0
        self._has_left = self._has_usage = False
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes; raises a `ProviderError` where the leader broke off."""
        flight, data = self._flight, b""
        while not data and not self.is_finished:
            try:
                events = await flight.after(self._position)
            except LeaderFailed as failure:
                self._hit.outcome = "interrupted"
                raise failure.as_break() from failure
            self._position += len(events)
            self.is_finished = not events
            data = b"".join([self._say(event) for event in events])
            if self.is_finished:
                data += self._end()
                self.close()
        return data

    def _say(self, event: ChatEvent) -> bytes:
        if isinstance(event, Started) and not event.created:
            # Some vendors do not date their answers.
            event = msgspec.structs.replace(event, created=self._exchange.created_s)
        self._has_usage = self._has_usage or isinstance(event, UsageReported)
        return self._renderer.feed(event)

    def _end(self) -> bytes:
        """Return what ends the answer; its usage too, if its first client did not want to know it."""
        answered = self._flight.answered
        if answered is None:
            return self._renderer.finish()
        self._hit.learn(answered)
        usage = None if self._has_usage or answered.completion is None else answered.completion.usage
        data = b"" if usage is None else self._renderer.feed(UsageReported(usage=usage))
        return data + self._renderer.finish()

    def close(self) -> None:
        """Leave; the call goes on for the others."""
        if not self._has_left:
            self._has_left = True
            self._flight.leave()
            if not self.is_finished and self._hit.outcome == "ok":
                self._hit.outcome = "cancelled"
