"""Who wants which signals in this process. Law: a callback runs from the loop, so what it raises harms nobody else."""

import asyncio
from collections.abc import Callable

from app.stores.protocols import Unsubscribe


class _Subscription:
    """One callback on one topic."""

    __slots__ = ("callback", "is_over", "on_gap")

    def __init__(self, callback: Callable[[bytes], None], on_gap: Callable[[], None] | None) -> None:
        self.callback = callback
        self.on_gap = on_gap
        self.is_over = False

    def deliver(self, payload: bytes) -> None:
        """Call back, unless the subscription ended while the payload was on its way."""
        if not self.is_over:
            self.callback(payload)

    def tell_gap(self) -> None:
        """Say that signals may have been missed."""
        if self.on_gap is not None and not self.is_over:
            self.on_gap()


class Subscriptions:
    """The callbacks of one process, by topic."""

    def __init__(self) -> None:
        """Make it empty."""
        self._by_topic: dict[str, list[_Subscription]] = {}

    def add(
        self, topic: str, callback: Callable[[bytes], None], *, on_gap: Callable[[], None] | None, is_heard: bool
    ) -> Unsubscribe:
        """Register a callback; `is_heard` tells that signals arrive already, so that the first gap is now."""
        subscription = _Subscription(callback, on_gap)
        self._by_topic.setdefault(topic, []).append(subscription)
        if is_heard:
            asyncio.get_running_loop().call_soon(subscription.tell_gap)

        def unsubscribe() -> None:
            if not subscription.is_over:
                subscription.is_over = True
                self._by_topic[topic].remove(subscription)

        return unsubscribe

    def deliver(self, topic: str, payload: bytes) -> None:
        """Call back each subscriber of the topic in the next tick of the loop."""
        loop = asyncio.get_running_loop()
        for subscription in self._by_topic.get(topic, ()):
            loop.call_soon(subscription.deliver, payload)

    def tell_gap(self) -> None:
        """Tell every subscriber in the next tick that signals may have been missed."""
        loop = asyncio.get_running_loop()
        for subscriptions in self._by_topic.values():
            for subscription in subscriptions:
                loop.call_soon(subscription.tell_gap)
