"""Counts the calls of several models that answered one request: how soon each had content, and what each cost.

Law: every attempt's cost is counted once, so that what a strategy costs is the sum over its legs.
"""

from app.kernel.money import NUSD_PER_USD
from app.observability.metrics import FANOUT_LEG_COST, FANOUT_LEG_FIRST_TOKEN, Metrics
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Fanout

_NS_PER_S = 1_000_000_000
_RETRIED = "retried"
"""What became of an attempt whose leg went on with another one."""


class LegTally:
    """One for each worker, used inside its loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, exchange: Exchange, fanout: Fanout) -> None:
        """Count the calls of a request that is over; its judge's or fuser's among them."""
        for attempt in exchange.attempts:
            labels = (fanout.spec.strategy, attempt.label, attempt.leg or _RETRIED)
            if attempt.first_ns is not None:
                seconds = (attempt.first_ns - attempt.started_ns) / _NS_PER_S
                self._metrics.histogram(FANOUT_LEG_FIRST_TOKEN, *labels).observe(seconds)
            if attempt.cost_nusd:
                self._metrics.number(FANOUT_LEG_COST, *labels).add(attempt.cost_nusd / NUSD_PER_USD)
