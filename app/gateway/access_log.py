"""What is logged of the requests that are no inference: the admin plane's, and those for models, documents and pages.

Law: a line shows the template of a path, never the path or its query, and no method that is not HTTP's.
"""

from datetime import UTC, datetime

from app.observability.logs import RequestLine

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNKNOWN = "other"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What machines ask every few seconds, and nobody wants to read."""
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_SERVER_FAULT = 500


def access_line(
    plane: str, request_id: str, *, method: str, route: str, status: int, took_ns: int, at_ns: int
) -> RequestLine:
    """Return the line of a request; `at_ns` is the wall time of its end."""
    return RequestLine(
        time=datetime.fromtimestamp(at_ns / _NS_PER_S, UTC),
        level="info" if status < _SERVER_FAULT else "warning",
        logger=f"{plane}.request",
        request_id=request_id,
        method=method if method in _METHODS else _UNKNOWN,
        route=route,
        status=status,
        duration_ms=took_ns // _NS_PER_MS,
        overhead_ms=round(took_ns / _NS_PER_MS, 3),
    )
