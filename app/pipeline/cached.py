"""The layer of answers that are there already, or are being made for somebody else.

Law: decide, then act (`app.cache` decides). A hit is admitted like any request but for tokens and money, of which it
uses none; whoever follows another's call pays nothing for it. The cache being down costs nothing but the hit.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Protocol

from app.cache.answers import Answered
from app.cache.likes import Likes, Look
from app.cache.shelf import Found, Shelf, Spot
from app.cache.wishes import Wish
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, NotCached, UpstreamFailed, UpstreamRateLimited, UpstreamTimedOut
from app.pipeline.answer import Answer, Hit, HitStatus
from app.pipeline.asking import Asking
from app.pipeline.exchange import Exchange
from app.pipeline.flights import Flight, Flights, LeaderFailed
from app.pipeline.hits import STREAM_TYPES, FollowedBody, can_say, say
from app.pipeline.leading import Backing, Lead
from app.pipeline.meter import Supervisor
from app.pipeline.notes import CacheNote, LayerStep, Verdict, stopped
from app.pipeline.radio import Radio
from app.pipeline.ring import Next
from app.routing.table import Route
from app.stores.cache import Maker

_UPSTREAMS = (UpstreamFailed, UpstreamTimedOut, UpstreamRateLimited)
_LARGE_BYTES = 1 << 17
"""The key of a larger request is made in a thread, so that the event loop never stalls."""
_MOST_LEADERS = 2
"""So many leaders may fail by a provider's doing before their followers take it that they would too."""


class Free(Protocol):
    """Admits what uses neither tokens nor money."""

    async def admit_hit(self, exchange: Exchange) -> None:
        """Count a request of which nothing is bought; raises what refuses it. Once: the second time does nothing."""
        ...

    async def take_back(self, exchange: Exchange) -> None:
        """Undo that, for a request that is to be admitted in full after all."""
        ...

    def cap_of(self, exchange: Exchange) -> int | None:
        """Return how much output binds a request, whatever is left of its budgets; nothing for as much as it asks."""
        ...


class _Unfit(Exception):
    """What is being made for somebody else is not what this request may have."""


Wishes = Callable[[Exchange], Wish | None]
"""Returns what the cache is to do for a request: nothing where it has no part in it."""


class Cached:
    """Looks up, follows and leads. One for each worker."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        likes: Likes,
        flights: Flights,
        radio: Radio,
        wishes: Wishes,
        free: Free,
        clock: Clock,
        supervisor: Supervisor,
    ) -> None:
        self._shelf = shelf
        self._likes = likes
        self._flights = flights
        self._radio = radio
        self._wishes = wishes
        self._free = free
        self._clock = clock
        self._backing = Backing(shelf, likes, flights, supervisor.spawn)
        self._asking = Asking()

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer from what is there, or is being made; or make it, for others too."""
        wish = self._wishes(exchange)
        if wish is None:
            control = exchange.options.cache_control
            if control is not None and control.only_if_cached:
                raise self._not_cached(exchange, began_ns=self._clock.monotonic_ns())
            return await following(exchange)
        if exchange.text_bytes > _LARGE_BYTES:
            place = await asyncio.to_thread(self._asking.place, exchange, wish)
        else:
            place = self._asking.place(exchange, wish)
        spot = place if isinstance(place, Spot) else None
        exchange.notes.cache = CacheNote(wish, place)
        exchange.cache_status = "bypass" if spot is None else "miss"
        if wish.only_if_cached:
            return await self._find_only(exchange, spot, wish)
        return await (following(exchange) if spot is None else self._shared(exchange, following, spot=spot, wish=wish))

    async def _shared(self, exchange: Exchange, following: Next, *, spot: Spot, wish: Wish) -> Answer:
        """Answer from what is there or is being made; whose leader fails asks again, or makes it itself."""
        failed, joins = 0, wish.reads
        while True:
            flight = self._flights.find(spot.place.key) if joins else None
            try:
                if flight is None:
                    return await self._lead(exchange, following, spot=spot, wish=wish, is_shared=joins)
                return await self._follow(exchange, flight, spot=spot, wish=wish)
            except LeaderFailed as failure:
                failed += isinstance(failure.error, _UPSTREAMS)
                is_same = failure.asked is not None and failure.asked == asked_of(exchange)
                if failure.error is not None and (is_same or failed >= _MOST_LEADERS):
                    raise failure.error from failure
                joins = not failure.is_private and failure.asked is None
            except _Unfit:
                joins = False
            await self._free.take_back(exchange)

    # -- hits ---------------------------------------------------------------------------------------------------------

    async def _find_only(self, exchange: Exchange, spot: Spot | None, wish: Wish) -> Answer:
        found, began_ns = None, self._clock.monotonic_ns()
        if spot is not None and wish.reads:
            found = await self._shelf.find(spot, max_age_s=wish.max_age_s, makes=False)
        if not isinstance(found, Found) or not can_say(exchange, found.answered):
            raise self._not_cached(exchange, began_ns=began_ns)
        exchange.notes.steps.append(LayerStep("cache", "answered", began_ns, self._clock.monotonic_ns()))
        return await self._give(exchange, found)

    def _not_cached(self, exchange: Exchange, *, began_ns: int) -> NotCached:
        """Return the refusal of a request that wants no answer but a kept one."""
        refusal, ended_ns = NotCached(), self._clock.monotonic_ns()
        exchange.notes.steps.append(stopped("cache", refusal, began_ns=began_ns, ended_ns=ended_ns))
        return refusal

    async def _give(self, exchange: Exchange, found: Found) -> Answer:
        """Answer with what is there."""
        note = exchange.notes.cache
        if note is not None:
            note.found = found
        await self._free.admit_hit(exchange)
        leg = _leg_of(exchange, found.answered.model)
        if leg is not None:
            exchange.enter(leg)
        self._note(exchange, found.answered, status=_status_of(found), found=found)
        return say(exchange, found.answered)

    def _note(self, exchange: Exchange, answered: Answered, *, status: HitStatus, found: Found | None) -> None:
        """Write down that a request was answered with what nobody bought for it."""
        hit = Hit(status, answered.provider, answered.upstream_model, began_ns=self._clock.monotonic_ns())
        if found is not None:
            hit.entry_id, hit.age_s, hit.similarity = found.entry_id, found.age_s, found.similarity
        hit.learn(answered)
        exchange.hit, exchange.cache_status = hit, status
        exchange.dropped = exchange.in_its_words(answered.dropped)

    # -- following ----------------------------------------------------------------------------------------------------

    async def _follow(self, exchange: Exchange, flight: Flight, *, spot: Spot, wish: Wish) -> Answer:
        """Answer with what somebody else's call brings; raises `LeaderFailed` if that is nothing."""
        flight.join()
        stays = False
        try:
            await self._free.admit_hit(exchange)
            await self._wait(exchange, flight)
            if flight.answered is not None:
                return self._arrived(exchange, flight, flight.answered, spot=spot, wish=wish)
            answer = self._coming(exchange, flight)
            stays = True
            return answer
        finally:
            if not stays:
                flight.leave()

    async def _wait(self, exchange: Exchange, flight: Flight) -> None:
        """Wait until the answer has begun, or is complete where it is wanted whole."""
        steps, began_ns = exchange.notes.steps, self._clock.monotonic_ns()
        try:
            await (flight.begun() if exchange.stream else flight.ended())
        except BaseException as error:
            why = error.error if isinstance(error, LeaderFailed) and error.error is not None else error
            steps.append(stopped("cache", why, began_ns=began_ns, ended_ns=self._clock.monotonic_ns()))
            raise
        ended_ns = self._clock.monotonic_ns()
        exchange.upstream_ns += ended_ns - began_ns
        steps.append(LayerStep("cache", "waited", began_ns, ended_ns))

    def _arrived(self, exchange: Exchange, flight: Flight, answered: Answered, *, spot: Spot, wish: Wish) -> Answer:
        """Answer with one that is complete."""
        found = flight.found or Found(answered, spot.place.entry_id, age_s=0)
        is_stale = wish.max_age_s is not None and found.age_s > wish.max_age_s
        is_cut = answered.completion is not None and any(
            c.finish_reason == "length" for c in answered.completion.choices
        )
        if is_stale or not can_say(exchange, answered) or (is_cut and self._is_capped(exchange, flight)):
            raise _Unfit
        self._enter(exchange, answered.model)
        self._note(exchange, answered, status="coalesced" if flight.found is None else _status_of(found), found=found)
        return say(exchange, answered)

    def _coming(self, exchange: Exchange, flight: Flight) -> Answer:
        """Answer with one that is still coming."""
        server, renderer = flight.server, exchange.operation.renderer
        if server is None or renderer is None or self._is_capped(exchange, flight):
            raise _Unfit
        self._enter(exchange, server.model)
        hit = Hit("coalesced", server.provider, server.upstream_model, began_ns=self._clock.monotonic_ns())
        exchange.hit, exchange.cache_status = hit, "coalesced"
        exchange.dropped = exchange.in_its_words(server.dropped)
        exchange.say_failure = None
        body = FollowedBody(flight, exchange=exchange, hit=hit, renderer=renderer.stream(exchange))
        return Answer(live=body, content_type=STREAM_TYPES[exchange.asked.framing])

    def _is_capped(self, exchange: Exchange, flight: Flight) -> bool:
        """Whether the leader was let have less output than this request would be: its answer may be cut short."""
        if flight.cap is None:
            return False
        own = self._free.cap_of(exchange)
        return own is None or own > flight.cap

    @staticmethod
    def _enter(exchange: Exchange, model: str) -> None:
        """Take the model that serves for the one that was asked for, if the request may fall back to it or asks it."""
        if model == exchange.route.name:
            return
        other = exchange.alternatives.get(model) or _leg_of(exchange, model)
        if other is None:
            raise _Unfit
        exchange.enter(other)

    # -- leading ------------------------------------------------------------------------------------------------------

    async def _lead(self, exchange: Exchange, following: Next, *, spot: Spot, wish: Wish, is_shared: bool) -> Answer:
        """Find an answer or make one, for all who ask for the same meanwhile if it `is_shared`."""
        flight = self._flights.lead(spot.place.key) if is_shared else Flight()
        lead = Lead(exchange, flight, spot=spot, wish=wish, backing=self._backing)
        try:
            found = None
            if wish.reads:
                began_ns = self._clock.monotonic_ns()
                found = await self._found(exchange, lead, spot=spot, wish=wish, is_shared=is_shared)
                verdict: Verdict = "passed" if found is None else "answered"
                exchange.notes.steps.append(LayerStep("cache", verdict, began_ns, self._clock.monotonic_ns()))
            if isinstance(found, Maker):
                lead.hand_over()
                self._radio.follow(flight, spot, found)
                return await self._follow(exchange, flight, spot=spot, wish=wish)
            if found is not None:
                lead.found(found)
                return await self._give(exchange, found)
            return lead.share(await following(exchange))
        except GatewayError as error:
            is_wrong = bool(exchange.attempts) and not isinstance(error, _UPSTREAMS)
            lead.give_up(LeaderFailed(error, asked=asked_of(exchange) if is_wrong else None))
            raise
        except BaseException:
            lead.give_up(LeaderFailed(None))
            raise

    async def _found(
        self, exchange: Exchange, lead: Lead, *, spot: Spot, wish: Wish, is_shared: bool
    ) -> Found | Maker | None:
        """Return the kept answer to the very same question, who makes it, or the answer to one that means the same."""
        found = await self._shelf.find(spot, max_age_s=wish.max_age_s, makes=wish.writes and is_shared)
        if isinstance(found, Found):
            if can_say(exchange, found.answered):
                return found
        elif found is not None and not found.is_me and is_shared:
            return found
        note = exchange.notes.cache
        like = await self._likes.find(spot, wish, look=Look() if note is None else note.look)
        if like is None or not can_say(exchange, like.found.answered):
            return None
        if like.serves:
            return like.found
        lead.shadow = like.found
        return None


def _leg_of(exchange: Exchange, model: str) -> Route | None:
    """Return the route of one of the models that are to answer together."""
    routes = () if exchange.fanout is None else exchange.fanout.routes
    return next((route for route in routes if route.name == model), None)


def asked_of(exchange: Exchange) -> bytes:
    """Return what is the same for requests of which every word is the same."""
    said = b"%d %s\0" % (exchange.stream, exchange.operation.relay.encode())
    return hashlib.blake2b(said + exchange.body, digest_size=16).digest()


def _status_of(found: Found) -> HitStatus:
    return "exact" if found.similarity is None else "semantic"
