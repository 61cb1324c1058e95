"""The span of a request of which only its head and its status are known. Law: pure; no path, for names may be in it."""

from app.observability.answered import AnsweredRequest
from app.observability.tracing import attributes as names
from app.observability.tracing.record import RequestTrace
from app.observability.tracing.span import Span

_SERVER_FAULT = 500


def plain_span(trace: RequestTrace, answered: AnsweredRequest, *, now_ns: int) -> Span:
    """Return the span of a request that ended `now_ns` (wall time)."""
    parent = trace.parent
    return Span(
        name=f"{answered.method} {answered.route}",
        kind="server",
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=None if parent is None else parent.span_id,
        is_parent_remote=parent is not None,
        state=trace.state,
        start_ns=now_ns - answered.took_ns,
        end_ns=now_ns,
        attributes={
            names.HTTP_METHOD: answered.method,
            names.HTTP_ROUTE: answered.route,
            names.HTTP_STATUS: answered.status,
            names.REQUEST_ID: answered.request_id,
        },
        failed=answered.status >= _SERVER_FAULT,
    )
