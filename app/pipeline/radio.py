"""Calls shared between workers: who follows another worker's call is told of it, event by event.

Law: the leader says nothing until somebody asks. What is heard is in order and complete, or the follower is on its own:
a part that is missing, or a leader that has fallen silent, ends the following. All of it is sealed.
"""

import asyncio
import logging
from typing import Literal

import msgspec

from app.cache.answers import Answered
from app.cache.shelf import Found, Shelf, Spot
from app.kernel.errors import GatewayError, UpstreamFailed, UpstreamRateLimited, UpstreamRefused, UpstreamTimedOut
from app.pipeline.flights import Flight, Flights, LeaderFailed, Server
from app.pipeline.meter import Supervisor
from app.stores.cache import Maker
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Signals
from providers.stream import OPAQUE_PART
from providers.types import ChatEvent

TOPIC = "calls"
_SILENT_S = 1.0
"""After so long without a word it is looked up whether the leader still makes the answer."""
_AT_ONCE = 500
"""How many events one message brings at most."""
_LOG = logging.getLogger("gateway.cache")
_FAILURES: dict[str, type[GatewayError]] = {
    kind.__name__: kind for kind in (UpstreamFailed, UpstreamTimedOut, UpstreamRateLimited, UpstreamRefused)
}


class _Word(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One message. `number` counts those of one following from 0; `body` is sealed for the key and the number."""

    says: Literal["join", "part", "end", "failed"]
    key: bytes
    sender: str
    number: int = 0
    body: bytes = b""


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """What has come of an answer, who serves it, and how much output the leader was let have, if that was less."""

    server: Server
    cap: int | None
    events: list[ChatEvent]


class _End(msgspec.Struct, frozen=True, array_like=True):
    """A complete answer."""

    answered: Answered
    cap: int | None


class _Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why there is no answer; the kind is empty where that is nobody else's concern."""

    kind: str = ""
    message: str = ""
    code: str | None = None
    asked: bytes | None = None
    is_private: bool = False


_encode = msgspec.msgpack.Encoder().encode
_word = msgspec.msgpack.Decoder(_Word)
_part = msgspec.msgpack.Decoder(_Part)
_failure = msgspec.msgpack.Decoder(_Failure)
_ended = msgspec.msgpack.Decoder(_End)


class Radio:
    """Tells and hears. One for each worker."""

    def __init__(self, shelf: Shelf, *, signals: Signals, flights: Flights, supervisor: Supervisor) -> None:
        self._shelf = shelf
        self._sealer = shelf.sealer
        self._signals = signals
        self._flights = flights
        self._supervisor = supervisor
        self._heard: dict[tuple[bytes, str], _Following] = {}
        self._end = signals.subscribe(TOPIC, self._hear)

    def close(self) -> None:
        """Hear no more."""
        self._end()

    # -- following ----------------------------------------------------------------------------------------------------

    def follow(self, flight: Flight, spot: Spot, maker: Maker) -> None:
        """Feed a flight with what another worker's call brings, in a task of its own."""
        self._supervisor.spawn(self._feed(flight, spot, maker))

    async def _feed(self, flight: Flight, spot: Spot, maker: Maker) -> None:
        name = (spot.place.key, maker.id)
        following = self._heard[name] = _Following(flight)
        try:
            await self._say("join", spot.place.key, to=maker.id)
            while not flight.is_over:
                if not await following.hears(within_s=_SILENT_S):
                    await self._look(flight, spot, maker)
        except StoreUnavailable as error:
            _LOG.debug("another worker's call is not followed: %s", error)
        finally:
            flight.fail(LeaderFailed(None))
            self._heard.pop(name, None)
            self._flights.land(spot.place.key, flight)

    async def _look(self, flight: Flight, spot: Spot, maker: Maker) -> None:
        """See whether the answer has come without a word, or nobody makes it any more."""
        found = await self._shelf.find(spot, max_age_s=None, makes=False)
        if isinstance(found, Found):
            flight.end(found.answered, found=found)
        elif found is None or found.id != maker.id:
            flight.fail(LeaderFailed(None))

    def _hear(self, payload: bytes) -> None:
        try:
            word = _word.decode(payload)
        except msgspec.DecodeError:
            _LOG.debug("a worker of another release tells of its calls")
            return
        if word.says == "join":
            self._supervisor.spawn(self._tell(word.key, to=word.sender))
            return
        following = self._heard.get((word.key, word.sender))
        if following is None:
            return
        body = self._sealer.open(word.body, place=_place_of(word))
        if body is None or word.number != following.number:
            following.flight.fail(LeaderFailed(None))
        else:
            self._take(following, word, body)
        following.note()

    @staticmethod
    def _take(following: "_Following", word: _Word, body: bytes) -> None:
        flight = following.flight
        following.number += 1
        try:
            if word.says == "part":
                part = _part.decode(body)
                flight.cap = part.cap
                if flight.server is None:
                    flight.begin(part.server)
                flight.add(part.events)
            elif word.says == "end":
                end = _ended.decode(body)
                flight.cap = end.cap
                flight.end(end.answered)
            else:
                flight.fail(_failure_of(_failure.decode(body)))
        except msgspec.DecodeError:
            flight.fail(LeaderFailed(None))

    # -- leading ------------------------------------------------------------------------------------------------------

    async def _tell(self, key: bytes, *, to: str) -> None:
        """Tell another worker of a call that is made here, from its beginning to its end."""
        flight = self._flights.find(key)
        if flight is None:
            await self._say_body("failed", key, _Failure(), to=to, number=0)
            return
        flight.join()
        number = position = 0
        try:
            while events := await flight.after(position):
                for at in range(0, len(events), _AT_ONCE):
                    await self._say_part(flight, key, list(events[at : at + _AT_ONCE]), to=to, number=number)
                    number += 1
                position += len(events)
            if flight.answered is not None:
                await self._say_body("end", key, _End(flight.answered, flight.cap), to=to, number=number)
        except LeaderFailed as failure:
            await self._say_body("failed", key, _said(failure), to=to, number=number)
        except StoreUnavailable as error:
            _LOG.debug("another worker is not told of a call: %s", error)
        finally:
            flight.leave()

    async def _say_part(self, flight: Flight, key: bytes, events: list[ChatEvent], *, to: str, number: int) -> None:
        if flight.server is None or any(OPAQUE_PART in event.extras for event in events):
            # A part that only its own dialect understands does not travel.
            raise LeaderFailed(None)
        await self._say_body("part", key, _Part(flight.server, flight.cap, events), to=to, number=number)

    async def _say_body(
        self, says: Literal["part", "end", "failed"], key: bytes, body: object, *, to: str, number: int
    ) -> None:
        word = _Word(says=says, key=key, sender=self._signals.address, number=number)
        sealed = self._sealer.seal(_encode(body), place=_place_of(word))
        await self._signals.publish(TOPIC, _encode(msgspec.structs.replace(word, body=sealed)), to=to)

    async def _say(self, says: Literal["join"], key: bytes, *, to: str) -> None:
        await self._signals.publish(TOPIC, _encode(_Word(says=says, key=key, sender=self._signals.address)), to=to)


class _Following:
    """One call of another worker's that is followed here; `number` is that of the message which comes next."""

    __slots__ = ("_news", "flight", "number")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.number = 0
        self._news = asyncio.Event()

    def note(self) -> None:
        """Note that a message has come."""
        self._news.set()

    async def hears(self, *, within_s: float) -> bool:
        """Wait for a message; returns whether one has come."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


def _place_of(word: _Word) -> bytes:
    return b"call " + word.key + f" {word.says} {word.number} of {word.sender}".encode()


def _said(failure: LeaderFailed) -> _Failure:
    error = failure.error
    if error is None or type(error).__name__ not in _FAILURES:
        return _Failure(is_private=failure.is_private)
    return _Failure(type(error).__name__, error.message, error.code, failure.asked, failure.is_private)


def _failure_of(said: _Failure) -> LeaderFailed:
    kind = _FAILURES.get(said.kind)
    error = None if kind is None else kind(said.message, code=said.code)
    return LeaderFailed(error, asked=said.asked, is_private=said.is_private)
