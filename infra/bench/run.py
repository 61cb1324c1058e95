"""The benchmark: the gateway and nginx in front of one fake upstream, on the same traffic, in interleaved rounds.

`python infra/bench/run.py --help` tells the options; README.md beside this file tells what the figures mean.
"""

import argparse
import contextlib
import os
import platform
import random
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec
from contenders import Contender, Direct, Gateway, Nginx, Running, environment, gateway_command, nginx_program
from driver import Measured, Order
from processes import BenchError
from record import CROWD, SCENARIOS, Load, Record, Sample, Scenario, Start, cpu_us, per_second
from report import BESIDE, EMBEDDED, SCALED, gates, limited, lines
from stores import started_stores
from traffic import stream_s

_MODES: Final = (EMBEDDED, SCALED)
_DRIVER: Final = Path(__file__).resolve().parent / "driver.py"
_WARM_S: Final = 0.3
# Streams must have started at all phases before the window opens.
_PACED_WARM_S: Final = 0.2
_DRIVER_SPARE_S: Final = 60.0
_SETTLE_S: Final = 1.0
_LOOK_EACH_S: Final = 0.1
_CANNOT_RUN: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for."""

    rounds: int
    window_s: float
    modes: tuple[str, ...]
    command: tuple[str, ...]
    beside: tuple[str, ...]
    seed: int
    json: Path | None
    is_gate: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, 1 if `--gate` and a gate fails, 2 if it cannot run."""
    options = parsed(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        record = measured_record(options)
    except BenchError as error:
        print(f"infra/bench: {error}", file=sys.stderr)
        return _CANNOT_RUN
    print("\n".join(lines(record)))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(_as_data(record))))
    return int(options.is_gate and not all(gate.is_kept for gate in gates(record)))


def parsed(arguments: Sequence[str] | None) -> Options:
    """Return the options; a wrong one ends the program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 2 with --quick)")
    parser.add_argument("--modes", default=",".join(_MODES), help="which gateways, of embedded,scaled (both)")
    parser.add_argument("--quick", action="store_true", help="windows of 1 s in place of 2.5 s")
    parser.add_argument("--gate", action="store_true", help="exit 1 if a gate fails")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured")
    parser.add_argument("--seed", type=int, help="repeat the order of an earlier run")
    parser.add_argument("--gateway-command", help="what to call instead of this installation's llm-gateway")
    parser.add_argument("--beside", metavar="CMD", help="another gateway, embedded, in the same rounds")
    asked = parser.parse_args(arguments)
    modes = tuple(filter(None, asked.modes.split(",")))
    if unknown := set(modes) - set(_MODES):
        parser.error(f"unknown modes {sorted(unknown)}; there are {', '.join(_MODES)}")
    rounds = asked.rounds or (2 if asked.quick else 5)
    if rounds < 1:
        parser.error("--rounds must be at least 1")
    return Options(
        rounds=rounds,
        window_s=1.0 if asked.quick else 2.5,
        modes=modes,
        command=tuple(shlex.split(asked.gateway_command)) if asked.gateway_command else gateway_command(),
        beside=tuple(shlex.split(asked.beside or "")),
        seed=secrets.randbits(32) if asked.seed is None else asked.seed,
        json=asked.json,
        is_gate=asked.gate,
    )


def measured_record(options: Options) -> Record:
    """Start everything, measure every round, stop everything."""
    if sys.platform != "linux":
        raise BenchError("CPU time is read from Linux's /proc and clocks; run this on Linux.")
    nginx_program()
    order = random.Random(options.seed)  # noqa: S311  an order to be repeated, not a secret
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder), stack)
        for contender in contenders(options, bench):
            bench.add(contender)
        record = Record(
            machine=machine(),
            seed=options.seed,
            rounds=options.rounds,
            window_s=options.window_s,
            contenders=list(bench.running),
        )
        for turn in range(1, options.rounds + 1):
            bench.start_again(turn, record)
            bench.measure_round(turn, record, order)
    return record


def contenders(options: Options, bench: "Bench") -> Iterator[Contender]:
    """Yield what is compared, in the order of the columns; the first is the upstream of all others."""
    yield Direct()
    port = bench.running["direct"].unary_port
    yield Nginx(port)
    if EMBEDDED in options.modes:
        yield Gateway(name=EMBEDDED, command=options.command, upstream_port=port)
        yield Gateway(name=limited(EMBEDDED), command=options.command, upstream_port=port, is_limited=True)
    if options.beside:
        yield Gateway(name=BESIDE, command=options.beside, upstream_port=port)
    if SCALED in options.modes:
        stores = bench.stack.enter_context(started_stores())
        yield Gateway(name=SCALED, command=options.command, upstream_port=port, stores=stores)
        yield Gateway(name=limited(SCALED), command=options.command, upstream_port=port, stores=stores, is_limited=True)


class Bench:
    """The running contenders and the folder that holds their files."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.running: dict[str, Running] = {}
        self._folder = folder
        self._contenders: dict[str, Contender] = {}
        self._folders = 0

    def add(self, contender: Contender) -> None:
        """Start a contender that runs until the end."""
        _say(f"starting {contender.name}")
        self._contenders[contender.name] = contender
        self.running[contender.name] = self.stack.enter_context(contender.start(self._new_folder(contender)))

    def start_again(self, turn: int, record: Record) -> None:
        """Start a second instance of each gateway for its start-up time and its idle memory."""
        for contender in self._contenders.values():
            if not isinstance(contender, Gateway):
                continue
            with contender.start(self._new_folder(contender)) as running:
                time.sleep(_SETTLE_S)
                rss, pss = running.memory_kib()
                record.starts.append(
                    Start(
                        round=turn,
                        contender=contender.name,
                        ready_ms=running.ready_ms,
                        worker_rss_kib=rss,
                        tree_pss_kib=pss,
                        stream_kib=_crowd_kib(running, window_s=record.window_s) / CROWD.connections,
                    )
                )
            _say(f"round {turn}: {contender.name} ready after {running.ready_ms:.0f} ms, worker {rss >> 10} MiB")

    def measure_round(self, turn: int, record: Record, order: random.Random) -> None:
        """Measure every contender in every scenario; those of one scenario follow each other, in a random order."""
        for scenario in order.sample(SCENARIOS, len(SCENARIOS)):
            for name in order.sample(list(self.running), len(self.running)):
                measured = drive(self.running[name], scenario, window_s=record.window_s)
                self.running[name].require_alive()
                record.samples.append(Sample(round=turn, contender=name, scenario=scenario.name, measured=measured))
                _say(f"round {turn}: {scenario.name:13} {name:9} {_summary(measured)}")
        for name, running in self.running.items():
            rss, pss = running.memory_kib()
            record.loads.append(Load(round=turn, contender=name, worker_rss_kib=rss, tree_pss_kib=pss))

    def _new_folder(self, contender: Contender) -> Path:
        self._folders += 1
        folder = self._folder / f"{self._folders}-{contender.name}"
        folder.mkdir()
        return folder


def _crowd_kib(running: Running, *, window_s: float) -> int:
    """Return how much the largest process grows while a crowd is there."""
    idle_kib, most_kib = running.memory_kib()[0], 0
    with ThreadPoolExecutor(1) as driver:
        driving = driver.submit(drive, running, CROWD, window_s=window_s)
        while not driving.done():
            most_kib = max(most_kib, running.memory_kib()[0])
            time.sleep(_LOOK_EACH_S)
        driving.result()
    return most_kib - idle_kib


def drive(running: Running, scenario: Scenario, *, window_s: float) -> Measured:
    """Measure one window with a driver process of its own."""
    order = Order(
        port=running.stream_port if scenario.stream else running.unary_port,
        key=running.key,
        model=scenario.model,
        stream=scenario.stream,
        connections=scenario.connections,
        body_bytes=scenario.body_bytes,
        warm_s=max(_WARM_S, _PACED_WARM_S + stream_s(scenario.model)),
        window_s=window_s,
        server_pids=running.pids(),
        store_pids=running.store_pids(),
    )
    try:
        done = subprocess.run(
            [sys.executable, _DRIVER],
            input=msgspec.json.encode(order),
            stdout=subprocess.PIPE,
            env=environment(),
            timeout=window_s + _DRIVER_SPARE_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise BenchError(f"the load driver failed against {running.name}, {scenario.name}: {error}") from error
    return msgspec.json.decode(done.stdout, type=Measured)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    nginx = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as lines_:
        model = next((line.partition(":")[2].strip() for line in lines_ if line.startswith("model name")), "unknown")
    return {
        "CPU": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "nginx": nginx.strip().rpartition("/")[2],
        "load average": f"{os.getloadavg()[0]:.2f}",
    }


def _as_data(record: Record) -> dict[str, object]:
    """Return the record with the verdicts, for a file."""
    verdicts = [
        {"name": gate.name, "value": gate.value, "limit": gate.limit, "is_kept": gate.is_kept} for gate in gates(record)
    ]
    return {"gates": verdicts, "record": record}


def _summary(measured: Measured) -> str:
    if not measured.requests:
        return f"nothing answered, {measured.failures}"
    bad = f", {measured.failures}" if measured.failures else ""
    return f"{cpu_us(measured):8.1f} us CPU/request, {per_second(measured):8.0f}/s{bad}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leave(signum: int, _: FrameType | None) -> NoReturn:
    """End by an exception, so that every block above stops what it started."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
