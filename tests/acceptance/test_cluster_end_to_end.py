"""Two workers on Redis Cluster: what was answered is in the ledger, once, whatever node its partition is on."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID

from outside.caller import Caller, user
from outside.ledger import Ledger, cost_nusd
from servers.gateway import GatewayProcess
from servers.process import wait_until
from servers.redis_cluster import RedisCluster

from app.stores.redis.consumer import STREAMS
from providers.testing import FakeProvider

CHATS = 50
ORGANIZATIONS = 12


def test_the_settings_of_a_cluster_are_right(cluster_gateway: GatewayProcess):
    said = cluster_gateway.run("check").stdout
    assert "no faults" in said
    assert "state redis+cluster://127.0.0.1:" in said


def test_fifty_chats_are_fifty_events(
    cluster_gateway: GatewayProcess, redis_cluster: RedisCluster, fake_provider: FakeProvider
):
    ledger = Ledger(cluster_gateway)
    made = [
        cluster_gateway.admin("POST", "/organizations", json={"name": f"organisation {number}"})
        for number in range(ORGANIZATIONS)
    ]
    with ExitStack() as stack:
        callers = [
            stack.enter_context(Caller(cluster_gateway, organization_id=organization["id"])) for organization in made
        ]
        with ThreadPoolExecutor(8) as threads:
            answers = list(
                threads.map(
                    lambda at: callers[at % ORGANIZATIONS].chat("fake-model", f"number {at}", stream=at % 2 == 0),
                    range(CHATS),
                )
            )

    assert {answer.status_code for answer in answers} == {200}
    assert all("x-gateway-degraded" not in answer.headers for answer in answers)
    events = ledger.wait(CHATS)
    assert len(events) == CHATS
    assert {event["request_id"] for event in events} == {UUID(answer.headers["x-request-id"]) for answer in answers}
    journal = fake_provider.journal.entries
    assert sum(event["cost_nusd"] for event in events) == sum(
        cost_nusd(entry.prompt_tokens, entry.tokens_served) for entry in journal
    )
    marks = [mark for node in redis_cluster.primaries for mark in node.execute("KEYS", "{p*}:usage:*")]
    assert {UUID(mark.rpartition(":")[2]) for mark in marks} == {event["event_id"] for event in events}
    # The acknowledgement follows the commit that made the events visible.
    assert wait_until(lambda: not any(length_of(redis_cluster, stream) for stream in STREAMS), within_s=20)


def length_of(cluster: RedisCluster, stream: str) -> int:
    length: int = cluster.owner(cluster.slot_of(stream)).execute("XLEN", stream)
    return length


def test_a_revoked_key_is_refused_by_both_workers(cluster_gateway: GatewayProcess):
    with Caller(cluster_gateway) as caller:
        assert {status_of_new_connection(caller) for _ in range(8)} == {200}

        cluster_gateway.admin("POST", f"/keys/{caller.key_id}/revoke")

        assert wait_until(lambda: {status_of_new_connection(caller) for _ in range(8)} == {401}, within_s=5)


def status_of_new_connection(caller: Caller) -> int:
    """Ask on a connection of its own, which either worker may take."""
    return caller.post({"model": "echo", "messages": user("x")}, connection="close").status_code
