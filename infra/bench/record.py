"""What one run of the benchmark has seen, and the series that are read out of it.

Law: a ratio or a difference is taken between two figures of the same round, and only then the median over the rounds.
"""

import statistics
from collections.abc import Callable
from typing import Final

import msgspec
from driver import Measured
from traffic import CHUNKS, CROWD_MODEL, MODEL, PACED_MODEL, PROMPT_BYTES


class Scenario(msgspec.Struct, frozen=True):
    """One kind of traffic: `connections` callers that each send the next request when the last is answered."""

    name: str
    connections: int
    stream: bool = False
    model: str = MODEL
    """The model that the callers ask for, which tells the upstream how to answer."""
    body_bytes: int = PROMPT_BYTES


UNARY: Final = tuple(Scenario(f"unary c={count}", count) for count in (1, 32, 256))
STREAMS: Final = tuple(Scenario(f"stream c={count}", count, stream=True) for count in (32, 256))
PACED: Final = tuple(Scenario(f"paced c={count}", count, stream=True, model=PACED_MODEL) for count in (4, 20))
LONG_PROMPT: Final = Scenario("unary 30 KB c=32", 32, body_bytes=30_000)
CROWD: Final = Scenario("crowd c=400", 400, stream=True, model=CROWD_MODEL)
SCENARIOS: Final = (*UNARY, LONG_PROMPT, *STREAMS, *PACED, CROWD)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured window."""

    round: int
    contender: str
    scenario: str
    measured: Measured


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One start of a fresh instance: the time until it was ready and, a moment later, the memory that it holds idle.

    `stream_kib` is what its largest process took on for each stream of the first crowd that it ever saw.
    """

    round: int
    contender: str
    ready_ms: float
    worker_rss_kib: int
    tree_pss_kib: int
    stream_kib: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of an instance at the end of a round of traffic."""

    round: int
    contender: str
    worker_rss_kib: int
    tree_pss_kib: int


class Record(msgspec.Struct, kw_only=True):
    """A whole run. `samples` stand in the order in which they were taken."""

    machine: dict[str, str]
    seed: int
    rounds: int
    window_s: float
    contenders: list[str]
    samples: list[Sample] = []
    starts: list[Start] = []
    loads: list[Load] = []

    def series(self, read: Callable[[Measured], float | None], *, contender: str, scenario: str) -> "Series":
        """Return one figure of one contender in one scenario, by round; windows without an answer are left out."""
        found = {}
        for sample in self.samples:
            if (sample.contender, sample.scenario) == (contender, scenario):
                value = read(sample.measured) if sample.measured.requests else None
                if value is not None:
                    found[sample.round] = value
        return Series(found)

    def of_contender(self, contender: str, *, scenarios: tuple[Scenario, ...] = SCENARIOS) -> list[Measured]:
        """Return every window of a contender in some scenarios."""
        names = {scenario.name for scenario in scenarios}
        return [s.measured for s in self.samples if s.contender == contender and s.scenario in names]


class Series(dict[int, float]):
    """One figure by round."""

    @property
    def median(self) -> float | None:
        """The median over the rounds, or None of nothing."""
        return statistics.median(self.values()) if self else None

    def over(self, other: "Series") -> "Series":
        """Return this figure divided by the other's of the same round."""
        return Series({turn: value / other[turn] for turn, value in self.items() if other.get(turn)})

    def less(self, other: "Series") -> "Series":
        """Return this figure less the other's of the same round."""
        return Series({turn: value - other[turn] for turn, value in self.items() if turn in other})


def cpu_us(measured: Measured) -> float:
    """Return the server's CPU time for each request, or each whole stream."""
    return measured.server_cpu_ns / measured.requests / 1e3


def store_cpu_us(measured: Measured) -> float:
    """Return the CPU time of the stores behind the server for each request."""
    return measured.store_cpu_ns / measured.requests / 1e3


def cpu_us_per_chunk(measured: Measured) -> float | None:
    """Return the server's CPU time for each chunk."""
    return measured.server_cpu_ns / measured.chunks / 1e3 if measured.chunks else None


def per_second(measured: Measured) -> float:
    """Return the requests answered in a second."""
    return measured.requests / measured.window_ns * 1e9


def chunks_per_second(measured: Measured) -> float:
    """Return the chunks delivered in a second, of whole and right streams."""
    return CHUNKS * per_second(measured)


def errors(measured: Measured) -> int:
    """Return the failures of every kind but torn answers."""
    return sum(measured.failures.values()) - torn(measured)


def torn(measured: Measured) -> int:
    """Return the answers that broke off, and the streams that ended without `[DONE]`."""
    return measured.failures.get("torn", 0)
