"""What the gateway refuses or fails with.

    GatewayError
    ├── InvalidRequest            the caller's body, header or option is wrong
    ├── Unauthenticated           no key, or not a valid one
    ├── Forbidden                 a valid key that may not do this
    ├── NotFound                  absent, or somebody else's
    ├── MethodNotAllowed
    ├── RequestTimedOut           the body came too slowly
    ├── Conflict                  another write won, or an idempotency key was reused
    ├── PreconditionFailed        If-Match did not match
    ├── TooLarge
    ├── UnsupportedMediaType
    ├── ExpectationFailed
    ├── ModelNotPriced            a budget applies and the model has no price
    ├── RateLimited               a limit; waiting helps
    ├── QuotaExceeded             a budget; waiting does not help the SDK's retries
    ├── UpstreamRefused           the provider called the request invalid
    ├── UpstreamRateLimited       the provider's own limit
    ├── UpstreamFailed            the provider broke
    ├── UpstreamTimedOut          the provider was too slow
    ├── NotCached                 only a kept answer was wanted, and there is none
    ├── Unavailable               shed, draining, or a store is down
    └── InternalError             a defect of ours; says nothing of its cause

Law: a class says what happened; one table per dialect (`app.api.errors`) says how that is spoken.
"""


class GatewayError(Exception):
    """The request failed."""

    code = "error"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Make an error; `message` defaults to the class's docstring.

        `param` is the path of the offending field (`messages[0].content`). `retry_after_s` is absent when waiting
        cannot help. `headers` are added to the answer. `fields` are paths with what is wrong there, where
        more than one is at fault.
        """
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)
        self.code = code or type(self).code
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.fields = fields


class InvalidRequest(GatewayError):
    """The request is invalid."""

    code = "invalid_request"


class Unauthenticated(GatewayError):
    """The API key is missing or invalid."""

    code = "invalid_api_key"


class Forbidden(GatewayError):
    """This credential may not do that."""

    code = "forbidden"


class NotFound(GatewayError):
    """There is no such object."""

    code = "not_found"


class MethodNotAllowed(GatewayError):
    """This path does not take that method."""

    code = "method_not_allowed"


class RequestTimedOut(GatewayError):
    """The request body came too slowly."""

    code = "request_timeout"


class Conflict(GatewayError):
    """The request conflicts with an earlier one."""

    code = "conflict"


class PreconditionFailed(GatewayError):
    """The object has changed since it was read."""

    code = "precondition_failed"


class TooLarge(GatewayError):
    """The request body is too large."""

    code = "request_too_large"


class UnsupportedMediaType(GatewayError):
    """The request body must be application/json."""

    code = "unsupported_media_type"


class ExpectationFailed(GatewayError):
    """The only expectation served is 100-continue."""

    code = "expectation_failed"


class ModelNotPriced(GatewayError):
    """A budget applies and the model has no price."""

    code = "model_not_priced"


class RateLimited(GatewayError):
    """A rate limit is exhausted."""

    code = "rate_limit_exceeded"


class QuotaExceeded(GatewayError):
    """The budget is exhausted."""

    code = "insufficient_quota"


class UpstreamRefused(GatewayError):
    """The provider refused the request."""

    code = "upstream_invalid_request"


class UpstreamRateLimited(GatewayError):
    """The provider's rate limit is exhausted."""

    code = "upstream_rate_limited"


class UpstreamFailed(GatewayError):
    """The provider failed."""

    code = "upstream_error"


class UpstreamTimedOut(GatewayError):
    """The provider did not answer in time."""

    code = "upstream_timeout"


class NotCached(GatewayError):
    """No answer to this request is kept, and the client asked for no other."""

    code = "not_cached"


class Unavailable(GatewayError):
    """The gateway cannot take this request now."""

    code = "overloaded"


class InternalError(GatewayError):
    """The gateway failed; the request id finds the cause in its log."""

    code = "internal_error"
