"""Whether this process traces, what it samples, and where its spans go. Made inside the worker; `replace` reloads."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from app.observability.metrics import SPANS, Metrics
from app.observability.tracing.batch import Batch, Receiver
from app.observability.tracing.context import read_parent
from app.observability.tracing.otlp import OtlpReceiver, require_extra
from app.observability.tracing.record import RequestTrace, new_trace_id
from app.observability.tracing.span import Span
from app.settings.model import TracingSettings

_ALL = "*"
_LOW_BITS = (1 << 64) - 1
_FAREWELL_S = 1.5

Open = Callable[[TracingSettings], Receiver]
"""Opens the receiver of the settings."""


class Caller(Protocol):
    """Who asks, by id."""

    @property
    def key_id(self) -> UUID:
        """The key."""
        ...

    @property
    def team_id(self) -> UUID | None:
        """The key's team."""
        ...

    @property
    def organization_id(self) -> UUID:
        """The key's organisation."""
        ...


class Tracer:
    """Begins traces, or goes on with those of callers."""

    def __init__(self, settings: TracingSettings) -> None:
        self._bound = int(settings.sample * (_LOW_BITS + 1))
        self._content = frozenset(text.lower() for text in settings.content)

    def begin(self, headers: Mapping[bytes, bytes], *, started_ns: int) -> RequestTrace:
        """Return the trace of a request: sampled if its caller's is, else, for one that begins here, by chance."""
        parent = read_parent(headers)
        trace_id = new_trace_id() if parent is None else parent.trace_id
        is_sampled = trace_id & _LOW_BITS < self._bound if parent is None else parent.is_sampled
        return RequestTrace(parent, trace_id=trace_id, is_sampled=is_sampled, started_ns=started_ns)

    def wants_content(self, caller: Caller) -> bool:
        """Whether what a caller says, and is answered, is to be recorded."""
        ids = self._content
        if not ids:
            return False
        return _ALL in ids or any(str(each) in ids for each in (caller.key_id, caller.team_id, caller.organization_id))


class Tracing:
    """All of tracing in one process. `tracer` is absent while it is off."""

    def __init__(self, *, metrics: Metrics, version: str, opens: Open | None = None) -> None:
        self.tracer: Tracer | None = None
        self._metrics = metrics
        self._version = version
        self._open: Open = opens or self._open_otlp
        self._settings: TracingSettings | None = None
        self._batch: Batch | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed_sent = self._closed_dropped = 0
        self._shown = (0, 0)

    @staticmethod
    def check(settings: TracingSettings | None) -> None:
        """Raise `ExtraMissing` for settings that cannot be served."""
        if settings is not None:
            require_extra()

    def replace(self, settings: TracingSettings | None) -> None:
        """Trace as these settings say from the next request on; raises `ExtraMissing`, and then nothing changes."""
        if settings == self._settings:
            return
        batch = None if settings is None else Batch(self._open(settings))
        before, self._batch, self._settings = self._batch, batch, settings
        self.tracer = None if settings is None else Tracer(settings)
        if before is not None:
            task = asyncio.get_running_loop().create_task(self._retire(before))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def add(self, spans: Sequence[Span]) -> None:
        """Export the spans of a request; where tracing was turned off meanwhile they are dropped."""
        if self._batch is not None:
            self._batch.add(spans)
        else:
            self._closed_dropped += len(spans)

    def show(self) -> None:
        """Bring the counters up to date."""
        batch = self._batch
        sent = self._closed_sent + (0 if batch is None else batch.sent)
        dropped = self._closed_dropped + (0 if batch is None else batch.dropped)
        if (sent, dropped) != self._shown:
            self._metrics.number(SPANS, "sent").add(sent - self._shown[0])
            self._metrics.number(SPANS, "dropped").add(dropped - self._shown[1])
            self._shown = (sent, dropped)

    async def aclose(self) -> None:
        """Deliver what waits, within a second and a half."""
        batch, self._batch, self.tracer = self._batch, None, None
        if batch is not None:
            await self._retire(batch)
        await asyncio.gather(*self._closing)
        self.show()

    async def _retire(self, batch: Batch) -> None:
        await batch.aclose(within_s=_FAREWELL_S)
        self._closed_sent += batch.sent
        self._closed_dropped += batch.dropped

    def _open_otlp(self, settings: TracingSettings) -> Receiver:
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        return OtlpReceiver(settings.endpoint, headers=headers, version=self._version)
