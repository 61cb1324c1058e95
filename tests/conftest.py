"""Fixtures that every test may ask for: real servers, started when the first test wants them, once for the session."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from providers.testing import FakeProvider, serve_in_thread

sys.path.insert(0, str(Path(__file__).parent))

from servers import postgres, redis
from servers.proxy import TcpProxy, proxy_in_thread


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """The session's PostgreSQL. Do not break it: launch a `PostgresProcess` of your own for that."""
    server = postgres.launch()
    yield server
    server.close()


@pytest.fixture
def database_url(postgres_server: postgres.Postgres) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.Redis]:
    """The session's Redis. Do not break it: launch a `RedisProcess` of your own for that."""
    server = redis.launch()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: redis.Redis) -> str:
    """The URL of the session's Redis, emptied."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def session_provider() -> Iterator[FakeProvider]:
    """The session's fake provider, in a thread of its own; ask for `fake_provider` instead, which forgets."""
    with serve_in_thread() as provider:
        yield provider


@pytest.fixture
def fake_provider(session_provider: FakeProvider) -> FakeProvider:
    """The session's fake provider, with no scripts and an empty journal."""
    session_provider.reset()
    return session_provider


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[[str], TcpProxy]]:
    """Makes proxies: `tcp_proxy(url)` stands before the server of that URL until the test ends."""
    with contextlib.ExitStack() as stack:

        def before(url: str) -> TcpProxy:
            parts = urlsplit(url)
            assert parts.port is not None, "the URL must name its port"
            return stack.enter_context(proxy_in_thread(parts.hostname or "127.0.0.1", parts.port))

        yield before
