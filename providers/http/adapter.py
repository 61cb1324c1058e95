"""The one adapter that does the I/O for every dialect. Law: vendors are pure functions."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

from providers.errors import BadAnswer, ProviderError
from providers.framing.additions import add_members
from providers.protocol import Answer, ChatDecoder, ChatStream, Dialect, Inspector, RelayStream, Sender
from providers.stream import ReplayStream, replay
from providers.types import (
    NO_WIRE_FIELDS,
    ChatEvent,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    Headers,
    RelayRequest,
    Target,
    UpstreamRequest,
)

_MAX_ERROR_BYTES = 64 * 1024


class HttpAdapter:
    """Calls a provider over HTTP in the words of its dialect."""

    def __init__(self, dialect: Dialect, sender: Sender) -> None:
        self._dialect = dialect
        self._sender = sender

    def relays(self, target: Target) -> frozenset[str]:
        """Return the operations whose bytes go to `target` unchanged."""
        return self._dialect.relays(target)

    def dialect_for(self, request: ChatRequest, target: Target) -> Dialect:
        """Return the words in which a request is asked: always the same, but for vendors that have two wires."""
        del request, target
        return self._dialect

    async def chat(self, request: ChatRequest, target: Target) -> ChatStream:
        """Open an answer as canonical events."""
        dialect = self.dialect_for(request, target)
        asked = self._encoded(request, target, dialect)
        answer = await self._open(asked, target)
        key = _key_of(target)
        if request.stream:
            self._require_stream(answer)
            return HttpChatStream(answer, dialect.chat_decoder(), dropped=asked.dropped, key=key)
        with _accepted(key):
            completion = dialect.decode_chat(await _read_out(answer))
        return ReplayStream(replay(completion), answer.headers, dropped=asked.dropped)

    async def embed(self, request: EmbeddingRequest, target: Target) -> Embeddings:
        """Return the vectors of the inputs."""
        asked = self._dialect.encode_embeddings(request, target)
        answer = await self._open(asked, target)
        try:
            embeddings = self._dialect.decode_embeddings(await _read_out(answer))
            if len(embeddings.vectors) != len(request.input):
                raise BadAnswer("the provider's answer holds another number of embeddings than was asked for")
        except ProviderError as error:
            _note_accepted(error, key=_key_of(target))
            raise
        return msgspec.structs.replace(embeddings, dropped=asked.dropped) if asked.dropped else embeddings

    async def relay(self, request: RelayRequest, target: Target) -> RelayStream:
        """Send the client's bytes on and open the answer."""
        asked = self._dialect.encode_relay(request, target)
        answer = await self._open(asked, target)
        if request.stream:
            self._require_stream(answer, asked.answer_types)
        return HttpRelay(answer, self._dialect.inspector(request), key=_key_of(target))

    def check_request(self, request: ChatRequest | EmbeddingRequest | RelayRequest, target: Target) -> None:
        """Raise what the dialect has against a request, as `chat`, `embed` or `relay` would before the call."""
        if isinstance(request, ChatRequest):
            self._encoded(request, target, self.dialect_for(request, target))
        elif isinstance(request, EmbeddingRequest):
            self._dialect.encode_embeddings(request, target)
        else:
            self._dialect.encode_relay(request, target)

    async def models(self, target: Target) -> list[str]:
        """Return the names of the models that the provider serves."""
        answer = await self._open(self._dialect.encode_models(target), target)
        return self._dialect.decode_models(await _read_out(answer))

    def _encoded(self, request: ChatRequest, target: Target, dialect: Dialect) -> UpstreamRequest:
        """Return a request in the words of its dialect, and with the fields that the operator adds to them."""
        asked = dialect.encode_chat(request, target)
        added = request.wire
        if added is NO_WIRE_FIELDS:
            return asked
        body = add_members(asked.body, default=added.default, put=added.put)
        return msgspec.structs.replace(asked, body=body)

    async def _open(self, request: UpstreamRequest, target: Target) -> Answer:
        """Send a request; return a successful answer, raise any other as a `ProviderError`."""
        if target.headers:
            request = msgspec.structs.replace(request, call_headers=target.headers)
        answer = await self._sender.send(request, timeouts=target.timeouts)
        if 200 <= answer.status < 300:  # noqa: PLR2004 - a class of statuses
            return answer
        body = _without_credential(await _read_refusal(answer), target)
        raise self._dialect.decode_error(answer.status, answer.headers, body)

    def _require_stream(self, answer: Answer, wanted: tuple[str, ...] = ()) -> None:
        """Close and refuse an answer of another type than was asked for."""
        wanted = wanted or (self._dialect.stream_type,)
        if not answer.headers.get("content-type", wanted[0]).lower().startswith(wanted):
            answer.close()
            error = BadAnswer("the provider answered a streaming request with something that is not a stream")
            error.is_accepted = True
            raise error


def _key_of(target: Target) -> str:
    return target.credential.reveal() if target.credential else ""


def _without_credential(refusal: bytes, target: Target) -> bytes:
    """Return a refusal less the key that the provider was asked with: some quote it, and clients get to read it."""
    key = _key_of(target).encode()
    return refusal.replace(key, b"***") if key else refusal


def _note_accepted(error: ProviderError, *, key: str) -> None:
    """Note of a failure that the answer had begun as a good one, and take the key out of what the provider reports."""
    error.is_accepted = True
    if key and key in error.message:
        error.message = error.message.replace(key, "***")
        error.args = (error.message,)


@contextmanager
def _accepted(key: str) -> Iterator[None]:
    """Note of what is raised within that a good answer had begun; hide the key in it."""
    try:
        yield
    except ProviderError as error:
        _note_accepted(error, key=key)
        raise


class HttpChatStream:
    """Events decoded from a streamed answer; `key` is what the provider was asked with."""

    __slots__ = ("_answer", "_decoder", "_key", "dropped", "headers")

    def __init__(self, answer: Answer, decoder: ChatDecoder, *, dropped: tuple[str, ...] = (), key: str = "") -> None:
        self._answer = answer
        self._decoder = decoder
        self._key = key
        self.headers: Headers = answer.headers
        self.dropped = dropped

    async def __aiter__(self) -> AsyncIterator[ChatEvent]:
        """Yield the events of the answer; what a cancelled step waited for is the next's. Raises `ProviderError`."""
        decoder = self._decoder
        with _accepted(self._key):
            while not decoder.is_finished and (data := await self._answer.read()):
                for event in decoder.feed(data):
                    yield event
            for event in decoder.finish():
                yield event

    def close(self) -> None:
        """Let go of the upstream call."""
        _let_go(self._answer, is_finished=self._decoder.is_finished)


class HttpRelay:
    """A provider's answer in the client's own dialect, watched as it passes."""

    __slots__ = ("_answer", "_key", "headers", "inspector", "status")

    def __init__(self, answer: Answer, inspector: Inspector, *, key: str = "") -> None:
        self._answer = answer
        self._key = key
        self.inspector = inspector
        self.status = answer.status
        self.headers: Headers = answer.headers

    async def read(self) -> bytes:
        """Return the next bytes to pass on; `b""` at the end. Raises `ProviderError`."""
        inspector = self.inspector
        try:
            while not inspector.is_finished:
                if inspector.error is not None:
                    raise inspector.error
                data = await self._answer.read()
                if not data:
                    return inspector.end()
                passed = inspector.feed(data)
                if passed:
                    return passed
        except ProviderError as error:
            _note_accepted(error, key=self._key)
            raise
        return b""

    async def read_all(self) -> bytes:
        """Return the whole body."""
        with _accepted(self._key):
            return self.inspector.feed(await _read_out(self._answer))

    def close(self) -> None:
        """Let go of the upstream call."""
        _let_go(self._answer, is_finished=self.inspector.is_finished)


def _let_go(answer: Answer, *, is_finished: bool) -> None:
    """Keep the connection of a stream that said its terminator, although the end of its body may still be to come."""
    if is_finished:
        answer.finish()
    else:
        answer.close()


async def _read_out(answer: Answer) -> bytes:
    try:
        return await answer.read_all()
    finally:
        answer.close()


async def _read_refusal(answer: Answer) -> bytes:
    """Return the first 64 KiB of a refusal."""
    gathered = bytearray()
    try:
        while len(gathered) < _MAX_ERROR_BYTES and (data := await answer.read()):
            gathered += data
    finally:
        answer.close()
    return bytes(gathered[:_MAX_ERROR_BYTES])
