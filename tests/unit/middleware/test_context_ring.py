import json
import logging
from uuid import UUID

import pytest

from app.api.errors import headers_of, openai_body, status_of
from app.kernel.clock import ManualClock
from app.kernel.errors import Forbidden, NotFound
from app.middleware.context import ContextRing, PlaneState

HOST = (b"host", b"gateway.example.com")


def refuse(path, asked, error, request_id, *, took_ns):
    del path, asked, request_id, took_ns
    return status_of(error), [(b"content-type", b"application/json"), *headers_of(error)], openai_body(error)


class Ring:
    """A ring around an application that answers 200, or raises what it is told to."""

    def __init__(self, *, cap=10, hosts=("*",)):
        self.state = PlaneState(cap=cap)
        self.error = None
        self.raises_late = False
        self.scopes = []
        self.ring = ContextRing(
            self.app, state=self.state, clock=ManualClock(), refuse=refuse, allowed_hosts=tuple(hosts)
        )

    async def app(self, scope, receive, send):
        del receive
        self.scopes.append(scope)
        if self.error is not None and not self.raises_late:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.body", "body": b"fine"})

    async def ask(self, *headers, path="/v1/models", method="GET"):
        sent = []

        async def send(message):
            sent.append(message)

        await self.ring({"type": "http", "path": path, "method": method, "headers": list(headers)}, None, send)
        assert self.state.inflight == self.held
        return Reply(sent)

    held = 0

    def hold(self, count):
        self.held += count
        self.state.inflight += count


class Reply:
    """What was sent."""

    def __init__(self, sent):
        self.sent = sent
        self.status = sent[0]["status"]
        self.headers = dict(sent[0]["headers"])
        self.body = b"".join(message.get("body", b"") for message in sent)

    @property
    def code(self):
        return json.loads(self.body)["error"]["code"]


async def test_an_answer_carries_the_id_of_its_request():
    ring = Ring()
    reply = await ring.ask(HOST)
    assert (reply.status, reply.body, reply.headers[b"x-own"]) == (200, b"fine", b"1")
    context = ring.scopes[0]["state"]["context"]
    assert reply.headers[b"x-request-id"].decode() == context.request_id == ring.scopes[0]["state"]["request_id"]
    assert UUID(context.request_id).version == 7
    assert context.headers == {b"host": b"gateway.example.com"}
    assert b"connection" not in reply.headers


async def test_every_request_has_its_own_id():
    ring = Ring()
    assert len({(await ring.ask(HOST)).headers[b"x-request-id"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "host",
    [b"", b"evil/v1/x?", b"a b", b"a@b", b"a,b", b"a\x00", b"\xff", b"a#b", b"a\\b", b"a%2fb", b"<a>"],
)
async def test_a_host_that_is_none_is_refused(host):
    reply = await Ring().ask((b"host", host))
    assert (reply.status, reply.code) == (400, "invalid_host")


async def test_a_request_without_a_host_is_refused():
    reply = await Ring().ask()
    assert (reply.status, reply.code) == (400, "invalid_host")


ALLOWED = ("example.com", "*.example.org", "[::1]", "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "is_fine"),
    [
        (b"example.com", True),
        (b"EXAMPLE.com:8080", True),
        (b"a.example.org", True),
        (b"a.b.example.org:1", True),
        (b"[::1]:3020", True),
        (b"[::1]", True),
        (b"127.0.0.1:3020", True),
        (b"exampleXcom", False),
        (b"example.org", False),
        (b"aexample.org", False),
        (b"example.com.evil.net", False),
        (b"evil.example.com", False),
        (b"[::2]", False),
        (b"evil", False),
    ],
)
async def test_only_the_hosts_allowed_are_served(host, is_fine):
    ring = Ring(hosts=ALLOWED)
    reply = await ring.ask((b"host", host))
    assert (reply.status == 200) is is_fine
    assert is_fine or reply.code == "invalid_host"
    assert len(ring.scopes) == is_fine


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_pass_whatever_the_host_or_the_load(path):
    ring = Ring(cap=1, hosts=("example.com",))
    ring.hold(5)
    for headers in ((), (HOST,), (HOST, HOST), ((b"expect", b"x"),)):
        assert (await ring.ask(*headers, path=path)).status == 200


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"host", "invalid_host"),
        (b"authorization", "ambiguous_credentials"),
        (b"x-api-key", "ambiguous_credentials"),
        (b"x-goog-api-key", "ambiguous_credentials"),
        (b"content-length", "invalid_request"),
        (b"content-type", "invalid_request"),
        (b"idempotency-key", "invalid_request"),
        (b"x-gateway-max-cost", "invalid_request"),
        (b"x-gateway-cache", "invalid_request"),
        (b"x-gateway-route", "invalid_request"),
    ],
)
async def test_headers_that_may_stand_once_stand_once(name, code):
    ring = Ring()
    reply = await ring.ask(HOST, (name, HOST[1]), (name, HOST[1]))
    assert (reply.status, reply.code) == (400, code)
    assert not ring.scopes


async def test_other_headers_may_be_repeated():
    assert (await Ring().ask(HOST, (b"accept", b"a"), (b"accept", b"b"))).status == 200


@pytest.mark.parametrize(
    "name", [b"x-gateway-tags", b"x-gateway-fallbacks", b"x-gateway-include", b"cache-control", b"anthropic-beta"]
)
async def test_a_list_of_several_lines_is_one_list(name):
    ring = Ring()
    assert (await ring.ask(HOST, (name, b"a"), (b"accept", b"x"), (name, b"b,c"), (b"accept", b"y"))).status == 200
    (scope,) = ring.scopes
    headers = scope["state"]["context"].headers
    assert (headers[name], headers[b"accept"]) == (b"a, b,c", b"y")


@pytest.mark.parametrize(
    ("expect", "status"), [(b"100-continue", 200), (b"100-Continue", 200), (b"200-ok", 417), (b"", 417)]
)
async def test_one_expectation_is_served(expect, status):
    assert (await Ring().ask(HOST, (b"expect", expect))).status == status


async def test_over_the_cap_requests_are_shed():
    ring = Ring(cap=3)
    ring.hold(2)
    assert (await ring.ask(HOST)).status == 200
    ring.hold(1)
    reply = await ring.ask(HOST)
    assert (reply.status, reply.code) == (503, "overloaded")
    assert (reply.headers[b"retry-after"], reply.headers[b"retry-after-ms"]) == (b"1", b"1000")
    assert reply.headers[b"connection"] == b"close"
    assert len(ring.scopes) == 1


async def test_what_is_shed_is_counted():
    ring = Ring(cap=1)
    shed = []
    ring.ring._on_shed = lambda: shed.append(1)
    await ring.ask(HOST)
    ring.hold(1)
    await ring.ask(HOST)
    await ring.ask(HOST, path="/healthz")
    assert shed == [1]


async def test_where_memory_is_short_no_connection_is_kept():
    ring = Ring()
    ring.state.is_tight = True
    assert (await ring.ask(HOST)).headers[b"connection"] == b"close"
    ring.state.is_tight = False
    assert b"connection" not in (await ring.ask(HOST)).headers


@pytest.mark.parametrize("error", [None, NotFound(), RuntimeError("x")])
async def test_while_draining_every_answer_closes_its_connection(error):
    ring = Ring()
    ring.state.is_draining = True
    ring.error = error
    reply = await ring.ask(HOST)
    assert reply.headers[b"connection"] == b"close"
    assert ring.scopes[0]["state"]["context"].is_last


async def test_a_refusal_is_said_by_the_one_renderer():
    ring = Ring()
    ring.error = Forbidden("no", code="model_not_allowed")
    reply = await ring.ask(HOST)
    assert (reply.status, reply.code) == (403, "model_not_allowed")
    assert b"x-request-id" in reply.headers


async def test_a_defect_says_nothing_but_the_id(caplog):
    ring = Ring()
    ring.error = RuntimeError("postgresql://user:hunter2@db/x")
    with caplog.at_level(logging.ERROR, "gateway.http"):
        reply = await ring.ask(HOST)
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"hunter2" not in reply.body
    assert b"RuntimeError" not in reply.body
    assert reply.headers[b"x-request-id"].decode() in caplog.text


@pytest.mark.parametrize("error", [NotFound(), RuntimeError("x")])
async def test_an_answer_that_has_begun_is_not_begun_again(error):
    ring = Ring()
    ring.error, ring.raises_late = error, True
    reply = await ring.ask(HOST)
    assert [message["type"] for message in reply.sent] == ["http.response.start"]
    assert reply.status == 200


async def test_the_answer_to_head_has_no_body():
    ring = Ring()
    ring.error = NotFound()
    reply = await ring.ask(HOST, method="HEAD")
    assert (reply.status, reply.body) == (404, b"")


async def test_the_requests_in_flight_are_counted():
    ring = Ring()
    seen = []

    async def look(scope, receive, send):
        seen.append((ring.state.inflight, ring.state.probes))
        await ring.app(scope, receive, send)

    ring.ring._app = look
    await ring.ask(HOST)
    await ring.ask(HOST, path="/metrics")
    ring.error = NotFound()
    await ring.ask(HOST, path="/readyz")
    assert seen == [(1, 0), (1, 1), (1, 1)], "a probe is told apart"
    assert (ring.state.inflight, ring.state.probes) == (0, 0)


async def test_what_nobody_inside_counts_is_counted_by_its_route():
    ring = Ring()
    counted = []
    ring.ring._count = lambda seen: counted.append((seen.route, seen.status))
    await ring.ask(HOST, path="/a-path-that-somebody-made-up")
    ring.error = NotFound()
    await ring.ask(HOST, path="/another")
    assert counted == [("other", 200), ("other", 404)]
