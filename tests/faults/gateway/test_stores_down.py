"""A gateway of two workers whose stores die and come back: what it still answers, and that the ledger loses nothing."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from outside.ledger import Ledger, cost_nusd
from outside.wire import Reply, request, talk
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import PostgresProcess
from servers.process import wait_until
from servers.proxy import Faults, TcpProxy, proxy_in_thread
from servers.redis import RedisProcess

from app.domain.keys.secrets import make_key
from providers.testing import FakeProvider

CONNECTIONS = 16
DEGRADED = "x-gateway-degraded"
OF_MONEY = {"rules": [{"dimension": "cost", "limit": "0.001", "window_s": 60}]}
STATE_UP, DATABASE_UP = 'gateway_store_up{store="state"}', 'gateway_store_up{store="database"}'
FALLBACKS = 'gateway_degraded_total{store="state"}'
LANDS_WITHIN_S = 60
"""A claim whose reply is lost on a busy machine is given to another writer only when it has been left for long."""
_CHANGES_READ_S = 3


@pytest.fixture(scope="module")
def redis_process() -> Iterator[RedisProcess]:
    with closing(RedisProcess.launch(durable=True)) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_process() -> Iterator[PostgresProcess]:
    with closing(PostgresProcess.launch()) as server:
        yield server


@pytest.fixture(scope="module")
def redis_proxy(redis_process: RedisProcess) -> Iterator[TcpProxy]:
    with proxy_in_thread("127.0.0.1", redis_process.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(
    session_provider: FakeProvider,
    postgres_process: PostgresProcess,
    redis_process: RedisProcess,
    redis_proxy: TcpProxy,
) -> Iterator[GatewayProcess]:
    tree = configs.config(
        fake_url=session_provider.url,
        database=postgres_process.new_database(),
        state=redis_proxy.url(redis_process.url),
        workers=2,
    )
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    with closing(GatewayProcess.launch(tree, environ=environ, migrates=True)) as running:
        yield running
        running.stop()


@pytest.fixture
def caller(gateway: GatewayProcess) -> Iterator[Caller]:
    with Caller(gateway) as fresh:
        warm(gateway, fresh.key)
        yield fresh


@pytest.fixture
def ledger(gateway: GatewayProcess) -> Ledger:
    return Ledger(gateway)


def ask(gateway: GatewayProcess, key: str) -> list[Reply]:
    """Ask every worker for the models on new connections."""
    data = request("GET", "/v1/models", [("Authorization", f"Bearer {key}"), ("Connection", "close")])
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return [told.replies[0] for told in threads.map(lambda _: talk(gateway.port, data), range(CONNECTIONS))]


def warm(gateway: GatewayProcess, key: str) -> None:
    """Let every worker know the key."""
    assert {reply.status for reply in ask(gateway, key)} == {200}


def chats_for(caller: Caller, *, seconds: float) -> list[httpx.Response]:
    """Chat for a while: workers read the changes of keys every two seconds, and a key they read of is cold again."""
    ends = time.monotonic() + seconds
    answers: list[httpx.Response] = []
    while time.monotonic() < ends:
        answers += chats(caller, 8)
    return answers + chats(caller, 8)


def chats(caller: Caller, count: int) -> list[httpx.Response]:
    """Chat on new connections, every other time streaming."""

    def once(at: int) -> httpx.Response:
        body = {"model": "fake-model", "messages": user("one two three"), "stream": at % 2 == 0}
        headers = {"authorization": f"Bearer {caller.key}"}
        return httpx.post(caller.gateway.base_url + CHAT, json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(once, range(count)))


def assert_all_in_the_ledger(ledger: Ledger, caller: Caller, answers: list[httpx.Response]) -> None:
    """There is one event for each answer, and no other, with the right cost."""
    assert {answer.status_code for answer in answers} == {200}
    events = ledger.wait(len(answers), key_id=caller.key_id, within_s=LANDS_WITHIN_S)
    assert sorted(str(event["request_id"]) for event in events) == sorted(
        answer.headers["x-request-id"] for answer in answers
    )
    assert {event["cost_nusd"] for event in events} == {cost_nusd(6, 3)}


def is_healthy(gateway: GatewayProcess) -> bool:
    """Whether no worker reports a store that is down."""
    return all(reply.header(DEGRADED) is None for reply in degraded_probes(gateway))


def number(gateway: GatewayProcess, series: str) -> float:
    """Return a number of `/metrics`; 0 for one that nobody has counted yet."""
    text = httpx.get(f"{gateway.base_url}/metrics", timeout=30).text
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{series} ")]
    return float(values[0]) if values else 0.0


def assert_too_dear(limited: Caller) -> None:
    """A limit of money, which this worker alone keeps now, refuses and says what the request would have held."""
    denied = limited.chat("fake-model", max_tokens=4_000)
    assert (denied.status_code, denied.json()["error"]["code"]) == (429, "request_too_large")
    asked = re.search(r"takes about ([\d.]+), limit 0\.001000000 USD per minute", denied.json()["error"]["message"])
    assert asked is not None
    assert Decimal(asked[1]) > Decimal("0.0024"), "that is what 4,000 tokens of output cost"


def degraded_probes(gateway: GatewayProcess) -> list[Reply]:
    data = request("POST", CHAT, [("Content-Type", "application/json"), ("Connection", "close")], b"{}")
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return [told.replies[0] for told in threads.map(lambda _: talk(gateway.port, data), range(CONNECTIONS))]


def test_redis_dies_and_comes_back(
    gateway: GatewayProcess, caller: Caller, ledger: Ledger, redis_process: RedisProcess
):
    """Keys without a budget go on; what they use is in PostgreSQL while Redis is still down."""
    answers = chats(caller, 8)
    limited = Caller(gateway, limits=OF_MONEY)
    warm(gateway, limited.key)
    past = number(gateway, FALLBACKS)
    assert number(gateway, STATE_UP) == 1
    redis_process.kill()
    try:
        meanwhile = chats(caller, 16)
        assert wait_until(
            lambda: {reply.header(DEGRADED) for reply in degraded_probes(gateway)} == {"redis"}, within_s=10
        )
        meanwhile += chats(caller, 8)
        assert {answer.headers.get(DEGRADED) for answer in meanwhile[-8:]} == {"redis"}
        assert_too_dear(limited)
        assert (number(gateway, STATE_UP), number(gateway, DATABASE_UP)) == (0, 1)
        assert number(gateway, FALLBACKS) >= past + len(meanwhile)
        wanted = {answer.headers["x-request-id"] for answer in meanwhile}
        found = ledger.wait_until(
            lambda events: wanted <= {str(event["request_id"]) for event in events},
            key_id=caller.key_id,
            within_s=LANDS_WITHIN_S,
        )
        assert wanted <= {str(event["request_id"]) for event in found}
        assert gateway.is_ready()
    finally:
        redis_process.start()
        limited.http.close()
    assert wait_until(lambda: is_healthy(gateway), within_s=15)
    assert wait_until(lambda: number(gateway, STATE_UP) == 1, within_s=15)
    # What Redis had taken before it died is in its file, and lands now.
    assert_all_in_the_ledger(ledger, caller, answers + meanwhile + chats(caller, 8))


def test_redis_hangs(gateway: GatewayProcess, caller: Caller, ledger: Ledger, redis_process: RedisProcess):
    """A server that accepts and does not answer costs a request its timeouts, and then less."""
    redis_process.pause()
    try:
        answers = chats(caller, 8)
        assert wait_until(lambda: not is_healthy(gateway), within_s=10)
        began = time.monotonic()
        answers += chats(caller, 8)
        assert time.monotonic() - began < 5
    finally:
        redis_process.resume()
    assert wait_until(lambda: is_healthy(gateway), within_s=15)
    assert_all_in_the_ledger(ledger, caller, answers)


@pytest.mark.parametrize("how", ["held", "refused"])
def test_a_revocation_arrives_without_redis(gateway: GatewayProcess, caller: Caller, redis_proxy: TcpProxy, how: str):
    """No signal gets through: every worker reads the change log within 5 s."""
    if how == "held":
        redis_proxy.up = redis_proxy.down = Faults(is_held=True)
    else:
        redis_proxy.refuses = True
        redis_proxy.sever()
    try:
        gateway.admin("POST", f"/keys/{caller.key_id}/revoke")
        revoked_at = time.monotonic()
        while {reply.status for reply in ask(gateway, caller.key)} != {401}:
            assert time.monotonic() - revoked_at < 5
    finally:
        redis_proxy.heal()
    assert wait_until(lambda: is_healthy(gateway), within_s=15)
    assert {reply.status for reply in ask(gateway, caller.key)} == {401}


def test_postgresql_dies_and_comes_back(
    gateway: GatewayProcess, caller: Caller, ledger: Ledger, postgres_process: PostgresProcess
):
    """Warm keys go on; nobody can say who a cold key is, which is no 401; events wait and land."""
    with Caller(gateway) as cold:
        answers = chats_for(caller, seconds=_CHANGES_READ_S)
        postgres_process.stop(immediate=True)
        try:
            answers += chats(caller, 16)
            for key in (cold.key, make_key("inference").text.reveal()):
                replies = ask(gateway, key)
                told = {(reply.status, reply.json["error"]["code"], reply.header("retry-after")) for reply in replies}
                assert told == {(503, "database_unavailable", "1")}
            assert {reply.status for reply in ask(gateway, "sk-gw-malformed")} == {401}
            assert wait_until(
                lambda: {reply.header(DEGRADED) for reply in degraded_probes(gateway)} == {"database"}, within_s=15
            )
            assert wait_until(lambda: number(gateway, DATABASE_UP) == 0, within_s=15)
            assert number(gateway, STATE_UP) == 1
            answers += chats(caller, 8)
            refused = httpx.get(
                f"{gateway.admin_url}/admin/v1/keys", headers={"authorization": f"Bearer {ADMIN_KEY}"}, timeout=20
            )
            assert refused.status_code == 503
            assert refused.json()["code"] == "database_unavailable"
        finally:
            postgres_process.start()
        assert_all_in_the_ledger(ledger, caller, answers)
        assert wait_until(lambda: {reply.status for reply in ask(gateway, cold.key)} == {200}, within_s=15)
        assert wait_until(lambda: is_healthy(gateway), within_s=15)
        assert wait_until(lambda: number(gateway, DATABASE_UP) == 1, within_s=15)


def test_a_provider_that_is_not_there(gateway: GatewayProcess, ledger: Ledger, session_provider: FakeProvider):
    """Nobody listens at its address: each attempt is in the ledger and costs nothing."""
    del session_provider
    config = configs.config(fake_url="http://127.0.0.1:9/v1")
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    with closing(GatewayProcess.launch(config, environ=environ)) as running, Caller(running) as caller:
        for stream in (False, True):
            answer = caller.chat("fake-model", stream=stream)
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "upstream_unreachable"
            assert answer.headers["x-gateway-attempts"] == "3"
            assert "127.0.0.1" not in answer.text
        events = Ledger(running).wait(6, key_id=caller.key_id)
        assert [event["attempt"] for event in events] == [1, 2, 3, 1, 2, 3]
        assert {(event["outcome"], event["cost_nusd"], event["status"]) for event in events} == {("error", 0, None)}
        running.stop()


def test_nothing_was_lost_or_doubled_when_all_is_over(gateway: GatewayProcess, ledger: Ledger):
    """Runs last: no attempt is in the ledger twice, whatever way its event took."""
    events = ledger.events()
    assert len({(event["request_id"], event["attempt"]) for event in events}) == len(events) > 0
    assert {event["outcome"] for event in events} == {"ok"}
    assert gateway.is_ready()
