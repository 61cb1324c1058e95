"""Bedrock's refusals, read: by the name of the exception, then by the status, and a few by their words.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html, read 2026-11.
"""

import re
from typing import Any

from providers.answers import error_of_status, read_refusal, text
from providers.errors import ContentBlocked, ContextTooLong, ProviderError, RequestRefused
from providers.types import Headers

_STATUSES = {
    "AccessDeniedException": 403,
    "ExpiredToken": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignature": 403,
    "IncompleteSignatureException": 403,
    "InvalidClientTokenId": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationToken": 403,
    "MissingAuthenticationTokenException": 403,
    "SignatureDoesNotMatch": 403,
    "UnrecognizedClientException": 403,
    "ModelNotReadyException": 429,
    "ServiceQuotaExceededException": 429,
    "ThrottledException": 429,
    "ThrottlingException": 429,
    "TooManyRequestsException": 429,
    "ResourceNotFoundException": 404,
    "ValidationException": 400,
    "InternalServerException": 500,
    "ModelErrorException": 500,
    "ModelStreamErrorException": 500,
    "ModelTimeoutException": 500,
    "ServiceUnavailableException": 503,
}
"""What an exception is, whatever the status that it came with: a quota that is exceeded comes as a 400."""
_TOO_LONG = re.compile(
    r"input is too long|too many (input )?tokens|prompt is too long|context (length|window)"
    r"|exceeds? the (maximum|model'?s?) .{0,40}(tokens|context)|input length .{0,80}exceed",
    re.IGNORECASE,
)
_BLOCKED = re.compile(r"content filter|content policy|blocked by .{0,40}(filter|guardrail|policy)", re.IGNORECASE)


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    said = read_refusal(body)
    named = headers.get("x-amzn-errortype") or said.get("__type") or said.get("code")
    code = _name(named) if isinstance(named, str) else None
    error = _error(code, said, status=_STATUSES.get(code or "", status), headers=headers)
    error.status = status
    return error


def error_in_stream(named: Any, payload: bytes) -> ProviderError:
    """Read an exception that came as a frame of a stream; there is no status."""
    code = _name(named) if isinstance(named, str) else None
    error = _error(code, read_refusal(payload), status=_STATUSES.get(code or "", 500), headers={})
    error.status = None
    return error


def _name(named: str) -> str | None:
    """Return the bare name of an exception: `aws.x#ThrottlingException:http://…` and `throttlingException` are one."""
    bare = named.partition(":")[0].rpartition("#")[2].strip()
    return text(bare[:1].upper() + bare[1:])


def _error(code: str | None, said: dict[str, Any], *, status: int, headers: Headers) -> ProviderError:
    message = text(said.get("message")) or text(said.get("Message")) or text(said.get("originalMessage"))
    return error_of_status(status, headers, message=message, code=code, refusal=_refusal(message or ""))


def _refusal(message: str) -> type[RequestRefused]:
    if _TOO_LONG.search(message):
        return ContextTooLong
    return ContentBlocked if _BLOCKED.search(message) else RequestRefused


__all__ = ["decode_error", "error_in_stream"]
