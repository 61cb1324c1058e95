"""The PostgreSQL and the Redis behind the gateway's scaled mode.

Addresses from the environment if given, else the real servers that the tests start, with their durable settings on.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processes import BenchError

DATABASE_NAME: Final = "GATEWAY_BENCH_DATABASE"
REDIS_NAME: Final = "GATEWAY_BENCH_REDIS"
_TESTS: Final = Path(__file__).resolve().parents[2] / "tests"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """Where the stores are; `pids` are their root processes, empty for stores that somebody else runs."""

    new_database: Callable[[], str]
    redis_url: str
    pids: tuple[int, ...]


@contextlib.contextmanager
def started_stores() -> Iterator[Stores]:
    """Start or find both stores for the length of the block."""
    given = os.environ.get(DATABASE_NAME), os.environ.get(REDIS_NAME)
    if given[0] and given[1]:
        database = given[0]
        yield Stores(new_database=lambda: database, redis_url=given[1], pids=())
        return
    if any(given):
        raise BenchError(f"Set both {DATABASE_NAME} and {REDIS_NAME}, or neither.")
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(contextlib.closing(_launched("postgres", "PostgresProcess")))
        redis = stack.enter_context(contextlib.closing(_launched("redis", "RedisProcess")))
        yield Stores(new_database=postgres.new_database, redis_url=redis.url, pids=(postgres.pid, redis.pid))


def _launched(module: str, name: str) -> Any:
    """Start one of the tests' servers; the tests are no package of ours, so it is found by path."""
    if str(_TESTS) not in sys.path:
        sys.path.insert(0, str(_TESTS))
    try:
        found = importlib.import_module(f"servers.{module}")
    except ImportError as error:
        advice = f"Install the dev extra, set {DATABASE_NAME} and {REDIS_NAME}, or pass --modes embedded."
        raise BenchError(
            f"The scaled mode needs the servers of the tests, which do not load: {error}. {advice}"
        ) from error
    try:
        return getattr(found, name).launch(durable=True)
    except importlib.import_module("servers.process").ServerFailed as error:
        raise BenchError(str(error)) from error
