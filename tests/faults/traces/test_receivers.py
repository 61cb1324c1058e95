"""Receivers of traces that are away, slow, or only there at the end; and a gateway that is told of them later."""

import contextlib
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from faults.routing.stage import KEYS, Stage, model, staged
from outside.caller import CHAT, Caller, user
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess, ServerFailed
from servers.otlp import receiving
from servers.process import free_port

from providers.testing import Script

ONE = {"a": model("a", retries=0)}
MANY = 9_000
AT_ONCE = 16
_WITHOUT_EXTRA = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
sys.argv[0] = "llm-gateway"
runpy.run_module("app", run_name="__main__")
"""


def spans(stage: Stage, result: str) -> float:
    """Return how many spans have fared so, by the metrics."""
    text = httpx.get(f"{stage.gateway.base_url}/metrics").text
    found = re.search(rf'^gateway_trace_spans_total\{{result="{result}"\}} (\S+)$', text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def ask_often(caller: Caller, count: int) -> list[float]:
    """Return how long each request took, in seconds; all must be answered."""

    def once(_: int) -> float:
        began = time.monotonic()
        assert caller.chat("a").status_code == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(once, range(count)))


def test_a_receiver_that_is_away_costs_spans_and_no_request():
    with staged(ONE, tracing={"endpoint": f"http://127.0.0.1:{free_port()}"}) as stage, Caller(stage.gateway) as caller:
        took = ask_often(caller, MANY // 3)
        assert sorted(took)[len(took) // 2] < 0.5
        began = time.monotonic()
        while not spans(stage, "dropped") and time.monotonic() - began < 20:
            time.sleep(0.2)
        assert spans(stage, "dropped") > 0
        assert spans(stage, "sent") == 0
        stage.gateway.wait_for_line("the receiver of traces does not take them")


def test_a_receiver_that_never_answers_does_not_hold_up_the_end():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as deaf:
        tracing = {"endpoint": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        with staged(ONE, tracing=tracing) as stage, Caller(stage.gateway) as caller:
            ask_often(caller, 20)
            time.sleep(1.5)
            began = time.monotonic()
            stage.gateway.stop()
            assert time.monotonic() - began < 6
            stage.gateway.start()


def test_what_waits_is_delivered_at_the_end():
    with (
        receiving() as receiver,
        staged(ONE, tracing={"endpoint": receiver.url}) as stage,
        Caller(stage.gateway) as caller,
    ):
        trace = uuid4().hex
        caller.post({"model": "a", "messages": user("hello")}, traceparent=f"00-{trace}-{'b' * 16}-01")
        stage.gateway.stop()
        assert len([span for span in receiver.spans if span.trace == trace]) == 3
        stage.gateway.start()


def test_tracing_begins_and_ends_with_a_reload():
    with receiving() as receiver, staged(ONE) as stage, Caller(stage.gateway) as caller:
        plain = caller.chat("a")
        assert plain.status_code == 200
        assert "traceparent" not in stage.calls("a")[-1].headers
        before = stage.gateway.config
        assert before is not None
        text = before.read_text()
        before.write_text(f"{text}\ntracing: {{endpoint: '{receiver.url}'}}\n")
        stage.gateway.reload()
        assert _until(lambda: _is_traced(stage, caller))
        before.write_text(text)
        stage.gateway.reload()
        assert _until(lambda: not _is_traced(stage, caller))
        assert receiver.wait(lambda: list(receiver.spans), 3, within_s=20)


def test_a_share_of_the_traces_that_begin_here():
    with (
        receiving() as receiver,
        staged(ONE, tracing={"endpoint": receiver.url, "sample": 0.25}) as stage,
        Caller(stage.gateway) as caller,
    ):
        ask_often(caller, 400)
        caller.post({"model": "a", "messages": user("x")}, traceparent=f"00-{'c' * 32}-{'b' * 16}-01")
        receiver.trace("c" * 32, count=3)
        roots = [span for span in receiver.spans if span.kind == "server" and span.attributes.get("http.route") == CHAT]
        assert 60 < len(roots) < 140


def test_who_waits_for_a_place_sees_it():
    models = {"a": model("a", retries=0)}
    with (
        receiving() as receiver,
        staged(models, tracing={"endpoint": receiver.url}, inflight=1, queue_s=10) as stage,
        Caller(stage.gateway) as caller,
    ):
        stage.providers["a"].script(Script(text="ok", head_delay_ms=300))
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: caller.chat("a"), range(2)))
        waits = receiver.wait(lambda: [s for s in receiver.spans if s.name == "admission"], 1, within_s=20)
        (waited,) = waits
        assert 0.1 < (waited.end_ns - waited.start_ns) / 1e9 < 10


def test_without_the_extra_nothing_starts_and_it_says_what_to_install():
    command = (sys.executable, "-c", _WITHOUT_EXTRA)
    tree = {"providers": {"echo": {"adapter": "echo"}}, "tracing": {"endpoint": "http://127.0.0.1:4318"}}
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, **KEYS}
    with contextlib.closing(GatewayProcess.prepare(tree, environ=environ, command=command)) as gateway:
        with pytest.raises(ServerFailed, match=re.escape("pip install 'llm-api-gateway[otel]'")):
            gateway.start()
        gateway.write_config({"providers": {"echo": {"adapter": "echo"}}})
        gateway.start()
        gateway.stop()


def _is_traced(stage: Stage, caller: Caller) -> bool:
    assert caller.chat("a").status_code == 200
    return "traceparent" in stage.calls("a")[-1].headers


def _until(look) -> bool:
    deadline = time.monotonic() + 10
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
