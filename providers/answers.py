"""Reading what vendors answer. Law: no shape is believed; what is odd gives way, and garbage is a `BadAnswer`.

All vendors' wires are read with these; what a field means is the vendor's own module's to know.
"""

from typing import Any

import msgspec

from providers.errors import (
    BadAnswer,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.types import Headers

_MAX_INTEGER = 1 << 53
_MAX_COUNT = 100_000_000
_MAX_MESSAGE = 2_000
_MAX_TIER = 64
_MAX_RETRY_AFTER_S = 3_600.0
_REFUSED = frozenset({400, 404, 405, 409, 413, 415, 422})
_CREDENTIAL = frozenset({401, 402, 403})


def read_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `BadAnswer` for anything else."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the provider's answer is not JSON") from None
    if not isinstance(answer, dict):
        raise BadAnswer("the provider's answer is not a JSON object")
    return answer


def read_refusal(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a refusal holds; an empty one for any other body, which may be cut."""
    try:
        return read_object(body)
    except BadAnswer:
        return {}


def integer(value: Any) -> int:
    """Return a whole number that a vendor sent; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_INTEGER < value < _MAX_INTEGER:
        return 0
    return int(value)


def count(value: Any) -> int | None:
    """Return a token count that a vendor sent, perhaps as a whole float; `None` if it cannot be one."""
    if type(value) is int:
        return value if 0 <= value <= _MAX_COUNT else None
    if not isinstance(value, float) or not 0 <= value <= _MAX_COUNT:
        return None
    return int(value) if value == int(value) else None


def shares(whole: int, *parts: Any) -> list[int]:
    """Return how many of `whole` tokens were of each kind, by what the vendor says of its parts in that order.

    A part that is missing or absurd is nothing, and all of them together are never more than there are.
    """
    found: list[int] = []
    for part in parts:
        found.append(min(count(part) or 0, whole - sum(found)))
    return found


def without(value: Any, taken: Any) -> int:
    """Return a count less the part of it that is counted elsewhere, such as the cached one; never less than 0."""
    return max(0, (count(value) or 0) - (count(taken) or 0))


def service_tier(value: Any) -> str | None:
    """Return the service tier that a vendor names in its answer; `None` for what can be no such word."""
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_TIER else None


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; none of what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def fields(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """Return a word or a message for an error, cut to 2,000 characters; `None` for what is neither text nor number."""
    if isinstance(value, str) and value:
        return value[:_MAX_MESSAGE]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def vector(value: Any) -> list[float]:
    """Return an embedding. Raises `BadAnswer` for what is no list of numbers."""
    try:
        return msgspec.convert(value, list[float])
    except msgspec.ValidationError:
        raise BadAnswer("the provider's answer holds no embeddings") from None


def retry_after_s(headers: Headers) -> float | None:
    """Return how long the provider asks to wait, in seconds, from `retry-after-ms` or `retry-after`."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 <= seconds <= _MAX_RETRY_AFTER_S:
            return seconds
    return None


def error_of_status(
    status: int,
    headers: Headers,
    *,
    message: str | None,
    code: str | None = None,
    param: str | None = None,
    refusal: type[RequestRefused] = RequestRefused,
) -> ProviderError:
    """Return the error that an HTTP status means.

    `refusal` is the kind of a request that is called invalid. The vendor's words about a credential or a breakdown of
    its own are kept back, since they may quote the key or its machines.
    """
    if status in _CREDENTIAL:
        return CredentialRefused(status=status, vendor_code=code)
    if status in _REFUSED:
        said = message or f"the provider answered with status {status}"
        return refusal(said, status=status, vendor_code=code, param=param)
    wait = retry_after_s(headers)
    if status == 429:  # noqa: PLR2004 - a status
        return ProviderRateLimited(message, status=status, vendor_code=code, retry_after_s=wait)
    if 300 <= status < 400:  # noqa: PLR2004 - a class of statuses
        return BadAnswer("the provider answered with a redirect", code="upstream_redirect_blocked", status=status)
    return ProviderOverloaded(
        f"the provider failed with status {status}", status=status, vendor_code=code, retry_after_s=wait
    )


__all__ = [
    "count",
    "error_of_status",
    "fields",
    "integer",
    "objects",
    "read_object",
    "read_refusal",
    "retry_after_s",
    "service_tier",
    "shares",
    "text",
    "vector",
    "without",
]
