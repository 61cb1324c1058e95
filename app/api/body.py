"""Request bodies, read and decoded with bounds. Law: we decode from bytes ourselves, so bad input is a 400."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from app.kernel.errors import ExpectationFailed, InvalidRequest, TooLarge, UnsupportedMediaType

MAX_DEPTH = 64
MAX_MEMBERS = 10_000
_LARGE_BYTES = 1 << 20
_SMALLEST_MEMBER_BYTES = 5
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(code for code in range(256) if code not in _BRACKETS)

_decode = msgspec.json.Decoder().decode


class JsonReader:
    """Decodes JSON objects; a large one in a thread, two at a time, so that the event loop never stalls."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(2)

    async def read(self, body: bytes) -> dict[str, Any]:
        """Return the object in `body`. Raises `InvalidRequest`."""
        if len(body) < _LARGE_BYTES:
            return decode_object(body)
        async with self._large:
            return await asyncio.to_thread(decode_object, body)


def decode_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; raises `InvalidRequest` for anything else, however it is broken."""
    if not body:
        raise InvalidRequest("the request has no body", code="invalid_json")
    _check_size(body)
    try:
        value = _decode(body)
    except UnicodeDecodeError:
        raise InvalidRequest("the request body is not valid UTF-8", code="invalid_json") from None
    except RecursionError:
        raise InvalidRequest(f"the request body is nested deeper than {MAX_DEPTH}", code="invalid_json") from None
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the request body must be a JSON object", code="invalid_json")
    return value


def _check_size(body: bytes) -> None:
    """Refuse bodies that are cheap to send and dear to decode: too deep, or with too many members."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH and len(body) <= MAX_MEMBERS * _SMALLEST_MEMBER_BYTES:
        return
    outside = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    if outside.count(b":") > MAX_MEMBERS:
        raise InvalidRequest(f"the request body has more than {MAX_MEMBERS} object members", code="invalid_json")
    if _depth_exceeds(outside.translate(None, _NOT_BRACKETS)):
        raise InvalidRequest(f"the request body is nested deeper than {MAX_DEPTH}", code="invalid_json")


def _depth_exceeds(brackets: bytes) -> bool:
    """Whether brackets nest deeper than the limit: each round takes the innermost pairs away."""
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(brackets):
            return False
        brackets = inner
    return bool(brackets)


def check_head(headers: Mapping[bytes, bytes], *, limit_bytes: int) -> None:
    """Refuse by the head alone: the wrong media type, a body that is announced too large, an odd expectation."""
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise UnsupportedMediaType
    length = headers.get(b"content-length")
    if length is not None and (not length.isdigit() or int(length) > limit_bytes):
        raise too_large(limit_bytes)
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise ExpectationFailed


def too_large(limit_bytes: int) -> TooLarge:
    """Return the error for a body over the limit."""
    return TooLarge(f"the request body is larger than {limit_bytes} bytes")
