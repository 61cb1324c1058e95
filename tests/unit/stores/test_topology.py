import pytest

from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.redis.topology import Redirection, Topology, read_redirection, read_topology

ASKED = ("seed", 7000)
HOSTS = [
    ([b"10.0.0.1", 7001, b"id"], ("10.0.0.1", 7001)),
    ([b"node.example", 7001, b"id", [b"ip", b"10.0.0.1"]], ("node.example", 7001)),
    ([b"::1", 7001, b"id", []], ("::1", 7001)),
    ([b"", 7001, b"id", []], ("seed", 7001)),
    ([None, 7001, b"id", []], ("seed", 7001)),
    ([b"?", 7001, b"id", [b"ip", b"10.0.0.1"]], ("10.0.0.1", 7001)),
    ([b"?", 7001, b"id"], ("seed", 7001)),
]


@pytest.mark.parametrize(("node", "address"), HOSTS)
def test_a_node_is_where_the_reply_says_or_where_it_was_asked(node, address):
    topology = read_topology([[0, 16383, node]], asked=ASKED)

    assert topology.ranges == ((0, 16383, address),)
    assert topology.is_whole


def test_replicas_serve_nothing_and_a_gap_is_seen():
    one, other, replica = [b"a", 1, b"x"], [b"b", 2, b"y"], [b"c", 3, b"z"]
    topology = read_topology([[0, 99, one, replica], [200, 16383, other], [150, 159, one]], asked=ASKED)

    assert topology.primaries == {("a", 1), ("b", 2)}
    assert topology.served == 16384 - 90
    assert not topology.is_whole


def test_a_node_that_knows_no_slots_says_so():
    assert read_topology([], asked=ASKED) == Topology(())


@pytest.mark.parametrize("reply", [None, b"OK", 7, [1], [[0, 1]], [[0, 1, None]], [[0, 1, []]], [[0, None, [b"a", 1]]]])
def test_what_is_no_map_is_unavailability(reply):
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        read_topology(reply, asked=ASKED)


REDIRECTIONS = [
    ("MOVED 3999 127.0.0.1:6381", Redirection(is_lasting=True, slot=3999, address=("127.0.0.1", 6381))),
    ("ASK 0 node.example:1", Redirection(is_lasting=False, slot=0, address=("node.example", 1))),
    ("MOVED 16383 ::1:6381", Redirection(is_lasting=True, slot=16383, address=("::1", 6381))),
    ("MOVED 1 :6381", Redirection(is_lasting=True, slot=1, address=("seed", 6381))),
    ("MOVED 16384 h:1", None),
    ("MOVED", None),
    ("MOVED x h:1", None),
    ("MOVED 1 h", None),
    ("WRONGTYPE 1 h:1", None),
    ("ERR MOVED 1 h:1", None),
]


@pytest.mark.parametrize(("message", "redirection"), REDIRECTIONS)
def test_a_redirection_is_read_and_nothing_else_is_one(message, redirection):
    assert read_redirection(StoreReplyError(message), asked=ASKED) == redirection
