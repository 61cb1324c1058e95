"""The service around an adapter, called as a server would call it: what it answers, refuses, and lets go of."""

import asyncio

import msgspec
import pytest

from providers.echo.adapter import EchoAdapter
from providers.errors import ProviderOverloaded, ProviderRateLimited, ProviderTimedOut, RequestRefused
from providers.native import wire
from providers.native.errors import Refusal, error_of
from providers.serve import AdapterService
from providers.serve.inbound import MAX_BODY_BYTES
from providers.types import RelayRequest, Secret, Started, Target, TextDelta, Timeouts

TARGET = Target(provider="p", model="*", base_url="http://provider.invalid", credential=Secret("sk-of-the-vendor"))
HOST = (b"host", b"127.0.0.1:3050")
JSON = (b"content-type", b"application/json")
CHAT = {"model": "m", "request": {"model": "x", "dialect": "openai", "messages": []}}


class Caller:
    """One client of a service."""

    def __init__(self, service):
        self.service = service
        self.sent = []
        self.gone = asyncio.Event()

    async def call(self, method, path, body=b"", *, headers=(HOST, JSON), pieces=None):
        pieces = [body] if pieces is None else pieces
        messages = [
            {"type": "http.request", "body": piece, "more_body": at + 1 < len(pieces)}
            for at, piece in enumerate(pieces)
        ]

        async def receive():
            if messages:
                return messages.pop(0)
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            self.sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await self.service(scope, receive, send)
        return self

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_over(self):
        return not self.sent[-1].get("more_body")

    @property
    def error(self):
        return error_of(msgspec.json.decode(self.body, type=Refusal).error)


def echo(**options):
    return AdapterService("echo", adapter=EchoAdapter(), target=TARGET, **options)


async def ask(service, method, path, body=b"", **options):
    return await Caller(service).call(method, path, body, **options)


def chat(**fields):
    message = {"role": "user", "content": [{"type": "text", "text": "say this again"}]}
    request = {"model": "x", "dialect": "openai", "messages": [message], **fields}
    return msgspec.json.encode({"model": "m", "request": request})


class Adapter(EchoAdapter):
    """Raises what it is told to, or answers for ever."""

    def __init__(self, error=None):
        self.error = error
        self.targets = []
        self.is_waiting = asyncio.Event()
        self.closed = 0

    async def chat(self, request, target):
        self.targets.append(target)
        if self.error is not None:
            raise self.error
        return self

    headers, dropped = {}, ()

    async def __aiter__(self):
        yield Started(id="1", model="m", created=0)
        yield TextDelta(text="x")
        self.is_waiting.set()
        await asyncio.Event().wait()

    def close(self):
        self.closed += 1


# --- What it says


async def test_it_introduces_itself():
    for path in ("/native/v1/", "/native/v1"):
        caller = await ask(echo(), "GET", path, headers=[HOST])
        assert msgspec.json.decode(caller.body) == {"protocol": 1, "adapter": "echo", "relays": []}
    assert (await ask(echo(), "GET", "/native/v1/models", headers=[HOST])).body == b'{"models":["echo"]}'


async def test_a_chat_is_one_value_or_lines_that_say_their_end():
    whole = await ask(echo(), "POST", "/native/v1/chat", chat())
    assert whole.headers[b"content-type"] == b"application/json"
    assert msgspec.json.decode(whole.body)["choices"][0]["content"] == [{"type": "text", "text": "say this again"}]
    lines = (await ask(echo(), "POST", "/native/v1/chat", chat(stream=True))).body.splitlines()
    kinds = [msgspec.json.decode(line)["type"] for line in lines]
    assert kinds == ["started", "text", "text", "text", "finished", "usage", "end"]


async def test_the_caller_chooses_the_model_and_the_clocks_and_nothing_else():
    adapter = Adapter(ProviderOverloaded())
    service = AdapterService("x", adapter=adapter, target=TARGET)
    body = msgspec.json.encode({**CHAT, "timeouts": {"total_s": 7}})
    await ask(service, "POST", "/native/v1/chat", body)
    (target,) = adapter.targets
    assert target == msgspec.structs.replace(TARGET, model="m", timeouts=Timeouts(total_s=7))


async def test_another_adapter_and_target_are_served_from_the_next_call_on():
    service = echo()
    first, second = Adapter(ProviderOverloaded()), TARGET
    service.adopt(first, msgspec.structs.replace(second, base_url="http://elsewhere.invalid"))
    await ask(service, "POST", "/native/v1/chat", chat())
    assert first.targets[0].base_url == "http://elsewhere.invalid"


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (RequestRefused("no", status=422, param="n"), 422, None),
        (RequestRefused("no"), 400, None),
        (ProviderRateLimited(retry_after_s=1.5), 429, b"2"),
        (ProviderTimedOut(phase="idle"), 504, None),
        (ProviderOverloaded(status=302), 502, None),
    ],
)
async def test_an_error_has_a_status_that_others_understand_too(error, status, wait):
    caller = await ask(AdapterService("x", adapter=Adapter(error), target=TARGET), "POST", "/native/v1/chat", chat())
    assert (caller.status, caller.headers.get(b"retry-after")) == (status, wait)
    assert type(caller.error) is type(error)


async def test_an_adapter_that_crashes_is_a_failure_that_says_nothing_of_it(caplog):
    adapter = Adapter(ValueError("a secret of the adapter"))
    caller = await ask(AdapterService("x", adapter=adapter, target=TARGET), "POST", "/native/v1/chat", chat())
    assert (caller.status, type(caller.error)) == (500, ProviderOverloaded)
    assert b"secret" not in caller.body
    assert "a secret of the adapter" in caplog.text


# --- What it refuses


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"model": "m"}', None),
        (b'{"model": 7, "request": {}}', "model"),
        (chat(messages=7), "request.messages"),
        (chat(messages=[{"role": "friend", "content": []}]), "request.messages[0].role"),
        (chat(sampling={"temperature": "hot"}), "request.sampling.temperature"),
        (chat()[:-1] + b', "model_options": 1}', None),
        (b'{"model": "m", "request": {"extras": ' + b"[" * 5000, "request.extras"),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_the_name_of_its_field(body, field):
    caller = await ask(echo(), "POST", "/native/v1/chat", body)
    assert (caller.status, caller.error.param) == (400, field)


async def test_embeddings_are_of_texts_or_of_tokens():
    request = {"model": "x", "dialect": "openai", "input": ["a", [1]]}
    caller = await ask(echo(), "POST", "/native/v1/embeddings", msgspec.json.encode({"model": "m", "request": request}))
    assert (caller.status, caller.error.param) == (400, "request.input")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/native/v2/chat", 404),
        ("GET", "/native/v1/chat", 405),
        ("POST", "/native/v1/models", 405),
        ("DELETE", "/native/v1/relay/openai.chat", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(method, path, status):
    assert (await ask(echo(), method, path, chat())).status == status


@pytest.mark.parametrize("content_type", [b"text/plain", b"", b"application/octet-stream"])
async def test_a_body_that_a_page_in_a_browser_could_send_is_refused(content_type):
    headers = [HOST, (b"content-type", content_type)]
    assert (await ask(echo(), "POST", "/native/v1/chat", chat(), headers=headers)).status == 415


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost:3050", 200),
        (b"LOCALHOST", 200),
        (b"127.0.0.1", 200),
        (b"127.9.9.9:1", 200),
        (b"[::1]:3050", 200),
        (b"rebound.example:3050", 403),
        (b"localhost.example", 403),
        (b"127.0.0.1.example", 403),
        (b"", 403),
    ],
)
async def test_without_a_token_only_who_means_this_machine_is_answered(host, status):
    assert (await ask(echo(), "GET", "/native/v1/", headers=[(b"host", host)])).status == status


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (b"Bearer t0ken", 200),
        (b"bearer t0ken ", 200),
        (b"Bearer t0kens", 401),
        (b"Bearer \xff", 401),
        (b"Basic t0ken", 401),
        (b"t0ken", 401),
        (None, 401),
    ],
)
async def test_with_a_token_it_is_needed_from_anywhere(authorization, status):
    headers = [(b"host", b"anywhere.example")] + ([] if authorization is None else [(b"authorization", authorization)])
    caller = await ask(echo(token=Secret("t0ken")), "GET", "/native/v1/", headers=headers)
    assert caller.status == status
    assert (await ask(echo(token=Secret("t0ken")), "GET", "/healthz", headers=[])).body == b'{"status":"ok"}'


async def test_a_body_that_is_too_large_is_refused_before_or_while_it_comes():
    told = [HOST, JSON, (b"content-length", b"%d" % (MAX_BODY_BYTES * 2))]
    assert (await ask(echo(), "POST", "/native/v1/chat", headers=told)).status == 413
    odd = [HOST, JSON, (b"content-length", b"9" * 5000)]
    assert (await ask(echo(), "POST", "/native/v1/chat", headers=odd)).status == 413
    piece = b" " * (1 << 20)
    assert (await ask(echo(), "POST", "/native/v1/chat", pieces=[piece] * 28)).status == 413
    assert (await ask(echo(), "POST", "/native/v1/chat", pieces=[b" ", chat(), b" "])).status == 200


async def test_only_what_the_adapter_relays_is_relayed():
    relayed = RelayRequest(operation="openai.chat", body=b"{}", document={})
    body = wire.write_relay(relayed, model="m", timeouts=Timeouts())
    headers = [HOST, (b"content-type", b"application/octet-stream")]
    for path, sent, status, kind in (
        ("/native/v1/relay/openai.chat", body, 501, ProviderOverloaded),
        ("/native/v1/relay/openai.images", body, 400, RequestRefused),
        ("/native/v1/relay/openai.chat", b"{}", 400, RequestRefused),
        ("/native/v1/relay/openai.chat", body.replace(b"\n{}", b"\n{"), 400, RequestRefused),
    ):
        caller = await ask(echo(), "POST", path, sent, headers=headers)
        assert (caller.status, type(caller.error)) == (status, kind)


# --- Those who leave


async def test_a_client_that_leaves_has_its_call_cancelled():
    adapter = Adapter()
    caller = Caller(AdapterService("x", adapter=adapter, target=TARGET))
    calling = asyncio.ensure_future(caller.call("POST", "/native/v1/chat", chat(stream=True)))
    await adapter.is_waiting.wait()
    assert caller.service.inflight == 1
    caller.gone.set()
    await calling
    assert adapter.closed == 1
    assert caller.service.inflight == 0
    assert b'"end"' not in caller.body
    assert not caller.is_over


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_called_for():
    adapter = Adapter()
    caller = Caller(AdapterService("x", adapter=adapter, target=TARGET))
    caller.gone.set()
    await caller.call("POST", "/native/v1/chat", pieces=[])
    assert (caller.sent, adapter.targets) == ([], [])


async def test_a_server_that_ends_takes_its_calls_with_it():
    adapter = Adapter()
    caller = Caller(AdapterService("x", adapter=adapter, target=TARGET))
    calling = asyncio.ensure_future(caller.call("POST", "/native/v1/chat", chat(stream=True)))
    await adapter.is_waiting.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (adapter.closed, caller.service.inflight) == (1, 0)


async def test_a_service_that_drains_says_so():
    service = echo()
    service.is_draining = True
    assert (await ask(service, "GET", "/healthz", headers=[])).status == 503
    caller = await ask(service, "POST", "/native/v1/chat", chat())
    assert (caller.status, caller.headers[b"connection"]) == (200, b"close")
