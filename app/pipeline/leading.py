"""A call that is made for all who ask for the same: shared while it comes, kept when it is complete.

Law: nobody but its own client is promised anything by it. What others may not have is not kept, and whoever follows is
told at once when it ends without an answer.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from app.cache.answers import Answered, is_safe
from app.cache.likes import Likes
from app.cache.shelf import Found, Shelf, Spot
from app.cache.wishes import Wish
from app.pipeline.answer import Answer
from app.pipeline.bodies import UNREADABLE
from app.pipeline.exchange import Exchange
from app.pipeline.flights import Flight, Flights, LeaderFailed, Server
from app.pipeline.led import Led
from app.pipeline.notes import Unstored
from providers.stream import Collector
from providers.types import Completion

Spawn = Callable[[Coroutine[Any, Any, Any]], None]


class Backing(NamedTuple):
    """What leads rest on."""

    shelf: Shelf
    likes: Likes
    flights: Flights
    spawn: Spawn


class Lead:
    """The call of one request. `flight` is absent from the flights where nobody may join.

    `shadow` is the answer to a like question that is compared with the one that is made.
    """

    def __init__(
        self,
        exchange: Exchange,
        flight: Flight,
        *,
        spot: Spot,
        wish: Wish,
        backing: "Backing",
    ) -> None:
        self.shadow: Found | None = None
        self._exchange = exchange
        self._flight = flight
        self._spot = spot
        self._wish = wish
        self._shelf, self._likes, self._flights, self._spawn = backing
        self._route = exchange.route
        self._is_over = False
        exchange.is_recorded = True

    def share(self, answer: Answer) -> Answer:
        """Take an answer over: one that is complete is kept, one that is coming is given to all who follow."""
        served = self._exchange.served
        self._flight.cap = self._exchange.output_cap
        if answer.live is None or (served is not None and served.completion is not None):
            self._complete(self._whole(answer))
            return answer
        inner: Any = answer.live
        led = Led(inner, self._flight, ended=self._ended, broke=self.give_up, spawn=self._spawn)
        if served is not None:
            served.live = led
            self._flight.begin(
                Server(self._exchange.route.name, served.provider, served.upstream_model, served.dropped),
                on_join=led.pump,
            )
        answer.live = led
        return answer

    def hand_over(self) -> None:
        """Leave the flight to another worker's call, which feeds it from now on."""
        self._is_over = True

    def found(self, found: Found) -> None:
        """Share an answer that was there."""
        self._is_over = True
        self._flight.end(found.answered, found=found)
        self._flights.land(self._spot.place.key, self._flight)
        if self._shelf.makes(self._spot):
            self._spawn(self._shelf.release(self._spot))

    def give_up(self, failure: LeaderFailed) -> None:
        """Say that there is no answer to be had from this call."""
        if self._is_over:
            return
        self._is_over = True
        self._flight.fail(failure)
        self._flights.land(self._spot.place.key, self._flight)
        if self._shelf.makes(self._spot):
            self._spawn(self._shelf.release(self._spot))

    # -- completing ---------------------------------------------------------------------------------------------------

    def _ended(self, collector: Collector) -> None:
        """Take a live answer at its end."""
        try:
            completion = self._with_usage(collector.completion())
        except UNREADABLE:
            self.give_up(LeaderFailed(None))
            return
        self._complete(self._answered(completion=self._dated(completion)))

    def _whole(self, answer: Answer) -> Answered:
        """Return a complete answer: canonical if anybody can read it, and as it is for whoever asks the same way."""
        exchange = self._exchange
        served, reader = exchange.served, exchange.operation.reader
        completion = served.completion if served is not None else None
        if completion is None and reader is not None and answer.body is not None:
            try:
                completion = self._dated(reader.whole(answer.body))
            except UNREADABLE:
                completion = None
        return self._answered(completion=completion, answer=answer)

    def _with_usage(self, completion: Completion) -> Completion:
        """Return an answer with its usage, of which the client of a stream is told only if it asks."""
        served = self._exchange.served
        usage = served.usage if served is not None else None
        if completion.usage is not None or usage is None or usage.estimated:
            return completion
        return msgspec.structs.replace(completion, usage=usage)

    def _dated(self, completion: Completion) -> Completion:
        if completion.created:
            return completion
        return msgspec.structs.replace(completion, created=self._exchange.created_s)

    def _answered(self, *, completion: Completion | None, answer: Answer | None = None) -> Answered:
        exchange = self._exchange
        served = exchange.served
        usage = served.usage if served is not None else None
        return Answered(
            provider=served.provider if served is not None else "",
            model=exchange.route.name,
            upstream_model=served.upstream_model if served is not None else "",
            created_ms=self._shelf.now_ms(),
            relay=exchange.operation.relay,
            completion=completion,
            body=None if answer is None else answer.body,
            content_type=b"application/json" if answer is None else answer.content_type,
            cost_nusd=exchange.cost_nusd,
            input_tokens=usage.prompt_tokens if usage is not None else 0,
            output_tokens=usage.output_tokens if usage is not None else 0,
            dropped=served.dropped if served is not None else (),
        )

    def _complete(self, answered: Answered) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._flight.end(answered)
        self._spawn(self._keep(answered))

    async def _keep(self, answered: Answered) -> None:
        unstored = self._objection(answered)
        try:
            if unstored is None:
                sample = await self._likes.sample_of(self._spot, self._wish)
                tags = self._exchange.options.tags
                is_kept = await self._shelf.put(self._spot, answered, ttl_s=self._wish.ttl_s, tags=tags, sample=sample)
                self._note(None if is_kept else "not_taken")
            else:
                self._note(unstored)
                await self._shelf.release(self._spot)
        finally:
            self._flights.land(self._spot.place.key, self._flight)
        if self.shadow is not None:
            await self._likes.compare(self._spot, self.shadow, answered)

    def _note(self, unstored: Unstored | None) -> None:
        note = self._exchange.notes.cache
        if note is not None:
            note.is_stored, note.unstored = unstored is None, unstored

    def _objection(self, answered: Answered) -> Unstored | None:
        """Return what speaks against keeping the answer, if anything does.

        It must be one that the model asked for gave, and that may be given to others; of several models that answer
        together, the one that was wanted of them.
        """
        exchange = self._exchange
        if not self._wish.writes:
            return "not_asked"
        if exchange.fan_reason is not None or (exchange.fanout is None and exchange.route is not self._route):
            return "another_model"
        completion = answered.completion
        if completion is not None:
            return None if is_safe(completion) else "not_safe"
        return "not_safe" if exchange.operation.generates or answered.body is None else None
