import pytest

from app.server.plan import Address, Planes, plan_roles
from app.server.slots import Patience, Slot, State, ns, retry_delay_s


def summary(roles):
    return [(role.name, role.index, role.planes) for role in roles]


def test_memory_state_is_one_process_with_both_planes():
    roles = plan_roles(Planes.ALL, workers=1, may_share=False)
    assert summary(roles) == [("gateway-admin", 0, ("gateway", "admin"))]


def test_shared_state_is_one_process_for_each_gateway_worker_and_one_for_admin():
    roles = plan_roles(Planes.ALL, workers=3, may_share=True)
    assert summary(roles) == [
        ("gateway-1", 0, ("gateway",)),
        ("gateway-2", 1, ("gateway",)),
        ("gateway-3", 2, ("gateway",)),
        ("admin", 3, ("admin",)),
    ]


@pytest.mark.parametrize("may_share", [False, True])
@pytest.mark.parametrize("plane", [Planes.GATEWAY, Planes.ADMIN])
def test_one_plane_alone_has_no_other(plane, may_share):
    roles = plan_roles(plane, workers=1, may_share=may_share)
    assert [role.planes for role in roles] == [(str(plane),)]


@pytest.mark.parametrize(
    ("host", "authority", "url"),
    [
        ("127.0.0.1", "127.0.0.1:3020", "http://127.0.0.1:3020"),
        ("0.0.0.0", "0.0.0.0:3020", "http://127.0.0.1:3020"),
        ("::", "[::]:3020", "http://[::1]:3020"),
        ("::1", "[::1]:3020", "http://[::1]:3020"),
        ("gateway.example", "gateway.example:3020", "http://gateway.example:3020"),
    ],
)
def test_an_address_is_shown_so_that_it_can_be_opened(host, authority, url):
    address = Address(plane="gateway", host=host, port=3020)
    assert (address.authority, address.url) == (authority, url)


def test_the_delay_doubles_up_to_its_limit():
    delays = [retry_delay_s(failures, patience=Patience()) for failures in range(8)]
    assert delays == [0, 0.5, 1, 2, 4, 5, 5, 5]
    assert retry_delay_s(10**6, patience=Patience()) == 5


@pytest.mark.parametrize(
    ("state", "changed_s", "heard_s", "ends_s"),
    [
        (State.READY, 100, 200, 215),
        (State.STARTING, 100, 158, 160),
        (State.STARTING, 100, 120, 135),
        (State.LEAVING, 100, 138, 139),
        (State.LEAVING, 100, 110, 125),
        (State.DYING, 100, 50, 101),
    ],
)
def test_patience_ends_for_silence_or_for_taking_too_long(state, changed_s, heard_s, ends_s):
    (role,) = plan_roles(Planes.GATEWAY, workers=1, may_share=False)
    slot = Slot(role, state=state, changed_ns=ns(changed_s), heard_ns=ns(heard_s))
    assert slot.patience_ends_ns(Patience(), drain_s=30) == ns(ends_s)
