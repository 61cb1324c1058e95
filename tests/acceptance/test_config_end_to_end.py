"""The settings of a running gateway, seen, tried and taken again; and its audit chain, proved from the command line."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.redis import Redis

from providers.testing import FakeProvider

ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}
DATABASE = 5


@pytest.fixture(params=["embedded", "scaled"])
def tree(request: pytest.FixtureRequest, session_provider: FakeProvider, postgres_server: Postgres) -> dict[str, Any]:
    if request.param == "embedded":
        return configs.config(fake_url=session_provider.url)
    redis_server: Redis = request.getfixturevalue("redis_server")
    return configs.config(
        fake_url=session_provider.url,
        database=postgres_server.new_database(),
        state=redis_server.url_of(database=DATABASE),
        workers=2,
    )


@pytest.fixture
def gateway(tree: dict[str, Any]) -> Iterator[GatewayProcess]:
    with closing(GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)) as running:
        yield running


def models(gateway: GatewayProcess, key: str) -> set[str]:
    """Return the models that every worker serves, each asked several times on new connections."""
    headers = {"authorization": f"Bearer {key}"}
    seen = [
        frozenset(model["id"] for model in httpx.get(f"{gateway.openai_url}/models", headers=headers).json()["data"])
        for _ in range(8)
    ]
    assert len(set(seen)) == 1
    return set(seen[0])


def test_a_model_is_added_by_a_reload_and_served_by_every_worker_at_once(
    gateway: GatewayProcess, tree: dict[str, Any]
) -> None:
    key = gateway.key
    pids = {worker.pid for worker in gateway.workers()}
    assert "added" not in models(gateway, key)
    added = {**tree, "models": {**tree["models"], "added": {"targets": [{"provider": "echo", "model": "echo"}]}}}
    gateway.write_config({**added, "drain_s": 3})

    told = json.loads(gateway.run("config", "validate", "--running", "--json").stdout)
    assert told["valid"] is True
    assert {"models.added.targets[0].provider", "drain_s"} <= {change["path"] for change in told["changes"]}
    assert "added" not in models(gateway, key)

    done = json.loads(gateway.run("config", "reload", "--json").stdout)
    assert done["applied"] is True
    assert {worker["pid"] for worker in done["workers"]} == pids
    assert [change["path"] for change in done["changes"] if change["needs_restart"]] == ["drain_s"]
    assert "added" in models(gateway, key)
    shown = {value["path"]: value for value in gateway.admin("GET", "/config")["values"]}
    assert shown["models.added.targets[0].provider"]["value"] == "echo"
    assert shown["models.added.targets[0].provider"]["origin"].startswith("gateway.yaml:")
    assert shown["drain_s"]["value"] != 3
    assert shown["master_secret"] | {"needs_restart": True} == {
        "path": "master_secret",
        "value": {"set": True},
        "origin": "env GATEWAY_MASTER_SECRET",
        "needs_restart": True,
    }
    assert MASTER_SECRET not in json.dumps(shown)
    assert configs.FAKE_KEY not in json.dumps(shown)
    (entry,) = gateway.admin("GET", "/audit?action=reload")["items"]
    assert entry["after"]["settings"]["models.added.targets[0].provider"] == "echo"


def test_a_bad_file_changes_nothing_and_every_fault_is_told(gateway: GatewayProcess, tree: dict[str, Any]) -> None:
    key = gateway.key
    before = models(gateway, key)
    others = {name: value for name, value in tree.items() if name != "models"}
    gateway.write_config({**others, "modles": {}, "inflight": 0})
    tried = gateway.run("config", "validate", "--running", expects=1).stdout
    assert "did you mean `models`?" in tried
    refused = gateway.run("config", "reload", expects=1)
    assert "settings_refused" in refused.stderr
    assert "modles" in refused.stderr
    assert "inflight" in refused.stderr
    assert models(gateway, key) == before
    assert gateway.admin("GET", "/audit?action=reload")["items"] == []


def test_other_gateways_on_the_same_stores_take_their_own_files_again(
    session_provider: FakeProvider, postgres_server: Postgres, redis_server: Redis
) -> None:
    tree = configs.config(
        fake_url=session_provider.url,
        database=postgres_server.new_database(),
        state=redis_server.url_of(database=DATABASE),
        workers=2,
    )
    added = {**tree, "models": {**tree["models"], "added": {"targets": [{"provider": "echo", "model": "echo"}]}}}
    with (
        closing(GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)) as here,
        closing(GatewayProcess.launch(tree, environ=ENVIRON)) as there,
    ):
        key = here.key
        assert "added" not in models(there, key)
        here.write_config(added)
        there.write_config(added)
        done = here.admin("POST", "/config/reload")
        assert done["applied"] is True
        pids = {worker.pid for gateway in (here, there) for worker in gateway.workers()}
        assert {worker["pid"] for worker in done["workers"]} == pids
        assert [worker["gateway"].rpartition(":")[2] for worker in done["workers"]] == [
            *[str(here.pid)] * 3,
            *[str(there.pid)] * 3,
        ]
        assert "added" in models(here, key)
        assert "added" in models(there, key)

        there.write_config({**added, "inflight": 0})
        done = here.admin("POST", "/config/reload")
        assert done["applied"] is False
        (refused,) = [worker for worker in done["workers"] if not worker["applied"]]
        assert refused["gateway"].endswith(f":{there.pid}")
        assert "inflight" in refused["error"]
        assert "added" in models(there, key)


def test_the_audit_is_listed_and_its_tampering_named(gateway: GatewayProcess, tree: dict[str, Any]) -> None:
    for number in range(3):
        gateway.create_key(name=f"audited {number}")
    listed = gateway.run("audit", "list", "--kind", "key", "--action", "create").stdout
    assert listed.count("create") >= 3
    held = gateway.run("audit", "verify").stdout
    assert "the chain holds" in held
    assert "sealed" in held
    if "database" in tree:
        return
    gateway.stop()
    with closing(sqlite3.connect(gateway.folder / ".gateway" / "gateway.db")) as database:
        (seq,) = database.execute("SELECT max(seq) - 1 FROM audit_entries").fetchone()
        database.execute("UPDATE audit_entries SET principal_name = 'somebody else' WHERE seq = ?", (seq,))
        database.commit()
    assert f"broken at entry {seq}: it was changed" in gateway.run("audit", "verify", expects=1).stdout
