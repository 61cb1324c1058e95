"""What every adapter must do, as a suite that an adapter's author subclasses; needs pytest.

    from providers.testing.contract import HttpAdapterContract

    class TestAcme(HttpAdapterContract):
        plugin, cases = acme_plugin, recorded_cases

Law: nothing here depends on what a vendor's wire looks like. What does is given as recorded `cases`. No test needs a
plug-in of pytest, a network or an event loop that is already there.
"""

# ruff: noqa: S101 - a suite of tests asserts

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import ClassVar

import msgspec
import pytest

from providers.errors import (
    BadAnswer,
    ConnectFailed,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
    StreamInterrupted,
)
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatStream
from providers.stream import collect
from providers.testing.cases import SOURCE, Case
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import (
    ChatEvent,
    ChatRequest,
    EmbeddingRequest,
    Finished,
    Message,
    RelayRequest,
    Secret,
    Started,
    Target,
    TextPart,
    UpstreamRequest,
)

CREDENTIAL = "sk-canary-9f2c41d7"
_OWNED_BY_TRANSPORT = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_OPERATION = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")

_STATUSES: dict[int, type[ProviderError]] = {
    400: RequestRefused,
    401: CredentialRefused,
    403: CredentialRefused,
    404: RequestRefused,
    413: RequestRefused,
    422: RequestRefused,
    429: ProviderRateLimited,
    500: ProviderOverloaded,
    502: ProviderOverloaded,
    503: ProviderOverloaded,
    529: ProviderOverloaded,
    301: BadAnswer,
    307: BadAnswer,
}
_REFUSALS = (
    b"",
    b"<html>no</html>",
    b"{",
    b"null",
    b"[]",
    b'"no"',
    b"\xff\xfe",
    b'{"error": null}',
    b'{"error": {"message": 7, "code": []}}',
    b'{"error": {"message": "no"}}',
    b"[" * 5000,
    b"x" * 200_000,
)
_GARBAGE = (
    b"",
    b"<html>It works!</html>",
    b"{",
    b"null",
    b"[]",
    b"7",
    b"\xff\xfe",
    b"{}",
    b"[" * 5000,
)
_ODDLY_SHAPED = (
    b'{"choices": 7, "data": "x"}',
    b'{"choices": [7], "data": [7], "content": [7], "candidates": [7], "output": 7}',
)
_GARBAGE_STREAMS = (
    *_GARBAGE,
    *_ODDLY_SHAPED,
    b"data: {not json\n\n",
    b"data: [1, 2\n\n",
    b"event: nothing\n\n",
    b": only a comment\n\n",
    b"\x00\x00\x00\x10 not frames",
    b"data: " + b"[" * 5000 + b"\n\n",
    b"data: null\n\n",
    b'data: {"choices": [{"delta": 7, "index": "x"}]}\n\n',
)


class AdapterContract:
    """What any adapter must do, even one that calls nobody. Subclass it and name your `plugin`.

    Override `options` if the plug-in cannot be opened with its defaults.
    """

    plugin: ClassVar[Plugin]
    base_url: ClassVar[str] = "http://provider.invalid/base"
    """Where calls go if the plug-in has no address of its own."""

    # --- What a subclass may override

    def options(self) -> msgspec.Struct:
        """Return the options to open the plug-in with."""
        return self.plugin.options()

    def target(self) -> Target:
        """Return where the calls go."""
        base_url = self.plugin.base_url or self.base_url
        return Target(provider="contract", model="contract-model", base_url=base_url, credential=Secret(CREDENTIAL))

    # --- The suite

    def test_the_plugin_names_itself(self) -> None:
        """Its name, variables and address are what the configuration can use."""
        plugin = self.plugin
        assert _NAME.fullmatch(plugin.name), plugin.name
        assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in plugin.key_variables), plugin.key_variables
        assert not plugin.base_url or re.fullmatch(r"https?://.*[^/]", plugin.base_url), plugin.base_url

    def test_unknown_options_are_refused(self) -> None:
        """A misspelt option is an error, not a setting that does nothing."""
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no_such_option_": 1}, self.plugin.options)

    def test_opening_calls_nobody(self) -> None:
        """An adapter is made without I/O."""
        sender = ScriptedSender(ConnectFailed())
        adapter = self.plugin.open(sender, self.options())
        assert isinstance(adapter, Adapter)
        relays = adapter.relays(self.target())
        assert isinstance(relays, frozenset)
        assert all(_OPERATION.fullmatch(name) for name in relays), relays
        assert not sender.requests

    def test_an_answer_starts_and_each_choice_finishes(self) -> None:
        """Events are in order, and amount to an answer."""
        for request, answer in self._answers():
            events = self._events(request, answer)
            assert isinstance(events[0], Started)
            assert sum(isinstance(event, Started) for event in events) == 1
            finished = [event.choice for event in events if isinstance(event, Finished)]
            assert finished, "no choice finished"
            assert len(finished) == len(set(finished)), "a choice finished twice"
            assert collect(events).choices

    def test_closing_early_lets_go_of_the_call(self) -> None:
        """Whoever stops reading closes, and may do so twice."""
        for request, answer in self._answers():
            asyncio.run(self._open_and_close(request, answer))
            assert answer is None or answer.is_closed

    def _answers(self) -> Iterable[tuple[ChatRequest, ScriptedAnswer | None]]:
        """Yield requests with the answer that the provider would give, if there is a provider."""
        yield from ((_chat_request(stream=stream), None) for stream in (False, True))

    def _events(self, request: ChatRequest, answer: ScriptedAnswer | None) -> list[ChatEvent]:
        adapter, _ = self._adapter(answer)

        async def read() -> list[ChatEvent]:
            stream = await adapter.chat(request, self.target())
            try:
                return [event async for event in stream]
            finally:
                stream.close()

        return asyncio.run(read())

    async def _open_and_close(self, request: ChatRequest, answer: ScriptedAnswer | None) -> None:
        adapter, _ = self._adapter(answer)
        stream = await adapter.chat(request, self.target())
        await anext(aiter(stream))
        stream.close()
        stream.close()

    def _adapter(self, answer: ScriptedAnswer | ProviderError | None) -> tuple[Adapter, ScriptedSender]:
        sender = ScriptedSender(ConnectFailed() if answer is None else answer)
        return self.plugin.open(sender, self.options()), sender


class HttpAdapterContract(AdapterContract):
    """What an adapter must do that calls its provider through the transport it is given.

    Give `cases`: at least one whole answer and one streamed, recorded from the vendor.
    """

    cases: ClassVar[Sequence[Case]]
    refuses: ClassVar[frozenset[str]] = frozenset()
    """What its vendor has no endpoint for, so that nobody is called: `embed`, `models`, `relay`."""

    def test_what_the_vendor_has_no_endpoint_for_is_refused(self) -> None:
        """By name and as the caller's fault, without a call."""
        for name in self.refuses:
            adapter, sender = self._adapter(ConnectFailed())
            with pytest.raises(RequestRefused):
                asyncio.run(_finish(_CALLS[name](adapter, self.target())))
            assert not sender.requests, name

    def test_cases_are_recorded(self) -> None:
        """Without a whole and a streamed answer the rest of this suite would prove nothing."""
        assert {case.request.stream for case in self.cases} == {False, True}

    def test_cases_name_their_source(self) -> None:
        """A vendor's page and the month it was read, or the type of its SDK that a case was taken from."""
        for case in self.cases:
            assert SOURCE.search(case.source), f"{case.name}: {case.source!r}"

    def test_recorded_cases_are_read_right(self) -> None:
        """Every recorded answer amounts to its completion."""
        for case in self.cases:
            events = self._events(case.request, _answer_of(case, [case.answer]))
            assert collect(events) == case.completion, case.name

    def test_recorded_cases_are_asked_right(self) -> None:
        """Every recorded request is what goes out."""
        for case in self.cases:
            if case.sent is not None:
                asked = self._asked(case.request)
                assert msgspec.json.decode(asked.body) == case.sent, case.name
                assert set(asked.dropped) == set(case.dropped), case.name

    def test_the_cut_of_the_bytes_does_not_matter(self) -> None:
        """A stream says the same however its bytes are cut."""
        for case in self._streamed():
            whole = self._events(case.request, _answer_of(case, [case.answer]))
            for size in (1, 2, 3, 7, 64):
                pieces = [case.answer[at : at + size] for at in range(0, len(case.answer), size)]
                assert self._events(case.request, _answer_of(case, pieces)) == whole, f"{case.name}, by {size}"
            for cut in range(1, len(case.answer)):
                pieces = [case.answer[:cut], case.answer[cut:]]
                assert self._events(case.request, _answer_of(case, pieces)) == whole, f"{case.name}, at {cut}"

    def test_a_stream_that_is_cut_is_never_taken_for_a_whole_one(self) -> None:
        """Wherever the bytes end: either that is an error, or nothing was missing but perhaps the usage."""
        for case in self._streamed():
            step = max(1, len(case.answer) // 97)
            for length in range(0, len(case.answer), step):
                try:
                    events = self._events(case.request, _answer_of(case, [case.answer[:length]]))
                except ProviderError:
                    continue
                choices = collect(events).choices if events else []
                assert choices == case.completion.choices, f"{case.name}, cut after {length} bytes"

    def test_a_stream_that_breaks_says_so(self) -> None:
        """The transport's error comes through, after the events before it."""
        for case in self._streamed():
            half = case.answer[: len(case.answer) // 2]
            error = StreamInterrupted()
            answer = _answer_of(case, [half], error=error)
            with pytest.raises(StreamInterrupted) as caught:
                self._events(case.request, answer)
            assert caught.value is error

    def test_streams_share_no_state(self) -> None:
        """Two streams read in turn are told apart."""
        for case in self._streamed():
            alone = self._events(case.request, _answer_of(case, [case.answer]))
            assert asyncio.run(self._read_two_in_turn(case)) == [alone, alone], case.name

    def test_a_step_that_is_cancelled_loses_nothing(self) -> None:
        """A stream whose reader has left goes on for whoever reads its rest, by an iterator of his own."""
        for case in self._streamed():
            whole = self._events(case.request, _answer_of(case, [case.answer]))
            assert asyncio.run(self._read_haltingly(case)) == whole, case.name

    def test_the_credential_goes_in_a_header_only(self) -> None:
        """It is in no URL and no body, where logs and proxies would keep it."""
        for request in self._all_asked():
            assert CREDENTIAL not in request.url, request.url
            assert CREDENTIAL.encode() not in request.body
            assert any(CREDENTIAL in value for _, value in request.headers), "the credential is not sent at all"

    def test_requests_are_well_formed(self) -> None:
        """They go to the target, and leave to the transport what is the transport's."""
        for request in self._all_asked():
            assert request.url.startswith(self.target().base_url), request.url
            assert request.method in {"GET", "POST"}
            names = [name for name, _ in request.headers]
            assert len(names) == len(set(names)), f"a header is sent twice: {names}"
            assert not _OWNED_BY_TRANSPORT.intersection(names), names
            assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names), names
            assert not any(re.search(r"[\x00-\x1f\x7f]", value) for _, value in request.headers)

    def test_the_same_request_is_asked_in_the_same_bytes(self) -> None:
        """So that a retry is the same call, and the transport may keep encoded heads."""
        assert self._all_asked() == self._all_asked()

    def test_errors_of_the_transport_pass_unchanged(self) -> None:
        """What the transport knows, the adapter does not reword."""
        errors = (ConnectFailed(), ProviderTimedOut(phase="first_token"), StreamInterrupted(), BadAnswer())
        for error in errors:
            for call in self._calls():
                assert self._failure(call, error) is error

    def test_each_status_is_an_error_of_its_kind(self) -> None:
        """Whatever the body is; and the call is let go."""
        for status, kind in _STATUSES.items():
            for body in _REFUSALS:
                for call in self._calls():
                    answer = ScriptedAnswer(body, status=status, headers={"location": "http://elsewhere.invalid/"})
                    error = self._failure(call, answer)
                    assert isinstance(error, kind), f"{status} {body[:40]!r}: {type(error).__name__}"
                    assert error.status == status, f"{status}: the error says {error.status}"
                    assert answer.is_closed, f"{status}: the answer was not closed"

    def test_a_wait_that_is_asked_for_is_told(self) -> None:
        """`retry-after` reaches routing, in seconds."""
        for status in (429, 503):
            answer = ScriptedAnswer(b"{}", status=status, headers={"retry-after": "7"})
            assert self._failure(_chat, answer).retry_after_s == 7, status  # noqa: PLR2004 - the header above
            odd = ScriptedAnswer(b"{}", status=status, headers={"retry-after": "soon"})
            assert self._failure(_chat, odd).retry_after_s is None, status

    def test_an_error_does_not_show_the_credential(self) -> None:
        """Not even when the vendor's message repeats it."""
        message = f"not with {CREDENTIAL}"
        body = msgspec.json.encode({"error": {"message": message, "code": CREDENTIAL, "param": CREDENTIAL}})
        for status in (400, 401, 403, 404, 422, 429, 500):
            error = self._failure(_chat, ScriptedAnswer(body, status=status))
            shown = f"{error}{error!r}{error.message}{error.vendor_code}{getattr(error, 'param', None)}"
            assert CREDENTIAL not in shown, status

    def test_garbage_is_a_bad_answer(self) -> None:
        """A 200 that makes no sense is the provider's fault, never a crash and never an answer."""
        called = self._calls()
        bodies = [(call, body) for call in (_chat, _embed) if call in called for body in (*_GARBAGE, *_ODDLY_SHAPED)]
        # A list of models may hold things that are none.
        bodies += [(_models, body) for body in _GARBAGE if _models in called]
        for call, body in bodies:
            answer = ScriptedAnswer(body)
            error = self._failure(call, answer)
            assert isinstance(error, BadAnswer), f"{body[:40]!r}: {type(error).__name__}"
            assert answer.is_closed

    def test_a_garbage_stream_is_a_provider_error(self) -> None:
        """Nor is a stream of nonsense ever a finished answer."""
        for body in _GARBAGE_STREAMS:
            for headers in ({"content-type": "text/event-stream"}, {"content-type": "text/html"}):
                error = self._failure(_streamed_chat, ScriptedAnswer(body, headers=headers))
                assert isinstance(error, ProviderError), f"{body[:40]!r}"

    def test_what_breaks_behind_the_head_of_a_good_answer_says_so(self) -> None:
        """The provider bills that. What it refuses, and a call that it never answered, it does not."""
        for call in (call for call in self._calls() if call is not _models):
            broken = ScriptedAnswer(headers={}, error=StreamInterrupted())
            assert self._failure(call, broken).is_accepted, call.__name__
            for answer in (ScriptedAnswer(b"{}", status=500), ConnectFailed()):
                assert not self._failure(call, answer).is_accepted, call.__name__
        html = ScriptedAnswer(b"<html>It works!</html>", headers={"content-type": "text/html"})
        for call in (_chat, _streamed_chat):
            assert self._failure(call, html).is_accepted, call.__name__

    def _answers(self) -> Iterable[tuple[ChatRequest, ScriptedAnswer | None]]:
        yield from ((case.request, _answer_of(case, [case.answer])) for case in self.cases)

    def _calls(self) -> list["_Call"]:
        """Return a call of every kind that the vendor has an endpoint for."""
        return [call for name, call in _CALLS.items() if name not in self.refuses]

    def _streamed(self) -> list[Case]:
        return [case for case in self.cases if case.request.stream]

    async def _read_two_in_turn(self, case: Case) -> list[list[ChatEvent]]:
        """Open two streams, feed them a few bytes in turn, and return the events of each."""
        pieces = [case.answer[at : at + 50] for at in range(0, len(case.answer), 50)]
        streams: list[ChatStream] = []
        adapter, sender = self._adapter(None)
        for _ in range(2):
            sender.answer = _answer_of(case, pieces)
            streams.append(await adapter.chat(case.request, self.target()))
        events: list[list[ChatEvent]] = [[], []]
        running: dict[int, AsyncIterator[ChatEvent]] = {at: aiter(stream) for at, stream in enumerate(streams)}
        while running:
            for at, iterator in list(running.items()):
                try:
                    events[at].append(await anext(iterator))
                except StopAsyncIteration:
                    del running[at]
        return events

    async def _read_haltingly(self, case: Case) -> list[ChatEvent]:
        """Cancel every step that waits for bytes, once, and return all events."""
        adapter, sender = self._adapter(None)
        sender.answer = _HaltingAnswer(
            _answer_of(case, [case.answer[at : at + 50] for at in range(0, len(case.answer), 50)])
        )
        stream = await adapter.chat(case.request, self.target())
        iterator, events = aiter(stream), list[ChatEvent]()
        while True:
            try:
                events.append(await anext(iterator))
            except asyncio.CancelledError:
                iterator = aiter(stream)
            except StopAsyncIteration:
                return events

    def _asked(self, request: ChatRequest) -> UpstreamRequest:
        """Return what goes to the vendor for one chat request."""
        adapter, sender = self._adapter(ConnectFailed())
        with pytest.raises(ConnectFailed):
            asyncio.run(_finish(adapter.chat(request, self.target())))
        return sender.requests[0]

    def _all_asked(self) -> list[UpstreamRequest]:
        """Return what goes to the vendor for one call of every kind."""
        asked: list[UpstreamRequest] = []
        for call in self._calls():
            adapter, sender = self._adapter(ConnectFailed())
            with pytest.raises(ProviderError):
                asyncio.run(_finish(call(adapter, self.target())))
            asked += sender.requests
        return asked

    def _failure(self, call: "_Call", answer: ScriptedAnswer | ProviderError) -> ProviderError:
        """Return the provider error that a call ends in; anything else fails the test."""
        adapter, _ = self._adapter(answer)
        with pytest.raises(ProviderError) as caught:
            asyncio.run(_finish(call(adapter, self.target())))
        return caught.value


class _HaltingAnswer(ScriptedAnswer):
    """An answer of which every second read is cancelled."""

    def __init__(self, inner: ScriptedAnswer) -> None:
        super().__init__(status=inner.status, headers=inner.headers)
        self._inner = inner
        self._halts = False

    async def read(self) -> bytes:
        """Return the next piece, or be cancelled while waiting for it."""
        self._halts = not self._halts
        if self._halts:
            raise asyncio.CancelledError
        return await self._inner.read()


_Call = Callable[[Adapter, Target], Awaitable[object]]


async def _finish(call: Awaitable[object]) -> None:
    await call


def _chat_request(*, stream: bool) -> ChatRequest:
    message = Message(role="user", content=[TextPart(text="say this again")])
    return ChatRequest(model="public-name", messages=[message], dialect="openai", stream=stream)


async def _read(stream: ChatStream) -> None:
    try:
        async for _ in stream:
            pass
    finally:
        stream.close()


async def _chat(adapter: Adapter, target: Target) -> None:
    await _read(await adapter.chat(_chat_request(stream=False), target))


async def _streamed_chat(adapter: Adapter, target: Target) -> None:
    await _read(await adapter.chat(_chat_request(stream=True), target))


async def _embed(adapter: Adapter, target: Target) -> None:
    await adapter.embed(EmbeddingRequest(model="public-name", input=["one", "two"], dialect="openai"), target)


async def _models(adapter: Adapter, target: Target) -> None:
    await adapter.models(target)


async def _relay(adapter: Adapter, target: Target) -> None:
    """Relay something in every dialect that the adapter relays."""
    document = {"model": "public-name", "messages": [{"role": "user", "content": "again"}], "input": "again"}
    body = msgspec.json.encode(document)
    for operation in sorted(adapter.relays(target)) or ["openai.chat"]:
        relayed = await adapter.relay(RelayRequest(operation=operation, body=body, document=document), target)
        try:
            await relayed.read_all()
        finally:
            relayed.close()


_CALLS: dict[str, _Call] = {
    "chat": _chat,
    "streamed_chat": _streamed_chat,
    "embed": _embed,
    "models": _models,
    "relay": _relay,
}


def _answer_of(case: Case, pieces: Iterable[bytes], *, error: ProviderError | None = None) -> ScriptedAnswer:
    return ScriptedAnswer(pieces, headers={"content-type": case.content_type}, error=error)
