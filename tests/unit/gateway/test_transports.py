"""The transports: the operator's providers may be anywhere, those of others may not."""

import logging
from ipaddress import ip_address

import pytest
from msgspec import structs

from app.gateway.transport import Transports
from app.settings import load
from providers.errors import ConnectFailed
from providers.http import WithinOnly
from providers.registry import Registry
from providers.testing import FakeProvider
from providers.types import Timeouts, UpstreamRequest


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text("providers: {echo: {adapter: echo}}")
    registry = Registry()
    return load(path, environ={}, adapter_options=lambda name: registry.find(name).options)


@pytest.fixture
async def transports():
    made = Transports(Registry())
    yield made
    await made.aclose()


def opening(settings, *cidrs):
    return structs.replace(settings, network=structs.replace(settings.network, allowed_private_cidrs=cidrs))


async def ask(transport, provider):
    request = UpstreamRequest(method="GET", url=f"{provider.url}/models", headers=())
    answer = await transport.send(request, timeouts=Timeouts())
    await answer.read_all()
    return answer.status


async def test_providers_of_others_are_not_called_at_private_addresses(settings, transports, caplog):
    async with FakeProvider() as provider:
        assert await ask(transports.current(settings), provider) == 200
        with caplog.at_level(logging.WARNING, "gateway.security"), pytest.raises(ConnectFailed) as caught:
            await ask(transports.guarded(settings), provider)
        assert caught.value.code == "upstream_address_blocked"
        assert len(provider.journal.entries) == 1
        assert "127.0.0.1" in caplog.text


async def test_what_the_operator_has_opened_is_called(settings, transports):
    async with FakeProvider() as provider:
        assert await ask(transports.guarded(opening(settings, "127.0.0.0/8")), provider) == 200
        with pytest.raises(ConnectFailed):
            await ask(transports.guarded(opening(settings, "10.0.0.0/8")), provider)


async def test_each_is_opened_when_it_is_asked_for_and_stays(settings, transports):
    current = transports.current(settings)
    assert transports._opened == [current]
    guarded = transports.guarded(settings)
    assert guarded is not current
    assert transports.guarded(opening(settings)) is guarded
    assert transports.current(opening(settings, "10.0.0.0/8")) is current
    another = transports.guarded(opening(settings, "10.0.0.0/8"))
    assert another is not guarded
    assert transports._opened == [current, guarded, another]


async def test_all_are_closed_at_the_end(settings):
    transports = Transports(Registry())
    opened = [transports.current(settings), transports.guarded(settings)]
    await transports.aclose()
    async with FakeProvider() as provider:
        for transport in opened:
            with pytest.raises(ConnectFailed):
                await ask(transport, provider)
        assert provider.connections == 0


async def test_a_provider_that_an_admin_made_stays_outside_even_of_opened_networks(settings, transports):
    opened = opening(settings, "127.0.0.0/8")
    async with FakeProvider() as provider:
        with pytest.raises(ConnectFailed) as caught:
            await ask(transports.guarded(opened, within="public"), provider)
        assert caught.value.code == "upstream_address_blocked"
        assert await ask(transports.guarded(opened, within="inside"), provider) == 200


@pytest.mark.parametrize(
    ("reach", "base_url", "within"),
    [
        ("public", "https://x.example", "public"),
        ("private", "https://x.example", "private"),
        ("private", "http://x.example", "inside"),
        ("public", None, "public"),
    ],
)
async def test_what_is_not_encrypted_stays_inside(settings, transports, reach, base_url, within):
    made = structs.replace(settings.providers["echo"], base_url=base_url)
    given = structs.replace(settings, providers={"made": made})
    assert transports.sender(given, "made", reach=reach) is transports.guarded(given, within=within)
    assert transports.sender(given, "made", reach=None) is transports.current(given)


def test_within_only_allows_nothing_else():
    allows = WithinOnly(["10.0.0.0/8"])
    assert allows(ip_address("10.1.2.3"))
    assert not allows(ip_address("8.8.8.8"))
    assert not allows(ip_address("127.0.0.1"))
