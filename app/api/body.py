"""Request bodies, read and decoded with bounds. Law: we decode from bytes ourselves, so bad input is a 400."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import msgspec

from app.kernel.errors import ExpectationFailed, InvalidRequest, TooLarge, UnsupportedMediaType
from providers.framing import multipart
from providers.framing.members import DuplicateMember, refuse_duplicates

JSON_TYPE = b"application/json"
FORM_TYPE = b"multipart/form-data"
MAX_DEPTH = 64
MAX_FIELDS = 1_000
MAX_MEMBERS = 50_000
MAX_ITEMS = 400_000
MAX_LISTS = 50_000
_SLICE_BYTES = 1 << 18
_LARGE_BYTES = 1 << 20
_SMALLEST_MEMBER_BYTES = 5
_LENGTH_DIGITS = 18
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(code for code in range(256) if code not in _BRACKETS)
_DEEPER = tuple((code in b"[{") - (code in b"]}") for code in range(256))

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


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
    """Return the JSON object in `body`; raises `InvalidRequest` for anything else, however it is broken.

    A member that stands twice in an object is refused, wherever that is: we read its last value, a provider that gets
    the bytes may read its first.
    """
    if not body:
        raise _invalid("the request has no body")
    _check_size(body)
    try:
        value = _decode(body)
    except UnicodeDecodeError:
        raise _invalid("the request body is not valid UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except msgspec.MsgspecError as error:
        raise _invalid(f"the request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise _invalid("the request body must be a JSON object")
    if len(value) > MAX_FIELDS:
        raise _invalid(f"the request body has more than {MAX_FIELDS} fields")
    if _has_duplicates(body, value):
        raise _ambiguous(body)
    return value


def _has_duplicates(body: bytes, value: dict[str, Any]) -> bool:
    """Whether an object has a member twice: then fewer were read than there are colons outside the strings of the body.

    Most clients write their bodies as compactly as we do; then nothing need be counted.
    """
    if _encode(value) == body:
        return False
    return sum(text.count(b":") for text in _outside_strings(body)) != _count_members(value)


def _count_members(value: Any) -> int:
    """Return how many members all objects in a decoded body have together."""
    count, waiting = 0, [value]
    while waiting:
        inner = waiting.pop()
        if type(inner) is dict:
            count += len(inner)
            inner = inner.values()
        waiting += [item for item in inner if type(item) is dict or type(item) is list]
    return count


def _ambiguous(body: bytes) -> InvalidRequest:
    try:
        refuse_duplicates(body)
    except DuplicateMember as error:
        return _invalid(f"the request body is ambiguous: {error}")
    return _invalid("the request body is ambiguous: a member stands twice in an object inside it")


def _check_size(body: bytes) -> None:
    """Refuse bodies that are cheap to send and dear to decode: too deep, or with too many members, items or lists."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH and len(body) <= MAX_MEMBERS * _SMALLEST_MEMBER_BYTES:
        return
    members = items = 0
    brackets = []
    for text in _outside_strings(body):
        members += text.count(b":")
        items += text.count(b",")
        brackets.append(text.translate(None, _NOT_BRACKETS))
        if members > MAX_MEMBERS:
            raise _invalid(f"the request body has more than {MAX_MEMBERS} object members")
        if items > MAX_ITEMS:
            raise _invalid(f"the request body has more than {MAX_ITEMS} items")
    joined = b"".join(brackets)
    if len(joined) > 2 * MAX_LISTS:
        raise _invalid(f"the request body has more than {MAX_LISTS} lists and objects")
    if max(accumulate(map(_DEEPER.__getitem__, joined)), default=0) > MAX_DEPTH:
        raise _too_deep()


def _outside_strings(body: bytes) -> Iterator[bytes]:
    """Yield what of a JSON text stands outside its strings, slice by slice, so that no step holds up other threads."""
    start, is_inside = 0, False
    while start < len(body):
        piece = body[start : start + _SLICE_BYTES]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = body[start : start + _SLICE_BYTES + 1]
        start += len(piece)
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_json")


def _too_deep() -> InvalidRequest:
    return _invalid(f"the request body is nested deeper than {MAX_DEPTH}")


def read_form(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the text fields of a form by name, and for each file an object with its `filename`.

    The field `gateway` is decoded, for it is an object. Raises `InvalidRequest`.
    """
    try:
        form = multipart.parse(body, content_type)
    except multipart.BadForm as error:
        raise InvalidRequest(str(error), code="invalid_form") from None
    document: dict[str, Any] = {**form.document, **{file.name: {"filename": file.filename} for file in form.files}}
    if "gateway" in document:
        try:
            document["gateway"] = decode_object(str(document["gateway"]).encode())
        except InvalidRequest:
            raise InvalidRequest("gateway must be a JSON object of options", param="gateway") from None
    return document


def check_head(headers: Mapping[bytes, bytes], *, limit_bytes: int, media_type: bytes = JSON_TYPE) -> None:
    """Refuse by the head alone: another type, compressed, announced too large, with an odd expectation."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != media_type:
        raise UnsupportedMediaType(f"the request body must be {media_type.decode()}")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        raise UnsupportedMediaType("the request body must not be compressed: send it without Content-Encoding")
    length = headers.get(b"content-length")
    if length is not None and (len(length) > _LENGTH_DIGITS or not length.isdigit() or int(length) > limit_bytes):
        raise too_large(limit_bytes)
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise ExpectationFailed


def too_large(limit_bytes: int) -> TooLarge:
    """Return the error for a body over the limit."""
    return TooLarge(f"the request body is larger than {limit_bytes} bytes")
