"""Whether this process is short of time or of memory. Law: measured beside the requests, which read two attributes.

A loop that is late once has had one long step; only one that has been late all the time is overloaded.
"""

import asyncio
import logging
from typing import Literal

from app.gateway import memory
from app.settings.model import Settings

_TICK_S = 0.05
_LATE_S = 0.2
_LATE_FOR_S = 1.0
"""Nothing new is served when every look of so long came so late."""
_LOOKS_PER_MEASUREMENT = 10
_TIGHT, _FULL = 0.92, 0.95
_GIVE_BACK_S = 30.0
_MIB = 1 << 20
_LOG = logging.getLogger("gateway.pressure")


class Pressure:
    """Watches one worker; used inside its loop.

    `refuses` is why nothing new may be served now; `refuses_streams` whether memory is so short that no stream may be
    begun and no connection kept.
    """

    def __init__(self, settings: Settings) -> None:
        self.refuses: Literal["loop_lag", "memory"] | None = None
        self.refuses_streams = False
        self._is_late = self._is_full = False
        self._late_since_s: float | None = None
        self._gave_back_s = -_GIVE_BACK_S
        self._container: memory.Container | None = None
        self._limit_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings bind."""
        limit_mb = settings.memory_limit_mb
        self._container = memory.container() if limit_mb is None else None
        self._limit_bytes = (limit_mb or 0) * _MIB
        self.note_memory(self._used())

    def start(self) -> None:
        """Begin to look."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def note_lag(self, lag_s: float, *, now_s: float) -> None:
        """Take in how late a look came."""
        if lag_s < _LATE_S:
            self._late_since_s = None
        elif self._late_since_s is None:
            self._late_since_s = now_s
        self._is_late = self._late_since_s is not None and now_s - self._late_since_s >= _LATE_FOR_S
        self._decide()

    def note_memory(self, used: float) -> None:
        """Take in which part of the memory is used."""
        if (used >= _TIGHT) is not self.refuses_streams:
            state = "short" if used >= _TIGHT else "there"
            _LOG.warning("memory is %s again: %.0f %% of what may be used is", state, used * 100)
        self.refuses_streams = used >= _TIGHT
        self._is_full = used >= _FULL
        self._decide()

    def _decide(self) -> None:
        self.refuses = "memory" if self._is_full else "loop_lag" if self._is_late else None

    def _used(self) -> float:
        if self._container is not None:
            return self._container.used_bytes() / max(1, self._container.limit_bytes)
        return memory.resident_bytes() / self._limit_bytes if self._limit_bytes else 0.0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(_TICK_S, self._look, loop, loop.time() + _TICK_S)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = loop.time()
        self.note_lag(now_s - due_s, now_s=now_s)
        self._looks += 1
        if self._looks % _LOOKS_PER_MEASUREMENT == 0:
            self.note_memory(self._used())
            if self.refuses_streams and now_s - self._gave_back_s >= _GIVE_BACK_S:
                self._gave_back_s = now_s
                memory.give_back()
        self._arm(loop)
