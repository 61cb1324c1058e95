"""Traces as a receiver gets them: two workers, every way in which a request may end, and nothing in them but times."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
import yaml
from faults.routing.stage import KEYS, Stage, model, staged
from outside.caller import CHAT, Caller, user
from servers.otlp import Received, Receiver, receiving
from servers.postgres import Postgres

from providers.testing import Script

CANARY = "canary-prompt-7f3a"
ANSWER = "canary-answer-91bc"
LEGS = ("a", "b", "c")
TENTH_S = 0.1


class Scene(NamedTuple):
    """A receiver, a gateway of two workers, and a caller."""

    receiver: Receiver
    stage: Stage
    caller: Caller

    def tell(self, **scripts: Script) -> str:
        """Tell providers what to do when a prompt has the name that is returned."""
        name = f"s{uuid4().hex}"
        for provider, script in scripts.items():
            self.stage.providers[provider].script(script, model=name)
        return name

    def ask(self, name: str, to: str, *, trace: str = "", sampled: bool = True, **more: Any) -> tuple[Any, str]:
        """Ask with a parent of the client's; return the answer and the trace's id."""
        trace_id, headers = trace or uuid4().hex, more.pop("headers", {})
        parent = f"00-{trace_id}-{'b' * 16}-{int(sampled):02x}"
        path, key = more.pop("path", CHAT), more.pop("key", self.caller.key)
        answer = httpx.post(
            self.stage.gateway.base_url + path,
            json={"model": to, "messages": user(f"[[script {name}]] {CANARY}"), "max_tokens": 64} | more,
            headers={"authorization": f"Bearer {key}", "traceparent": parent, **headers},
            timeout=30,
        )
        return answer, trace_id

    def heard(self, provider: str, name: str) -> list[str]:
        """Return the parents that a provider was told of."""
        entries = self.stage.providers[provider].journal.for_script(name)
        return [entry.headers["traceparent"] for entry in entries]


@pytest.fixture(scope="module")
def scene(postgres_server: Postgres) -> Iterator[Scene]:
    models = {
        **{name: model(name, retries=0, breaker=False) for name in LEGS},
        "kept": model("a", retries=0),
        "retried": model("a", retries=1, breaker=False, fallbacks=["b"]),
        "hedged": model("a", "b", retries=0, hedge={"after_s": TENTH_S, "budget": 1.0}),
    }
    with receiving() as receiver:
        tracing = {"endpoint": receiver.url, "headers": {"x-team": "platform"}}
        with (
            staged(models, postgres=postgres_server, tracing=tracing) as stage,
            Caller(stage.gateway) as caller,
        ):
            yield Scene(receiver, stage, caller)


def root_of(spans: list[Received]) -> Received:
    """Return the one span of the request, which is under the client's, and check that all others are within it."""
    (root,) = [span for span in spans if span.kind == "server"]
    assert root.parent == "b" * 16
    ids = {span.id for span in spans}
    assert len(ids) == len(spans)
    assert all(span.parent in ids for span in spans if span is not root)
    assert all(root.start_ns <= span.start_ns <= span.end_ns for span in spans)
    assert len({span.instance for span in spans}) == 1
    assert spans[0].service == "llm-gateway"
    return root


def named(spans: list[Received], name: str) -> Received:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_a_request_its_layers_and_its_attempt_are_one_trace(scene: Scene):
    name = scene.tell(a=Script(text=ANSWER))
    answer, trace = scene.ask(name, "a", temperature=0.25, headers={"tracestate": "vendor=1,other=x"})
    spans = scene.receiver.trace(trace, count=3)
    root = root_of(spans)
    assert [span.name for span in spans] == ["POST " + CHAT, "authentication", "chat up"]
    attempt = spans[-1]
    assert attempt.kind == "client"
    assert attempt.parent == root.id
    assert scene.heard("a", name) == [f"00-{trace}-{attempt.id}-01"]
    assert scene.stage.providers["a"].journal.for_script(name)[0].headers["tracestate"] == "vendor=1,other=x"
    assert {span.state for span in spans} == {"vendor=1,other=x"}
    said = root.attributes
    usage = answer.json()["usage"]
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "a"
    assert said["gen_ai.request.temperature"] == 0.25
    assert said["gen_ai.request.max_tokens"] == 64
    assert said["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert said["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert said["gateway.cost_nusd"] == round(float(answer.headers["x-gateway-cost"]) * 10**9) > 0
    assert said["gateway.key_id"] == scene.caller.key_id
    assert said["gateway.organization_id"] == str(scene.caller.organization_id)
    assert said["gateway.request_id"] == answer.headers["x-request-id"]
    assert said["http.response.status_code"] == 200
    assert attempt.attributes["gen_ai.provider.name"] == "openai"
    assert attempt.attributes["server.address"] == "127.0.0.1"
    assert not any(span.failed for span in spans)


def test_a_stream_is_one_attempt_that_ends_with_it(scene: Scene):
    name = scene.tell(a=Script(output_tokens=20, chunk_delay_ms=50))
    _, trace = scene.ask(name, "a", stream=True)
    spans = scene.receiver.trace(trace, count=3)
    root, attempt = root_of(spans), named(spans, "chat up")
    assert attempt.end_ns - attempt.start_ns > 900_000_000
    assert root.end_ns >= attempt.end_ns
    assert 0 < attempt.attributes["gen_ai.response.time_to_first_chunk"] < 0.8
    assert root.attributes["gen_ai.request.stream"] is True
    assert root.attributes["gateway.cost_nusd"] > 0


def test_a_client_that_leaves_ends_its_trace(scene: Scene):
    name = scene.tell(a=Script(output_tokens=500, chunk_delay_ms=10))
    trace = uuid4().hex
    body = {"model": "a", "messages": user(f"[[script {name}]]"), "stream": True}
    scene.caller.leave(body, after_s=0.4, by_reset=True, traceparent=f"00-{trace}-{'b' * 16}-01")
    spans = scene.receiver.trace(trace, count=3)
    root, attempt = root_of(spans), named(spans, "chat up")
    assert root.attributes["error.type"] == "client_gone"
    assert attempt.attributes["gateway.attempt.outcome"] == "cancelled"
    assert 0.1 < (attempt.end_ns - attempt.start_ns) / 1e9 < 2.5


def test_a_stream_that_breaks_is_an_error(scene: Scene):
    name = scene.tell(a=Script(output_tokens=200, chunk_delay_ms=3, fault="reset", fault_after_bytes=900))
    _, trace = scene.ask(name, "a", stream=True)
    spans = scene.receiver.trace(trace, count=3)
    assert root_of(spans).failed
    assert named(spans, "chat up").failed
    assert named(spans, "chat up").attributes["gateway.attempt.outcome"] == "interrupted"


def test_retries_and_fallbacks_are_siblings(scene: Scene):
    name = scene.tell(a=Script(status=503), b=Script(text="ok"))
    answer, trace = scene.ask(name, "retried")
    assert answer.status_code == 200
    spans = scene.receiver.trace(trace, count=5)
    root = root_of(spans)
    attempts = [span for span in spans if span.kind == "client"]
    assert [span.attributes["gateway.model"] for span in attempts] == ["retried", "retried", "b"]
    assert [span.failed for span in attempts] == [True, True, False]
    assert {span.parent for span in attempts} == {root.id}
    assert [span.attributes["http.response.status_code"] for span in attempts] == [503, 503, 200]
    told = scene.heard("a", name) + scene.heard("b", name)
    assert told == [f"00-{trace}-{span.id}-01" for span in attempts]
    assert not root.failed


def test_a_hedge_shows_both_calls_and_who_lost(scene: Scene):
    name = scene.tell(a=Script(head_delay_ms=3_000), b=Script(text="ok"))
    _, trace = scene.ask(name, "hedged")
    spans = scene.receiver.trace(trace, count=4)
    first, second = [span for span in spans if span.kind == "client"]
    assert root_of(spans)
    assert first.attributes["gateway.attempt.outcome"] == "cancelled"
    assert second.attributes["gateway.attempt.outcome"] == "ok"
    assert first.start_ns < second.start_ns < first.end_ns
    assert not first.failed
    assert scene.heard("b", name) == [f"00-{trace}-{second.id}-01"]


def test_a_race_has_a_span_for_each_leg_with_its_attempt_below(scene: Scene):
    name = scene.tell(a=Script(head_delay_ms=3_000), b=Script(text="ok"), c=Script(head_delay_ms=3_000))
    fanout = {"strategy": "race", "models": list(LEGS)}
    _, trace = scene.ask(name, "a", path="/v1/llm/chat", fanout=fanout)
    spans = scene.receiver.trace(trace, count=8)
    root = root_of(spans)
    legs = {span.attributes["gateway.model"]: span for span in spans if span.name.startswith("leg ")}
    assert {leg: span.role for leg, span in legs.items()} == {"a": "lost", "b": "won", "c": "lost"}
    assert {span.parent for span in legs.values()} == {root.id}
    for leg, span in legs.items():
        (attempt,) = [each for each in spans if each.parent == span.id]
        assert attempt.kind == "client"
        assert attempt.attributes["gateway.leg.number"] == LEGS.index(leg) == span.attributes["gateway.leg.number"]
        assert attempt.attributes["gateway.fanout.name"] == "race"
        assert scene.heard(leg, name) == [f"00-{trace}-{attempt.id}-01"]
        assert attempt.attributes["gateway.attempt.outcome"] == ("ok" if leg == "b" else "cancelled")
    assert root.attributes["gateway.fanout.strategy"] == "race"


def test_a_judge_is_a_leg_of_its_own(scene: Scene):
    verdict = Script(text='{"ranking": ["A"], "scores": {}}')
    name = scene.tell(a=Script(text="one"), b=Script(text="two"), c=verdict)
    fanout = {"strategy": "best_of", "models": ["a", "b"], "judge": "c"}
    _, trace = scene.ask(name, "a", path="/v1/llm/chat", fanout=fanout)
    spans = scene.receiver.trace(trace, count=8)
    judge = named(spans, "judge c")
    assert root_of(spans).id == judge.parent
    assert [span.kind for span in spans if span.parent == judge.id] == ["client"]
    assert judge.start_ns >= max(span.end_ns for span in spans if span.name.startswith("leg "))


def test_a_kept_answer_has_no_attempt(scene: Scene):
    name = scene.tell(a=Script(text="ok"))
    headers = {"x-gateway-cache": "exact"}
    scene.ask(name, "kept", headers=headers)
    for _ in range(50):
        answer, trace = scene.ask(name, "kept", headers=headers)
        if answer.headers["x-gateway-cache"] == "exact":
            break
    spans = scene.receiver.trace(trace, count=3)
    assert [span.name for span in spans[1:]] == ["authentication", "cache"]
    assert root_of(spans).attributes["gateway.cache.status"] == "exact"
    assert named(spans, "cache").attributes["gateway.cache.status"] == "exact"
    assert root_of(spans).attributes["gateway.saved_nusd"] > 0


def test_a_refusal_by_a_limit_is_that_layers(scene: Scene):
    name = scene.tell(a=Script(text="ok"))
    with Caller(scene.stage.gateway, limits={"requests_per_minute": 1}) as caller:
        _, first = scene.ask(name, "a", key=caller.key)
        answer, trace = scene.ask(name, "a", key=caller.key)
    assert answer.status_code == 429
    passed = scene.receiver.trace(first, count=4)
    assert not named(passed, "limits").failed
    assert named(passed, "limits").end_ns <= named(passed, "chat up").start_ns
    spans = scene.receiver.trace(trace, count=3)
    limits = named(spans, "limits")
    assert limits.failed
    assert limits.attributes["error.type"] == "rate_limit_exceeded"
    root = root_of(spans)
    assert root.attributes["error.type"] == "rate_limit_exceeded"
    assert not root.failed, "what a client does wrong is no fault of the server"


def test_a_request_that_may_cost_too_much_is_refused_by_the_limits(scene: Scene):
    answer, trace = scene.ask("x", "a", headers={"x-gateway-max-cost": "0.000000001"})
    assert answer.status_code == 400
    spans = scene.receiver.trace(trace, count=3)
    assert root_of(spans)
    assert named(spans, "limits").attributes["error.type"] == "max_cost_exceeded"
    assert named(spans, "limits").failed


def test_who_is_given_anothers_answer_shows_how_long_it_waited(scene: Scene):
    name = scene.tell(a=Script(text="ok", head_delay_ms=2_500))
    headers = {"x-gateway-cache": "exact"}
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(scene.ask, name, "kept", headers=headers)]
        time.sleep(0.5)
        asked.append(threads.submit(scene.ask, name, "kept", headers=headers))
        (_, trace) = [each.result() for each in asked][1]
    spans = scene.receiver.wait(lambda: [span for span in scene.receiver.spans if span.trace == trace], 3, within_s=10)
    cache = max((span for span in spans if span.name == "cache"), key=lambda span: span.end_ns - span.start_ns)
    assert 1 < (cache.end_ns - cache.start_ns) / 1e9 < 2.4
    assert cache.attributes["gateway.cache.status"] == "coalesced"
    assert not [span for span in spans if span.kind == "client"]


def test_an_answer_that_is_replayed_is_that_layers(scene: Scene):
    name = scene.tell(a=Script(text="ok"))
    headers = {"idempotency-key": name}
    scene.ask(name, "a", headers=headers)
    _, trace = scene.ask(name, "a", headers=headers)
    spans = scene.receiver.trace(trace, count=3)
    assert [span.name for span in spans[1:]] == ["authentication", "idempotency"]


def test_who_waits_for_a_place_shows_it():
    with (
        receiving() as receiver,
        staged({"a": model("a", retries=0)}, tracing={"endpoint": receiver.url}, inflight=1, queue_s=5) as stage,
        Caller(stage.gateway) as caller,
    ):
        scene = Scene(receiver, stage, caller)
        name = scene.tell(a=Script(text="ok", head_delay_ms=600))
        with ThreadPoolExecutor(2) as threads:
            traces = [trace for _, trace in threads.map(lambda _: scene.ask(name, "a"), range(2))]
        spans = receiver.wait(lambda: [span for span in receiver.spans if span.trace in traces], 7, within_s=10)
    (waited,) = [span for span in spans if span.name == "admission"]
    assert 0.2 < (waited.end_ns - waited.start_ns) / 1e9 < 5
    assert not waited.failed


def test_who_is_not_known_has_a_trace_that_says_so(scene: Scene):
    answer, trace = scene.ask("x", "a", key="sk-gw-nobody")
    assert answer.status_code == 401
    spans = scene.receiver.trace(trace, count=2)
    assert named(spans, "authentication").failed
    assert root_of(spans).attributes["http.response.status_code"] == 401


def test_other_paths_have_one_span_and_probes_none(scene: Scene):
    trace = uuid4().hex
    headers = {"traceparent": f"00-{trace}-{'b' * 16}-01", "authorization": f"Bearer {scene.caller.key}"}
    base = scene.stage.gateway.base_url
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models"):
        httpx.get(base + path, headers=headers)
    (span,) = scene.receiver.trace(trace, count=1)
    assert span.name == "GET /v1/models"


@pytest.mark.parametrize(
    "given",
    [
        "garbage",
        "00-0-0-0",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
    ],
)
def test_what_is_no_trace_is_not_continued(scene: Scene, given: str):
    name = scene.tell(a=Script(text="ok"))
    scene.ask(name, "a", headers={"traceparent": given, "tracestate": "vendor=1"})
    (parent,) = scene.heard("a", name)
    trace = parent.split("-")[1]
    assert trace not in given
    spans = scene.receiver.trace(trace, count=3)
    assert [span.parent for span in spans if span.kind == "server"] == [""]
    assert "tracestate" not in scene.stage.providers["a"].journal.for_script(name)[0].headers


def test_a_later_version_of_the_standard_is_read_as_far_as_it_is_known(scene: Scene):
    name, trace = scene.tell(a=Script(text="ok")), uuid4().hex
    scene.ask(name, "a", headers={"traceparent": f"01-{trace}-{'b' * 16}-01-more"})
    assert root_of(scene.receiver.trace(trace, count=3))


def test_a_caller_that_does_not_sample_has_no_spans_and_is_still_continued(scene: Scene):
    name = scene.tell(a=Script(text="ok"))
    _, trace = scene.ask(name, "a", sampled=False)
    (parent,) = scene.heard("a", name)
    assert re.fullmatch(f"00-{trace}-[0-9a-f]{{16}}-00", parent)
    assert "b" * 16 not in parent
    _, later = scene.ask(name, "a")
    scene.receiver.trace(later, count=3)
    assert not [span for span in scene.receiver.spans if span.trace == trace]


def test_every_worker_sends_its_own(scene: Scene):
    name = scene.tell(a=Script(text="ok"))

    def instances() -> set[str]:
        return {span.instance for span in scene.receiver.spans}

    deadline = time.monotonic() + 15
    while len(instances()) < 2 and time.monotonic() < deadline:
        scene.ask(name, "a")
    assert len(instances()) >= 2
    assert "" not in instances()


def test_nothing_secret_and_nothing_said_is_in_any_span(scene: Scene):
    name = scene.tell(a=Script(text=ANSWER), b=Script(status=500, body=json.dumps({"error": {"message": ANSWER}})))
    traces = [scene.ask(name, to, stream=stream)[1] for to in ("a", "b") for stream in (False, True)]
    for trace in traces:
        scene.receiver.trace(trace, count=3)
    sent = b"".join(scene.receiver.bodies)
    secrets = [CANARY, ANSWER, scene.caller.key, *KEYS.values(), "platform"]
    assert not [secret for secret in secrets if secret.encode() in sent]
    assert {headers["x-team"] for headers in scene.receiver.headers} == {"platform"}


async def test_what_was_asked_for_content_has_it_and_nobody_else_has(postgres_server: Postgres):
    models = {"a": model("a", retries=0)}
    with (
        receiving() as receiver,
        staged(models) as stage,
        Caller(stage.gateway) as open_one,
        Caller(stage.gateway) as closed,
    ):
        scene = Scene(receiver, stage, open_one)
        tree = read_config(stage)
        tree["tracing"] = {"endpoint": receiver.url, "content": [open_one.key_id]}
        stage.gateway.write_config(tree)
        stage.gateway.reload()
        await asyncio.sleep(2)
        name = scene.tell(a=Script(text=ANSWER))
        for stream in (False, True):
            _, trace = scene.ask(name, "a", stream=stream)
            said = root_of(receiver.trace(trace, count=3)).attributes
            (asked,) = json.loads(said["gen_ai.input.messages"])
            assert asked == {"role": "user", "parts": [{"type": "text", "content": f"[[script {name}]] {CANARY}"}]}
            (answered,) = json.loads(said["gen_ai.output.messages"])
            assert answered == {
                "role": "assistant",
                "parts": [{"type": "text", "content": ANSWER}],
                "finish_reason": "stop",
            }
        before = len(receiver.bodies)
        _, trace = scene.ask(name, "a", key=closed.key)
        receiver.trace(trace, count=3)
        assert CANARY.encode() not in b"".join(receiver.bodies[before:])


def read_config(stage: Stage) -> dict[str, Any]:
    assert stage.gateway.config is not None
    found: dict[str, Any] = yaml.safe_load(stage.gateway.config.read_text())
    return found
