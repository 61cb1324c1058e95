"""Reads a scrape back: numbers by metric and labels. Law: what is not Prometheus' text format is a `ValueError`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One number."""

    labels: Labels
    value: float


class Scraped:
    """The numbers of one scrape."""

    def __init__(self, text: str) -> None:
        """Read a scrape; raises `ValueError`."""
        self._samples: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(Sample(sample.labels, sample.value))

    def __contains__(self, name: str) -> bool:
        return name in self._samples

    def samples(self, name: str) -> list[Sample]:
        """Return the series of a metric; none if it has none."""
        return self._samples.get(name, [])

    def total(self, name: str, keep: Callable[[Labels], bool] = lambda _: True) -> float:
        """Return the sum of the series that are kept."""
        return sum(sample.value for sample in self.samples(name) if keep(sample.labels))

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the sums by the values of some labels."""
        sums: dict[tuple[str, ...], float] = {}
        for sample in self.samples(name):
            key = tuple(sample.labels.get(label, "") for label in labels)
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums


def quantile(share: float, before: Scraped | None, after: Scraped, *, name: str) -> float | None:
    """Return a quantile of what a histogram saw between two scrapes, as `histogram_quantile` does.

    Between two bounds it is interpolated; above the last it is the last. Absent where nothing was seen. Without
    `before` it is that of all that was ever seen.
    """
    seen = after.by(f"{name}_bucket", "le")
    if before is not None:
        earlier = before.by(f"{name}_bucket", "le")
        seen = {bound: count - earlier.get(bound, 0.0) for bound, count in seen.items()}
    buckets = sorted((float(bound), count) for (bound,), count in seen.items())
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below) if count > below else bound
        lower, below = bound, count
    return lower
