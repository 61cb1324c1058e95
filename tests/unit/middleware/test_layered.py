"""What layers of other packages may and may not do to a request, within the ring."""

import logging

import pytest

from app.asgi import refuse_inference
from app.kernel.clock import ManualClock
from app.kernel.errors import Forbidden
from app.middleware.context import ContextRing, PlaneState
from app.middleware.layered import Layered
from app.middleware.layers import BrokenLayer, InstalledLayer

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body", "body": b"fine"}


class Plane:
    """A plane within layers, within the ring; `takes_over` is whether it answers as an inference endpoint does."""

    def __init__(self, *layers, takes_over=True):
        self.takes_over = takes_over
        self.counted = []
        self.seen = []
        made = [InstalledLayer(str(at), "acme 1.0", layer) for at, layer in enumerate(layers)]
        self.state = PlaneState(cap=10)
        self.ring = ContextRing(
            Layered(self.app, made, refuse=refuse_inference, clock=ManualClock()),
            state=self.state,
            clock=ManualClock(),
            refuse=refuse_inference,
            count=self.counted.append,
        )

    async def app(self, scope, receive, send):
        context = scope["state"]["context"]
        self.seen.append(scope)
        if not self.takes_over:
            await send({**START, "headers": []})
            await send(BODY)
            return
        context.has_begun = True
        headers = [(b"x-request-id", context.request_id.encode())]
        await context.send({**START, "headers": headers})
        await context.send(BODY)

    async def ask(self, *headers, path="/v1/chat/completions", method="POST", receives=()):
        sent, waiting = [], list(receives)

        async def send(message):
            sent.append(message)

        async def receive():
            return waiting.pop(0)

        scope = {"type": "http", "path": path, "method": method, "headers": [(b"host", b"h"), *headers]}
        await self.ring(scope, receive, send)
        return sent


def ids(message):
    return [value for name, value in message["headers"] if name == b"x-request-id"]


def transparent(app):
    return app


@pytest.mark.parametrize("takes_over", [True, False])
async def test_an_answer_passes_with_one_id(takes_over):
    start, body = await Plane(transparent, takes_over=takes_over).ask()
    assert (start["status"], len(ids(start)), body) == (200, 1, BODY)


async def test_a_list_of_several_lines_is_one_list_behind_the_layers_too():
    plane = Plane(transparent)
    await plane.ask((b"x-gateway-tags", b"a=b"), (b"x-gateway-tags", b"c=d"))
    assert plane.seen[0]["state"]["context"].headers[b"x-gateway-tags"] == b"a=b, c=d"


@pytest.mark.parametrize("takes_over", [True, False])
async def test_a_head_without_headers_gets_our_id(takes_over):
    def replacing(app):
        async def layer(scope, receive, send):
            async def ignore(message):
                pass

            await app(scope, receive, ignore)
            await send(START)
            await send(BODY)

        return layer

    start, _ = await Plane(replacing, takes_over=takes_over).ask()
    assert len(ids(start)) == 1


@pytest.mark.parametrize("messages", [[BODY], [START, START], [START, BODY, START]])
async def test_what_is_out_of_turn_is_not_sent(messages, caplog):
    def odd(app):
        async def layer(scope, receive, send):
            for message in messages:
                await send(message)

        return layer

    with caplog.at_level(logging.CRITICAL):
        sent = await Plane(odd).ask()
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert sent[0]["status"] == (500 if messages == [BODY] else 200)


async def test_what_was_counted_within_is_not_counted_again():
    def late(app):
        async def layer(scope, receive, send):
            async def ignore(message):
                pass

            await app(scope, receive, ignore)
            raise Forbidden("no", code="vetoed")

        return layer

    plane = Plane(late)
    start, body = await plane.ask()
    assert (start["status"], len(ids(start))) == (403, 1)
    assert b"vetoed" in body["body"]
    assert plane.counted == []


async def test_what_only_the_layers_saw_is_counted_by_the_ring():
    def refusing(app):
        async def layer(scope, receive, send):
            raise Forbidden("no")

        return layer

    plane = Plane(refusing)
    assert (await plane.ask())[0]["status"] == 403
    assert [answered.status for answered in plane.counted] == [403]
    assert plane.state.inflight == 0


async def test_nobody_is_answered_who_has_left():
    def listening(app):
        async def layer(scope, receive, send):
            await receive()

        return layer

    assert await Plane(listening).ask(receives=[{"type": "http.disconnect"}]) == []
    sent = await Plane(listening).ask(receives=[{"type": "http.request", "body": b""}])
    assert sent[0]["status"] == 500


async def test_a_draining_worker_closes_the_connection_of_any_answer():
    def replacing(app):
        async def layer(scope, receive, send):
            async def ignore(message):
                pass

            await app(scope, receive, ignore)
            await send(START)
            await send(BODY)

        return layer

    plane = Plane(replacing)
    plane.state.is_draining = True
    assert (b"connection", b"close") in (await plane.ask())[0]["headers"]


async def test_the_answer_to_head_has_no_body(caplog):
    def broken(app):
        async def layer(scope, receive, send):
            raise ValueError("oops")

        return layer

    with caplog.at_level(logging.CRITICAL):
        start, body = await Plane(broken).ask(method="HEAD")
    assert (start["status"], body["body"]) == (500, b"")


async def test_probes_pass_the_layers_by():
    def broken(app):
        async def layer(scope, receive, send):
            raise ValueError("oops")

        return layer

    assert (await Plane(broken, takes_over=False).ask(path="/readyz", method="GET"))[0]["status"] == 200


@pytest.mark.parametrize("made", [None, 7, ValueError("oops")])
def test_a_layer_that_makes_no_application_is_named(made):
    def wrap(app):
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.raises(BrokenLayer, match=r"the layer '0' of acme 1\.0"):
        Plane(wrap)
