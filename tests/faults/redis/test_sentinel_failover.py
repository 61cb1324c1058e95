import asyncio
from collections.abc import Iterator

import pytest
from servers.process import ServerProcess, Workspace, start_on_free_port
from servers.redis import ADVICE, Redis, RedisProcess, _answers

from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from app.stores.protocols import UsageEntry

SENTINEL = """
port {port}
bind 127.0.0.1
sentinel monitor main 127.0.0.1 {master} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
"""


@pytest.fixture
def master() -> Iterator[RedisProcess]:
    server = RedisProcess.launch()
    yield server
    server.close()


@pytest.fixture
def replica(master) -> Iterator[RedisProcess]:
    server = RedisProcess.launch(options=["--replicaof", f"127.0.0.1 {master.port}"])
    yield server
    server.close()


@pytest.fixture
def sentinel_port(master, replica) -> Iterator[int]:
    workspace = Workspace("sentinel")

    def make(port: int) -> ServerProcess:
        config = workspace.path / "sentinel.conf"
        config.write_text(SENTINEL.format(port=port, master=master.port))
        command = [master._process.command[0], str(config), "--sentinel"]
        return ServerProcess(command, log=workspace.path / "log", cwd=workspace.path)

    process, port = start_on_free_port(make, ready=_answers, advice=ADVICE)
    yield port
    process.kill()
    workspace.close()


async def test_the_master_is_found_and_after_a_failover_the_new_one(master, replica, sentinel_port):
    sentinel = Redis(f"redis://127.0.0.1:{sentinel_port}/0")
    async with asyncio.timeout(30):
        while not sentinel.execute("SENTINEL", "REPLICAS", "main"):  # noqa: ASYNC110 - each look asks a server
            await asyncio.sleep(0.05)
    stores = open_stores(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel_port}/main/0")
    await stores.start()
    await stores.usage.put([UsageEntry(0, "before", b"x")])
    assert master.execute("XLEN", "{p00}:usage") == 1
    gaps = []
    stores.signals.subscribe("t", lambda _: None, on_gap=lambda: gaps.append(1))

    master.kill()
    async with asyncio.timeout(60):
        while True:
            try:
                await stores.usage.put([UsageEntry(0, "after", b"x")])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        while replica.execute("XLEN", "{p00}:usage") < 2:  # noqa: ASYNC110 - each look asks a server
            await asyncio.sleep(0.05)
        while len(gaps) < 2 or not stores.signals.connected:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.05)
    await stores.aclose()


async def test_sentinels_that_do_not_know_the_service_are_unavailability(sentinel_port):
    stores = open_stores(f"redis+sentinel://127.0.0.1:{sentinel_port}/other")

    with pytest.raises(StoreUnavailable, match="no sentinel names a master of 'other'"):
        await stores.start()
    await stores.aclose()
