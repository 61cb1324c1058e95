"""A loop whose time is moved by hand, and tasks on it that run as far as they can."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.kernel.clock import ManualClock

_TURNS = 12
"""More turns of the loop than anything here takes to come to rest."""


class HandLoop:
    """An event loop that a test turns: nothing runs, and no time passes, but when it says so."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.loop.time = lambda: self.clock.ticks_ns / 1e9  # type: ignore[method-assign]  # time stands still

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task; it runs with the next `settle`."""
        return self.loop.create_task(work)

    def settle(self) -> None:
        """Run all tasks until they wait for something."""
        for _ in range(_TURNS):
            self.loop.run_until_complete(asyncio.sleep(0))

    def pass_time(self, seconds: float) -> None:
        """Let time pass and run what is due."""
        self.clock.advance(seconds)
        self.settle()

    def inside(self, call: Any) -> Any:
        """Call something that must be called while the loop runs."""

        async def run() -> Any:
            return call()

        return self.loop.run_until_complete(run())

    def close(self) -> None:
        """End everything."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.settle()
        self.loop.close()
