"""`POST /v1/llm/chat` for one model: the gateway's own dialect, streamed or not.

A request is OpenAI's chat request, less what concerns its wire only; an answer says what happened as well.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.errors import openai_body, spoken_of
from app.api.openai.shapes import check_chat, check_common
from app.api.understanding import Call, Wire
from app.kernel.errors import GatewayError, InvalidRequest
from app.kernel.money import format_usd
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, StreamRenderer
from app.pipeline.options import Options
from providers.framing import sse
from providers.openai import downstream
from providers.openai.render import DONE, render_message, write_reason
from providers.stream import Collector
from providers.types import (
    ChatEvent,
    ChatRequest,
    Choice,
    Completion,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

_NS_PER_MS = 1_000_000
_OURS = frozenset({"fanout", "cache", "gateway"})
_CACHE_FIELDS = ("mode", "ttl_s", "threshold")
_CACHE_MODES = frozenset({"off", "exact", "semantic", "refresh"})
_SHOWN = 64
_FIRST_LEG = "fanout.models[0]"
_encode = msgspec.json.encode


def check_llm_chat(document: Mapping[str, Any]) -> str:
    """Check the shape of a request; return the name of the model."""
    _check_cache(document.get("cache"))
    model = check_common(document if _names_model(document) else {**document, "model": _first_leg(document["fanout"])})
    check_chat(document)
    if document.get("n") not in (None, 1):
        raise InvalidRequest("n must be 1 here: the answer has one output", param="n")
    return model


def _names_model(document: Mapping[str, Any]) -> bool:
    """Whether a body names a model, or must: only beside a fan-out it may leave that out."""
    return document.get("model") is not None or document.get("fanout") is None


def _first_leg(fanout: Any) -> str:
    """Return the model that stands for a fan-out where the body names none: its first."""
    if not isinstance(fanout, dict):
        raise InvalidRequest("fanout must be an object", param="fanout")
    models = fanout.get("models")
    if not isinstance(models, list) or not models or not isinstance(models[0], str) or not models[0]:
        raise InvalidRequest("fanout.models must be a list of model names", param="fanout.models")
    return models[0]


def _check_cache(cache: Any) -> None:
    if cache is None:
        return
    if not isinstance(cache, dict):
        raise InvalidRequest("cache must be an object", param="cache")
    for name in cache:
        if name not in _CACHE_FIELDS:
            label = f"cache.{name[:_SHOWN]}"
            raise InvalidRequest(f"{label} is not a field of cache", code="unknown_parameter", param=label)
    mode, ttl_s, threshold = (cache.get(name) for name in _CACHE_FIELDS)
    if mode is not None and (not isinstance(mode, str) or mode not in _CACHE_MODES):
        raise InvalidRequest("cache.mode must be one of exact, off, refresh, semantic", param="cache.mode")
    if ttl_s is not None and (type(ttl_s) is not int or ttl_s < 1):
        raise InvalidRequest("cache.ttl_s must be a whole number of seconds, at least 1", param="cache.ttl_s")
    if threshold is not None and (isinstance(threshold, bool) or not _is_similarity(threshold)):
        raise InvalidRequest("cache.threshold must be more than 0 and at most 1", param="cache.threshold")


def _is_similarity(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value <= 1


def _with_cache(options: Options, document: Mapping[str, Any]) -> Options:
    """Return the options with what the body's `cache` asks for, where no header says otherwise."""
    cache = document.get("cache") or {}
    return msgspec.structs.replace(
        options,
        cache=options.cache or cache.get("mode"),
        cache_ttl_s=options.cache_ttl_s or cache.get("ttl_s"),
        cache_threshold=cache.get("threshold"),
    )


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    return Asked(
        model=check_llm_chat(document),
        stream=bool(document.get("stream")),
        keep_usage=True,
        named_in="model" if _names_model(document) else _FIRST_LEG,
    )


def parse_llm_chat(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    """Return the canonical form of a request; what is said to the gateway itself goes no further."""
    said = {name: value for name, value in document.items() if name not in _OURS}
    return downstream.parse_chat({"model": asked.model, **said})


def render_answer(exchange: Exchange, completion: Completion) -> dict[str, Any]:
    """Return the body of a finished answer."""
    served = exchange.last_attempt if exchange.hit is None else None
    usage = (served.usage if served is not None else None) or completion.usage or Usage()
    spent = exchange.cost_nusd
    return {
        "id": exchange.request_id,
        "model": exchange.route.name,
        "provider": exchange.provider,
        "output": _output(completion.choices[0]),
        "usage": write_usage(usage),
        "cost": None if spent is None else format_usd(spent),
        "cache": _cache(exchange),
        "attempts": [_attempt(attempt) for attempt in exchange.attempts],
        "candidates": [
            {"model": each.model, "output": _output(each.completion.choices[0]), "score": each.score}
            for each in exchange.candidates
        ],
    }


def _cache(exchange: Exchange) -> dict[str, Any]:
    """Return what the cache had to do with an answer."""
    hit = exchange.hit
    similarity, age_s = (None, None) if hit is None else (hit.similarity, hit.age_s)
    return {"status": exchange.cache_status, "similarity": similarity, "age_s": age_s}


def write_usage(usage: Usage) -> dict[str, int]:
    """Return disjoint counts in this dialect's words."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def _output(choice: Choice) -> dict[str, Any]:
    """Return the assistant's turn: OpenAI's message, with the reasoning and its end in words of this dialect.

    Sent back as a turn of the conversation, it keeps what vendors sign.
    """
    message = render_message(choice)
    thoughts = message.pop("reasoning_content", None)
    output = {"tool_calls": [], **message, "finish_reason": write_reason(choice.finish_reason)}
    if output["refusal"] is None:
        del output["refusal"]
    return output | ({"reasoning": thoughts} if thoughts else {})


def _attempt(attempt: Attempt) -> dict[str, Any]:
    ended_ns = attempt.ended_ns if attempt.ended_ns is not None else attempt.started_ns
    first_ns = attempt.first_ns
    spent = attempt.cost_nusd
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "ttft_ms": None if first_ns is None else (first_ns - attempt.started_ns) // _NS_PER_MS,
        "duration_ms": (ended_ns - attempt.started_ns) // _NS_PER_MS,
        "usage": write_usage(attempt.usage or Usage()),
        "cost": None if spent is None else format_usd(spent),
    }


class _LlmStream:
    """The events of this dialect; the last is the whole answer."""

    __slots__ = ("_collector", "_exchange", "_has_told")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._has_told = False
        self._collector = Collector()

    def feed(self, event: ChatEvent) -> bytes:
        """Return the frame that says `event`: perhaps none."""
        self._collector.feed(event)
        said = self._say(event)
        if said is None:
            return b""
        frame = sse.encode(_encode(said))
        return frame + self._legs() if isinstance(event, Started) else self._legs() + frame

    def _legs(self) -> bytes:
        """Return the frames that say what has become of each model of several, once that is known."""
        reports = self._exchange.leg_reports
        if self._has_told or not reports:
            return b""
        self._has_told = True
        frames = [
            {"type": "leg", "index": report.number, "model": report.model, "outcome": report.outcome}
            for report in reports
        ]
        return b"".join([sse.encode(_encode(frame)) for frame in frames])

    def _say(self, event: ChatEvent) -> dict[str, Any] | None:
        match event:
            case Started():
                exchange = self._exchange
                return {
                    "type": "started",
                    "id": exchange.request_id,
                    "model": exchange.route.name,
                    "provider": exchange.provider,
                }
            case TextDelta():
                return {"type": "text", "text": event.text} if event.text else None
            case ThinkingDelta():
                return {"type": "reasoning", "text": event.text} if event.text else None
            case ToolCallStarted():
                return {"type": "tool_call", "index": event.index, "id": event.id, "name": event.name, "arguments": ""}
            case ToolCallDelta():
                return {"type": "tool_call", "index": event.index, "arguments": event.arguments}
            case Finished() | UsageReported():
                return None

    def finish(self) -> bytes:
        """Return the `finished` event, which is the unary body, and `[DONE]`."""
        answer = render_answer(self._exchange, self._collector.completion())
        return self._legs() + sse.encode(_encode({"type": "finished", **answer})) + DONE


class LlmRenderer:
    """Says canonical answers in this dialect."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        return _encode(render_answer(exchange, answer))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream."""
        return _LlmStream(exchange)


def _late_error(error: GatewayError, request_id: str) -> bytes:
    del request_id
    fields = {"message": error.message, "type": spoken_of(error).type, "param": error.param, "code": error.code}
    return sse.encode(_encode({"type": "error", "error": fields}))


LLM_CHAT_WIRE = Wire(
    operation=Operation(
        name="chat",
        relay="llm.chat",
        endpoint="/v1/llm/chat",
        parse=parse_llm_chat,
        renderer=LlmRenderer(),
        has_candidates=True,
        echoes=True,
    ),
    read=_read,
    say_error=openai_body,
    say_late_error=_late_error,
    own_options=_with_cache,
    has_fanout=True,
)
