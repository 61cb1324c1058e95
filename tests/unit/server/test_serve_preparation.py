import fcntl
import json
import resource
import shlex
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from servers.packages import install

from app.commands import banner
from app.commands.embedded import with_master_secret
from app.commands.failure import CommandFailed
from app.commands.first_keys import KeyState
from app.commands.ollama import answers
from app.commands.serve import find_layers, is_loopback, plan_of, raise_descriptor_limit, refuse_open_admin
from app.commands.shared_folder import shared_folder
from app.commands.sources import Sources, config_path
from app.middleware.layers import LAYERS
from app.server.plan import Address, Planes
from app.settings.model import GatewayPlane, ModelSettings, ProviderSettings, Settings, TargetSettings
from app.settings.store_url import StoreUrl
from providers.types import Secret

GATEWAY = Address(plane="gateway", host="127.0.0.1", port=3020)
ADMIN = Address(plane="admin", host="127.0.0.1", port=3040)
ECHO = ProviderSettings(adapter="echo")


# --- where settings come from


def test_the_file_given_wins_then_the_environment_then_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path(None, {}) is None
    Path("gateway.yaml").touch()
    assert config_path(None, {}) == Path("gateway.yaml")
    assert config_path(None, {"GATEWAY_CONFIG": "other.yaml"}) == Path("other.yaml")
    assert config_path(Path("given.yaml"), {"GATEWAY_CONFIG": "other.yaml"}) == Path("given.yaml")


@pytest.fixture
def ollama(request):
    """Answer one request on a port of its own, with what the test asks for."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(request.param)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()
        thread.join()


@pytest.mark.parametrize(
    ("ollama", "expected"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"version":"0.14.0"}', True),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", False),
        (b'HTTP/1.0 404 Not Found\r\n\r\n{"version":1}', False),
        (b"SSH-2.0-OpenSSH", False),
        (b"", False),
    ],
    indirect=["ollama"],
)
def test_an_ollama_is_told_from_other_programs(ollama, expected):
    assert answers(ollama) is expected


def test_nobody_there_is_no_ollama():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not answers(unused.getsockname())


def test_an_ollama_is_added_only_where_nobody_chose_the_providers(tmp_path, monkeypatch):
    monkeypatch.setattr("app.commands.sources.answers", lambda: True)
    assert [*Sources(path=None, environ={}).read().providers] == ["echo", "ollama"]
    found = Sources(path=None, environ={"OPENAI_API_KEY": "sk-1"}).read().providers
    assert [*found] == ["echo", "openai", "ollama"]
    assert found["ollama"].api_key is None
    file = tmp_path / "gateway.yaml"
    file.write_text("providers: {mine: {adapter: echo}}\n")
    assert [*Sources(path=file, environ={}).read().providers] == ["mine"]


# --- the master secret


def embedded(folder):
    return Settings(database=StoreUrl(f"sqlite+aiosqlite:///{folder}/data/gateway.db"))


def test_embedded_mode_makes_a_master_secret_once(tmp_path):
    made = with_master_secret(embedded(tmp_path)).master_secret
    file = tmp_path / "data" / "master.secret"
    assert len(made.reveal()) >= 32
    assert file.read_text().strip() == made.reveal()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["master.secret"]
    assert with_master_secret(embedded(tmp_path)).master_secret == made


def test_a_given_master_secret_is_used_and_none_is_made(tmp_path):
    settings = Settings(master_secret=Secret("g" * 40), database=embedded(tmp_path).database)
    assert with_master_secret(settings) is settings
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"short\n", b"\xff" * 40])
def test_a_damaged_master_secret_is_not_used(tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "master.secret").write_bytes(content)
    with pytest.raises(CommandFailed, match=r"master\.secret"):
        with_master_secret(embedded(tmp_path))


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(CommandFailed, match=r"the master secret in .* cannot be read: .*Not a directory"):
        with_master_secret(embedded(tmp_path))


# --- plan, addresses, limits


def test_memory_state_is_planned_as_one_process():
    plan = plan_of(Settings(inflight=100), planes=Planes.ALL)
    assert [role.planes for role in plan.roles] == [("gateway", "admin")]
    assert [address.port for address in plan.addresses] == [3020, 3040]
    assert plan.backpressure == 700


def test_shared_state_is_planned_with_its_workers_and_only_the_addresses_served():
    settings = Settings(state=StoreUrl("redis://h"), gateway=GatewayPlane(workers=2))
    assert [role.name for role in plan_of(settings, planes=Planes.ALL).roles] == ["gateway-1", "gateway-2", "admin"]
    plan = plan_of(settings, planes=Planes.GATEWAY)
    assert [role.name for role in plan.roles] == ["gateway-1", "gateway-2"]
    assert [address.plane for address in plan.addresses] == ["gateway"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_an_exposed_address_needs_an_admin_key():
    exposed = (GATEWAY, Address(plane="admin", host="0.0.0.0", port=3040))
    with pytest.raises(CommandFailed, match=r"^admin\.host 0\.0\.0\.0 can be reached"):
        refuse_open_admin(Settings(), exposed, has_admin_key=False)
    refuse_open_admin(Settings(), exposed, has_admin_key=True)
    refuse_open_admin(Settings(admin_key=Secret("k" * 32)), exposed, has_admin_key=False)
    refuse_open_admin(Settings(), (GATEWAY, ADMIN), has_admin_key=False)


def test_the_descriptor_limit_is_raised_or_the_start_refused():
    code = (
        "import resource; from app.commands.serve import raise_descriptor_limit as raise_;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2000)); raise_(400);"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0]); raise_(501)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2000\n"
    assert "a process may open 2000 files, but inflight: 501 needs 2004" in done.stderr


def test_a_sufficient_descriptor_limit_is_no_fault():
    raise_descriptor_limit(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 40


# --- the shared folder


def test_the_shared_folder_is_private_and_goes_away(tmp_path):
    with shared_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "cells").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_left_by_a_killed_parent_is_removed_and_one_in_use_is_not(tmp_path):
    left, used, foreign = tmp_path / "llm-gateway-left", tmp_path / "llm-gateway-used", tmp_path / "other"
    for folder in (left, used, foreign):
        folder.mkdir()
        (folder / "lock").touch()
    with (used / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with shared_folder(tmp_path):
            assert not left.exists()
            assert used.exists()
            assert foreign.exists()


# --- the layers


def test_only_a_gateway_plane_minds_the_layers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "broken_layers", source="", entry_points={LAYERS: {"acme": "broken_layers:gone"}})
    assert find_layers(Planes.ADMIN) == ()
    for planes in (Planes.ALL, Planes.GATEWAY):
        with pytest.raises(CommandFailed, match=r"the layer 'acme' of broken_layers 1\.0 .* cannot be loaded"):
            find_layers(planes)


# --- the banner


def request_of(command):
    words = shlex.split(command)
    return words[1], words[3], json.loads(words[7]) if len(words) > 7 else None


def test_the_request_to_try_asks_a_model_that_is_served():
    echo = Settings(providers={"echo": ECHO})
    url, authorization, body = request_of(banner.curl(echo, gateway=GATEWAY, key="sk-gw-1"))
    assert (url, authorization) == ("http://127.0.0.1:3020/v1/chat/completions", "Authorization: Bearer sk-gw-1")
    assert (body["model"], body["messages"][0]["role"]) == ("echo", "user")
    target = TargetSettings(provider="echo", model="m")
    named = Settings(providers={"echo": ECHO}, models={"mine": ModelSettings(targets=(target,))})
    assert request_of(banner.curl(named, gateway=GATEWAY, key="k"))[2]["model"] == "mine"


def test_without_a_certain_model_the_list_of_models_is_the_request_to_try():
    settings = Settings(providers={"openai": ProviderSettings(adapter="openai")})
    assert request_of(banner.curl(settings, gateway=GATEWAY, key="k"))[0] == "http://127.0.0.1:3020/v1/models"


def test_the_admin_plane_alone_has_no_request_to_try():
    state = KeyState(has_admin_key=True, inference_key="sk-gw-1", admin_key="sk-gw-admin-1")
    text = banner.first_run(Settings(), state, addresses=[ADMIN])
    assert "sk-gw-admin-1" in text
    assert "curl" not in text


def test_the_introduction_shows_no_password():
    settings = Settings(database=StoreUrl("postgresql+asyncpg://me:hidden@db/gateway"), providers={"echo": ECHO})
    text = banner.introduction(settings, addresses=[GATEWAY, ADMIN], path=None)
    assert "postgresql+asyncpg://me:***@db/gateway" in text
    assert "hidden" not in text
