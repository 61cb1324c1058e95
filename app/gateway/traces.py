"""Makes spans of finished requests, a little after them and off their path, as the tally counts them.

Law: a request whose attempts have not all ended waits until they have, but for no longer than a drain may take.
"""

import asyncio
import logging
from typing import NamedTuple

from app.gateway.spans import Attributes, asked_of, spans_of
from app.gateway.spoken import answer_of, prompt_of
from app.gateway.tally import Finished
from app.kernel.clock import Clock
from app.observability.tracing import RequestTrace, Span, Tracing

_FLUSH_S = 0.08
_LONGEST_NS = 40_000_000_000
_MOST = 2_000
"""So many requests may wait for their attempts; those that have waited longest go first."""
_LOG = logging.getLogger("gateway.traces")


class _Ended(NamedTuple):
    finished: Finished
    trace: RequestTrace
    asked: Attributes
    until_ns: int


class Traces:
    """Takes finished requests that are sampled. One for each worker, used inside its loop."""

    def __init__(self, tracing: Tracing, clock: Clock) -> None:
        self._tracing = tracing
        self._clock = clock
        self._waiting: list[_Ended] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, finished: Finished, trace: RequestTrace) -> None:
        """Take a finished request, while its body is still there."""
        exchange = finished.exchange
        asked = {} if exchange is None else asked_of(exchange.document)
        if exchange is not None and trace.content is not None:
            asked |= prompt_of(exchange)
        until_ns = self._clock.monotonic_ns() + _LONGEST_NS
        self._waiting.append(_Ended(finished, trace, asked, until_ns))
        self._arm()

    def flush(self, *, is_last: bool = False) -> None:
        """Hand over the spans of all requests that are over; at the last of the others too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = self._clock.monotonic_ns()
        waiting, self._waiting = self._waiting, []
        surplus = len(waiting) - _MOST
        for position, ended in enumerate(waiting):
            if is_last or position < surplus or now_ns >= ended.until_ns or _is_over(ended.finished):
                self._hand_over(ended, now_ns=now_ns)
            else:
                self._waiting.append(ended)
        if self._waiting:
            self._arm()

    def _hand_over(self, ended: _Ended, *, now_ns: int) -> None:
        try:
            self._tracing.add(_spans(ended, now_ns=now_ns))
        except Exception:  # noqa: BLE001 - a supervisor: the others of its batch may be other callers'
            _LOG.exception("request %s has no spans", ended.finished.request_id)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)


def _spans(ended: _Ended, *, now_ns: int) -> list[Span]:
    exchange, content, said = ended.finished.exchange, ended.trace.content, ended.asked
    if exchange is not None and content is not None:
        said = said | answer_of(exchange, content)
    return spans_of(ended.finished, ended.trace, asked=said, now_ns=now_ns)


def _is_over(finished: Finished) -> bool:
    exchange = finished.exchange
    return exchange is None or all(attempt.outcome is not None for attempt in exchange.attempts)
