"""Layers of other packages around a served gateway: those of the guide, some that break, and some that cannot start."""

import re
import textwrap
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.told import traced
from outside.wire import request, talk
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, REPOSITORY, GatewayProcess, ServerFailed
from servers.packages import install
from servers.process import wait_until

from providers.testing import FakeProvider

GUIDE = (REPOSITORY / "infra/docs/write-a-layer.md").read_text(encoding="utf-8")
(SOURCE,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
(ENTRY_POINT,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
LAYERS = "llm_gateway.layers"
PAYS = {"x-cost-center": "blue"}

FAULTS = textwrap.dedent("""
    import asyncio

    from app.kernel.errors import Forbidden

    class Trail:
        def __init__(self, app, name=b"first"):
            self.app, self.name = app, name

        async def __call__(self, scope, receive, send):
            async def marked(message):
                if message["type"] == "http.response.start":
                    pairs = dict(message["headers"])
                    pairs[b"x-trail"] = (pairs.get(b"x-trail", b"") + b" " + self.name).strip()
                    message = {**message, "headers": list(pairs.items())}
                await send(message)

            await self.app(scope, receive, marked)

    def second(app):
        return Trail(app, b"second")

    class Faulty:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            fault = dict(scope["headers"]).get(b"x-fault", b"").decode()
            sent = []

            async def spoiled(message):
                sent.append(message["type"])
                if fault == "head" or (fault == "tail" and len(sent) == 3):
                    raise ValueError("a secret of the layer")
                if fault not in {"swallow", "replace", "late", "veto"}:
                    await send(message)

            if fault == "before":
                raise ValueError("a secret of the layer")
            if fault == "slow":
                await asyncio.sleep(3)
            if fault == "silent":
                return
            if fault == "own":
                await send({"type": "http.response.start", "status": 418, "headers": []})
                await send({"type": "http.response.body", "body": b"of the layer"})
                return
            if fault == "disguise":
                pairs = [pair for pair in scope["headers"] if pair[0] != b"x-key"]
                scope = {**scope, "headers": [*pairs, (b"authorization", dict(scope["headers"])[b"x-key"])]}
            await self.app(scope, receive, spoiled)
            if fault == "twice":
                await self.app(scope, receive, spoiled)
            if fault == "late":
                raise ValueError("a secret of the layer")
            if fault == "veto":
                raise Forbidden("this may not be said", code="vetoed")
            if fault == "replace":
                headers = [(b"x-request-id", b"not ours"), (b"content-length", b"2")]
                await send({"type": "http.response.start", "status": 451, "headers": headers})
                await send({"type": "http.response.body", "body": b"no"})
""")


def environ(folder: Path, **more: str) -> dict[str, str]:
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    return {**secrets, configs.FAKE_KEY_NAME: configs.FAKE_KEY, "PYTHONPATH": f"{REPOSITORY}:{folder}", **more}


def prepared(folder: Path, provider: FakeProvider) -> GatewayProcess:
    """Make a gateway with the layer of the guide, two that leave a trail, and one that breaks as it is told."""
    groups = tomllib.loads(ENTRY_POINT)["project"]["entry-points"]
    install(folder, "acme_layers", source=SOURCE, entry_points=groups)
    points = {"b_trail": "odd_layers:second", "a_trail": "odd_layers:Trail", "z_faulty": "odd_layers:Faulty"}
    install(folder, "odd_layers", source=FAULTS, entry_points={LAYERS: points})
    return GatewayProcess.prepare(configs.config(fake_url=provider.url), environ=environ(folder))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway with layers, shared by these tests."""
    running = prepared(tmp_path_factory.mktemp("layers"), session_provider)
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture
def caller(served: GatewayProcess, fake_provider: FakeProvider) -> Iterator[Caller]:
    """A caller who says who pays."""
    with Caller(served) as fresh:
        fresh.http.headers.update(PAYS)
        yield fresh


def test_the_start_and_the_check_name_every_layer_with_its_distribution(served: GatewayProcess):
    told = (
        "a_trail (odd_layers 1.0), b_trail (odd_layers 1.0), cost_center (acme_layers 1.0), z_faulty (odd_layers 1.0)"
    )
    assert re.search(rf"^  layers +{re.escape(told)}$", "\n".join(served.log_lines()), re.MULTILINE)
    (record,) = [record for record in served.log_records() if record["message"].startswith("layers around")]
    assert record["message"].endswith(told)
    assert served.run("check").stdout.splitlines()[-1] == f"layers, the outermost first: {told}"


def test_the_layer_of_the_guide_refuses_and_marks(caller: Caller):
    answer = caller.chat("echo", "hello world")
    assert (answer.status_code, answer.headers["x-cost-center"]) == (200, "blue")
    assert answer.json()["choices"][0]["message"]["content"] == "hello world"
    del caller.http.headers["x-cost-center"]
    refused = caller.chat("echo")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_cost_center")
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert re.fullmatch(r"[0-9a-f-]{36}", refused.headers["x-request-id"])


def test_layers_stand_in_the_order_of_their_names(caller: Caller):
    for answer in (caller.chat("echo"), caller.http.get("/v1/models")):
        assert answer.headers["x-trail"] == "second first"


@pytest.mark.parametrize("model", ["echo", "fake-model"])
def test_a_stream_passes_through_the_layers(caller: Caller, model: str):
    answer = caller.chat(model, "one two three four", stream=True)
    assert (answer.status_code, answer.headers["x-trail"], answer.headers["x-cost-center"]) == (
        200,
        "second first",
        "blue",
    )
    assert is_done(answer.text)
    assert len(data_frames(answer.text)) > 2
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


def paths_of(served: GatewayProcess) -> list[str]:
    described = httpx.get(f"{served.base_url}/openapi.json").json()["paths"]
    return [re.sub(r"\{\w+\}", "echo", path) for path, verbs in described.items() if "post" in verbs]


def test_every_inference_path_passes_through_the_layers(served: GatewayProcess):
    paths = paths_of(served)
    assert len(paths) > 12
    for path in paths:
        refused = httpx.post(f"{served.base_url}{path}", content=b"")
        assert refused.status_code == 400, path
        assert "x-cost-center" in refused.text, path
        unknown = httpx.post(f"{served.base_url}{path}", content=b"", headers=PAYS)
        assert (unknown.status_code, unknown.headers["x-trail"]) == (401, "second first"), path


def test_refusals_are_said_in_the_dialect_of_the_path(served: GatewayProcess):
    def refused(path: str) -> Any:
        return httpx.post(f"{served.base_url}{path}", json={}).json()

    assert refused("/v1/messages")["error"]["type"] == "invalid_request_error"
    assert refused("/v1/messages")["type"] == "error"
    assert refused("/v1beta/models/echo:generateContent")["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_pass_the_layers_by(served: GatewayProcess, path: str):
    answer = httpx.get(f"{served.base_url}{path}", headers={"x-fault": "before"})
    assert answer.status_code == 200
    assert "x-trail" not in answer.headers


def test_the_admin_plane_has_no_layers(served: GatewayProcess):
    answer = httpx.get(f"{served.admin_url}/admin/v1/keys", headers={"x-fault": "before"})
    assert answer.status_code == 401
    assert "x-trail" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["before", "silent", "head", "swallow", "late"])
def test_a_layer_that_breaks_before_the_answer_is_our_own_500(caller: Caller, fault: str, stream: bool):
    broken = caller.post({"model": "echo", "messages": user("x"), "stream": stream}, x_fault=fault)
    assert broken.status_code == 500
    assert broken.json()["error"]["code"] == "internal_error"
    assert "secret" not in broken.text
    assert len(broken.headers.get_list("x-request-id")) == 1


def test_a_broken_layer_is_said_in_the_dialect_of_the_path(caller: Caller):
    body = {"model": "echo", "max_tokens": 9, "messages": user("x")}
    broken = caller.post(body, path="/v1/messages", x_fault="late")
    assert (broken.status_code, broken.json()["type"], broken.json()["error"]["type"]) == (500, "error", "api_error")
    assert broken.json()["request_id"] == broken.headers["x-request-id"] == broken.headers["request-id"]


def test_a_layer_that_breaks_amid_a_stream_ends_it(served: GatewayProcess, caller: Caller):
    body = b'{"model": "echo", "messages": [{"role": "user", "content": "a b c d e f"}], "stream": true}'
    pairs = [("Authorization", f"Bearer {caller.key}"), ("Content-Type", "application/json"), ("X-Fault", "tail")]
    talked = talk(served.port, request("POST", CHAT, [*pairs, *PAYS.items()], body), within_s=20)
    came = talked.rest + b"".join(reply.body for reply in talked.replies)
    assert b"internal_error" in came
    assert b"[DONE]" not in came
    assert talked.took_s < 15


def test_a_layer_may_give_an_answer_of_its_own(caller: Caller):
    own = caller.post({}, x_fault="own")
    assert (own.status_code, own.text) == (418, "of the layer")
    assert re.fullmatch(r"[0-9a-f-]{36}", own.headers["x-request-id"])


def test_an_answer_that_a_layer_replaces_is_under_our_id_and_was_booked(caller: Caller):
    replaced = caller.post({"model": "fake-model", "messages": user("x")}, x_fault="replace")
    assert (replaced.status_code, replaced.text) == (451, "no")
    (request_id,) = replaced.headers.get_list("x-request-id")
    assert traced(caller, request_id)["attempts"][0]["outcome"] == "ok"


def test_an_answer_may_be_refused(caller: Caller):
    refused = caller.post({"model": "fake-model", "messages": user("x")}, x_fault="veto")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "vetoed")


def test_a_layer_may_not_ask_twice(caller: Caller, served: GatewayProcess, fake_provider: FakeProvider):
    answer = caller.post({"model": "fake-model", "messages": user("x")}, x_fault="twice")
    assert answer.status_code == 200
    assert len(fake_provider.journal.entries) == 1
    request_id = answer.headers["x-request-id"]
    assert "RuntimeError" in served.wait_for_line(f"request {request_id} failed in a layer")


def test_headers_are_taken_as_a_layer_hands_them_on(caller: Caller):
    body = {"model": "echo", "messages": user("x")}
    key = caller.http.headers.pop("authorization")
    assert caller.post(body, x_key=key).status_code == 401
    assert caller.post(body, x_key=key, x_fault="disguise").status_code == 200


def test_who_leaves_is_noticed_through_the_layers(served: GatewayProcess, caller: Caller):
    body = {"model": "fake-slow-chunks", "messages": user("word " * 400), "stream": True}
    came, _ = caller.leave(body, after_s=1.0, x_cost_center="blue")
    assert b"data: " in came

    assert wait_until(lambda: inflight(served) == 0, within_s=15)


def inflight(served: GatewayProcess) -> int:
    """Return how many requests the gateway plane has."""
    shown = httpx.get(f"{served.base_url}/metrics").text
    (value,) = re.findall(r'^gateway_inflight{plane="gateway"} (\S+)$', shown, re.MULTILINE)
    return int(float(value))


def test_a_drain_waits_for_what_is_in_a_layer(tmp_path: Path, session_provider: FakeProvider):
    gateway = prepared(tmp_path, session_provider)
    try:
        gateway.start()
        with Caller(gateway) as caller, ThreadPoolExecutor(1) as pool:
            body = {"model": "echo", "messages": user("x")}
            asked = pool.submit(lambda: caller.post(body, x_fault="slow", x_cost_center="blue"))
            assert wait_until(lambda: inflight(gateway) == 1, within_s=10)
            gateway.stop()
            answer = asked.result(timeout=30)
        assert answer.status_code == 200
    finally:
        gateway.close()


def test_pages_of_other_origins_read_what_a_layer_refuses(served: GatewayProcess):
    origin = {"origin": "https://page.example"}
    refused = httpx.post(f"{served.base_url}{CHAT}", json={}, headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "*")
    asked = {**origin, "access-control-request-method": "POST", "x-fault": "before"}
    assert httpx.options(f"{served.base_url}{CHAT}", headers=asked).status_code == 204


@pytest.mark.parametrize(
    ("value", "source", "told"),
    [
        ("broken_layers:layer", "raise RuntimeError('no luck')", "cannot be loaded: RuntimeError('no luck')"),
        ("broken_layers:gone", "", "cannot be loaded: AttributeError"),
        ("broken_layers:layer", "layer = 7", "cannot be called"),
    ],
)
def test_a_layer_that_cannot_be_loaded_stops_the_start_and_the_check(
    tmp_path: Path, value: str, source: str, told: str
):
    install(tmp_path, "broken_layers", source=source, entry_points={LAYERS: {"acme": value}})
    gateway = GatewayProcess.prepare({"providers": {"e": {"adapter": "echo"}}}, environ=environ(tmp_path))
    try:
        named = f"the layer 'acme' of broken_layers 1.0 ({value}) {told}"
        with pytest.raises(ServerFailed, match="ended with exit code 1") as refused:
            gateway.start()
        assert named in " ".join(str(refused.value).split())
        checked = gateway.run("check", expects=1).stdout
        assert f"error: installed packages: {named}" in checked
        assert "1 error" in checked
    finally:
        gateway.close()


@pytest.mark.parametrize("source", ["def layer(app): raise OSError('not today')", "def layer(app): return None"])
def test_a_layer_that_cannot_be_made_stops_the_start(tmp_path: Path, source: str):
    install(tmp_path, "broken_layers", source=source, entry_points={LAYERS: {"acme": "broken_layers:layer"}})
    gateway = GatewayProcess.prepare({"providers": {"e": {"adapter": "echo"}}}, environ=environ(tmp_path))
    try:
        with pytest.raises(ServerFailed, match=r"the layer 'acme' of broken_layers 1\.0") as refused:
            gateway.start()
        assert "ended with exit code 1" in str(refused.value)
    finally:
        gateway.close()
