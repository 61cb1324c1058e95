"""`llm-gateway adapter NAME` as a process of its own, and a gateway that calls it."""

import json
import re
import signal
import threading

import httpx
import pytest
import yaml
from servers.adapter import AdapterProcess
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import ServerFailed, wait_until

TOKEN = "a-token-of-the-adapter-0123456789"
VENDOR_KEY = "sk-of-the-vendor-and-of-nobody-else"
PRESETS = ("fake-400", "fake-401", "fake-429", "fake-500", "fake-slow-chunks", "fake-cut", "fake-tools", "fake-model")
HELLO = [{"role": "user", "content": "say this again"}]


def vendor(fake_url, **fields):
    return {"adapter": "openai", "base_url": fake_url, "api_key": "env:VENDOR_KEY", **fields}


@pytest.fixture(scope="module")
def echo():
    adapter = AdapterProcess("echo")
    yield adapter
    adapter.close()


@pytest.fixture(scope="module")
def remote(session_provider):
    """An adapter of the fake provider, reached only with a token; the credential is in its own file."""
    config = {"providers": {"far": vendor(session_provider.url)}}
    adapter = AdapterProcess("far", config=config, GATEWAY_ADAPTER_TOKEN=TOKEN, VENDOR_KEY=VENDOR_KEY)
    yield adapter
    adapter.close()


@pytest.fixture(scope="module")
def gateway(echo, remote, session_provider):
    """A gateway that knows the fake provider directly, behind a service, and behind one that relays nothing."""
    native = {"adapter": "native", "base_url": remote.url, "api_key": "env:GATEWAY_ADAPTER_TOKEN"}
    providers = {
        "near": vendor(session_provider.url),
        "relayed": {**native, "relays": ["openai.chat", "openai.embeddings"]},
        "translated": native,
        "refused": {**native, "api_key": "env:VENDOR_KEY"},
        "echo-far": {"adapter": "native", "base_url": echo.url},
    }
    models = {
        f"{provider}-{name}": {"targets": [{"provider": provider, "model": name}], "retries": 0, "breaker": False}
        for provider in ("near", "relayed", "translated", "refused")
        for name in (*PRESETS, "fake-embedding")
    }
    models["echo"] = {"targets": [{"provider": "echo-far", "model": "echo"}]}
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    keys = {"VENDOR_KEY": VENDOR_KEY, "GATEWAY_ADAPTER_TOKEN": TOKEN}
    running = GatewayProcess.launch({"providers": providers, "models": models}, environ={**secrets, **keys})
    yield running
    running.close()


@pytest.fixture
def client(gateway, fake_provider):
    headers = {"authorization": f"Bearer {gateway.key}"}
    with httpx.Client(base_url=gateway.openai_url, headers=headers, timeout=30, verify=False) as made:
        yield made


def ask(client, model, **fields):
    return client.post("/chat/completions", json={"model": model, "messages": HELLO, **fields})


def said(answer):
    """Return what a stream said, and whether it said its end."""
    frames = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(frame) for frame in frames if frame != "[DONE]"]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices"))
    return text, frames[-1] == "[DONE]"


def test_the_echo_answers_from_another_process(client, echo):
    answer = ask(client, "echo").json()
    assert answer["choices"][0]["message"]["content"] == "say this again"
    assert answer["usage"]["completion_tokens"] == 3
    assert said(ask(client, "echo", stream=True)) == ("say this again", True)
    vectors = client.post("/embeddings", json={"model": "echo", "input": ["a", "b"], "dimensions": 4}).json()
    assert [len(item["embedding"]) for item in vectors["data"]] == [4, 4]
    refused = ask(client, "echo", temperature=3)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "temperature")
    assert 'echo: {adapter: native, base_url: "http://127.0.0.1:' in echo.log


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["fake-model", "fake-tools", "fake-400", "fake-401", "fake-429", "fake-500"])
def test_a_vendor_behind_a_service_answers_as_it_does_itself(client, name, stream):
    near, relayed, translated = (
        ask(client, f"{provider}-{name}", stream=stream) for provider in ("near", "relayed", "translated")
    )
    assert relayed.status_code == translated.status_code == near.status_code
    assert relayed.headers.get("retry-after") == near.headers.get("retry-after")
    if near.status_code != 200:
        first, *others = (answer.json()["error"] for answer in (near, relayed, translated))
        assert [{**error, "message": ""} for error in others] == [{**first, "message": ""}] * 2
    elif stream:
        # Ids are the fake provider's count of requests.
        assert re.sub(r"chatcmpl-\w+-\w+", "", relayed.text) == re.sub(r"chatcmpl-\w+-\w+", "", near.text)
        assert said(translated) == said(near)
    else:
        assert relayed.json()["choices"] == near.json()["choices"]
        assert relayed.json()["usage"] == near.json()["usage"]
        assert translated.json()["choices"][0]["finish_reason"] == near.json()["choices"][0]["finish_reason"]


def test_the_vendor_is_asked_with_the_services_own_credential_and_the_same_bytes(client, fake_provider):
    body = b'{"model": "relayed-fake-model",  "messages": [{"role": "user", "content": "hello"}], "odd": 1.50}'
    assert client.post("/chat/completions", content=body, headers={"content-type": "application/json"}).is_success
    entry = fake_provider.journal.last
    assert entry.headers["authorization"] == f"Bearer {VENDOR_KEY}"
    assert entry.body == body.replace(b"relayed-fake-model", b"fake-model")
    near, relayed = (
        client.post("/embeddings", json={"model": f"{provider}-fake-embedding", "input": "a"}).json()
        for provider in ("near", "relayed")
    )
    assert relayed["data"] == near["data"]


def test_who_has_another_token_is_an_operators_mistake(client, fake_provider):
    answer = ask(client, "refused-fake-model")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_failed")
    assert fake_provider.journal.entries == []


@pytest.mark.parametrize("provider", ["relayed", "translated"])
def test_a_client_that_leaves_ends_the_vendors_call(client, fake_provider, provider):
    body = {"model": f"{provider}-fake-slow-chunks", "messages": [{"role": "user", "content": "word " * 400}]}
    with client.stream("POST", "/chat/completions", json={**body, "stream": True}) as answer:
        assert next(answer.iter_bytes())
    entry = fake_provider.journal.last
    assert wait_until(lambda: entry.peer_closed_after_ms is not None, within_s=10)
    assert not entry.is_complete


@pytest.mark.parametrize("provider", ["relayed", "translated"])
def test_a_vendor_that_breaks_off_is_never_taken_for_a_whole_answer(client, provider):
    answer = ask(client, f"{provider}-fake-cut", stream=True)
    _, is_complete = said(answer)
    assert not is_complete
    assert "error" in answer.text


def test_the_service_introduces_itself_to_who_has_the_token(remote):
    assert httpx.get(f"{remote.url}/native/v1/").status_code == 401
    assert httpx.get(f"{remote.url}/healthz").status_code == 200
    told = httpx.get(f"{remote.url}/native/v1/", headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert (told["adapter"], told["protocol"]) == ("openai", 1)
    assert {"openai.chat", "openai.embeddings"} <= {*told["relays"]}
    assert f'api_key: "env:GATEWAY_ADAPTER_TOKEN", relays: [{", ".join(told["relays"])}]' in remote.log
    assert VENDOR_KEY not in remote.log
    assert TOKEN not in remote.log


def test_a_reload_is_served_and_a_bad_file_is_not(fake_provider):
    first = {"providers": {"far": vendor(fake_provider.url)}}
    adapter = AdapterProcess("far", config=first, VENDOR_KEY="sk-first", OTHER_KEY="sk-second")
    try:
        request = {"model": "fake-model", "dialect": "openai", "messages": []}
        calling = {"json": {"model": "fake-model", "request": request}, "timeout": 20}

        def key():
            httpx.post(f"{adapter.url}/native/v1/chat", **calling)
            return fake_provider.journal.last.headers["authorization"]

        assert key() == "Bearer sk-first"
        adapter.file.write_text("providers: {near: {adapter: echo}}")
        adapter.process.send(signal.SIGHUP)
        adapter.wait_for("no provider and no adapter 'far'")
        assert key() == "Bearer sk-first"
        adapter.file.write_text(
            yaml.safe_dump({"providers": {"far": vendor(fake_provider.url, api_key="env:OTHER_KEY")}})
        )
        adapter.process.send(signal.SIGHUP)
        assert wait_until(lambda: key() == "Bearer sk-second", within_s=20), adapter.log
    finally:
        adapter.close()


def test_sigterm_lets_the_calls_in_flight_end(fake_provider):
    adapter = AdapterProcess(
        "openai", config={"providers": {"openai": vendor(fake_provider.url)}}, VENDOR_KEY=VENDOR_KEY
    )
    try:
        message = {"role": "user", "content": [{"type": "text", "text": "word " * 40}]}
        request = {"model": "x", "dialect": "openai", "stream": True, "messages": [message]}
        body = {"model": "fake-slow-chunks", "request": request}
        with httpx.stream("POST", f"{adapter.url}/native/v1/chat", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            ended = []
            ending = threading.Thread(target=lambda: ended.append(adapter.process.terminate(within_s=30)))
            ending.start()
            assert list(lines)[-1] == '{"type":"end"}'
        ending.join(30)
        assert ended == [0]
    finally:
        adapter.close()


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (["echo", "--host", "0.0.0.0"], {}, "Set GATEWAY_ADAPTER_TOKEN"),
        (["echo", "--host", "0.0.0.0"], {"GATEWAY_ADAPTER_TOKEN": "x" * 31}, "must have 32 characters or more"),
        (["openai"], {}, "set OPENAI_API_KEY, or write"),
        (["opnai"], {}, "did you mean `openai`"),
        (["azure"], {"AZURE_OPENAI_API_KEY": "x"}, "has no address of its own"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(words, environ, said):
    with pytest.raises(ServerFailed) as caught:
        AdapterProcess(*words, **environ).close()
    (line,) = str(caught.value).splitlines()
    assert line.startswith("Error: ")
    assert said in line


def test_an_address_in_use_is_said_with_the_options_that_choose_another(echo):
    with pytest.raises(ServerFailed) as caught:
        AdapterProcess("echo", port=echo.port).close()
    assert "with --port and --host" in str(caught.value)


def test_a_usual_key_is_enough_and_beyond_this_machine_a_token_is():
    adapter = AdapterProcess("groq", "--host", "0.0.0.0", GROQ_API_KEY=VENDOR_KEY, GATEWAY_ADAPTER_TOKEN=TOKEN)
    try:
        told = httpx.get(f"{adapter.url}/native/v1/", headers={"authorization": f"Bearer {TOKEN}"}).json()
        assert told["adapter"] == "groq"
        assert "http://ADDRESS-OF-THIS-MACHINE:" in adapter.log
    finally:
        adapter.close()
