import asyncio
import json
import logging
from types import SimpleNamespace
from uuid import UUID

import pytest

from app.api import downstream as downstream_module
from app.api.inference import InferenceEndpoint
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.gateway.tally import line_of
from app.kernel.clock import ManualClock
from app.kernel.errors import MethodNotAllowed, NotFound, RateLimited, Unauthenticated
from app.middleware.context import RequestContext
from app.observability.metrics import Metrics
from app.pipeline.answer import Answer
from app.pipeline.gate import Gate
from app.routing.table import Route, RouteTable, RouteTarget
from providers.echo.adapter import EchoAdapter
from providers.errors import StreamInterrupted
from providers.types import Target

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
HEADERS = {b"x-api-key": b"good", b"content-type": b"application/json"}
WHERE = Target(provider="p", model="up", base_url="http://x")
TARGET = RouteTarget(provider="p", adapter=EchoAdapter(), target=WHERE, whole_target=WHERE)


class Live:
    """A live answer of scripted parts."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.is_finished = False
        self.is_closed = False

    async def read(self):
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        if part is None:
            await asyncio.Event().wait()
        self.is_finished = not self.parts
        return part

    def close(self):
        self.is_closed = True


class FakeGateway:
    """Everything that an endpoint asks of the gateway."""

    def __init__(self, answer):
        self._answer = answer
        self.clock = ManualClock()
        self.tokens = None
        self.body_limit_bytes = 10_000
        self.fanout_width = 8
        self.directory = self
        self.tally = self
        self.recorder = SimpleNamespace(keeps_bodies=False)
        self.transcripts = []
        self.gate = Gate(cap=10, queue_s=0, metrics=Metrics(), clock=self.clock)
        self.core = SimpleNamespace(is_degraded=False, degraded=[])
        self.limits = ()
        self.books = SimpleNamespace(
            policies=SimpleNamespace(plan=lambda _principal, *_models: None), accounts=SimpleNamespace(told=self.told)
        )
        self.open_requests = set()
        route = Route(name="m", label="m", targets=(TARGET,), owned_by="p")
        self.routes = RouteTable({"m": route})
        self.lines = []
        self.counts = []
        self.exchanges = []

    async def told(self, _plan):
        return self.limits

    async def authenticate(self, token):
        if token != b"good":
            raise Unauthenticated
        return Principal(key_id=UUID(int=1), organization_id=UUID(int=2))

    async def answer(self, exchange):
        self.exchanges.append(exchange)
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is None:
            await asyncio.Event().wait()
        return self._answer

    def end(self, finished):
        self.lines.append(line_of(finished))
        self.counts.append((finished.endpoint, finished.status))
        self.transcripts.append(finished.notes.transcript)


class Connection:
    """The server's side of one request."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.sent = []

    async def receive(self):
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


def whole(body=None, **fields):
    data = json.dumps(BODY | fields).encode() if body is None else body
    return {"type": "http.request", "body": data, "more_body": False}


async def ask(gateway, *messages, wire=CHAT_WIRE, headers=HEADERS, method="POST"):
    connection = Connection(*messages)
    context = RequestContext(
        REQUEST,
        dict(headers),
        receive=connection.receive,
        send=connection.send,
        started_ns=gateway.clock.monotonic_ns(),
    )
    before = asyncio.all_tasks()
    async with asyncio.timeout(20):
        await InferenceEndpoint(wire, gateway)({"method": method, "state": {"context": context}}, None, None)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert not gateway.open_requests
    return connection


async def test_a_whole_answer_is_sent_counted_and_logged_once():
    gateway = FakeGateway(Answer(body=b'{"id":1}'))
    connection = await ask(gateway, whole())
    assert (connection.status, connection.body) == (200, b'{"id":1}')
    assert connection.headers[b"x-request-id"].decode() == REQUEST
    assert connection.headers[b"x-gateway-model"] == b"m"
    assert connection.headers[b"content-length"] == b"8"
    assert gateway.counts == [("/v1/chat/completions", 200)]
    assert [(line.status, line.error_code) for line in gateway.lines] == [(200, None)]


async def test_a_live_answer_is_sent_as_it_comes():
    live = Live(b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n")
    gateway = FakeGateway(Answer(live=live, content_type=b"text/event-stream; charset=utf-8"))
    connection = await ask(gateway, whole(stream=True))
    assert connection.body == b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    assert connection.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert [message.get("more_body") for message in connection.sent[1:]] == [True, True, False]
    assert live.is_closed
    assert gateway.counts == [("/v1/chat/completions", 200)]


@pytest.mark.parametrize("answer", [Answer(body=b'{"id":1}'), None])
async def test_what_is_said_is_noted_only_where_it_is_kept(answer):
    for keeps in (False, True):
        gateway = FakeGateway(NotFound("no such model") if answer is None else answer)
        gateway.recorder.keeps_bodies = keeps
        connection = await ask(gateway, whole())
        (transcript,) = gateway.transcripts
        if not keeps:
            assert transcript is None
            continue
        assert bytes(transcript.request.data) == whole()["body"]
        assert bytes(transcript.answer.data) == connection.body


async def test_of_a_stream_that_breaks_all_that_was_sent_is_noted():
    gateway = FakeGateway(Answer(live=Live(b"data: 1\n\n", StreamInterrupted())))
    gateway.recorder.keeps_bodies = True
    connection = await ask(gateway, whole(stream=True))
    assert b"upstream_interrupted" in connection.body
    assert bytes(gateway.transcripts[0].answer.data) == connection.body


@pytest.mark.parametrize("wire", [CHAT_WIRE, LLM_CHAT_WIRE])
@pytest.mark.parametrize("error", [StreamInterrupted(), RuntimeError("postgresql://user:hunter2@db")])
async def test_what_breaks_a_stream_is_its_last_event(wire, error, caplog):
    gateway = FakeGateway(Answer(live=Live(b"data: 1\n\n", error)))
    with caplog.at_level(logging.CRITICAL):
        connection = await ask(gateway, whole(stream=True), wire=wire)
    first, last, rest = connection.body.split(b"\n\n")
    assert (first, rest) == (b"data: 1", b"")
    said = json.loads(last.removeprefix(b"data: "))["error"]
    assert said["code"] == ("upstream_interrupted" if isinstance(error, StreamInterrupted) else "internal_error")
    assert b"[DONE]" not in connection.body
    assert b"hunter2" not in connection.body
    assert connection.sent[-1]["more_body"] is False
    assert [line.status for line in gateway.lines] == [502 if isinstance(error, StreamInterrupted) else 500]


async def test_a_defect_is_a_500_that_says_nothing(caplog):
    gateway = FakeGateway(RuntimeError("postgresql://user:hunter2@db"))
    with caplog.at_level(logging.ERROR, "gateway.http"):
        connection = await ask(gateway, whole())
    assert connection.status == 500
    assert json.loads(connection.body)["error"]["code"] == "internal_error"
    assert b"hunter2" not in connection.body
    assert REQUEST in caplog.text
    assert gateway.counts == [("/v1/chat/completions", 500)]


async def test_a_refusal_is_said_with_its_headers():
    connection = await ask(FakeGateway(RateLimited(retry_after_s=2)), whole())
    assert (connection.status, connection.headers[b"retry-after"]) == (429, b"2")
    assert json.loads(connection.body)["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("headers", "message", "status"),
    [
        ({b"content-type": b"application/json"}, whole(), 401),
        (HEADERS | {b"x-api-key": b"bad"}, whole(), 401),
        (HEADERS | {b"content-type": b"text/plain"}, whole(), 415),
        (HEADERS | {b"content-length": b"10001"}, whole(), 413),
        (HEADERS, whole(b"x" * 10_001), 413),
        (HEADERS, whole(b""), 400),
        (HEADERS, whole(b"[1]"), 400),
        (HEADERS, whole(model="other"), 404),
        (HEADERS, whole(messages=[]), 400),
        (HEADERS, whole(gateway={"timeout_s": "soon"}), 400),
        (HEADERS | {b"x-gateway-timeout-s": b"soon"}, whole(), 400),
        (HEADERS | {b"x-gateway-route": b"p/up"}, whole(), 403),
    ],
)
async def test_what_is_refused_reaches_nobody(headers, message, status):
    gateway = FakeGateway(Answer(body=b"{}"))
    connection = await ask(gateway, message, headers=headers)
    assert connection.status == status
    assert json.loads(connection.body)["error"]["message"]
    assert connection.headers[b"x-request-id"].decode() == REQUEST
    said = {name: value for name, value in connection.headers.items() if name.startswith(b"x-gateway-")}
    assert float(said.pop(b"x-gateway-overhead-ms")) >= 0
    assert said == {b"x-gateway-attempts": b"0", b"x-gateway-cache": b"off"}
    assert not gateway.exchanges
    assert gateway.counts == [("/v1/chat/completions", status)]


async def test_another_method_is_left_to_the_framework():
    with pytest.raises(MethodNotAllowed) as caught:
        await ask(FakeGateway(None), whole(), method="GET")
    assert caught.value.headers == (("allow", "POST"),)


@pytest.mark.parametrize("live", [None, [b"data: 1\n\n", None]])
async def test_the_callers_deadline_ends_the_request(live):
    gateway = FakeGateway(None if live is None else Answer(live=Live(*live)))
    headers = HEADERS | {b"x-gateway-timeout-s": b"0.02"}
    connection = await ask(gateway, whole(stream=live is not None), headers=headers)
    assert gateway.exchanges[0].is_expired
    assert b"time ran out" in connection.body
    assert connection.status == (504 if live is None else 200)
    assert [line.status for line in gateway.lines] == [504]


@pytest.mark.parametrize("live", [None, [b"data: 1\n\n", None]])
async def test_a_client_that_leaves_is_logged_as_gone(live):
    answer = None if live is None else Answer(live=Live(*live))
    gateway = FakeGateway(answer)
    connection = await ask(gateway, whole(stream=live is not None), {"type": "http.disconnect"})
    assert [line.status for line in gateway.lines] == [499]
    assert len(connection.sent) == (0 if live is None else 2)
    assert live is None or answer.live.is_closed


async def test_a_slow_body_is_a_408_that_closes_the_connection(monkeypatch):
    monkeypatch.setattr(downstream_module, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(downstream_module, "BODY_IDLE_S", 0.02)
    gateway = FakeGateway(Answer(body=b"{}"))
    connection = await ask(gateway, {"type": "http.request", "body": b"{", "more_body": True})
    assert (connection.status, connection.headers[b"connection"]) == (408, b"close")


async def test_a_refusal_is_heard_although_the_body_stalls(monkeypatch):
    monkeypatch.setattr(downstream_module, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(downstream_module, "BODY_IDLE_S", 0.02)
    headers = HEADERS | {b"x-api-key": b"bad", b"content-length": b"100"}
    connection = await ask(FakeGateway(None), headers=headers)
    assert (connection.status, connection.headers[b"connection"]) == (401, b"close")


async def test_the_rest_of_a_small_refused_body_is_read_so_that_the_connection_lives():
    headers = HEADERS | {b"x-api-key": b"bad", b"content-length": b"100"}
    connection = await ask(FakeGateway(None), whole(b"x" * 100), headers=headers)
    assert connection.status == 401
    assert b"connection" not in connection.headers


async def test_a_keep_alive_that_begins_the_answer_carries_the_request_id(monkeypatch):
    monkeypatch.setattr(downstream_module, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(downstream_module, "KEEPALIVE_S", 0.02)
    gateway = FakeGateway(None)
    headers = HEADERS | {b"x-gateway-timeout-s": b"0.5"}
    connection = await ask(gateway, whole(stream=True), headers=headers)
    assert connection.headers[b"x-request-id"].decode() == REQUEST
    assert connection.body.startswith(b": keep-alive\n\n")
    assert b"time ran out" in connection.body
    assert connection.status == 200


@pytest.mark.parametrize("is_asked", [False, True])
async def test_a_keep_alive_that_begins_the_answer_says_what_is_known_by_then(monkeypatch, is_asked):
    monkeypatch.setattr(downstream_module, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(downstream_module, "KEEPALIVE_S", 0.02)
    gateway = FakeGateway(None)
    answer = gateway.answer

    async def admitted(exchange):
        exchange.limit_headers = ((b"x-ratelimit-limit-requests", b"5"),)
        exchange.cache_status = "miss"
        if is_asked:
            exchange.attempts.append("under way")
        try:
            return await answer(exchange)
        finally:
            exchange.attempts.clear()

    gateway.answer = admitted
    connection = await ask(gateway, whole(stream=True), headers=HEADERS | {b"x-gateway-timeout-s": b"0.5"})
    assert connection.headers[b"x-ratelimit-limit-requests"] == b"5"
    said = {name: value for name, value in connection.headers.items() if name.startswith(b"x-gateway-")}
    assert said == ({b"x-gateway-cache": b"miss"} if is_asked else {})


async def test_a_stream_that_breaks_may_be_ended_in_words_that_follow_what_it_has_said():
    live = Live(b"data: 1\n\n", StreamInterrupted())
    gateway = FakeGateway(Answer(live=live, content_type=b"text/event-stream; charset=utf-8"))
    answer = gateway.answer

    async def with_words(exchange):
        exchange.say_failure = lambda error: b"data: 2, " + error.code.encode() + b"\n\n"
        return await answer(exchange)

    gateway.answer = with_words
    connection = await ask(gateway, whole(stream=True))
    assert connection.body == b"data: 1\n\ndata: 2, upstream_interrupted\n\n"


@pytest.mark.parametrize(("is_degraded", "told"), [(False, b"7"), (True, None)])
async def test_what_is_refused_says_what_is_left_of_its_limits_while_a_store_answers(is_degraded, told):
    gateway = FakeGateway(Answer(body=b"{}"))
    gateway.limits = ((b"x-ratelimit-remaining-requests", b"7"),)
    gateway.core = SimpleNamespace(is_degraded=is_degraded, degraded=["redis"])
    connection = await ask(gateway, whole(), headers=HEADERS | {b"x-gateway-route": b"p/up"})
    assert connection.status == 403
    assert connection.headers.get(b"x-ratelimit-remaining-requests") == told
