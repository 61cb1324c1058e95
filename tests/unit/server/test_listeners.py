import socket

import pytest

from app.server.listeners import AddressUnavailable, Ports
from app.server.plan import Address


def address(host="127.0.0.1", port=0):
    return Address(plane="gateway", host=host, port=port)


@pytest.fixture
def ports():
    held = Ports([address()])
    yield held
    held.close()


def accepts(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_port_zero_becomes_a_real_port_for_every_worker(ports):
    port = ports.addresses["gateway"].port
    assert port > 0
    with ports.open("gateway") as first, ports.open("gateway") as second:
        assert first.getsockname()[1] == second.getsockname()[1] == port


def test_nothing_is_accepted_before_a_worker_listens(ports):
    port = ports.addresses["gateway"].port
    with ports.open("gateway") as listener:
        assert not accepts(port)
        listener.listen()
        assert accepts(port)
    assert not accepts(port)


def test_a_second_holder_of_the_address_is_refused(ports):
    with ports.open("gateway") as listener:
        listener.listen()
        with pytest.raises(AddressUnavailable, match=r"is in use by another process; .*GATEWAY_GATEWAY__PORT"):
            Ports([address(port=ports.addresses["gateway"].port)])


def test_a_refused_set_holds_none_of_its_addresses(ports):
    taken = ports.addresses["gateway"].port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with ports.open("gateway") as listener:
        listener.listen()
        with pytest.raises(AddressUnavailable):
            Ports([Address(plane="admin", host="127.0.0.1", port=free), address(port=taken)])
    Ports([address(port=free)]).close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("no such host", "gateway.host: 'no such host' is not an address"),
        ("192.0.2.1", "cannot listen on 192.0.2.1:1234: Cannot assign requested address"),
    ],
)
def test_an_address_that_is_not_ours_is_explained(host, expected):
    with pytest.raises(AddressUnavailable) as refused:
        Ports([address(host=host, port=1234)])
    assert str(refused.value).startswith(expected)


def test_an_ipv6_address_is_bound():
    held = Ports([address(host="::1")])
    with held.open("gateway") as listener:
        listener.listen()
        with socket.create_connection(("::1", held.addresses["gateway"].port)):
            assert listener.family is socket.AF_INET6
    held.close()
