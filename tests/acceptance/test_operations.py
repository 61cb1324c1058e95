"""What an operator does to a running gateway, on gateways of its own: kill, reload, drain, scrape, start afresh."""

import re
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from outside.caller import CHAT, Caller, data_frames, is_done, user
from outside.ledger import Ledger
from outside.wire import request, talk
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import Redis

from providers.testing import FakeProvider

ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}
OPERATED_REDIS_DATABASE = 2
BODY = {"model": "echo", "messages": user("x")}
TRANSFORM = {
    "rename": {"max_tokens": "max_completion_tokens"},
    "drop": ["logit_bias"],
    "default": {"temperature": 0.25, "top_p": 0.5},
    "set": {"seed": 7},
    "system_prefix": "Be brief.",
}


@pytest.fixture(scope="module")
def tree(session_provider: FakeProvider, postgres_server: Postgres, redis_server: Redis) -> dict[str, Any]:
    """The configuration of the gateway that is operated on."""
    config = configs.config(
        fake_url=session_provider.url,
        database=postgres_server.new_database(),
        state=redis_server.url_of(database=OPERATED_REDIS_DATABASE),
        workers=2,
    )
    target = {"targets": [{"provider": "fake", "model": "fake-model"}], "price": dict(configs.PRICE)}
    config["models"]["bent"] = {**target, "transform": TRANSFORM}
    config["gateway"]["allowed_hosts"] = ["127.0.0.1", "example.com", "*.example.org", "[::1]"]
    config["drain_s"] = 15
    return config


@pytest.fixture(scope="module")
def operated(tree: dict[str, Any]) -> Iterator[GatewayProcess]:
    """Two workers on PostgreSQL and Redis, to be killed, reloaded and stopped."""
    with closing(GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)) as running:
        yield running


@pytest.fixture
def caller(operated: GatewayProcess) -> Iterator[Caller]:
    with Caller(operated) as fresh:
        yield fresh


# -- metrics


def scrape(gateway: GatewayProcess) -> dict[str, float]:
    """Return all samples, on a new connection: whichever worker answers."""
    text = httpx.get(f"{gateway.base_url}/metrics", timeout=20).text
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def counters(samples: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in samples.items() if re.search(r"(_total|_bucket|_count|_sum)(\{|$)", name)}


def answered(samples: dict[str, float], **labels: str) -> float:
    """Return how many requests with these labels were counted."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    found = [
        value
        for name, value in samples.items()
        if name.startswith("gateway_requests_total{") and all(text in name for text in wanted)
    ]
    return sum(found)


def scatter(gateway: GatewayProcess, key: str, count: int, *, path: str = CHAT, model: str = "echo") -> list[int]:
    """Send requests on new connections, so that both workers get some; return their statuses."""

    def once(_: int) -> int:
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": model, "messages": user("x")}
        return httpx.post(gateway.base_url + path, json=body, headers=headers, timeout=20).status_code

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(once, range(count)))


def test_metrics_cover_every_worker(operated: GatewayProcess, caller: Caller):
    labels = {"route": CHAT, "model": "fake-model", "provider": "fake", "status": "200"}
    before = answered(scrape(operated), **labels)
    assert set(scatter(operated, caller.key, 32, model="fake-model")) == {200}
    assert wait_until(lambda: answered(scrape(operated), **labels) == before + 32, within_s=15)
    assert {answered(scrape(operated), **labels) for _ in range(12)} == {before + 32}
    samples = scrape(operated)
    assert samples['gateway_tokens_total{kind="output",model="fake-model"}'] >= 32
    assert samples['gateway_cost_usd_total{model="fake-model",provider="fake"}'] > 0
    assert samples['gateway_store_up{store="state"}'] == samples['gateway_store_up{store="database"}'] == 1


def test_metrics_have_no_label_of_a_caller_s_making(operated: GatewayProcess, caller: Caller):
    caller.chat("made-up-model-name")
    caller.http.get("/v1/made-up-path")
    caller.post(BODY, x_gateway_tags="made-up-tag=1", user_agent="made-up-agent")
    assert "made-up" not in httpx.get(f"{operated.base_url}/metrics", timeout=20).text


def pids_of(gateway: GatewayProcess) -> list[int]:
    """Return the workers' process ids; none if one vanished while they were listed."""
    try:
        return gateway.pids()
    except psutil.NoSuchProcess:
        return []


def test_a_killed_worker_is_replaced_and_its_numbers_stay(operated: GatewayProcess, caller: Caller):
    assert set(scatter(operated, caller.key, 16)) == {200}
    before = counters(scrape(operated))
    victim = psutil.Process(operated.pids()[0])
    began = time.monotonic()
    victim.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not victim.is_running() or victim.status() == "zombie", within_s=20)
    statuses = [caller.http.get("/v1/models", headers={"connection": "close"}).status_code for _ in range(10)]
    assert set(statuses) == {200}, "the other worker serves"
    lowest = before
    while not (len(pids := pids_of(operated)) == 2 and victim.pid not in pids):
        assert time.monotonic() - began < 5, "no new worker came"
        now = counters(scrape(operated))
        assert [name for name, value in lowest.items() if now.get(name, 0) < value] == []
        lowest = now
    now = counters(scrape(operated))
    assert [name for name, value in lowest.items() if now.get(name, 0) < value] == []
    assert wait_until(operated.is_ready, within_s=20)
    assert set(scatter(operated, caller.key, 16)) == {200}


# -- what the file says of requests


def test_a_body_is_bent_as_the_file_says(operated: GatewayProcess, caller: Caller, fake_provider: FakeProvider):
    body = {"model": "bent", "messages": user("x"), "max_tokens": 9, "logit_bias": {"1": 2}, "top_p": 0.9, "seed": 1}
    for stream in (False, True):
        assert caller.post({**body, "stream": stream, "kept": [1.50]}).status_code == 200
        sent = fake_provider.journal.last.json
        assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *user("x")]
        assert (sent["max_completion_tokens"], sent["seed"], sent["top_p"], sent["temperature"]) == (9, 7, 0.9, 0.25)
        assert "max_tokens" not in sent
        assert "logit_bias" not in sent
        assert sent["kept"] == [1.5]
        assert sent["model"] == "fake-model"


def test_a_system_message_gets_the_prefix(operated: GatewayProcess, caller: Caller, fake_provider: FakeProvider):
    messages = [{"role": "system", "content": "You are a poet."}, *user("x")]
    assert caller.post({"model": "bent", "messages": messages}).status_code == 200
    assert fake_provider.journal.last.json["messages"] == [
        {"role": "system", "content": "Be brief.\n\nYou are a poet."},
        *user("x"),
    ]


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("example.com", True),
        ("EXAMPLE.com:3020", True),
        ("a.example.org", True),
        ("[::1]:80", True),
        ("exampleXcom", False),
        ("example.com.evil", False),
        ("evil-example.com", False),
        ("example.org", False),
        ("a.example.org.evil", False),
        ("h", False),
        ("127.0.0.1.evil", False),
    ],
)
def test_only_allowed_hosts_are_served(operated: GatewayProcess, caller: Caller, host: str, is_served: bool):
    def told(path: str) -> Any:
        return talk(operated.port, request("GET", path, [("x-api-key", caller.key)], host=host)).replies[0]

    reply = told("/v1/models")
    assert reply.status == (200 if is_served else 400)
    if not is_served:
        assert reply.json["error"]["code"] == "invalid_host"
    assert {told(path).status for path in ("/healthz", "/readyz", "/metrics")} == {200}


# -- reload


@contextmanager
def streaming(caller: Caller, words: int) -> Iterator[list[str]]:
    """Run a stream of so many words, 50 ms apart, meanwhile; at the end the list has its whole text."""
    texts: list[str] = []
    body = {"model": "fake-slow-chunks", "messages": user("word " * words), "stream": True}
    begun = threading.Event()

    def run() -> None:
        with caller.http.stream("POST", CHAT, json=body, timeout=60) as answer:
            text = ""
            for piece in answer.iter_text():
                text += piece
                begun.set()
            texts.append(text)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(20)
    yield texts
    thread.join(timeout=60)


def models_of_all(gateway: GatewayProcess, key: str) -> list[set[str]]:
    def once(_: int) -> set[str]:
        answer = httpx.get(f"{gateway.openai_url}/models", headers={"x-api-key": key}, timeout=20)
        return {model["id"] for model in answer.json()["data"]}

    with ThreadPoolExecutor(12) as threads:
        return list(threads.map(once, range(12)))


def test_a_reload_serves_new_models_and_keeps_streams(operated: GatewayProcess, caller: Caller, tree: dict[str, Any]):
    workers = set(operated.pids())
    with streaming(caller, 40) as texts:
        added = {**tree["models"], "new-model": {"targets": [{"provider": "echo", "model": "echo"}]}}
        operated.write_config({**tree, "models": added})
        operated.reload()
        assert wait_until(
            lambda: all("new-model" in found for found in models_of_all(operated, caller.key)), within_s=20
        )
        assert not texts, "the stream was to outlast the reload"
    assert texts[0].count("word ") == 40
    assert is_done(texts[0])
    assert caller.chat("new-model").status_code == 200
    assert set(operated.pids()) == workers


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"modles": {}}, "there is no setting 'modles'"),
        ({"models": {"x": {"targets": [{"provider": "nobody", "model": "x"}]}}}, "nobody"),
        ({"models": {"x": {"targets": []}}}, "models.x.targets"),
        ({"gateway": {"workers": "many"}}, "gateway.workers"),
    ],
)
def test_a_bad_file_changes_nothing_and_is_logged(
    operated: GatewayProcess, caller: Caller, tree: dict[str, Any], fault: dict[str, Any], said: str
):
    before = models_of_all(operated, caller.key)[0]
    lines = len(operated.log_lines())
    operated.write_config({**tree, **fault})
    operated.reload()
    assert wait_until(lambda: any(said in line.lower() for line in operated.log_lines()[lines:]), within_s=10)
    assert {frozenset(found) for found in models_of_all(operated, caller.key)} == {frozenset(before)}
    assert caller.post(BODY).status_code == 200


def test_a_file_that_is_no_yaml_changes_nothing(operated: GatewayProcess, caller: Caller):
    assert operated.config is not None
    lines = len(operated.log_lines())
    operated.config.write_text("models: [\n")
    operated.reload()
    assert wait_until(lambda: len(operated.log_lines()) > lines, within_s=10)
    assert caller.post(BODY).status_code == 200


# -- drain


def test_a_stop_lets_streams_end(operated: GatewayProcess, caller: Caller, tree: dict[str, Any]):
    """Twenty streams of two seconds, then SIGTERM: none is torn, readiness fails first, the exit code is 0."""
    operated.write_config(tree)
    ledger = Ledger(operated)
    body = {"model": "fake-slow-chunks", "messages": user("word " * 40), "stream": True}
    begun = threading.Semaphore(0)

    def run(_: int) -> str:
        headers = {"authorization": f"Bearer {caller.key}"}
        with httpx.stream("POST", operated.base_url + CHAT, json=body, headers=headers, timeout=60) as answer:
            text = ""
            for piece in answer.iter_text():
                if not text:
                    begun.release()
                text += piece
            return text

    with ThreadPoolExecutor(21) as threads:
        running = [threads.submit(run, at) for at in range(20)]
        for _ in range(20):
            assert begun.acquire(timeout=20)
        stopping = threads.submit(operated.stop)
        readiness = watch_readiness(operated)
        texts = [stream.result(timeout=60) for stream in running]
        stopping.result(timeout=60)
    assert [text.count("word ") for text in texts] == [40] * 20
    assert all(is_done(text) for text in texts)
    assert 503 in readiness, "readiness fails while connections are still accepted"
    assert 200 not in readiness[readiness.index(503) :]
    assert operated.exit_code == 0
    events = ledger.wait(20, key_id=caller.key_id)
    assert [event["outcome"] for event in events] == ["ok"] * 20


def watch_readiness(gateway: GatewayProcess) -> list[int]:
    """Return the answers of `/readyz` until nobody accepts connections."""
    seen: list[int] = []
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            seen.append(httpx.get(f"{gateway.base_url}/readyz", timeout=5).status_code)
        except httpx.TransportError:
            return seen
        time.sleep(0.01)
    return seen


def test_it_starts_again_with_all_its_numbers_in_the_ledger(operated: GatewayProcess):
    operated.start()
    assert operated.is_ready()
    assert wait_until(lambda: len(operated.pids()) == 2, within_s=10), "one worker may be ready before the other"
    with Caller(operated) as caller:
        assert set(scatter(operated, caller.key, 8)) == {200}
        assert len(Ledger(operated).wait(8, key_id=caller.key_id)) == 8


def test_streams_longer_than_the_drain_are_told_and_settled(session_provider: FakeProvider):
    config = {**configs.config(fake_url=session_provider.url), "drain_s": 1}
    with closing(GatewayProcess.launch(config, environ=ENVIRON)) as running, Caller(running) as caller:
        ledger = Ledger(running)
        with streaming(caller, 400) as texts:
            began = time.monotonic()
            running.stop()
            assert time.monotonic() - began < 10
        frames = data_frames(texts[0])
        assert frames[-1]["error"]["code"] == "server_shutting_down"
        assert not is_done(texts[0])
        events = ledger.events(key_id=caller.key_id)
    assert len(events) == 1
    assert events[0]["output_tokens"] >= texts[0].count("word ") > 0
    assert events[0]["cost_nusd"] > 0


# -- without much of a file


def test_a_first_run_needs_no_file_and_says_how_to_try_it():
    with closing(GatewayProcess.launch()) as running:
        key, admin_key = running.key, running.admin_key
        assert httpx.get(f"{running.openai_url}/models", headers={"x-api-key": key}, timeout=20).status_code == 200
        assert running.admin("GET", "/keys")["items"][0]["public_id"] in key
        assert run_curl(running.wait_for_line(r"^\s*curl ")).json()["choices"][0]["message"]["content"]
        lines = len(running.log_lines())
        running.stop()
        running.start()
        again = "\n".join(running.log_lines()[lines:])
        assert key not in again
        assert admin_key not in again
        assert "sk-gw-" not in again
        assert httpx.get(f"{running.openai_url}/models", headers={"x-api-key": key}, timeout=20).status_code == 200
        running.stop()


def run_curl(line: str) -> httpx.Response:
    """Do what a printed curl line does."""
    words = shlex.split(line)
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    return httpx.post(words[1], headers=headers, content=words[words.index("-d") + 1], timeout=20)


def test_a_server_without_listed_models_takes_any_name(session_provider: FakeProvider, fake_provider: FakeProvider):
    config = configs.config(fake_url=session_provider.url)
    del config["models"], config["providers"]["faulty"]
    with closing(GatewayProcess.launch(config, environ=ENVIRON)) as running, Caller(running) as caller:
        answer = caller.chat("fake/some/own-model")
        assert answer.status_code == 200
        assert fake_provider.journal.last.json["model"] == "some/own-model"
        assert answer.headers["x-gateway-model"] == "fake/some/own-model"
        assert "x-gateway-cost" not in answer.headers
        assert caller.chat("echo").json()["choices"][0]["message"]["content"]
        assert caller.chat("echo/echo").status_code == 200
        assert caller.chat("some/own-model").status_code == 404
        assert caller.chat("fake/../x").status_code == 404
        listed = {model["id"] for model in caller.http.get("/v1/models").json()["data"]}
        assert {"echo", "echo/echo"} <= listed
        event = Ledger(running).wait(1, key_id=caller.key_id)[0]
        assert (event["cost_nusd"], event["price_version"], event["upstream_model"]) == (None, None, "some/own-model")
        assert event["output_tokens"] == 3
        refused = caller.post({"model": "fake/own", "messages": user("x")}, x_gateway_max_cost="1")
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "model_not_priced")
        with Caller(running, limits={"requests_per_minute": 7}, budget={"amount": "1", "period": "day"}) as limited:
            refused = limited.chat("fake/own")
            assert (refused.status_code, refused.headers["x-ratelimit-remaining-requests"]) == (402, "7")
        running.stop()
