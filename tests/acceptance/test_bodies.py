"""`privacy.store_bodies` over sockets: what went over the wire is what owners and admins read, and nobody else."""

import contextlib
import html
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis as redis_client
from outside.caller import CHAT, Caller, user
from outside.told import traced
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import Redis

DATABASE = 9
CANARY = "canary-said-5e1f09"
HOSTILE = f"{CANARY}</code></pre><script>alert(1)</script><img src=x onerror=alert(2)>{{{{7*7}}}}"
MOST_BYTES = 65_536
WITHIN_S = 15.0


class World:
    """A gateway that keeps bodies, its file, and its store where that can be looked into."""

    def __init__(self, gateway: GatewayProcess, tree: dict[str, Any], store: str | None) -> None:
        self.gateway = gateway
        self.tree = tree
        self.store = store

    def keep(self, *, wanted: bool) -> None:
        """Reload with the setting."""
        self.gateway.write_config(self.tree | {"privacy": {"store_bodies": wanted}})
        self.gateway.reload()

    def told(self, caller: Caller, request_id: str) -> dict[str, Any]:
        """Return a request as an owner of the installation reads it, when it has ended."""
        traced(caller, request_id)
        told: dict[str, Any] = self.gateway.admin("GET", f"/requests/{request_id}")
        return told

    def said(self, caller: Caller, request_id: str) -> tuple[str, str]:
        """Return both bodies."""
        bodies = self.told(caller, request_id)["bodies"]
        assert caller.key not in str(bodies)
        return bodies["request"]["text"], bodies["answer"]["text"]

    def is_as_sent(self, caller: Caller, answer: httpx.Response) -> bool:
        """Whether what is kept is what was sent and received."""
        return self.said(caller, answer.headers["x-request-id"]) == (answer.request.content.decode(), answer.text)

    def stored(self) -> dict[bytes, bytes]:
        """Return all that the server or the gateway's folder holds."""
        if self.store is None:
            return {str(path).encode(): path.read_bytes() for path in self.gateway.folder.rglob("*") if path.is_file()}
        with redis_client.Redis.from_url(self.store) as client:
            return {key: client.dump(key) or b"" for key in client.scan_iter(count=1_000)}

    def kept_bodies(self) -> list[bytes]:
        """Return the server's keys of bodies."""
        return [key for key in self.stored() if key.startswith(b"{traces}:bodies")]


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def world(request: pytest.FixtureRequest, session_provider: Any, postgres_server: Postgres, redis_server: Redis
          ) -> Iterator[World]:  # fmt: skip
    store = redis_server.url_of(database=DATABASE) if request.param == "scaled" else None
    more: dict[str, Any] = {}
    if store is not None:
        more = {"database": postgres_server.new_database(), "state": store, "workers": 2}
    tree = configs.config(fake_url=session_provider.url, **more) | {"privacy": {"store_bodies": True}}
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    environ |= {configs.FAKE_KEY_NAME: configs.FAKE_KEY}
    with contextlib.closing(GatewayProcess.launch(tree, environ=environ, migrates=bool(more))) as running:
        yield World(running, tree, store)
        running.stop()


@pytest.fixture
def gateway(world: World) -> GatewayProcess:
    return world.gateway


def ask(caller: Caller, text: str = CANARY, *, model: str = "echo", path: str = CHAT, **more: Any) -> httpx.Response:
    return caller.post({"model": model, "messages": user(text), **more}, path=path)


def id_of(answer: httpx.Response) -> str:
    return str(answer.headers["x-request-id"])


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_kept_as_it_was_sent(world: World, caller: Caller, stream: bool):
    answer = ask(caller, f"{CANARY} says é and 水", stream=stream)
    assert CANARY in answer.text
    assert ("data: [DONE]" in answer.text) is stream
    assert world.is_as_sent(caller, answer)


def test_so_are_answers_in_other_dialects_and_of_several_models(world: World, caller: Caller):
    anthropic = ask(caller, path="/v1/messages", max_tokens=9)
    fanout = {"strategy": "race", "models": ["echo", "fake-model"]}
    several = caller.post({"messages": user(CANARY), "fanout": fanout}, path="/v1/llm/chat")
    spoken = caller.post({"messages": user(CANARY), "fanout": fanout, "stream": True}, path="/v1/llm/chat")
    for answer in (anthropic, several, spoken):
        assert answer.status_code == 200, answer.text
        assert world.is_as_sent(caller, answer)


@pytest.mark.parametrize(
    ("model", "status"), [("fake-500", 502), ("fake-400", 400), ("no-such-model", 404), ("fake-cut", 200)]
)
def test_so_is_an_error_also_within_a_stream(world: World, caller: Caller, model: str, status: int):
    answer = ask(caller, model=model, stream=True)
    assert answer.status_code == status
    assert '"error"' in answer.text
    assert world.is_as_sent(caller, answer)


def test_so_is_what_could_not_be_read(world: World, caller: Caller):
    headers = {"content-type": "application/json"}
    cut, binary = (
        caller.http.post(CHAT, content=content, headers=headers)
        for content in (b'{"model": "echo", ' + CANARY.encode(), b'{"a": "\xff\x00"}')
    )
    assert (cut.status_code, binary.status_code) == (400, 400)
    assert world.is_as_sent(caller, cut)
    bodies = world.told(caller, id_of(binary))["bodies"]
    assert (bodies["request"]["encoding"], bodies["answer"]["text"]) == ("base64", binary.text)


def test_a_replay_keeps_what_was_sent_again(world: World, caller: Caller):
    body = {"model": "echo", "messages": user(CANARY)}
    answers = [caller.post(body, idempotency_key="the-same") for _ in range(2)]
    assert "idempotent-replayed" in answers[1].headers
    for answer in answers:
        assert world.is_as_sent(caller, answer)


def test_an_answer_from_the_cache_is_kept_for_whom_it_was_sent_to(world: World, caller: Caller):
    text = f"{CANARY} {time.time_ns()}"
    answers: list[httpx.Response] = []

    def is_kept() -> bool:
        """Another worker learns of the answer a moment after its client."""
        answers.append(ask(caller, text, gateway={"cache": "exact"}))
        return answers[-1].headers["x-gateway-cache"] == "exact"

    assert wait_until(is_kept, within_s=WITHIN_S)
    assert answers[0].headers["x-gateway-cache"] == "miss"
    for answer in (answers[0], answers[-1]):
        assert world.is_as_sent(caller, answer)


def test_of_a_client_who_leaves_what_he_was_sent_until_then(world: World, caller: Caller):
    came, _ = caller.leave(
        {"model": "fake-slow-chunks", "messages": user(CANARY), "stream": True}, after_s=1.5, by_reset=True
    )
    head, _, said = came.partition(b"\r\n\r\n")
    (request_id,) = (line.partition(b": ")[2] for line in head.splitlines() if line.lower().startswith(b"x-request-id"))
    first = said.partition(b"data: ")[2].partition(b"\n\n")[0]
    assert first
    request, answer = world.said(caller, request_id.decode())
    assert CANARY in request
    assert first.decode() in answer


def test_a_long_body_is_cut_and_says_how_long_it_was(world: World, caller: Caller):
    answer = ask(caller, f"{CANARY} " + "x" * 100_000)
    bodies = world.told(caller, id_of(answer))["bodies"]
    sent = answer.request.content
    assert bodies["request"] == {
        "text": sent[:MOST_BYTES].decode(), "encoding": "utf-8", "size_bytes": len(sent), "truncated": True
    }  # fmt: skip
    assert bodies["answer"]["text"] == answer.text[:MOST_BYTES]
    assert bodies["answer"]["size_bytes"] == len(answer.content) > MOST_BYTES


def admin_of(world: World, **fields: Any) -> httpx.Client:
    made = world.gateway.admin("POST", "/admin-keys", json={"name": "a reader", **fields})
    headers = {"authorization": f"Bearer {made['secret']}"}
    return httpx.Client(base_url=f"{world.gateway.admin_url}/admin/v1", headers=headers, timeout=30)


def test_only_who_may_write_within_the_organization_reads_it(world: World, caller: Caller):
    request_id = id_of(ask(caller))
    assert CANARY in str(world.told(caller, request_id))
    other = world.gateway.admin("POST", "/organizations", json={"name": f"another {request_id}"})["id"]
    ours = str(caller.organization_id)
    expected = [
        ({"role": "admin", "organization_id": ours}, 200, True),
        ({"role": "viewer", "organization_id": ours}, 200, False),
        ({"role": "viewer"}, 200, False),
        ({"role": "owner", "organization_id": other}, 404, False),
    ]
    for fields, status, reads in expected:
        with admin_of(world, **fields) as client:
            answer = client.get(f"/requests/{request_id}")
            assert (answer.status_code, CANARY in answer.text) == (status, reads), fields
            assert CANARY not in client.get("/requests?limit=200").text
    assert CANARY not in str(traced(caller, request_id))
    with Caller(world.gateway) as another:
        assert another.http.get(f"/v1/llm/requests/{request_id}").status_code == 404


def test_the_page_of_a_request_shows_it_as_text(world: World, caller: Caller):
    request_id = id_of(ask(caller, HOSTILE))
    assert HOSTILE in world.said(caller, request_id)[1]
    pages = {}
    for role in ("admin", "viewer"):
        key = world.gateway.admin("POST", "/admin-keys", json={"name": role, "role": role})["secret"]
        url = world.gateway.admin_url
        with httpx.Client(base_url=url, headers={"origin": url, "sec-fetch-site": "same-origin"}, timeout=30) as page:
            assert page.post("/admin/v1/session", json={"key": key}).status_code == 201
            pages[role] = page.get(f"/requests/{request_id}")
            assert pages[role].status_code == 200
    assert CANARY not in pages["viewer"].text
    assert "<script>" not in pages["admin"].text
    assert "<img" not in pages["admin"].text
    assert html.escape(HOSTILE) in pages["admin"].text


def test_what_is_stored_is_sealed(world: World, caller: Caller):
    request_id = id_of(ask(caller))
    assert CANARY in str(world.told(caller, request_id))
    stored = world.stored()
    assert stored
    assert [key for key, content in stored.items() if CANARY.encode() in key + content] == []
    if world.store is not None:
        assert b"{traces}:bodies:" + request_id.encode() in stored


def test_turned_off_by_a_reload_it_keeps_nothing_and_tells_nothing(world: World, caller: Caller):
    before = id_of(ask(caller))
    assert CANARY in str(world.told(caller, before))
    try:
        world.keep(wanted=False)

        def is_off() -> bool:
            return world.told(caller, before)["bodies"] is None and (world.store is None or not world.kept_bodies())

        assert wait_until(is_off, within_s=WITHIN_S)
        after = [id_of(ask(caller)) for _ in range(12)]
        assert [world.told(caller, each)["bodies"] for each in after] == [None] * len(after)
        assert [key for key, content in world.stored().items() if CANARY.encode() in content] == []
        if world.store is not None:
            assert world.kept_bodies() == []
    finally:
        world.keep(wanted=True)
    assert wait_until(lambda: world.told(caller, id_of(ask(caller)))["bodies"] is not None, within_s=WITHIN_S)
    assert world.told(caller, before)["bodies"] is None
