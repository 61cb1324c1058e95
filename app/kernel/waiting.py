"""Waiting for what goes on without whoever waits. Law: a waiter that leaves cancels nothing, in silence."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def outcome_of(pending: "asyncio.Future[T]") -> T:
    """Return what comes of a future, or raise it; it goes on if the waiter is cancelled.

    `asyncio.shield` does the same, but from Python 3.14 on logs the failure of what nobody waits for any more.
    """
    await asyncio.wait((pending,))
    return pending.result()
