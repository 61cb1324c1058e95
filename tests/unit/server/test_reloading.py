import msgspec
import pytest

from app.commands.failure import CommandFailed
from app.commands.reloading import NEEDS_RESTART, adopt, loader
from app.commands.sources import Sources
from app.server.contract import SettingsRefused
from app.settings.model import CacheSettings, Settings
from app.settings.planes import AdminJwt, AdminPlane, GatewayJwt, GatewayPlane
from app.settings.store_url import StoreUrl
from providers.types import Secret

RUNNING = Settings(master_secret=Secret("m" * 40))


def test_what_may_change_is_taken_as_it_is():
    loaded = msgspec.structs.replace(RUNNING, log_level="debug", queue_s=3.0, inflight=7)
    assert adopt(RUNNING, loaded) == (loaded, [])


def test_equal_settings_change_nothing():
    assert adopt(RUNNING, Settings(master_secret=Secret("m" * 40))) == (RUNNING, [])


def test_what_needs_a_restart_keeps_its_value_and_is_named():
    token = {"issuer": "https://id.example", "audience": "llm"}
    loaded = Settings(
        database=StoreUrl("postgresql+asyncpg://db/gateway"),
        state=StoreUrl("redis://h:6379/0"),
        gateway=GatewayPlane(
            host="0.0.0.0",
            port=1,
            workers=4,
            metrics=False,
            allowed_hosts=("a",),
            jwt=GatewayJwt(**token, key_claim="key"),
        ),
        admin=AdminPlane(
            host="0.0.0.0",
            port=2,
            metrics=False,
            allowed_hosts=("b",),
            jwt=AdminJwt(**token, role_claim="roles"),
            url="https://admin.example",
        ),
        cache=CacheSettings(url=StoreUrl("redis://h:6379/1")),
        spool="elsewhere",
        memory_limit_mb=512,
        transport="httpx",
        drain_s=1.0,
        log_level="debug",
        master_secret=Secret("n" * 40),
    )
    adopted, ignored = adopt(RUNNING, loaded)
    assert ignored == list(NEEDS_RESTART)
    assert adopted == Settings(
        gateway=GatewayPlane(metrics=False),
        admin=AdminPlane(metrics=False),
        memory_limit_mb=512,
        log_level="debug",
        master_secret=Secret("m" * 40),
    )


def test_the_url_of_the_gateway_follows_its_running_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text("gateway: {port: 4000}\n")
    running = Sources(path=file, environ={}).read()
    file.write_text("gateway: {port: 5000}\n")
    assert adopt(running, Sources(path=file, environ={}).read())[0].admin.gateway_url == "http://127.0.0.1:4000"
    file.write_text("gateway: {port: 5000}\nadmin: {gateway_url: 'http://llm.example'}\n")
    assert adopt(running, Sources(path=file, environ={}).read())[0].admin.gateway_url == "http://llm.example"


def test_faults_are_lines_for_the_operator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text("gatway: {}\nqueue_s: -1\n")
    with pytest.raises(SettingsRefused) as refused:
        loader(Sources(path=file, environ={}))()
    assert [fault.partition(": ")[0] for fault in refused.value.faults] == ["gateway.yaml:1", "gateway.yaml:2"]


def test_a_secret_that_is_gone_refuses_the_reload(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = Sources(path=None, environ={"GATEWAY_DATABASE": "postgresql+asyncpg://db/gateway"})
    with pytest.raises(SettingsRefused, match="GATEWAY_MASTER_SECRET is not set"):
        loader(sources)()
    with pytest.raises(CommandFailed, match="GATEWAY_MASTER_SECRET is not set"):
        sources.complete()
