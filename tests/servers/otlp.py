"""A receiver of traces: an HTTP server in a thread that takes OTLP in protobuf, and remembers every span."""

import contextlib
import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS = {1: "internal", 2: "server", 3: "client"}
_FAILED = 2
PATH = "/v1/traces"


class Received(NamedTuple):
    """One span; ids are hexadecimal, `parent` is empty at a root, `instance` is the process that sent it."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    failed: bool
    state: str
    instance: str
    service: str

    @property
    def role(self) -> str:
        """What part it had in a fan-out."""
        return str(self.attributes.get("gateway.leg.role", ""))


class Receiver:
    """Everything that was sent: `spans` as read, `bodies` as they came, `headers` of each request."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        """Take one request."""
        data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.bodies.append(data)
        self.headers.append(headers)
        self.spans += _spans(data)

    def trace(self, trace_id: str, *, count: int, within_s: float = 10.0) -> list[Received]:
        """Return the spans of a trace by their beginnings, as soon as there are so many; a moment later all must be."""
        found = self.wait(lambda: [span for span in self.spans if span.trace == trace_id], count, within_s=within_s)
        assert len(found) == count, [(span.name, span.parent) for span in found]
        return sorted(found, key=lambda span: (span.start_ns, span.kind != "server"))

    def wait(self, look: Callable[[], list[Received]], count: int, *, within_s: float) -> list[Received]:
        """Return what is there when it is so many, or when the time is over."""
        deadline = time.monotonic() + within_s
        while len(found := look()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return found


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Put up a receiver."""
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == PATH
            receiver.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def _spans(data: bytes) -> Iterator[Received]:
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    kind=_KINDS[span.kind],
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes={pair.key: _value(pair.value) for pair in span.attributes},
                    failed=span.status.code == _FAILED,
                    state=span.trace_state,
                    instance=about.get("service.instance.id", ""),
                    service=about.get("service.name", ""),
                )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
