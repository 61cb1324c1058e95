"""The span of a request of which only its head and its status are known. Law: pure; no path, for names may be in it."""

from app.observability.tracing import attributes as names
from app.observability.tracing.record import RequestTrace
from app.observability.tracing.span import Span

_SERVER_FAULT = 500


def plain_span(
    trace: RequestTrace, *, request_id: str, method: str, route: str, status: int, now_ns: int, took_ns: int
) -> Span:
    """Return the span of a request that ended `now_ns` (wall time); `route` is the template of its path."""
    parent = trace.parent
    return Span(
        name=f"{method} {route}",
        kind="server",
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=None if parent is None else parent.span_id,
        is_parent_remote=parent is not None,
        state=trace.state,
        start_ns=now_ns - took_ns,
        end_ns=now_ns,
        attributes={
            names.HTTP_METHOD: method,
            names.HTTP_ROUTE: route,
            names.HTTP_STATUS: status,
            names.REQUEST_ID: request_id,
        },
        failed=status >= _SERVER_FAULT,
    )
