"""Secrets in every slot, and every place where something is written down: none is in any of them.

Law: a slot is only proved by a request that got through with it, so each is seen to have arrived.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from outside.caller import CHAT, Caller
from servers import configs
from servers.gateway import GatewayProcess
from servers.otlp import Receiver, receiving
from servers.process import wait_until

from providers.testing import FakeProvider, Script

MASTER = "canary-master-0123456789abcdef0123456789abcdef"
ADMIN = "canary-admin-0123456789abcdef0123456789abcdef"
PROVIDER = "sk-canary-provider-0123456789"
STORED = "sk-canary-stored-0123456789"
WRONG_KEY = "sk-gw-canarywron-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
PROMPT, ANSWER, COOKIE, HEADER, QUERY, SYSTEM, FIELD, TOOL, MODEL, IDEMPOTENCY = (
    f"canary-{name}-7f3a91" for name in
    ("prompt", "answer", "cookie", "header", "query", "system", "field", "tool", "model", "idempotency")
)  # fmt: skip
CALLERS = (PROMPT, ANSWER, COOKIE, HEADER, QUERY, SYSTEM, FIELD, TOOL, MODEL, IDEMPOTENCY)
SECRETS = (MASTER, ADMIN, PROVIDER, STORED, WRONG_KEY)
BROKEN = ("fake-400", "fake-401", "fake-500", "fake-cut", "fake-bad-json", "fake-refused", "fake-html")
METRICS_PLACE = Path("/dev/shm")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as taking:
        yield taking


@pytest.fixture(scope="module")
def talkative(session_provider: FakeProvider, receiver: Receiver) -> Iterator[GatewayProcess]:
    """A gateway that logs, traces and keeps all that it ever does."""
    tree = configs.config(fake_url=session_provider.url)
    tree |= {"tracing": {"endpoint": receiver.url}, "privacy": {"store_bodies": True}}
    tree |= {"log_level": "debug", "cache": {"mode": "exact"}, "network": {"allowed_private_cidrs": ["127.0.0.0/8"]}}
    environ = {"GATEWAY_ADMIN_KEY": ADMIN, "GATEWAY_MASTER_SECRET": MASTER, configs.FAKE_KEY_NAME: PROVIDER}
    with closing(GatewayProcess.launch(tree, environ=environ)) as running:
        yield running


def body(model: str, **more: object) -> dict[str, object]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    tool = {"type": "function", "function": {"name": TOOL, "parameters": {"type": "object"}}}
    return {"model": model, "messages": messages, "tools": [tool], "user": FIELD, **more}


HEADERS = {"cookie": f"session={COOKIE}", "x-made-up": HEADER, "user-agent": HEADER, "referer": HEADER}


def ask_everything(gateway: GatewayProcess, caller: Caller, provider: FakeProvider) -> list[httpx.Response]:
    """Send requests that end in every way, with a canary wherever a client can put one; return the refusals."""
    answers = []
    for stream in (False, True):
        provider.script(Script(text=ANSWER, times=1, tool_calls=0))
        answers.append(caller.http.post(CHAT, json=body("fake-model", stream=stream), headers=HEADERS))
        assert ANSWER in answers[-1].text
        answers += [caller.http.post(CHAT, json=body(model, stream=stream), headers=HEADERS) for model in BROKEN]
    sent = [entry.headers.get("authorization") for entry in provider.journal.entries]
    assert f"Bearer {PROVIDER}" in sent
    headers = {**HEADERS, "idempotency-key": IDEMPOTENCY}
    answers += [caller.http.post(CHAT, json=body("echo"), headers=headers) for _ in range(2)]
    answers.append(caller.http.post(f"{CHAT}?key={QUERY}&api_key={QUERY}", json=body("echo"), headers=HEADERS))
    answers.append(caller.http.get(f"/v1/{QUERY}?q={QUERY}", headers=HEADERS))
    answers.append(caller.http.post(CHAT, json=body(f"no-such-{MODEL}"), headers=HEADERS))
    answers.append(caller.http.post(CHAT, content=f'{{"model": "echo", "{FIELD}'.encode(), headers=HEADERS))
    for name in ("authorization", "x-api-key", "x-goog-api-key"):
        value = f"Bearer {WRONG_KEY}" if name == "authorization" else WRONG_KEY
        answers.append(httpx.post(gateway.base_url + CHAT, json=body("echo"), headers={name: value, **HEADERS}))
    for key in (WRONG_KEY, caller.key, ADMIN):
        headers = {"authorization": f"Bearer {key}", **HEADERS}
        answers.append(httpx.get(f"{gateway.admin_url}/admin/v1/keys?cursor={QUERY}", headers=headers))
        answers.append(httpx.post(f"{gateway.admin_url}/admin/v1/keys", json={"nome": "x"}, headers=headers))
    answers.append(httpx.post(f"{gateway.admin_url}/admin/v1/session", json={"key": WRONG_KEY}, headers=HEADERS))
    return answers


def written(gateway: GatewayProcess) -> dict[str, bytes]:
    """Return every file that the gateway has, and the numbers of its workers."""
    # What the file says, a user has written there himself: names of variables, no secret.
    files = [path for path in gateway.folder.rglob("*") if path.is_file()]
    counted = [path for folder in METRICS_PLACE.glob("llm-gateway-*") for path in folder.glob("*.names")]
    return {str(path): path.read_bytes() for path in [*files, *counted]}


def test_no_secret_is_written_down_anywhere(talkative: GatewayProcess, fake_provider: FakeProvider, receiver: Receiver):
    stored = {"name": "stored", "adapter": "openai", "base_url": fake_provider.url, "api_keys": [STORED]}
    made = talkative.admin("POST", "/providers", json=stored)
    assert STORED not in json.dumps(made)
    talkative.admin("POST", f"/providers/{made['id']}/test", json={})
    assert f"Bearer {STORED}" in [entry.headers.get("authorization") for entry in fake_provider.journal.entries]
    with Caller(talkative) as caller:
        answers = ask_everything(talkative, caller, fake_provider)
        secrets = (*SECRETS, caller.key)
        key_id = caller.key_id

    def is_landed() -> bool:
        return len(talkative.admin("GET", f"/usage/events?key_id={key_id}&limit=200")["items"]) >= 10

    assert wait_until(is_landed, within_s=15)
    assert wait_until(lambda: len([r for r in talkative.log_records() if r.get("status") == 401]) >= 3, within_s=20)
    places = {f"answer {at} ({answer.status_code})": answer.content for at, answer in enumerate(answers)}
    places |= {"headers": repr([answer.headers for answer in answers]).encode()}
    for path in ("/usage/events?limit=200", "/audit?limit=200", "/config", "/health", "/providers", "/keys"):
        places[path] = json.dumps(talkative.admin("GET", path)).encode()
    for url in (talkative.base_url, talkative.admin_url):
        places[f"{url}/metrics"] = httpx.get(f"{url}/metrics").content
    listed = talkative.admin("GET", "/requests?limit=200")["items"]
    assert {"answered", "failed", "refused"} <= {each["outcome"] for each in listed}
    places["decision traces"] = json.dumps(listed).encode()
    said = json.dumps([talkative.admin("GET", f"/requests/{each['id']}")["bodies"] for each in listed])
    assert [text for text in (PROMPT, ANSWER) if text not in said] == []
    places["answer: what was said"] = said.encode()
    served = {
        answer.headers["x-request-id"] for answer in answers if answer.status_code == 200 and CHAT in str(answer.url)
    }

    def are_traced() -> bool:
        return served <= {str(span.attributes.get("gateway.request_id")) for span in receiver.spans}

    assert wait_until(are_traced, within_s=10)
    places["spans"] = b"".join(receiver.bodies)
    files = written(talkative)
    assert any(name.endswith("gateway.log") for name in files)
    assert any(name.endswith(".names") for name in files)
    assert any(b"usage_events" in content for content in files.values())
    found = [(name, secret) for name, content in {**places, **files}.items()
             for secret in secrets if secret.encode() in content]  # fmt: skip
    assert found == []
    sinks = {name: content for name, content in places.items() if not name.startswith(("answer", "headers"))}
    spoken = [(name, text) for name, content in {**sinks, **files}.items()
              for text in CALLERS if text.encode() in content and not _is_kept(name, text)]  # fmt: skip
    assert spoken == []


def _is_kept(name: str, text: str) -> bool:
    """Tell whether it is there on purpose.

    In the database the name by which a client asks for the same answer again, in decision traces the model that it
    asked for: to tell why there is none of that name.
    """
    return (text == IDEMPOTENCY and ".db" in name) or (text == MODEL and name == "decision traces")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_vendor_that_tells_the_key_back_is_not_passed_on(
    talkative: GatewayProcess, fake_provider: FakeProvider, status: int
):
    said = {"error": {"message": f"Incorrect API key provided: {PROVIDER}.", "type": "x", "code": PROVIDER}}
    fake_provider.script(Script(status=status, body=json.dumps(said)))
    with Caller(talkative) as caller:
        for path, model in ((CHAT, "fake-model"), ("/v1/messages", "fake-model")):
            answer = caller.post({"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
                                 path=path)  # fmt: skip
            assert answer.status_code >= 400
            assert PROVIDER not in answer.text + repr(answer.headers)
    assert PROVIDER not in "\n".join(talkative.log_lines())


def test_every_request_has_one_line_with_fields_that_are_allowed(talkative: GatewayProcess):
    with Caller(talkative) as caller:
        wanted = [caller.chat("echo", PROMPT).headers["x-request-id"]]
        wanted.append(caller.chat("no-such-model").headers["x-request-id"])
        wanted.append(caller.http.get("/v1/models").headers["x-request-id"])
        wanted.append(caller.http.get(f"/{QUERY}").headers["x-request-id"])
    admin = httpx.get(f"{talkative.admin_url}/admin/v1/keys", headers={"authorization": f"Bearer {ADMIN}"})
    wanted.append(admin.headers["x-request-id"])

    def lines() -> list[dict[str, object]]:
        return [line for line in talkative.log_records() if line.get("request_id") in wanted]

    assert wait_until(lambda: len(lines()) >= len(wanted), within_s=20)
    assert sorted(str(line["request_id"]) for line in lines()) == sorted(wanted)
    allowed = {"time", "level", "logger", "request_id", "method", "route", "status", "duration_ms", "overhead_ms",
               "key_id", "model", "provider", "attempts", "stream", "input_tokens", "output_tokens", "cost_nusd",
               "error_code"}  # fmt: skip
    assert [set(line) - allowed for line in lines() if set(line) - allowed] == []
    routes = {str(line["request_id"]): line["route"] for line in lines()}
    assert [routes[each] for each in wanted] == [CHAT, CHAT, "/v1/models", "other", "/admin/v1/keys"]


@pytest.mark.parametrize("where", ["state", "database"])
def test_a_store_that_is_not_there_is_named_without_its_password(tmp_path: Path, where: str):
    url = {
        "state": f"redis://user:{PROVIDER}@127.0.0.1:1/0",
        "database": f"postgresql+asyncpg://user:{PROVIDER}@127.0.0.1:1/gateway",
    }[where]
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"], cwd=tmp_path, capture_output=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), f"GATEWAY_{where.upper()}": url,
             "GATEWAY_LOG_LEVEL": "debug", "GATEWAY_MASTER_SECRET": MASTER, "GATEWAY_ADMIN_KEY": ADMIN,
             "GATEWAY_GATEWAY__PORT": "0", "GATEWAY_ADMIN__PORT": "0"},
    )  # fmt: skip
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert said
    assert [secret for secret in (PROVIDER, MASTER, ADMIN) if secret.encode() in said] == []
