"""One HTTP/1.1 connection: writes a request, parses its answer, watches its clocks.

Law: one exchange at a time, and every byte that comes outside of one ends the connection. One timer per connection,
re-armed only when it fires early; a clock is set by writing a number.
"""

import asyncio
from collections.abc import AsyncIterable, Coroutine
from typing import Any, cast

import httptools

from providers.errors import BadAnswer, ProviderError, ProviderTimedOut, RequestRefused, StreamInterrupted
from providers.http.answer import Answer
from providers.http.inflate import ENCODINGS, Inflater
from providers.http.origin import Origin
from providers.http.request import RequestHead
from providers.types import Timeouts

_NEVER_S = float("inf")
_HEAD_BYTES_MAX = 65_536
_FIELDS_MAX = 200
_INFORMATIONAL_MAX = 16
_HELD_BYTES_MAX = 262_144
_PIECE_COST_BYTES = 64
"""What a piece of body costs in memory beside its bytes, so that a body of one-byte chunks is bounded too."""

_EMPTY_BYTES_MAX = 65_536
"""How much chunk framing and trailers may come in a row without a byte of body."""

_JOINED_BYTES_MAX = 65_536
"""Up to this size a body is copied behind its head: cheaper than a second system call."""

_LINGER_S = 1.0
_LINGER_BYTES_MAX = 16_384
"""How long, and for how many bytes, the end of an answer is waited for that nobody reads any more."""

_CONTINUE = 100
_SWITCHING_PROTOCOLS = 101
_OK = 200
_SUCCESSES = range(200, 300)
_LAST_STATUS = 599
_FRAMING_NAMES = frozenset({"content-length", "transfer-encoding", "content-encoding"})

_PARKED, _FIRST_TOKEN, _IDLE, _WRITE = "parked", "first_token", "idle", "write"
_TIMEOUT_MESSAGES = {
    _FIRST_TOKEN: "The provider did not begin to answer in time.",
    _IDLE: "The provider stopped in the middle of its answer.",
    _WRITE: "The provider stopped taking the request.",
}


class StaleConnection(StreamInterrupted):
    """The provider closed a kept connection before it answered."""


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 over one transport.

    `answer` is the exchange in progress, `begun_s` its start on the loop's clock.
    """

    __slots__ = (
        "_deadline_s",
        "_empty_bytes",
        "_exchanges",
        "_feed",
        "_head_bytes",
        "_held_bytes",
        "_home",
        "_idle_s",
        "_informational",
        "_is_cut",
        "_is_framed",
        "_is_head",
        "_is_heard",
        "_is_lingering",
        "_is_read_paused",
        "_is_reusable",
        "_is_uploading",
        "_is_write_paused",
        "_loop",
        "_names",
        "_now_s",
        "_parser",
        "_phase",
        "_repeated",
        "_timer",
        "_timer_s",
        "_transport",
        "_unsent_bytes",
        "_wait_head_s",
        "answer",
        "begun_s",
    )

    def __init__(self, home: Origin, *, loop: asyncio.AbstractEventLoop) -> None:
        """Make a connection that belongs to `home`; the loop connects it."""
        self._home = home
        self._names = home.field_names
        self._loop = loop
        self._now_s = loop.time
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = _NEVER_S
        self._deadline_s = _NEVER_S
        self._phase = _PARKED
        self._idle_s = self._wait_head_s = 0.0
        self._exchanges = self._informational = self._repeated = 0
        self._head_bytes = self._held_bytes = self._empty_bytes = self._unsent_bytes = 0
        self._is_framed = self._is_head = self._is_heard = self._is_reusable = False
        self._is_read_paused = self._is_write_paused = self._is_uploading = self._is_cut = False
        self.answer: Answer | None = None
        self.begun_s = 0.0

    # The exchange, as the pool drives it

    def exchange(self, head: RequestHead, body: bytes, *, timeouts: Timeouts) -> Coroutine[Any, Any, Answer]:
        """Send a request, and return its answer once its head is there, to be awaited at once.

        Raises `StaleConnection` if a reused connection died before the first byte; a cancelled exchange cuts the
        connection.
        """
        transport = self._ready_transport()
        answer = self._begin(head, timeouts)
        if len(body) <= _JOINED_BYTES_MAX:
            transport.write(head.for_body(len(body)) + body)
        else:
            transport.write(head.for_body(len(body)))
            transport.write(body)
        return self._headed(answer)

    async def upload(
        self, head: RequestHead, chunks: AsyncIterable[bytes], *, length_bytes: int | None, timeouts: Timeouts
    ) -> Answer:
        """Send a request whose body comes in chunks, chunked unless `length_bytes` is known, and return its answer.

        An answer that comes early ends the upload at its next chunk. A body shorter or longer than `length_bytes`
        cuts the connection: the server must not take a part for the whole.
        """
        transport = self._ready_transport()
        answer = self._begin(head, timeouts)
        self._is_uploading = True
        self._deadline_s = _NEVER_S
        try:
            transport.write(head.chunked if length_bytes is None else head.for_body(length_bytes))
            await self._upload_chunks(answer, chunks, length_bytes)
        except BaseException:
            self.abort()
            raise
        return await self._headed(answer)

    def next_bytes(self, answer: Answer) -> asyncio.Future[None]:
        """Return a future that is done when `answer` has bytes, an end or an error; its clock starts now."""
        self._arm(_IDLE, answer.idle_s)
        waiter = answer.waiter = self._loop.create_future()
        return waiter

    def drained(self) -> None:
        """Hear that the reader took all that was held."""
        self._held_bytes = 0
        if self._is_read_paused:
            self._resume_reading()

    def release(self) -> None:
        """End the exchange: park the connection if it is clean, else cut it."""
        answer, self.answer = self.answer, None
        if answer is None or not answer.is_complete or not self._is_clean():
            self.abort()
            return
        self._held_bytes = 0
        if self._is_read_paused:
            self._resume_reading()
        if self._home.park(self):
            self._arm(_PARKED, self._home.idle_expiry_s)
        else:
            self.abort()

    def linger(self) -> None:
        """End the exchange, but wait a moment for an end of the answer that nobody reads any more."""
        answer = self.answer
        if answer is None or answer.is_complete or answer.error is not None:
            self.release()
            return
        self._is_lingering = True
        self._held_bytes = 0
        if self._is_read_paused:
            self._resume_reading()
        self._arm(_IDLE, _LINGER_S)

    def abort(self) -> None:
        """Cut the connection at once, even before it is made; harmless when repeated."""
        self._is_cut = True
        self._home.forget(self)
        self._deadline_s = _NEVER_S
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.connection = None
            if not answer.is_complete:
                answer.fail(answer.error or StreamInterrupted("The connection to the provider was cut."))
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport, unless whoever wanted it has gone."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_cut:
            self._transport.abort()
        else:
            self._home.opened_one(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; anything outside of an exchange ends the connection."""
        answer = self.answer
        if answer is None:
            self.abort()
            return
        self._is_heard = True
        if not answer.is_headed:
            self._head_bytes += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._misread(answer, error)
        if self._is_lingering:
            self._end_lingering(answer)
        elif answer.pieces or answer.is_complete:
            answer.wake()
        elif answer.is_headed:
            self._count_empty(answer, len(data))
        elif self._head_bytes > _HEAD_BYTES_MAX:
            self._fail(answer, self._head_refused(_head_too_large()))

    def eof_received(self) -> None:
        """Finish an answer that ends with the connection; the transport then closes itself."""
        self._home.forget(self)
        self._end_unframed()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the reader, unless the answer was whole."""
        if exc is None:
            self._end_unframed()
        if self.answer is not None and not self.answer.is_complete:
            self._fail(self.answer, self._loss())
        self.abort()
        self._transport = None

    def pause_writing(self) -> None:
        """Start the write clock: the request waits for the provider to take it."""
        self._is_write_paused = True
        if self._phase == _FIRST_TOKEN and self.answer is not None and not self.answer.is_headed:
            self._arm_write()

    def resume_writing(self) -> None:
        """Start the clock of the first byte, or let the upload go on."""
        self._is_write_paused = False
        if self._phase != _WRITE or self.answer is None:
            return
        if self._is_uploading:
            self._phase = _FIRST_TOKEN
            self._deadline_s = _NEVER_S
            self.answer.wake()
        else:
            self._arm(_FIRST_TOKEN, self._wait_head_s)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Refuse bytes after the end of the answer."""
        answer = self.answer
        if answer is None or answer.is_complete:
            raise BadAnswer("The provider sent more than its answer.")

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """Keep a header field; trailers are dropped."""
        answer = self.answer
        if answer is None or answer.is_headed:
            return
        name = self._names.get(raw_name) or self._home.learn(raw_name)
        value = raw_value.decode("latin-1")
        headers = answer.headers
        if name in headers:
            self._count_repeated()
            value = f"{headers[name]}, {value}"
        headers[name] = value
        if name in _FRAMING_NAMES:
            self._note_framing(answer, name, value)

    def on_headers_complete(self) -> None:
        """Judge the head and hand it over, unless it is informational."""
        answer = self.answer
        if answer is None:
            return
        status = self._parser.get_status_code()
        self._check_head_size(answer.headers)
        if status < _OK:
            self._skip_informational(answer, status)
            return
        if status > _LAST_STATUS:
            raise BadAnswer("The provider answered with a status that HTTP does not have.")
        answer.status = status
        answer.is_headed = True
        self._is_reusable = self._parser.should_keep_alive()
        self._deadline_s = _NEVER_S
        if answer.inflater is not None:
            del answer.headers["content-encoding"]
            answer.headers.pop("content-length", None)
        if self._is_head:  # the parser expects the body that only the head describes, so it cannot go on
            answer.is_complete = True
            self._is_reusable = False
        answer.wake()

    def on_body(self, data: bytes) -> None:
        """Hold a piece of the body until it is read; too many pause the provider."""
        answer = self.answer
        if answer is None or answer.is_complete:
            return
        answer.pieces.append(data)
        held = self._held_bytes = self._held_bytes + len(data) + _PIECE_COST_BYTES
        if held > _HELD_BYTES_MAX and not self._is_read_paused:
            self._pause_reading()

    def on_message_complete(self) -> None:
        """Mark the answer whole. It stays its reader's: the connection is not free yet."""
        answer = self.answer
        if answer is not None and answer.is_headed:
            answer.is_complete = True
            self._deadline_s = _NEVER_S

    # Steps

    def _ready_transport(self) -> asyncio.Transport:
        transport = self._transport
        if transport is None or transport.is_closing():
            self.abort()
            raise StaleConnection
        return transport

    def _begin(self, head: RequestHead, timeouts: Timeouts) -> Answer:
        answer = self.answer = Answer(self, idle_s=timeouts.idle_s)
        self._exchanges += 1
        self._head_bytes = self._informational = self._repeated = self._empty_bytes = 0
        self._is_head = head.is_head
        self._is_framed = self._is_heard = self._is_reusable = self._is_uploading = self._is_lingering = False
        self._idle_s = timeouts.idle_s
        self._wait_head_s = timeouts.first_token_s
        self.begun_s = self._arm(_FIRST_TOKEN, timeouts.first_token_s)
        return answer

    async def _headed(self, answer: Answer) -> Answer:
        if answer.error is None and not answer.is_headed:
            waiter = answer.waiter = self._loop.create_future()
            try:
                await waiter
            except BaseException:
                self.abort()
                raise
        if answer.error is not None and not answer.is_headed:
            raise answer.error
        return answer

    async def _upload_chunks(self, answer: Answer, chunks: AsyncIterable[bytes], length_bytes: int | None) -> None:
        sent_bytes = 0
        async for chunk in chunks:
            if answer.is_headed or answer.error is not None:
                return
            sent_bytes += len(chunk)
            if length_bytes is not None and sent_bytes > length_bytes:
                raise RequestRefused("The request's body is longer than it declares.")
            if chunk:
                await self._write_chunk(answer, chunk, is_framed=length_bytes is None)
        if length_bytes is not None and sent_bytes < length_bytes:
            raise RequestRefused("The request's body is shorter than it declares.")
        if answer.is_headed or answer.error is not None:
            return
        if length_bytes is None:
            self._ready_transport().write(b"0\r\n\r\n")
        self._is_uploading = False
        if self._is_write_paused:
            self._arm_write()
        else:
            self._arm(_FIRST_TOKEN, self._wait_head_s)

    async def _write_chunk(self, answer: Answer, chunk: bytes, *, is_framed: bool) -> None:
        """Write one chunk of an upload and wait until the provider takes more, answers or fails."""
        self._ready_transport().write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_framed else chunk)
        if self._is_write_paused and not answer.is_headed and answer.error is None:
            self._arm_write()
            waiter = answer.waiter = self._loop.create_future()
            await waiter

    def _end_lingering(self, answer: Answer) -> None:
        """Give the connection back at the end of the answer; cut it if there is more than an end."""
        size_bytes = sum(map(len, answer.pieces))
        answer.pieces.clear()
        self._held_bytes += size_bytes
        if answer.is_complete:
            self.release()
        elif self._held_bytes > _LINGER_BYTES_MAX:
            self.abort()

    def _loss(self) -> StreamInterrupted:
        if self._is_heard:
            return StreamInterrupted("The provider closed the connection in the middle of its answer.")
        if self._exchanges > 1:
            return StaleConnection()
        return StreamInterrupted("The provider closed the connection before it answered.")

    def _is_clean(self) -> bool:
        """Whether nothing of the exchange is left on the wire, in either direction."""
        transport = self._transport
        return (
            self._is_reusable
            and not self._is_uploading
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def _end_unframed(self) -> None:
        """Complete an answer that has no length and so ends with the connection."""
        answer = self.answer
        if answer is not None and answer.is_headed and not self._is_framed and not answer.is_complete:
            answer.is_complete = True
            self._is_reusable = False
            answer.wake()

    def _count_repeated(self) -> None:
        self._repeated += 1
        if self._repeated > _FIELDS_MAX:
            raise _head_too_large()

    def _check_head_size(self, headers: dict[str, str]) -> None:
        """Refuse a head over its bounds; what came in one read may be larger than the head."""
        if len(headers) + self._repeated > _FIELDS_MAX:
            raise _head_too_large()
        if self._head_bytes > _HEAD_BYTES_MAX:
            size_bytes = sum(len(name) + len(value) + 4 for name, value in headers.items())
            if size_bytes > _HEAD_BYTES_MAX:
                raise _head_too_large()

    def _note_framing(self, answer: Answer, name: str, value: str) -> None:
        """Heed the fields that say how the body is framed and encoded."""
        if name != "content-encoding":
            self._is_framed = True
            if name == "transfer-encoding" and value.strip().lower() != "chunked":
                raise BadAnswer("The provider's answer has an unknown transfer encoding.")
        elif not self._is_head:
            encoding = value.strip().lower()
            if encoding in ENCODINGS:
                answer.inflater = Inflater(encoding)
            elif encoding not in {"", "identity"}:
                raise BadAnswer("The provider's answer has a content encoding that was not asked for.")

    def _skip_informational(self, answer: Answer, status: int) -> None:
        self._informational += 1
        if status < _CONTINUE or status == _SWITCHING_PROTOCOLS or self._informational > _INFORMATIONAL_MAX:
            raise BadAnswer("The provider answered with an informational status that cannot be used.")
        answer.headers.clear()
        self._repeated = 0
        answer.inflater = None
        self._is_framed = False

    def _count_empty(self, answer: Answer, size_bytes: int) -> None:
        """Bound what the provider can send without sending any body."""
        self._empty_bytes += size_bytes
        if self._empty_bytes > _EMPTY_BYTES_MAX:
            self._fail(
                answer, BadAnswer("The provider's answer is framing without content.", code="upstream_too_large")
            )

    def _misread(self, answer: Answer, error: Exception) -> None:
        """Judge a parser's error: after a whole answer it costs only the connection."""
        if answer.is_complete:
            self._is_reusable = False
            return
        cause = error.__context__
        if isinstance(cause, ProviderError):
            self._fail(answer, self._head_refused(cause))
            return
        garbled = BadAnswer("The provider's answer is not HTTP.")
        garbled.__cause__ = error
        self._fail(answer, garbled)

    def _head_refused(self, error: ProviderError) -> ProviderError:
        """Note of a head that cannot be used, but is HTTP, whether it says that the request was accepted."""
        error.is_accepted = self._parser.get_status_code() in _SUCCESSES
        return error

    def _fail(self, answer: Answer, error: ProviderError) -> None:
        if answer.error is None:
            answer.fail(error)
        self.abort()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._is_read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._is_read_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Clocks

    def _arm(self, phase: str, seconds: float) -> float:
        """Set the clock of `phase` and return the loop's time. The timer itself is touched only if it would be late."""
        now_s = self._now_s()
        deadline_s = self._deadline_s = now_s + seconds
        self._phase = phase
        if self._timer is None or deadline_s < self._timer_s:
            self._set_timer(deadline_s)
        return now_s

    def _arm_write(self) -> None:
        self._unsent_bytes = self._unsent()
        self._arm(_WRITE, self._idle_s)

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = at_s
        self._timer = self._loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        deadline_s = self._deadline_s
        if deadline_s == _NEVER_S:
            return
        if self._now_s() < deadline_s:
            self._set_timer(deadline_s)
            return
        self._expire()

    def _expire(self) -> None:
        if self._phase == _WRITE and self._unsent() < self._unsent_bytes:
            self._arm_write()  # slow, but it moves
            return
        answer = self.answer
        if answer is None:
            self.abort()
        else:
            self._fail(answer, ProviderTimedOut(_TIMEOUT_MESSAGES[self._phase], phase=self._phase))


def _head_too_large() -> BadAnswer:
    return BadAnswer("The provider's answer has too large a head.", code="upstream_too_large")
