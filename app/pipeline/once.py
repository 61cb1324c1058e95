"""Requests with an idempotency key: one call for all that repeat it, whoever of its clients stays.

Law: a call is made only under a claim in the store, so one among all processes. In this process there is at most one
recording of a slot; whoever made it does the work (makes the call, or waits for another process's), in a supervised
task, and everybody follows it. An answer is kept before its last bytes are given away.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from app.domain.answers.schemas import Claim, Headers, IdempotencyConflict, KeptAnswer, Slot, Standing
from app.domain.answers.service import MAX_BYTES, too_large_to_keep
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, InternalError, Unavailable, UpstreamTimedOut
from app.kernel.ids import uuid7
from app.pipeline.answer import Answer, LiveBody
from app.pipeline.exchange import Exchange
from app.pipeline.meter import Supervisor
from app.pipeline.recording import Head, Recording
from app.pipeline.ring import Next
from app.pipeline.routed import client_error
from providers.errors import ProviderError

_LOG = logging.getLogger("gateway.once")
_NS_PER_S = 1_000_000_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_GROWTH = 0.05, 0.5, 1.5
RENEW_S = 10.0
"""How often a claim is renewed: well within its lease, so that one missed renewal loses nothing."""
_KEEP_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_FREED_WITHIN_S = 0.25
"""How long a failure waits at most for its key to be free."""
"""How long to wait before an answer is offered again to a store that did not take it: in all, less than a lease."""


class Answers(Protocol):
    """Where claims and answers are: `app.domain.answers`."""

    async def claim(self, claim: Claim) -> KeptAnswer | Standing:
        """Claim a slot, or return the answer in it, or say that another holds it. Raises `IdempotencyConflict`."""
        ...

    async def is_held(self, slot: Slot) -> bool:
        """Whether somebody is on the way to the answer of a slot."""
        ...

    async def renew(self, claim: Claim) -> bool:
        """Prolong the lease of a claim; returns whether it was still held."""
        ...

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> bool:
        """Keep an answer, or that it was too large; returns whether the claim was still held."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give a claim back."""
        ...


Told = Callable[[Exchange], Awaitable[Headers]]
"""Returns what a client is told of its limits by an answer that takes nothing of them."""


class Repeatable(NamedTuple):
    """What makes a request the same as another. `describe` returns the headers that say who served it."""

    slot: Slot
    request_hash: bytes
    describe: Callable[[Answer], Headers]


class Once:
    """Answers requests that may be repeated. One for each worker, used inside its loop."""

    def __init__(
        self,
        following: Next,
        *,
        answers: Answers,
        told: Told,
        clock: Clock,
        supervisor: Supervisor,
        open_requests: set[Any],
    ) -> None:
        """Make it; calls under way are in `open_requests`, so that a shutdown can end them."""
        self.following = following
        self.answers = answers
        self._told = told
        self.clock = clock
        self.supervisor = supervisor
        self.open_requests = open_requests
        self._calls: dict[Slot, _Call] = {}

    async def __call__(self, exchange: Exchange, request: Repeatable) -> Answer:
        """Answer: from the store, with a call under way, or with a new one, which is told its client's deadline.

        Raises `IdempotencyConflict` for another request under the key, `Unavailable` if the store does not answer.
        """
        while True:
            call = self._calls.get(request.slot)
            is_first = call is None
            if call is None:
                call = self._calls[request.slot] = _Call(self, exchange, request)
            call.check(request)
            answer = await self._follow(call, exchange, is_first=is_first)
            if answer is not None:
                return answer

    @property
    def unattended(self) -> int:
        """How many calls go on although none of their clients has stayed."""
        return sum(1 for call in self._calls.values() if call.is_under_way and not call.recording.followers)

    async def _follow(self, call: "_Call", exchange: Exchange, *, is_first: bool) -> Answer | None:
        """Return the answer of a call; nothing if somebody else's ended without, so that another may be made."""
        recording = call.recording
        follower = recording.follow()
        if is_first:
            exchange.call = recording
            self.supervisor.spawn(call.run())
        began_ns = self.clock.monotonic_ns()
        try:
            head = await recording.beginning()
            answer = None if head is None else await follower.answer(head)
            is_replay = call.is_replay or not is_first
            if answer is not None and is_replay:
                exchange.upstream_ns += self.clock.monotonic_ns() - began_ns
                exchange.limit_headers = await self._told(exchange)
        except BaseException:
            follower.close()
            raise
        if head is None or answer is None:
            follower.close()
            if is_first or call.is_final:
                raise recording.failure or InternalError()
            return None
        if is_replay:
            exchange.say_failure = call.exchange.say_failure
            answer.replayed = head.replayed
        return answer

    def forget(self, call: "_Call") -> None:
        """Let go of a call that is over; whoever comes next asks the store."""
        if self._calls.get(call.request.slot) is call:
            del self._calls[call.request.slot]


class _Call:
    """The work of one recording: claim, call, record, keep.

    `is_final` is whether a failure is everybody's, since a new try would end the same; `is_replay` whether the answer
    was there before.
    """

    def __init__(self, once: Once, exchange: Exchange, request: Repeatable) -> None:
        self.exchange = exchange
        self.request = request
        self.recording = Recording(held_bytes=MAX_BYTES)
        self.is_final = False
        self.is_replay = False
        self.is_under_way = False
        self._once = once
        self._claim = Claim(request.slot, exchange.principal.organization_id, request.request_hash, uuid7())
        self._task: asyncio.Task[Any] | None = None
        self._stopped: GatewayError | None = None
        self._is_whole = False

    def check(self, request: Repeatable) -> None:
        """Raise `IdempotencyConflict` unless a request can be answered with this call."""
        if request.request_hash != self.request.request_hash:
            raise IdempotencyConflict("this Idempotency-Key is in use for another request")
        if self.recording.is_too_large:
            raise too_large_to_keep()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do the work, whatever the clients do."""
        once = self._once
        self._task = asyncio.current_task()
        once.open_requests.add(self)
        failure: GatewayError | None = InternalError()
        try:
            failure = await self._within_time()
        finally:
            once.forget(self)
            once.open_requests.discard(self)
            self.recording.end(failure)

    async def _within_time(self) -> GatewayError | None:
        """Do the work in the time that its first client gave it; returns what it failed with."""
        left_s = (self.exchange.deadline_ns or 0) - self._once.clock.monotonic_ns()
        timer = asyncio.get_running_loop().call_later(left_s / _NS_PER_S, self._expire)
        try:
            if await self._claimed():
                await self._make()
        except GatewayError as error:
            return error
        except ProviderError as error:
            return client_error(error)
        except asyncio.CancelledError:
            if self._stopped is None or self._task is None:
                raise
            self._task.uncancel()
            return self._stopped
        finally:
            timer.cancel()
        return None

    def shut_down(self) -> None:
        """End the call because the process ends."""
        self._stop(Unavailable("the gateway is shutting down", code="server_shutting_down", retry_after_s=1))

    def _expire(self) -> None:
        self.exchange.expire()
        self._stop(UpstreamTimedOut("the request's time ran out"))

    def _stop(self, error: GatewayError) -> None:
        if self._stopped is None and self._task is not None and not self._is_whole:
            self._stopped = error
            self._task.cancel()

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def _claimed(self) -> bool:
        """Claim the slot, or wait for the answer of whoever holds it; returns whether the call is to be made."""
        try:
            found = await self._once.answers.claim(self._claim)
            while found is Standing.HELD and await self._is_freed():
                found = await self._once.answers.claim(self._claim)
        except (asyncio.CancelledError, Unavailable):
            # The store may have noted a claim that we know nothing of.
            self.is_final = self._stopped is None
            self._once.supervisor.spawn(self._release())
            raise
        except GatewayError:
            self.is_final = True
            raise
        if isinstance(found, KeptAnswer):
            await self._replay(found)
        return found is Standing.OURS

    async def _is_freed(self) -> bool:
        """Wait until nobody holds the slot; returns whether anybody waits for its answer still."""
        pause_s = _FIRST_PAUSE_S
        while self.recording.followers:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * _PAUSE_GROWTH, _LONGEST_PAUSE_S)
            if not await self._once.answers.is_held(self.request.slot):
                return True
        return False

    async def _replay(self, kept: KeptAnswer) -> None:
        self.is_replay = True
        self.recording.begin(Head(is_live=kept.is_live, content_type=kept.content_type, replayed=kept.headers))
        await self.recording.write(kept.body)

    # -- calling ------------------------------------------------------------------------------------------------------

    async def _make(self) -> None:
        """Make the call under the claim; a call that gives no whole answer gives the claim back."""
        self.is_under_way = True
        renewing = asyncio.get_running_loop().create_task(self._renew())
        try:
            last = await self._record()
            # From here on nothing stops it: the answer is whole, and paid for.
            self._is_whole = True
            await self._keep(last)
            await self.recording.write(last)
        except (GatewayError, ProviderError):
            await self._give_back()
            raise
        except BaseException:
            self._once.supervisor.spawn(self._release())
            raise
        finally:
            renewing.cancel()

    async def _record(self) -> bytes:
        """Record the answer up to its last bytes, and return these."""
        answer = await self._once.following(self.exchange)
        live, served = answer.live, self.request.describe(answer)
        self.recording.begin(Head(is_live=live is not None, content_type=answer.content_type, replayed=served))
        return (answer.body or b"") if live is None else await self._record_live(live)

    async def _record_live(self, live: LiveBody) -> bytes:
        try:
            while True:
                data = await live.read()
                if live.is_finished:
                    return data
                await self.recording.write(data)
        finally:
            live.close()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                if not await self._once.answers.renew(self._claim):
                    _LOG.warning("request %s has lost its idempotency key: it is answered twice", self._id)
                    return
            except GatewayError as error:
                _LOG.warning("the idempotency key of request %s is not renewed: %s", self._id, error.message)

    @property
    def _id(self) -> str:
        return self.exchange.request_id

    # -- keeping ------------------------------------------------------------------------------------------------------

    async def _keep(self, last: bytes) -> None:
        """Keep the answer, or see to it that it is kept as soon as the store takes it."""
        answer = self._kept(last)
        if not await self._is_kept(answer):
            self._once.supervisor.spawn(self._keep_later(answer))

    def _kept(self, last: bytes) -> KeptAnswer | None:
        recording, head = self.recording, self.recording.head
        if head is None or recording.size_bytes + len(last) > MAX_BYTES:
            return None
        body = (recording.body() or b"") + last
        return KeptAnswer(is_live=head.is_live, content_type=head.content_type, headers=head.replayed, body=body)

    async def _is_kept(self, answer: KeptAnswer | None) -> bool:
        """Offer the answer to the store; returns whether it need not be offered again."""
        try:
            if not await self._once.answers.keep(self._claim, answer):
                _LOG.warning("the answer of request %s is not kept: its claim was lost", self._id)
        except GatewayError as error:
            _LOG.warning("the answer of request %s is not kept yet: %s", self._id, error.message)
            return False
        return True

    async def _keep_later(self, answer: KeptAnswer | None) -> None:
        for pause_s in _KEEP_PAUSES_S:
            await asyncio.sleep(pause_s)
            if await self._is_kept(answer):
                return

    async def _give_back(self) -> None:
        """Give the claim back before anybody hears of the failure: what is sent under the key then may differ."""
        is_free = asyncio.Event()

        async def release() -> None:
            await self._release()
            is_free.set()

        self._once.supervisor.spawn(release())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FREED_WITHIN_S):
                await is_free.wait()

    async def _release(self) -> None:
        """Give the claim back; if that fails, its lease ends by itself."""
        try:
            await self._once.answers.release(self._claim)
        except GatewayError as error:
            _LOG.debug("the idempotency key of request %s is free after its lease: %s", self._id, error.message)
