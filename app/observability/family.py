"""What a metric is. Law: a gauge says how the numbers of several workers make one; counters and histograms add up."""

from typing import Literal, NamedTuple

Merge = Literal["sum", "live_sum", "live_max", "live_min"]
"""How the numbers of several workers make one: `live_` leaves out workers that are gone."""


class Family(NamedTuple):
    """One metric: its name, help, label names, kind, and how workers merge."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    merge: Merge = "sum"
    buckets: tuple[float, ...] = ()
