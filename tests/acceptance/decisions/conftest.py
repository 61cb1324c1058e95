"""One gateway of each mode, with a model for every way that a request can go."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.redis import Redis

from providers.testing import FakeProvider

_PREFIX = "CANARY-OPERATOR-PREFIX"
_DATABASE = 5
_SECOND_PRICE = {"input": "3.333", "output": "7.777", "cache_read": "0.101"}


def tree(fake_url: str, **more: Any) -> dict[str, Any]:
    """Return a file with a model for every way that a request can go."""
    made = configs.config(fake_url=fake_url, **more)

    def at(*names: str) -> list[dict[str, str]]:
        return [{"provider": "fake", "model": name} for name in names]

    price = dict(configs.PRICE)
    made["models"] |= {
        "falls": {
            "targets": at("fake-500"),
            "price": price,
            "retries": 1,
            "breaker": False,
            "fallbacks": ["fake-model"],
        },
        "hedged": {
            "targets": [*at("fake-slow-head"), {"provider": "local", "model": "fake-local"}],
            "price": price,
            "balance": "priority",
            "hedge": {"after_s": 0.1, "budget": 1.0},
        },
        "ordered": {
            "targets": [*at("fake-model"), {"provider": "local", "model": "fake-local", "weight": 0}],
            "price": _SECOND_PRICE,
            "balance": "priority",
        },
        "deaf-first": {
            "targets": [{"provider": "echo", "model": "echo"}, *at("fake-model")],
            "price": price,
            "balance": "priority",
            "fallbacks": ["fake-model"],
        },
        "deaf-last": {
            "targets": [*at("fake-model"), {"provider": "echo", "model": "echo"}],
            "price": price,
            "balance": "priority",
        },
        "prefixed": {"targets": at("fake-model"), "price": price, "transform": {"system_prefix": _PREFIX}},
        "locked": {"targets": [{"provider": "strict", "model": "fake-401"}, *at("fake-model")], "balance": "priority"},
    }
    made["providers"]["strict"] = dict(made["providers"]["fake"])
    return made


@pytest.fixture
def operators_prefix() -> str:
    """What the operator has put before every prompt of `prefixed`."""
    return _PREFIX


@pytest.fixture(scope="package")
def traced_redis(redis_server: Redis) -> str:
    return redis_server.url_of(database=_DATABASE)


@pytest.fixture(scope="package", params=["embedded", "scaled"])
def gateway(
    request: pytest.FixtureRequest, session_provider: FakeProvider, postgres_server: Postgres, traced_redis: str
) -> Iterator[GatewayProcess]:
    more: dict[str, Any] = {}
    if request.param == "scaled":
        more = {"database": postgres_server.new_database(), "state": traced_redis, "workers": 2}
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    launched = GatewayProcess.launch(tree(session_provider.url, **more), environ=environ, migrates=bool(more))
    with contextlib.closing(launched):
        yield launched
        launched.stop()
