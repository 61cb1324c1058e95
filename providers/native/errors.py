"""Provider errors as JSON: the kind by name, from a closed table, and all that they know. Law: nothing is reworded."""

from typing import Any

import msgspec

from providers.answers import error_of_status
from providers.errors import (
    BadAnswer,
    ConnectFailed,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
    StreamInterrupted,
)
from providers.types import Headers

KINDS: dict[str, type[ProviderError]] = {
    kind.__name__: kind
    for kind in (
        ProviderError,
        RequestRefused,
        ContextTooLong,
        ContentBlocked,
        CredentialRefused,
        ProviderRateLimited,
        ProviderOverloaded,
        ConnectFailed,
        ProviderTimedOut,
        StreamInterrupted,
        BadAnswer,
    )
}
"""Every class of `providers.errors` by its name."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider error. `kind` is a name of `KINDS`; the rest are the error's attributes, `body` in base64.

    `is_accepted` is the provider's answer to the service, not the service's own.
    """

    kind: str
    message: str
    code: str
    status: int | None = None
    vendor_code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    phase: str | None = None
    body: bytes | None = None
    is_accepted: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer that is no success."""

    error: Fault


_decode_refusal = msgspec.json.Decoder(Refusal).decode


def fault_of(error: ProviderError) -> Fault:
    """Return an error as the wire has it; a class of somebody else's as the nearest one of the table."""
    kind = next(cls.__name__ for cls in type(error).__mro__ if KINDS.get(cls.__name__) is cls)
    return Fault(
        kind=kind,
        message=error.message,
        code=error.code,
        status=error.status,
        vendor_code=error.vendor_code,
        param=error.param,
        retry_after_s=error.retry_after_s,
        phase=getattr(error, "phase", None),
        body=error.body,
        is_accepted=error.is_accepted,
    )


def error_of(fault: Fault) -> ProviderError:
    """Return the error that the wire tells of; a kind that is not in the table is the provider's failure."""
    kind = KINDS.get(fault.kind, ProviderOverloaded)
    if issubclass(kind, ProviderTimedOut):
        return _with_the_rest(kind(fault.message, phase=fault.phase or "total"), fault)
    return _with_the_rest(kind(fault.message), fault)


def _with_the_rest(error: ProviderError, fault: Fault) -> ProviderError:
    rest: dict[str, Any] = {
        name: getattr(fault, name)
        for name in ("code", "status", "vendor_code", "param", "retry_after_s", "body", "is_accepted")
    }
    for name, value in rest.items():
        setattr(error, name, value)
    return error


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal of the service, or of whatever stands before it."""
    try:
        fault = _decode_refusal(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return error_of_status(status, headers, message=None)
    return error_of(fault)


__all__ = ["KINDS", "Fault", "Refusal", "decode_error", "error_of", "fault_of"]
