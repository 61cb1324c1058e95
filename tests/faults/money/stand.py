"""Everything that a promise about money rests on, each ours to break: PostgreSQL, Redis, a provider, a gateway."""

import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
from faults.money.books import Account, Books
from faults.money.crowd import Crowd, gathered
from outside.caller import Caller
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import PostgresProcess
from servers.process import wait_until
from servers.proxy import TcpProxy, proxy_in_thread
from servers.redis import RedisProcess

from providers.testing import FakeProvider, Script, serve_in_thread

TOKENS_PER_S = 20
MODELS = {
    "plain": Script(),
    "slow": Script(chunk_delay_ms=1000 // TOKENS_PER_S),
    "late": Script(head_delay_ms=700),
    "overshoot": Script(output_tokens=200, ignores_output_cap=True, head_delay_ms=50),
}
"""Models of one provider, with a price and never retried: one request is one attempt."""
_RESPAWNED_WITHIN_S = 20


@dataclass(frozen=True, kw_only=True)
class Stand:
    """What stands; `redis_proxy` and `provider_proxy` are on the gateway's way to them."""

    gateway: GatewayProcess
    provider: FakeProvider
    crowd: Crowd
    books: Books
    redis: RedisProcess
    redis_proxy: TcpProxy
    postgres: PostgresProcess
    workers: int = 2

    def caller(self, **fields: Any) -> Caller:
        """Return a caller with a key of its own, which every worker knows already."""
        caller = Caller(self.gateway, **fields)
        self.know(caller.key)
        return caller

    def account(self, caller: Caller) -> Account:
        """Return the budget's account of a caller's key."""
        return self.books.account(caller.key_id)

    def know(self, key: str) -> None:
        """Let every worker read a key, on connections that the system spreads among them."""
        headers = {"authorization": f"Bearer {key}", "connection": "close"}
        for _ in range(8 * self.workers):
            assert httpx.get(f"{self.gateway.base_url}/v1/models", headers=headers, timeout=20).status_code == 200

    def pids(self) -> list[int]:
        """Return the workers' process ids; none if one vanished while they were listed."""
        try:
            return self.gateway.pids()
        except psutil.NoSuchProcess:
            return []

    def kill_a_worker(self, draw: random.Random) -> int:
        """SIGKILL one of the workers that serve now, and return which."""
        pid = draw.choice(self.pids())
        psutil.Process(pid).send_signal(signal.SIGKILL)
        return pid

    def wait_for_workers(self, *, without: int = 0) -> None:
        """Wait until as many workers serve as should, and none of them is the dead one."""
        assert wait_until(
            lambda: without not in (pids := self.pids()) and len(pids) == self.workers, within_s=_RESPAWNED_WITHIN_S
        )


def tree_of(provider: FakeProvider, **settings: Any) -> dict[str, Any]:
    """Return a configuration with the models of this module, each answered as its script says."""
    tree = configs.config(fake_url=provider.url, workers=settings.pop("workers", 1))
    for name, script in MODELS.items():
        provider.script(script, model=name)
        target = {"provider": "fake", "model": name}
        tree["models"][name] = {
            "targets": [target],
            "price": dict(configs.PRICE),
            "retries": 0,
            "breaker": False,
        }
    return tree | settings


def environ(**more: str) -> dict[str, str]:
    """Return the environment of a gateway."""
    return {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
        **more,
    }


@contextmanager
def standing(*, durable: bool = True, extra_environ: dict[str, str] | None = None, **settings: Any) -> Iterator[Stand]:
    """Put everything up; `durable` has PostgreSQL write through to its disk. `settings` go into the file."""
    with ExitStack() as stack:
        postgres = stack.enter_context(closing(PostgresProcess.launch(durable=durable)))
        redis = stack.enter_context(closing(RedisProcess.launch(durable=True)))
        redis_proxy = stack.enter_context(proxy_in_thread("127.0.0.1", redis.port))
        provider = stack.enter_context(serve_in_thread())
        tree = tree_of(provider, workers=2, **settings)
        tree |= {"database": postgres.new_database(), "state": redis_proxy.url(redis.url)}
        gateway = stack.enter_context(
            closing(GatewayProcess.launch(tree, environ=environ(**(extra_environ or {})), migrates=True))
        )
        crowd = stack.enter_context(gathered(gateway.port))
        stand = Stand(
            gateway=gateway,
            provider=provider,
            crowd=crowd,
            books=Books(gateway, redis=redis, postgres=postgres),
            redis=redis,
            redis_proxy=redis_proxy,
            postgres=postgres,
        )
        stand.wait_for_workers()
        yield stand
