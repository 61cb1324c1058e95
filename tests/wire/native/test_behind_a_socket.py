"""Whatever an adapter says in this process, it says behind the native wire: events, bytes, errors, and what it asks.

Every vendor's recorded cases are answered twice by the same script: to its adapter, and to its adapter in a service
that is called by the native one over a real socket.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from providers.errors import (
    BadAnswer,
    ConnectFailed,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderRateLimited,
    ProviderTimedOut,
    StreamInterrupted,
)
from providers.http import Pool
from providers.registry import Registry
from providers.testing.cases import load_cases
from providers.testing.chat import chat_reply
from providers.testing.script import Script
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    Finished,
    Message,
    RelayRequest,
    Secret,
    Target,
    TextPart,
    Tool,
)

WIRE = Path(__file__).parents[1]
REGISTRY = Registry()
OTHERS = {"responses": ("openai", {"chat_api": "responses"}, "responses"), "vertex": ("vertex", {}, "gemini")}
"""Ways to speak to vendors that are not named as an adapter or have another's cases: adapter, options, folder."""
TIMEOUT_S = 20


class Vendor:
    """An adapter with its options and its recorded cases."""

    def __init__(self, adapter, options, folder):
        self.plugin = REGISTRY.find(adapter)
        self.options = msgspec.convert(options, self.plugin.options)
        self.base_url = self.plugin.base_url or "http://provider.invalid/v1"
        self.cases = [case for path in sorted((WIRE / folder / "cases").glob("*.json")) for case in self._load(path)]

    def _load(self, path):
        document = msgspec.json.decode(path.read_bytes())
        if not isinstance(document, dict) or "completion" not in document["cases"][0]:
            return []
        adapter = self.open(ScriptedSender(ConnectFailed()))
        dialect = getattr(adapter, "_http", adapter)._dialect
        return load_cases(path, stream_type=dialect.stream_type)

    def open(self, sender):
        return self.plugin.open(sender, self.options)

    @property
    def target(self):
        key = Secret("sk-of-the-vendor")
        return Target(provider="p", model="upstream-model", base_url=self.base_url, credential=key)


def vendors():
    """Yield the vendors, each with a name: those whose cases are in a folder of the adapter's name, and the others."""
    known = REGISTRY.names()
    for path in sorted(WIRE.glob("*/cases")):
        if path.parent.name in known:
            yield path.parent.name, Vendor(path.parent.name, {}, path.parent.name)
    for name, way in OTHERS.items():
        yield name, Vendor(*way)


VENDORS = dict(vendors())


def said(*, script, stream, **fields):
    """Return a request and the bytes that an OpenAI-compatible server would answer."""
    message = Message(role="user", content=[TextPart(text="say this again")])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=stream, **fields)
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "say this again"}]}
    if stream:
        body["stream_options"] = {"include_usage": True}
    if fields.get("tools"):
        body["tools"] = [{"type": "function", "function": {"name": "weather"}}]
    reply = chat_reply(body | ({"n": request.n} if request.n > 1 else {}), script=script, number=1)
    return request, b"".join(frame.data for frame in reply.frames), reply.content_type


SPOKEN = [
    said(script=script, stream=stream, **fields)
    for stream in (False, True)
    for script, fields in (
        (Script(), {}),
        (Script(reasoning="let me think"), {"n": 2}),
        (Script(refusal="no"), {}),
        (Script(tool_calls=2), {"tools": [Tool(name="weather", parameters={"type": "object"})]}),
        (Script(comments=True, line_end="\r\n"), {}),
        (Script(usage="missing"), {}),
        (Script(error_after_frames=2), {}),
        (Script(sends_done=False, finish_reason="length"), {}),
    )
]
SPOKEN_BY_ALL = [(request, answer, kind) for request, answer, kind in SPOKEN if not request.tools]


def cases_of(vendor):
    """Return requests with the answer's pieces and type: recorded ones, cut ones, and nonsense."""
    recorded = [(case.request, case.answer, case.content_type) for case in vendor.cases]
    recorded += SPOKEN if vendor is VENDORS["openai"] else SPOKEN_BY_ALL
    for request, answer, kind in recorded:
        yield request, [answer], kind
        if request.stream:
            yield request, [answer[at : at + 97] for at in range(0, len(answer), 97)], kind
            yield request, [answer[: len(answer) * 2 // 3]], kind
        else:
            yield request, [answer[:-3]], kind
    yield recorded[0][0], [b"<html>no</html>"], "text/html"


REFUSALS = [
    (400, {}, b'{"error": {"message": "no such field", "code": "unknown_parameter", "param": "mood"}}'),
    (400, {}, b'{"error": {"message": "maximum context length is 8", "code": "context_length_exceeded"}}'),
    (400, {}, b'{"error": {"message": "blocked", "code": "content_filter"}}'),
    (401, {}, b'{"error": {"message": "wrong key"}}'),
    (404, {}, b"<html>"),
    (413, {}, b""),
    (429, {"retry-after": "7.5"}, b'{"error": {"message": "slower", "code": "rate_limit_exceeded"}}'),
    (500, {}, b"oops"),
    (503, {"retry-after": "2"}, b"{}"),
    (529, {}, b"{}"),
    (302, {"location": "http://elsewhere.invalid/"}, b""),
]
BREAKS = [
    ConnectFailed(),
    ProviderTimedOut("too slow", phase="first_token"),
    StreamInterrupted(),
    BadAnswer("garbage", code="upstream_too_large"),
]


# --- Both ways


async def ended(work):
    """Return what a call ended in: its result, or all that its error says."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await work
    except ProviderError as error:
        known = ("message", "code", "status", "vendor_code", "param", "retry_after_s", "body", "phase", "is_accepted")
        return type(error), {name: getattr(error, name, None) for name in known}


async def both(call, *, vendor, behind, relays=frozenset(), **script):
    """Return what a call comes to, and what it asked of the vendor: in this process, and behind the wire."""
    outcomes = []
    target = vendor.target
    for is_remote in (False, True):
        error = script.get("error")
        answer = error if script.get("is_unreachable") else ScriptedAnswer(
            script.get("pieces", b""), status=script.get("status", 200), headers=script.get("headers"), error=error
        )  # fmt: skip
        sender = ScriptedSender(answer)
        adapter = vendor.open(sender)
        if not is_remote:
            outcomes.append((await call(adapter, target), sender.requests))
            continue
        service = behind.serve(adapter, target)
        pool = Pool()
        try:
            native = REGISTRY.find("native")
            remote = native.open(pool, msgspec.convert({"relays": relays}, native.options))
            there = Target(provider="r", model=target.model, base_url=behind.url)
            outcomes.append((await call(remote, there), sender.requests))
        finally:
            await pool.aclose()
        while service.inflight:  # noqa: ASYNC110 - it ends in another thread
            await asyncio.sleep(0.001)
        assert isinstance(answer, ProviderError) or answer.is_closed or not sender.requests
    return outcomes


def asking(request):
    """Return a call that reads a whole chat."""

    async def call(adapter, target):
        events, told = [], []

        async def read():
            stream = await adapter.chat(request, target)
            told.append((dict(stream.headers), stream.dropped))
            try:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - those before an error count, too
            finally:
                stream.close()

        error = await ended(read())
        # An answer that is not streamed is read before anything of it is known.
        return events, told if request.stream or error is None else [], error

    return call


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
async def test_a_vendor_says_the_same_events(vendor, behind):
    count = 0
    for request, pieces, kind in cases_of(vendor):
        here, there = await both(
            asking(request), vendor=vendor, behind=behind, pieces=pieces, headers={"content-type": kind, "x-id": "7"}
        )
        assert there == here, request
        count += any(isinstance(event, Finished) for event in here[0][0])
    assert count >= max(2, len(vendor.cases)), "a recorded answer was not understood"


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_vendor_fails_in_the_same_way(vendor, is_stream, behind):
    request = next(request for request, _, _ in SPOKEN if request.stream is is_stream)
    for status, headers, body in REFUSALS:
        here, there = await both(
            asking(request), vendor=vendor, behind=behind, pieces=[body], status=status, headers=headers
        )
        assert there == here, status
        assert here[0][2] is not None
    for error in BREAKS:
        here, there = await both(asking(request), vendor=vendor, behind=behind, error=error, is_unreachable=True)
        assert there == here
        assert here[0][2][0] is type(error)


async def test_the_errors_are_those_that_routing_knows(behind):
    """So that the comparison above does not compare nothing."""
    vendor = VENDORS["openai"]
    kinds = []
    for status, headers, body in REFUSALS:
        _, there = await both(
            asking(SPOKEN[0][0]), vendor=vendor, behind=behind, pieces=[body], status=status, headers=headers
        )
        kinds.append(there[0][2])
    assert (kinds[0][1]["param"], kinds[0][1]["vendor_code"], kinds[0][1]["status"]) == (
        "mood",
        "unknown_parameter",
        400,
    )
    assert [kind for kind, _ in kinds[1:4:2]] == [ContextTooLong, CredentialRefused]
    assert (kinds[6][0], kinds[6][1]["retry_after_s"]) == (ProviderRateLimited, 7.5)


async def test_a_stream_that_breaks_keeps_what_came_before(behind):
    request, answer, kind = next(spoken for spoken in SPOKEN if spoken[0].stream)
    vendor = VENDORS["openai"]
    for error in BREAKS:
        here, there = await both(
            asking(request),
            vendor=vendor,
            behind=behind,
            pieces=[answer[: len(answer) // 2]],
            headers={"content-type": kind},
            error=error,
        )
        assert there == here
        assert len(here[0][0]) > 1
        assert here[0][2][0] is type(error)


# --- Relays


def relaying(request):
    """Return a call that passes a whole answer on, and looks at what its inspector says after each piece."""

    async def call(adapter, target):
        passed, seen = [], []

        async def read():
            stream = await adapter.relay(request, target)
            seen.append((stream.status, dict(stream.headers)))
            try:
                if not request.stream:
                    passed.append(await stream.read_all())
                while request.stream and (data := await stream.read()):
                    passed.append(data)
                    if stream.inspector.is_finished:
                        break
            finally:
                seen.append(state(stream.inspector))
                stream.close()

        error = await ended(read())
        if error is not None and not request.stream:
            return passed, error
        return b"".join(passed), seen, error

    return call


def state(inspector):
    return {
        name: getattr(inspector, name)
        for name in ("usage", "has_content", "is_finished", "output_tokens_seen", "issued")
    }


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
async def test_the_same_bytes_are_relayed_and_the_same_is_known_of_them(vendor, behind):
    relays = vendor.open(ScriptedSender(ConnectFailed())).relays(vendor.target)
    document = {"model": "public", "messages": [{"role": "user", "content": "again"}], "input": "again"}
    for operation in sorted(relays):
        for request, pieces, kind in cases_of(vendor):
            relayed = RelayRequest(
                operation=operation,
                body=msgspec.json.encode({**document, "stream": request.stream}),
                document={**document, "stream": request.stream},
                stream=request.stream,
                output_cap=7,
            )
            here, there = await both(
                relaying(relayed),
                vendor=vendor,
                behind=behind,
                relays=relays,
                pieces=pieces,
                headers={"content-type": kind, "x-id": "7"},
            )
            assert there == here, (operation, request)


async def test_a_relayed_stream_passes_whole_through_a_service(behind):
    vendor = VENDORS["openai"]
    _, answer, kind = next(spoken for spoken in SPOKEN if spoken[0].stream)
    body = b'{"model": "public",  "messages": [{"role": "user", "content": "\xc3\xa4"}], "stream": true}'
    relayed = RelayRequest(
        operation="openai.chat", body=body, document=msgspec.json.decode(body), stream=True, keep_usage=True
    )
    _, there = await both(
        relaying(relayed),
        vendor=vendor,
        behind=behind,
        relays={"openai.chat"},
        pieces=[answer],
        headers={"content-type": kind},
    )
    (passed, seen, error), requests = there
    assert passed == answer
    assert error is None
    assert seen[-1]["is_finished"]
    assert seen[-1]["usage"].output_tokens > 0
    assert requests[0].body == body.replace(b'"public"', b'"upstream-model"')
    assert dict(requests[0].headers)["authorization"] == "Bearer sk-of-the-vendor"


# --- The rest


@pytest.mark.parametrize("inputs", [["one", "two"], [[1, 2], [3]]])
async def test_embeddings_are_the_same(inputs, behind):
    request = EmbeddingRequest(model="public", input=inputs, dialect="openai", dimensions=2, user="ada")
    vectors = [{"index": at, "embedding": [0.1, -1e-7]} for at in range(2)]
    for answer in ({"model": "m", "data": vectors, "usage": {"prompt_tokens": 3}}, {"data": vectors[:1]}, {}):
        here, there = await both(
            lambda adapter, target: ended(adapter.embed(request, target)),
            vendor=VENDORS["openai"],
            behind=behind,
            pieces=[msgspec.json.encode(answer)],
        )
        assert there == here


async def test_models_are_the_same(behind):
    for answer in (b'{"data": [{"id": "a"}, {"id": "b"}]}', b"[]"):
        here, there = await both(
            lambda adapter, target: ended(adapter.models(target)),
            vendor=VENDORS["openai"],
            behind=behind,
            pieces=[answer],
        )
        assert there == here
