"""A gateway of two workers on Redis Cluster that loses a node: every chat is answered, and the ledger has each once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from uuid import UUID

import pytest
from outside.caller import Caller
from outside.ledger import Ledger
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis_cluster import RedisCluster

from app.stores.protocols import PARTITIONS
from app.stores.redis.consumer import STREAMS
from app.stores.redis.slots import slot_of
from providers.testing import FakeProvider

CALLERS = 8
ROUND = 40
LANDS_WITHIN_S = 20
COMES_AGAIN_WITHIN_S = 60
"""What was claimed from a node as it died waits 30 s to be given out again, and up to 10 s to be looked for."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with closing(RedisCluster.launch()) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    session_provider: FakeProvider, postgres_server: Postgres, cluster: RedisCluster
) -> Iterator[GatewayProcess]:
    tree = configs.config(
        fake_url=session_provider.url, database=postgres_server.new_database(), state=cluster.url, workers=2
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
def callers(gateway: GatewayProcess) -> Iterator[list[Caller]]:
    """Callers of an organisation each."""
    with ExitStack() as stack:
        made = [gateway.admin("POST", "/organizations", json={"name": f"o{number}"}) for number in range(CALLERS)]
        yield [stack.enter_context(Caller(gateway, organization_id=each["id"])) for each in made]


def chat_round(callers: list[Caller]) -> set[UUID]:
    """Have a round of chats, all of which must be answered, and return the ids of the requests."""
    with ThreadPoolExecutor(CALLERS) as threads:
        answers = list(
            threads.map(lambda at: callers[at % CALLERS].chat("fake-model", stream=at % 3 == 0), range(ROUND))
        )
    assert {answer.status_code for answer in answers} == {200}
    return {UUID(answer.headers["x-request-id"]) for answer in answers}


def test_a_node_that_dies_and_comes_back_costs_no_answer_and_no_event(
    gateway: GatewayProcess, cluster: RedisCluster, callers: list[Caller]
):
    ledger = Ledger(gateway)
    partition = callers[0].organization_id.int % PARTITIONS
    victim = cluster.owner(slot_of(STREAMS[partition]))
    requests = chat_round(callers)

    victim.kill()
    meanwhile = chat_round(callers)
    assert wait_until(lambda: meanwhile <= in_ledger(ledger), within_s=LANDS_WITHIN_S), "the dead node holds nobody up"
    requests |= meanwhile | chat_round(callers)

    victim.start()
    cluster.wait_whole()
    requests |= chat_round(callers)

    events = ledger.wait(4 * ROUND, within_s=LANDS_WITHIN_S)
    assert len(events) == 4 * ROUND
    assert {event["request_id"] for event in events} == requests
    assert wait_until(lambda: lengths(cluster) == 0, within_s=COMES_AGAIN_WITHIN_S), (
        "what came twice was acknowledged too"
    )
    assert len(ledger.events()) == 4 * ROUND


def in_ledger(ledger: Ledger) -> set[UUID]:
    return {event["request_id"] for event in ledger.events()}


def lengths(cluster: RedisCluster) -> int:
    return sum(cluster.owner(slot_of(stream)).execute("XLEN", stream) for stream in STREAMS)
