"""OTLP over HTTP, of the extra `otel`. Law: nothing of the extra is imported unless tracing is on.

The SDK's exporter does the work: it tries again, compresses, and reads the variables `OTEL_EXPORTER_OTLP_*`,
`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
"""

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from app.kernel.ids import uuid7_text
from app.observability.tracing.span import Span

_EXTRA = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_PATH = "/v1/traces"
_SERVICE = "llm-gateway"
_SCOPE = "app.observability.tracing"


class ExtraMissing(Exception):
    """Traces need the extra: pip install 'llm-api-gateway[otel]'."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def require_extra() -> None:
    """Raise `ExtraMissing` where traces cannot be exported."""
    for name in _EXTRA:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ExtraMissing


class OtlpReceiver:
    """An OTLP receiver, spoken to by one thread."""

    def __init__(self, endpoint: str | None, *, headers: Mapping[str, str], version: str) -> None:
        """Make it for the receiver at `endpoint`, or where the environment says. Raises `ExtraMissing`."""
        require_extra()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra, and dear to import
            OTLPSpanExporter,
        )

        # It says of every failure what we say of the first.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter: Any = OTLPSpanExporter(endpoint=url_of(endpoint), headers=dict(headers) or None)
        self._readable = _Readable(version)

    def send(self, spans: Sequence[Span]) -> bool:
        """Deliver spans; returns whether they were taken."""
        return bool(self._exporter.export([self._readable.of(span) for span in spans]).name == "SUCCESS")

    def stop(self) -> None:
        """Give up what is being tried."""
        self._exporter.shutdown()


def url_of(endpoint: str | None) -> str | None:
    """Return where spans are posted to, below the address of a receiver; the whole may be given too."""
    if endpoint is None:
        return None
    address = endpoint.rstrip("/")
    return address if address.endswith(_PATH) else address + _PATH


class _Readable:
    """Says our spans in the SDK's words."""

    def __init__(self, version: str) -> None:
        from opentelemetry.sdk import resources, trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - an extra
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState  # noqa: PLC0415 - an extra

        self._span = trace.ReadableSpan
        self._context = SpanContext
        self._state = TraceState
        self._flags = TraceFlags(TraceFlags.SAMPLED)
        self._kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
        self._unset, self._failed = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
        self._scope = InstrumentationScope(_SCOPE, version)
        about = {"service.name": _SERVICE, "service.version": version, "service.instance.id": uuid7_text()}
        ours = resources.Resource(about)
        self._resource = ours.merge(_of_environment(resources))

    def of(self, span: Span) -> Any:
        """Return a span as the exporter takes it."""
        state = self._state.from_header([span.state]) if span.state else None
        parent_id = span.parent_id
        return self._span(
            name=span.name,
            kind=self._kinds[span.kind],
            context=self._context(span.trace_id, span.span_id, False, self._flags, state),  # noqa: FBT003 - is_remote
            parent=None
            if parent_id is None
            else self._context(span.trace_id, parent_id, span.is_parent_remote, self._flags, state),
            resource=self._resource,
            instrumentation_scope=self._scope,
            attributes=span.attributes,
            start_time=span.start_ns,
            end_time=span.end_ns,
            status=self._failed if span.failed else self._unset,
        )


def _of_environment(resources: Any) -> Any:
    """Return what the environment says of this service; the SDK's name for what has none is not taken for a name."""
    found = resources.Resource.create()
    kept = {name: value for name, value in found.attributes.items() if not str(value).startswith("unknown_service")}
    return resources.Resource(kept, found.schema_url)
