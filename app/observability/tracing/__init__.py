"""Traces of requests. Law: whether a request is recorded is decided before anything is recorded of it."""

from app.observability.tracing.otlp import ExtraMissing
from app.observability.tracing.record import LegRecord, RequestTrace
from app.observability.tracing.span import Span, Value
from app.observability.tracing.tracing import Tracer, Tracing

__all__ = ["ExtraMissing", "LegRecord", "RequestTrace", "Span", "Tracer", "Tracing", "Value"]
