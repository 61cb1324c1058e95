from uuid import UUID

import msgspec
import pytest

from app.domain.keys.principal import Principal
from app.guards.inference import Pin, requires_inference, requires_model
from app.kernel.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from app.routing.table import ProviderRoute, Route, RouteTable, RouteTarget
from providers.echo.adapter import EchoAdapter
from providers.types import Target

OWN = Principal(key_id=None, organization_id=None)


class FakeDirectory:
    """Knows the key `good`, and its public id."""

    def __init__(self, principal=OWN):
        self.principal_ = principal
        self.asked = []

    async def authenticate(self, token):
        self.asked.append(token)
        if token != b"good":
            raise Unauthenticated
        return self.principal_

    async def principal(self, public_id):
        self.asked.append(public_id)
        return self.principal_


class FakeTokens:
    """Takes `ey.x.y` for a token."""

    def recognises(self, token):
        return token.startswith(b"ey")

    async def public_id(self, token):
        return token.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer good"},
        {b"authorization": b"bearer  good "},
        {b"x-api-key": b"good"},
        {b"x-goog-api-key": b"good"},
        {b"authorization": b"Bearer good", b"x-api-key": b"good", b"x-goog-api-key": b"good"},
    ],
)
async def test_a_key_may_stand_in_any_of_three_headers(headers):
    assert await requires_inference(headers, FakeDirectory(), None) is OWN


@pytest.mark.parametrize(
    ("headers", "kind", "code"),
    [
        ({}, Unauthenticated, "missing_api_key"),
        ({b"authorization": b"Basic Z29vZA=="}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b"good"}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b""}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b"Bearer "}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b"Bearer bad"}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b"Bearer \xff\xfe"}, Unauthenticated, "invalid_api_key"),
        ({b"authorization": b"Bearer good", b"x-api-key": b"bad"}, InvalidRequest, "ambiguous_credentials"),
        ({b"x-api-key": b"good", b"x-goog-api-key": b"bad"}, InvalidRequest, "ambiguous_credentials"),
    ],
)
async def test_whoever_has_no_key_is_refused(headers, kind, code):
    with pytest.raises(kind) as caught:
        await requires_inference(headers, FakeDirectory(), FakeTokens())
    assert caught.value.code == code


async def test_a_token_is_read_only_where_an_issuer_is_configured():
    directory = FakeDirectory()
    headers = {b"authorization": b"Bearer ey.x.y"}
    assert await requires_inference(headers, directory, FakeTokens()) is OWN
    assert directory.asked == ["ey.x.y"]
    with pytest.raises(Unauthenticated):
        await requires_inference(headers, directory, None)


@pytest.mark.parametrize(
    ("scopes", "scope", "may"),
    [
        ({"inference"}, "inference", True),
        ({"inference"}, "models", True),
        ({"models"}, "models", True),
        ({"models"}, "inference", False),
        (set(), "models", False),
    ],
)
async def test_a_key_has_scopes(scopes, scope, may):
    principal = Principal(key_id=None, organization_id=None, scopes=frozenset(scopes))
    asking = requires_inference({b"x-api-key": b"good"}, FakeDirectory(principal), None, scope=scope)
    if may:
        assert await asking is principal
        return
    with pytest.raises(Forbidden) as caught:
        await asking
    assert caught.value.code == "insufficient_scope"


def target(provider, model):
    where = Target(provider=provider, model=model, base_url="http://x")
    return RouteTarget(provider=provider, adapter=EchoAdapter(), target=where, whole_target=where)


def route(name, *targets):
    return Route(name=name, label=name, targets=targets, owned_by="p")


OURS, OTHER = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
MINI = route("mini", target("a", "x"), target("b", "y"))
TABLE = RouteTable(
    {"mini": MINI}, {"big": ProviderRoute({"huge": route("big/huge", target("big", "huge"))}, template=None)}
)


def caller(**fields):
    return Principal(key_id=None, organization_id=fields.pop("organization_id", None), **fields)


def test_a_model_that_the_key_may_use_has_its_route():
    assert requires_model(caller(), TABLE, "mini") is MINI
    assert requires_model(caller(models=frozenset({"mini"})), TABLE, "mini") is MINI


def test_a_pin_narrows_the_route():
    pinned = requires_model(caller(may_route=True, models=frozenset({"mini"})), TABLE, "mini", pin=Pin("b", "y"))
    assert [each.provider for each in pinned.targets] == ["b"]
    assert requires_model(caller(may_route=True), TABLE, "mini", pin=Pin("big", "huge")).name == "big/huge"


@pytest.mark.parametrize(
    ("principal", "name", "pinned", "kind", "code"),
    [
        (caller(), "nothing", None, NotFound, "model_not_found"),
        (caller(), "big/huge", None, NotFound, "model_not_found"),
        (caller(), "x" * 10_000, None, NotFound, "model_not_found"),
        (caller(models=frozenset()), "mini", None, Forbidden, "model_not_allowed"),
        (caller(models=frozenset({"other"})), "mini", None, Forbidden, "model_not_allowed"),
        (caller(), "mini", ("a", "x"), Forbidden, "insufficient_scope"),
        (caller(may_route=True), "mini", ("a", "other"), NotFound, "model_not_found"),
        (caller(may_route=True), "mini", ("nobody", "x"), NotFound, "model_not_found"),
        (caller(may_route=True, models=frozenset({"mini"})), "mini", ("big", "huge"), Forbidden, "model_not_allowed"),
    ],
)
def test_a_model_that_the_key_may_not_use_has_none(principal, name, pinned, kind, code):
    with pytest.raises(kind) as caught:
        requires_model(principal, TABLE, name, pin=pinned and Pin(*pinned))
    assert caught.value.code == code
    assert len(caught.value.message) < 200


def test_an_account_of_one_organisation_is_nobody_elses():
    ours, others = (UUID(each) for each in (OURS, OTHER))
    shared, own = target("a", "x"), msgspec.structs.replace(target("b", "y"), dedicated_to=OURS.upper())
    table = RouteTable({"mixed": route("mixed", shared, own), "own": route("own", own)})
    us, them = caller(organization_id=ours, may_route=True), caller(organization_id=others, may_route=True)
    assert requires_model(us, table, "mixed").targets == (shared, own)
    assert requires_model(us, table, "own", pin=Pin("b", "y")).targets == (own,)
    assert requires_model(them, table, "mixed").targets == (shared,)
    for name, pinned in (("own", None), ("mixed", ("b", "y"))):
        with pytest.raises(NotFound) as caught:
            requires_model(them, table, name, pin=pinned and Pin(*pinned))
        assert caught.value.code == "model_not_found"
