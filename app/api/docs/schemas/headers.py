"""The headers of answers and requests, each with what it says and its schema."""

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_DURATION: dict[str, Any] = {"type": "string", "examples": ["6s", "1m30s", "12ms"]}
_CACHE_STATUS: dict[str, Any] = {"type": "string", "enum": ["miss", "exact", "semantic", "coalesced", "bypass", "off"]}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "request-id": ("The same as `x-request-id`, as Anthropic calls it.", TEXT),
    "x-request-id": ("The request's id; it finds the request in logs and usage.", TEXT),
    "x-gateway-provider": ("The provider that served, or that failed last.", TEXT),
    "x-gateway-model": ("The public name of the model that served.", TEXT),
    "x-gateway-attempts": ("How many calls were made to providers.", _COUNT),
    "x-gateway-cache": ("What the cache had to do with it.", _CACHE_STATUS),
    "x-gateway-cache-id": ("The kept answer that this one is, by which it can be purged.", TEXT),
    "x-gateway-cache-similarity": (
        "How near the kept answer's question is to this one; absent for the very same.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "age": ("How many seconds ago a kept answer was made.", _COUNT),
    "x-gateway-fanout": (
        "Where several models answered: the strategy, how many were asked, and why the answer is a fallback, if it is.",
        {"type": "string", "examples": ["race; legs=3", "best_of; legs=3; reason=judge_failed"]},
    ),
    "x-gateway-cost": ("What it cost, in USD; absent on streams of events and for a model without a price.", TEXT),
    "x-gateway-overhead-ms": (
        "Milliseconds that the gateway itself took; on streams up to the first byte.",
        {"type": "number", "minimum": 0},
    ),
    "idempotent-replayed": (
        "`true` where another request with the same `Idempotency-Key` was given this answer; its cost is billed once.",
        {"type": "string", "enum": ["true"]},
    ),
    "x-accel-buffering": (
        "On streams: tells proxies to pass every event on at once.",
        {"type": "string", "enum": ["no"]},
    ),
    "x-gateway-dropped-params": ("Fields that the provider's dialect cannot carry and that do no harm.", TEXT),
    "x-gateway-degraded": ("The store that is down.", TEXT),
    "x-ratelimit-limit-requests": ("Requests that the tightest limit allows.", _COUNT),
    "x-ratelimit-remaining-requests": ("Requests that are left of it.", _COUNT),
    "x-ratelimit-reset-requests": ("Until all of them are there again.", _DURATION),
    "x-ratelimit-limit-tokens": ("Tokens that the tightest limit allows.", _COUNT),
    "x-ratelimit-remaining-tokens": ("Tokens that are left of it.", _COUNT),
    "x-ratelimit-reset-tokens": ("Until all of them are there again.", _DURATION),
    "retry-after": ("Seconds after which to try again; absent where waiting cannot help.", _COUNT),
    "retry-after-ms": ("The same in milliseconds.", _COUNT),
    "x-should-retry": ("`false` where a retry cannot help.", {"type": "string", "enum": ["false"]}),
    "www-authenticate": ("How to authenticate.", TEXT),
}

_IDEMPOTENCY_KEY = (
    "1 to 255 printable ASCII characters. A request that repeats one of the same key and path within 24 hours gets "
    "its answer, whole or streamed, or joins it while it is under way; it is billed once, and the call goes on if "
    "its client leaves. Another request under the same key is a 409 `idempotency_conflict`, and so is one whose "
    "answer was larger than 1 MiB. A request that failed is made again."
)
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "x-gateway-timeout-s": (
        "Seconds that the whole request may take.",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 86_400},
    ),
    "x-gateway-max-cost": (
        "The most that the request may cost, in USD: dearer is a 400 `max_cost_exceeded`.",
        {"type": "string", "examples": ["0.05"]},
    ),
    "x-gateway-tags": ("Labels for the usage report.", {"type": "string", "examples": ["team=blue,run=7"]}),
    "x-gateway-route": (
        "The target to use, if the key has `may_route`.",
        {"type": "string", "examples": ["openai/gpt-4o-mini"]},
    ),
    "idempotency-key": (_IDEMPOTENCY_KEY, {"type": "string", "minLength": 1, "maxLength": 255}),
    "x-gateway-include": ("`cost` adds a `gateway` object to the answer.", {"type": "string", "enum": ["cost"]}),
}
