"""What the end of an attempt says of the lane that it took: well, broken, full, or locked out.

Law: who is to blame decides. What the caller did wrong proves that a provider is there; a caller who leaves proves
nothing.
"""

import logging
from collections.abc import Callable

from app.kernel.clock import Clock
from app.pipeline.attempt import Attempt
from app.routing.health import Health, Lane
from providers.errors import CredentialRefused, ProviderError, ProviderRateLimited, RequestRefused

_LOG = logging.getLogger("gateway.routing")
_LONGEST_COOLING_S = 60.0
_UNKNOWN_STATUS = 401
_NS_PER_S = 1_000_000_000

Changed = Callable[[Lane], None]
"""Is told of a lane whose breaker has opened or closed, or that is to be left alone."""


class Verdicts:
    """Writes down how lanes fare. One for each worker."""

    def __init__(self, health: Health, *, clock: Clock, changed: Changed) -> None:
        self._health = health
        self._clock = clock
        self._changed = changed

    def went_well(self, attempt: Attempt, lane: Lane, *, is_streamed: bool) -> None:
        """Note an attempt that was answered in full."""
        now_ns = self._clock.monotonic_ns()
        lane.end()
        first_ns, ended_ns = attempt.first_ns or now_ns, attempt.ended_ns or now_ns
        if is_streamed:
            lane.first.add(first_ns - attempt.started_ns, now_ns)
            tokens = attempt.usage.output_tokens if attempt.usage is not None else 0
            if tokens > 1:
                lane.per_token.add((ended_ns - first_ns) // (tokens - 1), now_ns)
        else:
            lane.whole.add(ended_ns - attempt.started_ns, now_ns)
        lane.let_in()
        if lane.breaker.succeeded(now_ns, began_ns=attempt.started_ns):
            _LOG.warning("%s answers again: its breaker is closed", lane.name)
            self._changed(lane)

    def went_badly(self, attempt: Attempt, lane: Lane, error: ProviderError) -> None:
        """Note an attempt that failed."""
        now_ns = self._clock.monotonic_ns()
        lane.end()
        if isinstance(error, ProviderRateLimited):
            self._cool(lane, error, now_ns)
        elif isinstance(error, CredentialRefused):
            self._lock_out(lane, error, now_ns)
        elif isinstance(error, RequestRefused):
            if lane.breaker.succeeded(now_ns, began_ns=attempt.started_ns):
                self._changed(lane)
        elif _opens(attempt, lane, now_ns):
            _LOG.warning("%s keeps failing (%s): its breaker is open", lane.name, attempt.error_code)
            self._changed(lane)

    def was_left(self, attempt: Attempt, lane: Lane, *, is_overdue: bool) -> None:
        """Note an attempt that nobody waited for any longer: callers choose their patience, so it proves nothing.

        Unless `is_overdue`: it took all the time that the operator gives.
        """
        now_ns = self._clock.monotonic_ns()
        lane.end()
        if not is_overdue:
            lane.breaker.end_try()
        elif _opens(attempt, lane, now_ns):
            _LOG.warning("%s does not answer in time: its breaker is open", lane.name)
            self._changed(lane)

    def was_beaten(self, attempt: Attempt, lane: Lane, *, is_streamed: bool) -> None:
        """Note an attempt that a later one beat: it takes at least as long as it has had, which is all that is known.

        If it was to find out whether the lane is well, that is still to be found out, but not by everybody at once.
        """
        now_ns = self._clock.monotonic_ns()
        lane.end()
        (lane.first if is_streamed else lane.whole).add(now_ns - attempt.started_ns, now_ns)

    def _cool(self, lane: Lane, error: ProviderError, now_ns: int) -> None:
        lane.breaker.end_try()
        if error.retry_after_s is None:
            return
        lane.cool(now_ns + int(min(error.retry_after_s, _LONGEST_COOLING_S) * _NS_PER_S))
        self._changed(lane)

    def _lock_out(self, lane: Lane, error: ProviderError, now_ns: int) -> None:
        lane.breaker.end_try()
        if not lane.is_locked_out(now_ns):
            _LOG.warning("%s refuses its credential (%s): it is taken out", lane.name, error.status)
        for each in self._health.lock_out(lane, now_ns, is_everywhere=error.status == _UNKNOWN_STATUS):
            self._changed(each)


def _opens(attempt: Attempt, lane: Lane, now_ns: int) -> bool:
    """Note a failure; returns whether it has opened the breaker. Models without one open none, for others either."""
    if not attempt.route.breaker:
        lane.breaker.end_try()
        return False
    return lane.breaker.failed(now_ns, began_ns=attempt.started_ns)
