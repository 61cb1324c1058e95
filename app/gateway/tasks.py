"""Work that must end well although whoever started it has gone."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_LOG = logging.getLogger("gateway.tasks")


class TaskSupervisor:
    """Runs coroutines in tasks of their own; a failure is logged, never lost."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` to its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("a supervised task failed", exc_info=task.exception())

    async def drain(self, *, patience_s: float) -> None:
        """Wait for what runs, at most so long; cancel the rest."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience_s)
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
