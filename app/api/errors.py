"""How refusals and failures are spoken. Law: one table maps class to status and type; a test proves it total."""

from math import ceil
from typing import NamedTuple

import msgspec

from app.kernel import errors

Header = tuple[bytes, bytes]


class Spoken(NamedTuple):
    """How a class of errors is said in OpenAI's dialect."""

    status: int
    type: str


TABLE: dict[type[errors.GatewayError], Spoken] = {
    errors.GatewayError: Spoken(500, "server_error"),
    errors.InvalidRequest: Spoken(400, "invalid_request_error"),
    errors.Unauthenticated: Spoken(401, "authentication_error"),
    errors.ModelNotPriced: Spoken(402, "invalid_request_error"),
    errors.Forbidden: Spoken(403, "permission_error"),
    errors.NotFound: Spoken(404, "not_found_error"),
    errors.MethodNotAllowed: Spoken(405, "invalid_request_error"),
    errors.RequestTimedOut: Spoken(408, "timeout_error"),
    errors.Conflict: Spoken(409, "conflict_error"),
    errors.PreconditionFailed: Spoken(412, "conflict_error"),
    errors.TooLarge: Spoken(413, "invalid_request_error"),
    errors.UnsupportedMediaType: Spoken(415, "invalid_request_error"),
    errors.ExpectationFailed: Spoken(417, "invalid_request_error"),
    errors.RateLimited: Spoken(429, "rate_limit_error"),
    errors.QuotaExceeded: Spoken(429, "insufficient_quota"),
    errors.UpstreamRefused: Spoken(400, "invalid_request_error"),
    errors.UpstreamRateLimited: Spoken(429, "rate_limit_error"),
    errors.UpstreamFailed: Spoken(502, "upstream_error"),
    errors.UpstreamTimedOut: Spoken(504, "upstream_error"),
    errors.NotCached: Spoken(504, "invalid_request_error"),
    errors.Unavailable: Spoken(503, "server_error"),
    errors.InternalError: Spoken(500, "server_error"),
}
_NO_RETRY = (errors.QuotaExceeded, errors.Conflict, errors.NotCached)


def spoken_of(error: errors.GatewayError) -> Spoken:
    """Return how an error is said; a class that is not in the table is said as the nearest that it is made from."""
    return spoken_of_class(type(error))


def spoken_of_class(cls: type[errors.GatewayError]) -> Spoken:
    """Return how the errors of a class are said."""
    return next(TABLE[kind] for kind in cls.__mro__ if kind in TABLE)


def openai_body(error: errors.GatewayError, request_id: str = "") -> bytes:
    """Return the error object of OpenAI's dialect, which does not name the request."""
    del request_id
    spoken = spoken_of(error)
    fields = {"message": error.message, "type": spoken.type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": fields})


def status_of(error: errors.GatewayError) -> int:
    """Return the HTTP status of an error."""
    return spoken_of(error).status


def headers_of(error: errors.GatewayError) -> list[Header]:
    """Return the headers that an error adds: how long to wait, who may ask, and whatever it carries itself."""
    headers = [(name.encode(), value.encode()) for name, value in error.headers]
    if error.retry_after_s is not None:
        seconds = max(0.0, error.retry_after_s)
        headers.append((b"retry-after", b"%d" % ceil(seconds)))
        headers.append((b"retry-after-ms", b"%d" % ceil(round(seconds * 1000, 3))))
    if isinstance(error, _NO_RETRY):
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, errors.Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
