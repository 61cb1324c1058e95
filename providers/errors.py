"""What a provider can do wrong.

    ProviderError
    ├── RequestRefused         it called the request invalid (400, 404, 413, 422)
    │   ├── ContextTooLong     the prompt does not fit the model
    │   └── ContentBlocked     its content policy stopped it
    ├── CredentialRefused      our credential is wrong, expired or out of funds (401, 402, 403)
    ├── ProviderRateLimited    its own limit (429)
    ├── ProviderOverloaded     it broke or is full (408, 5xx, 529)
    ├── ConnectFailed          no connection: refused, DNS, TLS, blocked address
    ├── ProviderTimedOut       a clock ran out: `phase` says which
    ├── StreamInterrupted      the answer was cut before its end
    └── BadAnswer              garbage, a redirect, too large, the wrong encoding

Law: `retryable` and `fault` are all that routing reads, `is_accepted` and `is_declared` all that accounting does.
"""

from typing import ClassVar, Literal

Fault = Literal["caller", "operator", "upstream"]


class ProviderError(Exception):
    """The provider failed."""

    code: str = "upstream_error"
    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = "upstream"
    is_declared: ClassVar[bool] = False
    """Whether the provider itself says so, by its status or within an answer; it does not bill what it calls failed."""

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        status: int | None = None,
        vendor_code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        body: bytes | None = None,
    ) -> None:
        """Make an error.

        `status` is the provider's HTTP status; `vendor_code` and `param` its own words; `body` its answer's bytes,
        kept only where they may be relayed to a client of the same dialect. `is_accepted` is set by whoever does the
        I/O: whether the head of a good answer (2xx) had come, so that the provider bills what it then failed to say.
        """
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)
        self.code = code or type(self).code
        self.status = status
        self.vendor_code = vendor_code
        self.param = param
        self.retry_after_s = retry_after_s
        self.body = body
        self.is_accepted = False


class RequestRefused(ProviderError):
    """The provider refused the request as invalid.

    `subject` is the object of the client's body that it is about, the very one, where nothing but that tells the place.
    """

    code = "upstream_invalid_request"
    retryable = False
    fault = "caller"
    is_declared = True
    subject: object = None


class ContextTooLong(RequestRefused):
    """The prompt does not fit the model's context."""

    code = "context_length_exceeded"


class ContentBlocked(RequestRefused):
    """The provider's content policy stopped the request."""

    code = "content_policy_violation"


class CredentialRefused(ProviderError):
    """The provider refused the gateway's credential."""

    code = "upstream_auth_failed"
    fault = "operator"
    is_declared = True


class ProviderRateLimited(ProviderError):
    """The provider's rate limit is exhausted."""

    code = "upstream_rate_limited"
    is_declared = True


class ProviderOverloaded(ProviderError):
    """The provider failed or is overloaded."""

    code = "upstream_error"
    is_declared = True


class ConnectFailed(ProviderError):
    """The provider cannot be reached."""

    code = "upstream_unreachable"


class ProviderTimedOut(ProviderError):
    """The provider did not answer in time."""

    code = "upstream_timeout"

    def __init__(self, message: str | None = None, *, phase: str = "total") -> None:
        """Make an error; `phase` is `connect`, `first_token`, `idle`, `write` or `total`."""
        super().__init__(message)
        self.phase = phase


class StreamInterrupted(ProviderError):
    """The provider's answer was cut before its end."""

    code = "upstream_interrupted"


class BadAnswer(ProviderError):
    """The provider's answer cannot be understood."""

    code = "upstream_bad_response"
