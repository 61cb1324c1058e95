"""The spans of one finished request: itself, its layers, its legs, its attempts. Law: pure; no content by itself."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from app.gateway.tally import Finished
from app.observability.tracing import LegRecord, RequestTrace, Span, Value
from app.observability.tracing import attributes as names
from app.observability.tracing.record import new_span_id
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.notes import LayerName, LayerStep
from app.routing.table import RouteTarget
from providers.types import Usage

_OPERATIONS = {"completions": "text_completion"}
_VENDORS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "gemini-openai": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "cohere-openai": "cohere",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "moonshot": "moonshot_ai",
}
"""What OpenTelemetry calls the vendors that we call otherwise."""
_REQUEST = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "max_output_tokens": names.REQUEST_MAX_TOKENS,
    "maxOutputTokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "topP": names.REQUEST_TOP_P,
    "seed": names.REQUEST_SEED,
    "n": names.REQUEST_CHOICES,
    "candidateCount": names.REQUEST_CHOICES,
}
"""Numbers of a body, in any dialect: whatever else it says is content."""
_INNER = "generationConfig"
_FAULTS = frozenset({"refused", "rate_limited", "error", "timeout", "interrupted"})
_SERVER_FAULT, _CLIENT_GONE = 500, 499
_MOST_INT = 1 << 62
_MOST_TEXT = 200
_NS_PER_S, _NS_PER_MS = 1_000_000_000, 1_000_000
_PORTS = {"http": 80, "https": 443}

Attributes = dict[str, Value]
_LAYERS: dict[LayerName, str] = {
    "authentication": "authentication",
    "gate": "admission",
    "idempotency": "idempotency",
    "cache": "cache",
    "limits": "limits",
}
"""The layers that have a span, and its name. That of the others would say what those around it say already."""
_MOST_LAYERS = 64
"""So many spans of layers at most: one that waits for others' calls may begin again and again."""


def asked_of(document: Mapping[str, Any]) -> Attributes:
    """Return what a body asks for in numbers."""
    inner = document.get(_INNER)
    found: Attributes = {}
    for part in (document, inner if isinstance(inner, dict) else {}):
        for field, name in _REQUEST.items():
            value = part.get(field)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_INT:
                found[name] = value
    return found


def spans_of(finished: Finished, trace: RequestTrace, *, asked: Attributes, now_ns: int) -> list[Span]:
    """Return all spans of a request, its own first. `now_ns` is monotonic, for what has not ended."""
    return [*_Spans(finished, trace, now_ns=now_ns).every(asked)]


class _Spans:
    """Makes the spans of one request."""

    def __init__(self, finished: Finished, trace: RequestTrace, *, now_ns: int) -> None:
        self._finished = finished
        self._trace = trace
        self._now_ns = now_ns
        # Times were taken by the monotonic clock; what it says at the request's end is what the wall says there.
        self._to_wall_ns = finished.at_ns - finished.took_ns - trace.started_ns
        exchange = finished.exchange
        name = exchange.operation.name if exchange is not None else ""
        self._operation = _OPERATIONS.get(name, name)

    def every(self, asked: Attributes) -> Iterator[Span]:
        exchange = self._finished.exchange
        yield self._request(asked)
        notes = self._finished.notes
        if notes is not None:
            shown = (step for step in notes.steps if step.layer in _LAYERS)
            for step in islice(shown, _MOST_LAYERS):
                yield self._layer(step)
        if exchange is None:
            return
        for leg in self._trace.legs:
            yield self._leg(exchange, leg)
        legs = {leg.span_id: leg for leg in self._trace.legs}
        for attempt in exchange.attempts:
            yield self._attempt(exchange, attempt, leg=legs.get(attempt.parent_span_id))

    def _request(self, asked: Attributes) -> Span:
        finished, trace, parent = self._finished, self._trace, self._trace.parent
        exchange, status, code = finished.exchange, finished.status, finished.error_code
        said: Attributes = {
            names.HTTP_METHOD: "POST",
            names.HTTP_ROUTE: finished.endpoint,
            names.HTTP_STATUS: status,
            names.REQUEST_ID: finished.request_id,
            **asked,
        }
        if code is not None or status == _CLIENT_GONE:
            said[names.ERROR_TYPE] = short(code or "client_gone")
        if exchange is not None:
            said |= self._of_exchange(exchange)
        return Span(
            name=f"POST {finished.endpoint}",
            kind="server",
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_id=None if parent is None else parent.span_id,
            is_parent_remote=parent is not None,
            state=trace.state,
            start_ns=finished.at_ns - finished.took_ns,
            end_ns=finished.at_ns,
            attributes=said,
            # An error inside a stream has the status of what it would have been without one.
            failed=status >= _SERVER_FAULT,
        )

    def _of_exchange(self, exchange: Exchange) -> Attributes:
        principal, attempt, hit = exchange.principal, exchange.last_attempt, exchange.hit
        said: Attributes = {
            names.OPERATION: self._operation,
            names.REQUEST_MODEL: short(exchange.asked.model),
            names.REQUEST_STREAM: exchange.stream,
            names.MODEL: exchange.route.name,
            names.KEY_ID: str(principal.key_id),
            names.ORGANIZATION_ID: str(principal.organization_id),
            names.CACHE_STATUS: exchange.cache_status,
            names.ATTEMPTS: exchange.calls,
            names.OVERHEAD_MS: exchange.overhead_ns / _NS_PER_MS,
        }
        if principal.team_id is not None:
            said[names.TEAM_ID] = str(principal.team_id)
        if exchange.fanout is not None:
            said[names.FANOUT_NAME] = exchange.fanout.name
            said[names.FANOUT_STRATEGY] = exchange.fanout.spec.strategy
        if exchange.fan_reason is not None:
            said[names.FANOUT_REASON] = exchange.fan_reason
        spent_nusd = exchange.cost_nusd
        if spent_nusd is not None:
            said[names.COST_NUSD] = spent_nusd
        if hit is not None:
            said |= {names.PROVIDER: hit.provider, names.RESPONSE_MODEL: hit.upstream_model}
            said |= {names.SAVED_NUSD: hit.saved_nusd, **_tokens(hit.usage)}
            if hit.similarity is not None:
                said[names.CACHE_SIMILARITY] = hit.similarity
            if hit.age_s is not None:
                said[names.CACHE_AGE_S] = hit.age_s
        elif attempt is not None:
            said |= {names.PROVIDER: attempt.provider, names.RESPONSE_MODEL: attempt.upstream_model}
            said |= {names.PROVIDER_NAME: vendor_of(attempt.choice), **_tokens(attempt.usage)}
            if attempt.first_ns is not None and exchange.stream:
                said[names.FIRST_CHUNK_S] = (attempt.first_ns - self._trace.started_ns) / _NS_PER_S
        return said

    def _layer(self, step: LayerStep) -> Span:
        code, exchange = step.error_code, self._finished.exchange
        said: Attributes = {} if code is None else {names.ERROR_TYPE: short(code)}
        if step.layer == "cache" and exchange is not None:
            said[names.CACHE_STATUS] = exchange.cache_status
        return self._inner(_LAYERS[step.layer], step.began_ns, step.ended_ns, said=said, failed=code is not None)

    def _leg(self, exchange: Exchange, leg: LegRecord) -> Span:
        """Return the span of a leg: of one that is live it goes on after its answer has begun."""
        ends = [
            attempt.ended_ns or self._now_ns for attempt in exchange.attempts if attempt.parent_span_id == leg.span_id
        ]
        said: Attributes = {names.LEG_NUMBER: leg.number, names.LEG_ROLE: leg.role, names.MODEL: leg.model}
        if exchange.fanout is not None:
            said[names.FANOUT_NAME] = exchange.fanout.name
        if leg.error is not None:
            said[names.ERROR_TYPE] = short(leg.error)
        ended_ns = max([leg.ended_ns or leg.began_ns, *ends])
        name = f"leg {leg.model}" if leg.role not in {"judge", "fuser"} else f"{leg.role} {leg.model}"
        return self._inner(name, leg.began_ns, ended_ns, said=said, failed=leg.error is not None, span_id=leg.span_id)

    def _attempt(self, exchange: Exchange, attempt: Attempt, *, leg: LegRecord | None) -> Span:
        outcome = attempt.outcome or "cancelled"
        address, port = _address(attempt.choice.target.base_url)
        said: Attributes = {
            names.OPERATION: self._operation,
            names.PROVIDER_NAME: vendor_of(attempt.choice),
            names.REQUEST_MODEL: attempt.upstream_model,
            names.REQUEST_STREAM: exchange.stream,
            names.PROVIDER: attempt.provider,
            names.MODEL: attempt.model,
            names.ATTEMPT_NUMBER: attempt.number,
            names.ATTEMPT_OUTCOME: outcome,
            names.USAGE_SOURCE: attempt.usage_source,
            **_tokens(attempt.usage),
            **_of_completion(attempt),
        }
        if address:
            said |= {names.SERVER_ADDRESS: address, names.SERVER_PORT: port}
        if attempt.status is not None:
            said[names.HTTP_STATUS] = attempt.status
        if attempt.first_ns is not None and exchange.stream:
            said[names.FIRST_CHUNK_S] = (attempt.first_ns - attempt.started_ns) / _NS_PER_S
        if attempt.cost_nusd is not None:
            said[names.COST_NUSD] = attempt.cost_nusd
        if outcome != "ok":
            said[names.ERROR_TYPE] = short(attempt.error_code or outcome)
        if attempt.fanout is not None:
            said[names.FANOUT_NAME] = attempt.fanout
        if leg is not None:
            said |= {names.LEG_NUMBER: leg.number, names.LEG_ROLE: leg.role}
        return Span(
            name=f"{self._operation} {attempt.upstream_model}",
            kind="client",
            trace_id=self._trace.trace_id,
            span_id=attempt.span_id,
            parent_id=attempt.parent_span_id,
            state=self._trace.state,
            start_ns=attempt.started_ns + self._to_wall_ns,
            end_ns=(attempt.ended_ns or self._now_ns) + self._to_wall_ns,
            attributes=said,
            failed=outcome in _FAULTS,
        )

    def _inner(
        self, name: str, began_ns: int, ended_ns: int | None, *, said: Attributes, failed: bool, span_id: int = 0
    ) -> Span:
        """Return a span within the request."""
        trace = self._trace
        return Span(
            name=name,
            kind="internal",
            trace_id=trace.trace_id,
            span_id=span_id or new_span_id(),
            parent_id=trace.span_id,
            state=trace.state,
            start_ns=began_ns + self._to_wall_ns,
            end_ns=(ended_ns or self._now_ns) + self._to_wall_ns,
            attributes=said,
            failed=failed,
        )


def vendor_of(choice: RouteTarget) -> str:
    """Return what OpenTelemetry calls the vendor of a target, else our own name for who speaks to it."""
    return _VENDORS.get(choice.adapter_name, choice.adapter_name)


def short(text: str) -> str:
    """Return a word that others may have chosen, bounded and printable."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_MOST_TEXT])


def _tokens(usage: Usage | None) -> Attributes:
    """Return token counts; the input has all of the prompt, of which the cached part is said too."""
    if usage is None:
        return {}
    said: Attributes = {names.INPUT_TOKENS: usage.prompt_tokens, names.OUTPUT_TOKENS: usage.output_tokens}
    details = (
        (names.CACHE_READ_TOKENS, usage.cache_read_tokens),
        (names.CACHE_WRITE_TOKENS, usage.cache_write_tokens),
        (names.REASONING_TOKENS, usage.reasoning_tokens),
    )
    return said | {name: count for name, count in details if count}


def _of_completion(attempt: Attempt) -> Attributes:
    """Return what a whole canonical answer says of itself."""
    completion = attempt.completion
    if completion is None:
        return {}
    reasons = tuple(choice.finish_reason for choice in completion.choices)
    return {
        names.RESPONSE_ID: short(completion.id),
        names.RESPONSE_MODEL: short(completion.model),
        names.FINISH_REASONS: reasons,
    }


@lru_cache(maxsize=256)
def _address(base_url: str) -> tuple[str, int]:
    """Return host and port of a provider; no host where it has no address, as the echo."""
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
