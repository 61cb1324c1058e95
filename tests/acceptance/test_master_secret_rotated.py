"""A new master secret, as an operator gives it to a gateway that is in use: in both modes, for all that hangs on it."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, user
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import Redis

from providers.testing import FakeProvider

REDIS_DATABASE = 12
NEW_SECRET = "another-master-secret-for-tests-0123456789"
CREDENTIAL = "sk-canary-of-a-provider-90ab12cd"
OLD = {"GATEWAY_MASTER_SECRET": MASTER_SECRET}
FIRST_ROUND = {"GATEWAY_MASTER_SECRET": MASTER_SECRET, "GATEWAY_OLD_MASTER_SECRET": NEW_SECRET}
BOTH = {"GATEWAY_MASTER_SECRET": NEW_SECRET, "GATEWAY_OLD_MASTER_SECRET": MASTER_SECRET}
NEW = {"GATEWAY_MASTER_SECRET": NEW_SECRET}
SOON_S = 20
HELLO = {"model": "echo", "messages": user("hello")}
UNAUTHENTICATED = 401


class Installation:
    """An installation whose processes are started again with other secrets, over the same stores."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    @contextmanager
    def served(self, secrets: dict[str, str], *, migrates: bool = False) -> Iterator[GatewayProcess]:
        """Serve with these secrets, and stop as an operator would."""
        environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, configs.FAKE_KEY_NAME: configs.FAKE_KEY, **secrets}
        gateway = GatewayProcess.launch(self._tree, environ=environ, migrates=migrates)
        try:
            yield gateway
            gateway.stop()
        finally:
            gateway.close()


def install(provider: FakeProvider, **stores: Any) -> Installation:
    tree = configs.config(fake_url=provider.url, **stores)
    tree["network"] = {"allowed_private_cidrs": ["127.0.0.0/8"]}
    return Installation(tree)


@pytest.fixture
def scaled(postgres_server: Postgres, redis_server: Redis, session_provider: FakeProvider) -> Installation:
    return install(
        session_provider,
        database=postgres_server.new_database(),
        state=redis_server.url_of(database=REDIS_DATABASE),
        workers=2,
    )


@pytest.fixture
def embedded(tmp_path: Path, session_provider: FakeProvider) -> Installation:
    return install(session_provider, database=f"sqlite+aiosqlite:///{tmp_path}/gateway.db")


@pytest.fixture(params=["embedded", "scaled"])
def installation(request: pytest.FixtureRequest) -> Installation:
    found: Installation = request.getfixturevalue(request.param)
    return found


class Client:
    """What one client and one administrator of the installation hold, made before the rotation."""

    def __init__(self, gateway: GatewayProcess, provider: FakeProvider) -> None:
        self.used, self.unused = gateway.create_key(), gateway.create_key(name="asleep")
        self.late = gateway.create_key(name="late")
        self.admin: str = gateway.admin("POST", "/admin-keys", json={"name": "a", "role": "admin"})["secret"]
        spec = {"name": "acme", "adapter": "openai", "base_url": provider.url, "api_key": CREDENTIAL}
        gateway.admin("POST", "/providers", json=spec)
        target = {"provider": "acme", "model": "fake-model"}
        gateway.admin("POST", "/models", json={"name": "made", "targets": [target], "retries": 0})
        assert wait_until(lambda: self.chat(gateway, model="made").status_code == httpx.codes.OK, within_s=SOON_S)
        self.answer = self.chat(gateway, once="k").content
        self.response: dict[str, Any] = self._post(
            gateway, "/v1/responses", {"model": "echo", "input": "one", "store": True}
        ).json()
        self.made = self.make_key_once(gateway)

    def chat(self, gateway: GatewayProcess, *, key: str = "", model: str = "echo", once: str = "") -> httpx.Response:
        headers = {"idempotency-key": once} if once else {}
        return self._post(gateway, CHAT, {"model": model, "messages": user("hello")}, key=key, **headers)

    def make_key_once(self, gateway: GatewayProcess) -> str:
        """Make a key with an idempotency key: again and again it is the same one."""
        headers = {"authorization": f"Bearer {self.admin}", "idempotency-key": "made-once"}
        answer = httpx.post(f"{gateway.admin_url}/admin/v1/keys", json={"name": "once"}, headers=headers, timeout=30)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["secret"])

    def administers(self, gateway: GatewayProcess, *, key: str = "") -> int:
        headers = {"authorization": f"Bearer {key or self.admin}"}
        return httpx.get(f"{gateway.admin_url}/admin/v1/keys", headers=headers, timeout=30).status_code

    def find_response(self, gateway: GatewayProcess) -> httpx.Response:
        url = f"{gateway.openai_url}/responses/{self.response['id']}"
        return httpx.get(url, headers={"authorization": f"Bearer {self.used}"}, timeout=30)

    def goes_on(self, gateway: GatewayProcess) -> httpx.Response:
        body = {"model": "echo", "input": "two", "previous_response_id": self.response["id"]}
        return self._post(gateway, "/v1/responses", body)

    def _post(
        self, gateway: GatewayProcess, path: str, body: dict[str, Any], *, key: str = "", **headers: str
    ) -> httpx.Response:
        said = {"authorization": f"Bearer {key or self.used}", **headers}
        return httpx.post(gateway.base_url + path, json=body, headers=said, timeout=30)

    def finds_all_as_it_was(self, gateway: GatewayProcess, provider: FakeProvider) -> None:
        """Use all that was made before, but the key that sleeps."""
        before = len(provider.journal.entries)
        assert self.chat(gateway, model="made").status_code == httpx.codes.OK
        called = {entry.headers["authorization"] for entry in provider.journal.entries[before:]}
        assert called == {f"Bearer {CREDENTIAL}"}
        again = self.chat(gateway, once="k")
        assert (again.status_code, again.content) == (200, self.answer)
        assert self.find_response(gateway).json() == self.response
        assert self.goes_on(gateway).status_code == httpx.codes.OK
        assert self.administers(gateway) == httpx.codes.OK
        assert self.make_key_once(gateway) == self.made
        assert self.chat(gateway, key=altered(self.used)).status_code == UNAUTHENTICATED
        assert self.administers(gateway, key=altered(self.admin)) == UNAUTHENTICATED
        assert "sealed" in gateway.run("audit", "verify").stdout


def altered(key: str) -> str:
    """Return a key with the same public id and another secret, whose check sum is right."""
    stem = key[:-7] + ("A" if key[-7] != "A" else "Q")
    rest, digits = zlib.crc32(stem.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit] + digits
    return stem + digits


def keys_carried_over(said: str) -> list[tuple[int, int]]:
    """Return how many keys, and how many admin keys, `rotate-kek` finds under the new secret, and of how many."""
    return [(int(done), int(total)) for done, total in re.findall(r"(\d+) of (\d+) (?:admin )?keys are under", said)]


def test_nobody_who_used_a_key_meanwhile_notices_a_new_master_secret(
    installation: Installation, fake_provider: FakeProvider
) -> None:
    with installation.served(OLD, migrates=True) as gateway:
        client = Client(gateway, fake_provider)
        client.finds_all_as_it_was(gateway, fake_provider)

    with installation.served(BOTH) as gateway:
        said = gateway.run("rotate-kek").stdout
        assert "1 of 1 credentials are under the new secret" in said
        (none, keys), (no_admin, admins) = keys_carried_over(said)
        assert (none, no_admin) == (0, 0)
        client.finds_all_as_it_was(gateway, fake_provider)

        def is_carried_over() -> bool:
            return keys_carried_over(gateway.run("rotate-kek").stdout) == [(1, keys), (1, admins)]

        assert wait_until(is_carried_over, within_s=SOON_S)
        said = gateway.run("rotate-kek").stdout
        assert f"{keys - 1} keys were not used since" in said
        assert "asleep" in said
        assert "responses are under the old secret" in said
        assert "answers to idempotency keys are under the old secret" in said
        client.finds_all_as_it_was(gateway, fake_provider)
        meanwhile = gateway.create_key()
        assert client.chat(gateway, key=client.late).status_code == httpx.codes.OK  # a stop follows at once

    with installation.served(OLD) as not_restarted:
        for key in (client.used, client.unused, meanwhile):
            assert client.chat(not_restarted, key=key).status_code == httpx.codes.OK
        assert client.administers(not_restarted) == httpx.codes.OK

    with installation.served(NEW) as gateway:
        for key in (client.used, client.late, meanwhile):
            assert client.chat(gateway, key=key).status_code == httpx.codes.OK
        assert client.chat(gateway, model="made").status_code == httpx.codes.OK
        assert client.administers(gateway) == httpx.codes.OK
        assert client.chat(gateway, key=client.unused).status_code == UNAUTHENTICATED
        assert client.chat(gateway, once="k").status_code == httpx.codes.CONFLICT
        assert client.find_response(gateway).status_code == httpx.codes.NOT_FOUND
        assert "its end is sealed" in gateway.run("audit", "verify").stdout


def test_gateways_restarted_one_after_the_other_open_what_each_other_has_made(
    scaled: Installation, fake_provider: FakeProvider
) -> None:
    with scaled.served(FIRST_ROUND, migrates=True) as before, scaled.served(BOTH) as after:
        for here, there in ((before, after), (after, before)):
            key = here.create_key()
            answer = httpx.post(
                there.base_url + CHAT, json=HELLO, headers={"authorization": f"Bearer {key}"}, timeout=30
            )
            assert answer.status_code == httpx.codes.OK
        client = Client(after, fake_provider)
        client.finds_all_as_it_was(before, fake_provider)
        client.finds_all_as_it_was(after, fake_provider)
        with scaled.served(OLD) as not_restarted:
            for key in (client.used, client.unused):
                assert client.chat(not_restarted, key=key).status_code == httpx.codes.OK
            assert client.administers(not_restarted) == httpx.codes.OK
