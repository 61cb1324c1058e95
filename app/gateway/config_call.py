"""Other gateways on the same Redis, which may run elsewhere and have files of their own, take theirs again too.

Law: whoever says that it begins is waited for, and named if it does not end; one worker speaks for all of its parent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from app.gateway.config_view import ConfigWorker, worker_of
from app.gateway.tasks import TaskSupervisor
from app.kernel.ids import uuid7_text
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Stores, Unsubscribe

_ASKED, _TOLD = "config:reload", "config:reloaded"
_BEGINS_S = 0.5
"""A gateway that has not said within this time that it begins is not there, or hears nothing."""
_ENDS_S = 3.5
"""With what a parent waits for its own this stays below the ten seconds for which clients commonly wait."""
_LEASE_S = 30.0

_LOG = logging.getLogger("gateway.config")


class _Question(msgspec.Struct, array_like=True, frozen=True):
    """Somebody wants every gateway to take its settings again."""

    round: str
    gateway: str
    address: str


class _Word(msgspec.Struct, array_like=True, frozen=True):
    """What a gateway says to whoever asked: that it begins (no workers yet), or how it went."""

    round: str
    gateway: str
    workers: list[ConfigWorker] | None


_encode = msgspec.msgpack.Encoder().encode
_questions = msgspec.msgpack.Decoder(_Question)
_words = msgspec.msgpack.Decoder(_Word)


class ConfigCall:
    """Asks and answers, for one process. `gateway` names the parent that all workers of one gateway share."""

    def __init__(
        self, stores: Stores, *, gateway: str, tasks: TaskSupervisor, reload: Callable[[], Awaitable[Any]]
    ) -> None:
        """Make one; `reload` has the workers of this parent take the settings again, and returns how that went."""
        self._stores = stores
        self.gateway = gateway
        self._tasks = tasks
        self._reload = reload
        self._heard: dict[str, dict[str, list[ConfigWorker] | None]] = {}
        self._news = asyncio.Event()
        self._subscriptions: list[Unsubscribe] = []

    def start(self) -> None:
        """Begin to hear."""
        signals = self._stores.signals
        self._subscriptions = [signals.subscribe(_ASKED, self._hear), signals.subscribe(_TOLD, self._hear_word)]

    def stop(self) -> None:
        """Hear nothing any more."""
        for unsubscribe in self._subscriptions:
            unsubscribe()

    async def ask_others(self) -> list[ConfigWorker]:
        """Have every other gateway take its settings again, and return how it went in each of their workers."""
        if self._stores.kind == "memory":
            return []
        number = uuid7_text()
        heard = self._heard[number] = {}
        try:
            question = _Question(number, self.gateway, self._stores.signals.address)
            await self._stores.signals.publish(_ASKED, _encode(question))
            await asyncio.sleep(_BEGINS_S)
            await self._until_all_have_ended(heard)
        except StoreUnavailable as error:
            why = f"other gateways could not be asked: {error}"
            return [ConfigWorker(gateway="*", worker="*", pid=0, applied=False, error=why)]
        finally:
            del self._heard[number]
        return [worker for gateway in sorted(heard) for worker in heard[gateway] or [_silent(gateway)]]

    async def _until_all_have_ended(self, heard: dict[str, list[ConfigWorker] | None]) -> None:
        try:
            async with asyncio.timeout(_ENDS_S):
                while None in heard.values():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            _LOG.warning("not every gateway has said how its reload went")

    def _hear_word(self, payload: bytes) -> None:
        try:
            word = _words.decode(payload)
        except msgspec.DecodeError:
            _LOG.debug("a gateway of another release answered a reload")
            return
        if word.round in self._heard:
            self._heard[word.round][word.gateway] = word.workers
            self._news.set()

    def _hear(self, payload: bytes) -> None:
        try:
            question = _questions.decode(payload)
        except msgspec.DecodeError:
            _LOG.debug("a gateway of another release asked for a reload")
            return
        if question.gateway != self.gateway:
            self._tasks.spawn(self._answer(question))

    async def _answer(self, question: _Question) -> None:
        """Take the settings again, unless a sibling already does for this parent, and tell whoever asked."""
        name = f"config:{question.round}:{self.gateway}"
        try:
            if not await self._stores.leases.acquire(name, holder=self._stores.signals.address, ttl_s=_LEASE_S):
                return
            await self._tell(question, None)
            await self._tell(question, await self._taken_again())
        except StoreUnavailable as error:
            _LOG.warning("whoever asked for a reload is not told how it went: %s", error)

    async def _taken_again(self) -> list[ConfigWorker]:
        try:
            done = await self._reload()
        except TimeoutError:
            return [_silent(self.gateway)]
        if done.refused:
            why = "the settings there are not valid: " + "; ".join(done.refused)
            return [ConfigWorker(gateway=self.gateway, worker="*", pid=0, applied=False, error=why)]
        return [worker_of(outcome, gateway=self.gateway) for outcome in done.workers]

    async def _tell(self, question: _Question, workers: list[ConfigWorker] | None) -> None:
        word = _Word(question.round, self.gateway, workers)
        await self._stores.signals.publish(_TOLD, _encode(word), to=question.address)


def _silent(gateway: str) -> ConfigWorker:
    return ConfigWorker(gateway=gateway, worker="*", pid=0, applied=False, error="it has not said how it went")
