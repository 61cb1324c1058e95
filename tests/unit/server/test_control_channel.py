import socket

import pytest

from app.server.control import Beat, Channel, Drain, Failed, FromWorker, Ready, Reload, open_channels


@pytest.fixture
def ends():
    parent, worker = open_channels()
    yield parent, worker
    parent.close()
    worker.close()


def test_messages_go_both_ways_in_order(ends):
    parent, worker = ends
    assert worker.send(Ready())
    assert worker.send(Beat(inflight=3))
    assert parent.receive() == [Ready(), Beat(inflight=3)]
    assert parent.send(Reload())
    assert parent.send(Drain())
    assert worker.receive() == [Reload(), Drain()]


def test_nothing_sent_is_nothing_received(ends):
    parent, _ = ends
    assert parent.receive() == []
    assert parent.is_open


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_message_survives_any_split_of_its_bytes(size):
    ours, theirs = socket.socketpair()
    channel = Channel(ours, receives=FromWorker)
    data = b'{"type":"failed","message":"a\\nb"}\n{"type":"ready"}\n'
    received = []
    for start in range(0, len(data), size):
        theirs.sendall(data[start : start + size])
        received += channel.receive()
    assert received == [Failed("a\nb"), Ready()]
    theirs.close()
    channel.close()


def test_the_last_words_are_read_before_the_end(ends):
    parent, worker = ends
    worker.send(Failed("no database"))
    worker.close()
    assert parent.receive() == [Failed("no database")]
    assert not parent.is_open


def test_a_closed_end_is_not_an_error_to_send_to(ends):
    parent, worker = ends
    parent.close()
    assert not worker.send(Ready())


def test_a_peer_that_does_not_read_costs_bounded_memory_and_never_blocks(ends):
    parent, worker = ends
    sent = 0
    while worker.send(Failed("x" * 4000)):
        sent += 1
        assert sent < 10_000
    assert parent.receive() != []
    while worker.send(Ready()) and Ready() not in (received := parent.receive()):
        assert received is not None
    assert worker.is_open
