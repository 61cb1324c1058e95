"""What the fake provider is about to send, before the wire has its say."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

MOST_CHOICES = 128
"""As with the vendors: no request may make the fake run out of memory."""
_ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


class Frame(NamedTuple):
    """Bytes that belong together, and the output tokens that they carry."""

    data: bytes
    tokens: int = 0


class Reply(msgspec.Struct, kw_only=True):
    """An answer: its head, and its body frame by frame; only a stream has more than one frame."""

    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    frames: Iterable[Frame] = ()
    is_stream: bool = False
    prompt_tokens: int = 0
    usage: dict[str, Any] | None = None


def json_reply(value: Any, *, status: int = 200) -> Reply:
    """Return a reply of one JSON value."""
    return Reply(status=status, frames=(Frame(msgspec.json.encode(value)),))


def error_body(status: int, message: str) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    kind, code = _ERROR_TYPES.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_reply(status: int, message: str) -> Reply:
    """Return a refusal in OpenAI's shape."""
    return json_reply(error_body(status, message), status=status)
