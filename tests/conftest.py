"""Fixtures that every test may ask for: real servers, started when the first test wants them, once for the session."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from providers.testing import FakeProvider, serve_in_thread

sys.path.insert(0, str(Path(__file__).parent))

from servers import configs, postgres, redis
from servers import redis_cluster as redis_cluster_server
from servers import redis_sentinel as redis_sentinel_server
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.proxy import TcpProxy, proxy_in_thread

# A loaded machine makes examples slowly; that is no defect of what they test.
hypothesis.settings.register_profile("search", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
# What a change is told by the suite is about the change: the same examples each time.
hypothesis.settings.register_profile("same", hypothesis.settings.get_profile("search"), derandomize=True)
hypothesis.settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Let the longer proofs look for examples that nobody has tried yet."""
    if "long" in config.option.markexpr.replace("not long", ""):
        hypothesis.settings.load_profile("search")


# The shared gateway's Redis database, so that emptying the tests' own one does not disturb it.
GATEWAY_REDIS_DATABASE = 1


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
def redis_cluster() -> Iterator[redis_cluster_server.RedisCluster]:
    """The session's Redis Cluster of three nodes. Do not break it: launch a `RedisCluster` of your own for that."""
    cluster = redis_cluster_server.RedisCluster.launch()
    yield cluster
    cluster.close()


@pytest.fixture
def redis_cluster_url(redis_cluster: redis_cluster_server.RedisCluster) -> str:
    """The URL of the session's Redis Cluster, emptied."""
    redis_cluster.flush()
    return redis_cluster.url


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[redis_sentinel_server.RedisSentinel]:
    """The session's Redis behind a sentinel. Do not break it: launch a `RedisSentinel` of your own for that."""
    sentinel = redis_sentinel_server.RedisSentinel.launch()
    yield sentinel
    sentinel.close()


@pytest.fixture
def redis_sentinel_url(redis_sentinel: redis_sentinel_server.RedisSentinel) -> str:
    """The URL of the session's sentinel, whose master is emptied."""
    redis_sentinel.flush()
    return redis_sentinel.watched_url


@pytest.fixture(scope="session")
def session_provider() -> Iterator[FakeProvider]:
    """The session's fake provider, in a thread of its own; ask for `fake_provider` instead, which forgets."""
    with serve_in_thread() as provider:
        yield provider


@pytest.fixture
def fake_provider(session_provider: FakeProvider) -> Iterator[FakeProvider]:
    """The session's fake provider, with no scripts and an empty journal; it forgets again what the test told it."""
    session_provider.reset()
    yield session_provider
    session_provider.reset()


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[[str], TcpProxy]]:
    """Makes proxies: `tcp_proxy(url)` stands before the server of that URL until the test ends."""
    with contextlib.ExitStack() as stack:

        def before(url: str) -> TcpProxy:
            parts = urlsplit(url)
            assert parts.port is not None, "the URL must name its port"
            return stack.enter_context(proxy_in_thread(parts.hostname or "127.0.0.1", parts.port))

        yield before


@pytest.fixture(scope="session")
def embedded_gateway(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway in one process with SQLite and in-process state, shared by the session: change nothing for good."""
    yield from _gateway(configs.config(fake_url=session_provider.url))


@pytest.fixture(scope="session")
def scaled_gateway(
    session_provider: FakeProvider, postgres_server: postgres.Postgres, redis_server: redis.Redis
) -> Iterator[GatewayProcess]:
    """A gateway of two workers with PostgreSQL and Redis, shared by the session: change nothing for good."""
    tree = configs.config(
        fake_url=session_provider.url,
        database=postgres_server.new_database(),
        state=redis_server.url_of(database=GATEWAY_REDIS_DATABASE),
        workers=2,
    )
    yield from _gateway(tree, migrates=True)


@pytest.fixture(scope="module")
def cluster_gateway(
    session_provider: FakeProvider, postgres_server: postgres.Postgres, redis_cluster: redis_cluster_server.RedisCluster
) -> Iterator[GatewayProcess]:
    """A gateway of two workers with PostgreSQL and Redis Cluster."""
    redis_cluster.flush()
    tree = configs.config(
        fake_url=session_provider.url, database=postgres_server.new_database(), state=redis_cluster.url, workers=2
    )
    yield from _gateway(tree, migrates=True)


@pytest.fixture(scope="session", params=["embedded", "scaled"])
def gateway(request: pytest.FixtureRequest) -> GatewayProcess:
    """Each mode in turn: a test that asks for this must pass in both."""
    running: GatewayProcess = request.getfixturevalue(f"{request.param}_gateway")
    return running


def _gateway(tree: dict[str, Any], *, migrates: bool = False) -> Iterator[GatewayProcess]:
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    fake_key = {configs.FAKE_KEY_NAME: configs.FAKE_KEY}
    running = GatewayProcess.launch(tree, environ={**secrets, **fake_key}, migrates=migrates)
    try:
        yield running
        running.stop()
    finally:
        running.close()
