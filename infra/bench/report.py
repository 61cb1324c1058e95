"""The table, the counts that say whether to believe it, and the gates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from contenders import DIRECT, NGINX
from driver import Measured, Spread
from record import (
    CROWD,
    LONG_PROMPT,
    PACED,
    SCENARIOS,
    STREAMS,
    UNARY,
    Load,
    Record,
    Series,
    Start,
    chunks_per_second,
    cpu_us,
    cpu_us_per_chunk,
    errors,
    per_second,
    store_cpu_us,
    torn,
)

EMBEDDED: Final = "embedded"
SCALED: Final = "scaled"
BESIDE: Final = "beside"
_LIMITED: Final = "+limits"
_CPU_GATES: Final = {EMBEDDED: 10.0, SCALED: 13.0, SCALED + _LIMITED: 12.0}
"""Of modes, and of the one whose key has limits and a budget, with real stores behind it."""
_LIMIT_GATES_US: Final = {EMBEDDED: 20.0, SCALED: 60.0}
"""How much limits, a budget and their reservations may add to a request, in microseconds of CPU."""
_CROWD_GATE: Final = 1.15
_STREAM_GATE: Final = 3.0
_TTFT_GATES_MS: Final = {"paced c=4": 2.0, "paced c=20": 6.0}
_READY_GATE_MS: Final = 2000.0
_RSS_GATE_MIB: Final = 120.0
_STREAM_GATE_KIB: Final = 150.0
_LONG_PROMPT_GATE_US: Final = 120.0
_LATENESS_GATE_MS: Final = 100.0
"""How much later than directly a chunk may arrive, p99, when 400 streams are paced."""
_KIB_PER_MIB: Final = 1024
_THOUSANDS_FROM: Final = 10_000
_LABEL_WIDTH: Final = 34
_CELL_WIDTH: Final = 24
_RATIO_WIDTH: Final = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A limit that the gateway must keep; `value` is None when nothing could be measured."""

    name: str
    value: float | None
    limit: float

    @property
    def is_kept(self) -> bool:
        """Whether the figure is there and within the limit."""
        return self.value is not None and self.value <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the table: one figure of every contender; `has_ratio` puts its ratio to nginx beside the gateways'."""

    label: str
    cells: dict[str, Series]
    has_ratio: bool = False


def lines(record: Record) -> Iterator[str]:
    """Yield the whole report."""
    yield f"machine: {', '.join(f'{name} {value}' for name, value in record.machine.items())}"
    yield (
        f"{record.rounds} interleaved rounds, windows of {record.window_s:g} s, seed {record.seed}; "
        "each cell is the median over the rounds (min..max),"
    )
    yield "ratios and added times are taken within a round first; 'direct' is the fake upstream with nothing in between"
    yield ""
    yield _heading(record)
    for row in rows(record):
        yield _line(row, record)
    yield ""
    yield from _counts(record)
    yield ""
    yield from (_gate_line(gate) for gate in gates(record))


def rows(record: Record) -> Iterator[Row]:
    """Yield the lines of the table."""
    yield from _cost_rows(record)
    yield from _latency_rows(record)
    yield from _paced_rows(record)
    yield from _instance_rows(record)


def gates(record: Record) -> list[Gate]:
    """Return the gates of every mode that was measured."""
    found = [gate for mode in record.contenders if mode in _CPU_GATES for gate in _gates_of(record, mode)]
    return found + [_limit_gate(record, mode) for mode in _LIMIT_GATES_US if limited(mode) in record.contenders]


def limited(mode: str) -> str:
    """Return the column of a mode whose key has limits and a budget."""
    return mode + _LIMITED


def _limit_gate(record: Record, mode: str) -> Gate:
    scenario = UNARY[1].name
    plain, bound = (record.series(cpu_us, contender=name, scenario=scenario) for name in (mode, limited(mode)))
    added = bound.less(plain).median
    name = f"{mode}: CPU us that limits and a budget add, {scenario}"
    return Gate(name=name, value=added, limit=_LIMIT_GATES_US[mode])


def _cost_rows(record: Record) -> Iterator[Row]:
    for scenario in (*UNARY, LONG_PROMPT):
        yield _row(record, f"CPU us/request, {scenario.name}", cpu_us, scenario.name, has_ratio=True)
    for scenario in STREAMS:
        yield _row(record, f"CPU us/50-chunk {scenario.name}", cpu_us, scenario.name, has_ratio=True)
    if BESIDE in record.contenders:
        yield from _beside_rows(record)
    if SCALED in record.contenders:
        row = _row(record, "CPU us/request of the stores, c=32", store_cpu_us, UNARY[1].name)
        shown = [name for name in (SCALED, limited(SCALED)) if name in row.cells]
        yield Row(label=row.label, cells={name: row.cells[name] for name in shown})
    for scenario in UNARY:
        yield _row(record, f"requests/s, {scenario.name}", per_second, scenario.name)
    for scenario in STREAMS:
        yield _row(record, f"chunks/s, {scenario.name}", chunks_per_second, scenario.name)


def _beside_rows(record: Record) -> Iterator[Row]:
    """Yield what the gateway beside takes, as a share of what the embedded one takes in the same round."""
    for scenario in (*UNARY, *STREAMS):
        plain, other = (record.series(cpu_us, contender=name, scenario=scenario.name) for name in (EMBEDDED, BESIDE))
        yield Row(label=f"CPU, x embedded, {scenario.name}", cells={BESIDE: other.over(plain)})


def _latency_rows(record: Record) -> Iterator[Row]:
    for scenario in UNARY:
        for name, read in _PERCENTILES:
            yield _added(_row(record, f"added {name} ms, {scenario.name}", _of("latency", read), scenario.name))


def _paced_rows(record: Record) -> Iterator[Row]:
    for scenario in (*PACED, CROWD):
        yield _row(record, f"TTFT p50 ms, {scenario.name}", _of("ttft", _p50), scenario.name)
        yield _added(_row(record, f"added TTFT p50 ms, {scenario.name}", _of("transit", _p50), scenario.name))
        for name, read in _PERCENTILES:
            yield _row(record, f"chunk lateness {name} ms, {scenario.name}", _of("lateness", read), scenario.name)
        yield _row(record, f"CPU us/chunk, {scenario.name}", cpu_us_per_chunk, scenario.name, has_ratio=True)


def _instance_rows(record: Record) -> Iterator[Row]:
    def row(label: str, found: list[Start] | list[Load], read: Callable[[Start | Load], float]) -> Row:
        cells = {name: Series({seen.round: read(seen) for seen in found if seen.contender == name}) for name in names}
        return Row(label=label, cells=cells)

    names = record.contenders
    starts = {name: Series({s.round: s.ready_ms for s in record.starts if s.contender == name}) for name in names}
    yield Row(label="start to ready ms", cells=starts)
    yield row("idle worker RSS MiB", record.starts, _worker_rss)
    yield row("idle, all processes PSS MiB", record.starts, _tree_pss)
    streams = {name: Series({s.round: s.stream_kib for s in record.starts if s.contender == name}) for name in names}
    yield Row(label="worker RSS KiB/stream, crowd", cells=streams)
    yield row("loaded worker RSS MiB", record.loads, _worker_rss)
    yield row("loaded, all processes PSS MiB", record.loads, _tree_pss)


def _row(
    record: Record, label: str, read: Callable[[Measured], float | None], scenario: str, *, has_ratio: bool = False
) -> Row:
    cells = {name: record.series(read, contender=name, scenario=scenario) for name in record.contenders}
    return Row(label=label, cells=cells, has_ratio=has_ratio)


def _added(row: Row) -> Row:
    """Return the row with what each contender adds to the direct way."""
    direct = row.cells[DIRECT]
    return Row(label=row.label, cells={n: cell.less(direct) for n, cell in row.cells.items() if n != DIRECT})


def _gates_of(record: Record, mode: str) -> Iterator[Gate]:
    def series(read: Callable[[Measured], float | None], scenario: str, contender: str = mode) -> Series:
        return record.series(read, contender=contender, scenario=scenario)

    def gate(name: str, value: float | None, limit: float) -> Gate:
        return Gate(name=f"{mode}: {name}", value=value, limit=limit)

    _, middle, crowd = (scenario.name for scenario in UNARY)
    stream = STREAMS[0].name
    cpu = series(cpu_us, middle)
    yield gate("CPU per request at c=32, x nginx", cpu.over(series(cpu_us, middle, NGINX)).median, _CPU_GATES[mode])
    yield gate("CPU per request, c=256 over c=32", series(cpu_us, crowd).over(cpu).median, _CROWD_GATE)
    over_nginx = series(cpu_us, stream).over(series(cpu_us, stream, NGINX))
    yield gate("CPU per 50-chunk stream, x nginx", over_nginx.median, _STREAM_GATE)
    longer = series(cpu_us, LONG_PROMPT.name).less(cpu).median
    yield gate("CPU us that 30 KB of prompt add to 2 KB", longer, _LONG_PROMPT_GATE_US)
    late = _of("lateness", _p99)
    behind = series(late, CROWD.name).less(series(late, CROWD.name, DIRECT)).median
    yield gate(f"added chunk lateness p99 ms, {CROWD.name}", behind, _LATENESS_GATE_MS)
    yield gate(f"torn or failed, {CROWD.name}", _failed(record.of_contender(mode, scenarios=(CROWD,))), 0)
    transit = _of("transit", _p50)
    for name, limit in _TTFT_GATES_MS.items():
        yield gate(
            f"added TTFT p50 ms, {name}", series(transit, name).less(series(transit, name, DIRECT)).median, limit
        )
    crowded = tuple(scenario for scenario in SCENARIOS if scenario.connections == UNARY[-1].connections)
    yield gate("torn or failed at c=256", _failed(record.of_contender(mode, scenarios=crowded)), 0)
    yield gate("torn or failed anywhere", _failed(record.of_contender(mode)), 0)
    starts = [start for start in record.starts if start.contender == mode]
    yield gate("start to ready ms", Series({s.round: s.ready_ms for s in starts}).median, _READY_GATE_MS)
    yield gate("idle worker RSS MiB", Series({s.round: _worker_rss(s) for s in starts}).median, _RSS_GATE_MIB)
    yield gate(
        "worker RSS KiB per open stream", Series({s.round: s.stream_kib for s in starts}).median, _STREAM_GATE_KIB
    )


def _failed(windows: list[Measured]) -> float | None:
    return sum(sum(window.failures.values()) for window in windows) if windows else None


def _counts(record: Record) -> Iterator[str]:
    """Yield how much was measured and what went wrong, so that nobody trusts a broken run."""
    for name in record.contenders:
        windows = record.of_contender(name)
        sums = [sum(read(window) for window in windows) for read in (_requests, _total, errors, torn)]
        yield "{}: {:,} requests measured, {:,} sent, {:,} errors, {:,} torn".format(name, *sums)
    for sample in record.samples:
        if sample.measured.failures:
            where = f"round {sample.round}, {sample.scenario}, {sample.contender}"
            yield f"BROKEN {where}: {sample.measured.failures} {sample.measured.first_failure}"
        elif not sample.measured.requests:
            yield f"BROKEN round {sample.round}, {sample.scenario}, {sample.contender}: no answer in the window"


def _heading(record: Record) -> str:
    cells = [f"{'':{_LABEL_WIDTH}}"]
    for name in record.contenders:
        cells.append(f"{name:>{_CELL_WIDTH}}")
        if name in _CPU_GATES:
            cells.append(f"{'x nginx':>{_RATIO_WIDTH}}")
    return "".join(cells).rstrip()


def _line(row: Row, record: Record) -> str:
    cells = [f"{row.label:{_LABEL_WIDTH}}"]
    for name in record.contenders:
        cell = row.cells.get(name, Series())
        cells.append(f"{_cell(cell):>{_CELL_WIDTH}}")
        if name in _CPU_GATES:
            ratio = cell.over(row.cells.get(NGINX, Series())).median if row.has_ratio else None
            cells.append(f"{'' if ratio is None else f'{ratio:.2f}':>{_RATIO_WIDTH}}")
    return "".join(cells).rstrip()


def _cell(series: Series) -> str:
    if series.median is None:
        return "-"
    return f"{number(series.median)} ({number(min(series.values()))}..{number(max(series.values()))})"


def _gate_line(gate: Gate) -> str:
    value = "not measured" if gate.value is None else number(gate.value)
    return f"{'pass' if gate.is_kept else 'FAIL'}  {gate.name}: {value} (at most {gate.limit:g})"


def number(value: float) -> str:
    """Return a figure with about three significant digits."""
    if value >= _THOUSANDS_FROM:
        return f"{value / 1000:,.1f}k"
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def _of(field: str, read: Callable[[Spread], float]) -> Callable[[Measured], float | None]:
    def reader(measured: Measured) -> float | None:
        found: Spread | None = getattr(measured, field)
        return None if found is None else read(found)

    return reader


def _p50(spread: Spread) -> float:
    return spread.p50


def _p99(spread: Spread) -> float:
    return spread.p99


_PERCENTILES: Final = (("p50", _p50), ("p99", _p99))


def _worker_rss(seen: Start | Load) -> float:
    return seen.worker_rss_kib / _KIB_PER_MIB


def _tree_pss(seen: Start | Load) -> float:
    return seen.tree_pss_kib / _KIB_PER_MIB


def _requests(measured: Measured) -> int:
    return measured.requests


def _total(measured: Measured) -> int:
    return measured.total
