"""`Idempotency-Key` on inference: which requests are the same, and what a repeated answer says of its first."""

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec

from app.api.body import FORM_TYPE
from app.api.errors import Header
from app.domain.answers.schemas import Headers, Slot
from app.domain.answers.tables import KEY_LENGTH, PATH_LENGTH
from app.kernel.errors import InvalidRequest
from app.pipeline.exchange import Exchange
from providers.framing.multipart import boundary_of

HEADER = b"idempotency-key"
REPLAYED: Header = (b"idempotent-replayed", b"true")
_NAME = "Idempotency-Key"
_OF_WHO_SERVED = frozenset(
    b"x-gateway-" + name
    for name in (
        b"provider",
        b"model",
        b"attempts",
        b"cache",
        b"cache-similarity",
        b"cost",
        b"dropped-params",
        b"fanout",
    )
)
_LARGE_BYTES = 1 << 20


def slot_of(given: bytes, exchange: Exchange, path: str) -> Slot:
    """Return where the answer to a request is kept. Raises `InvalidRequest` that names the header."""
    text = given.decode("latin-1")
    if not 1 <= len(text) <= KEY_LENGTH or not text.isascii() or not text.isprintable():
        raise InvalidRequest(f"{_NAME} must be 1 to {KEY_LENGTH} printable ASCII characters", param=_NAME)
    if len(path) > PATH_LENGTH or not path.isprintable():
        path = "sha256:" + hashlib.sha256(path.encode()).hexdigest()
    return Slot(exchange.principal.key_id, path, text)


async def hash_of(exchange: Exchange, query: str) -> bytes:
    """Return a SHA-256 of all that makes the answer: the body, the query, and the headers that change it.

    How long the client waits and what it calls the request do not; nor does the boundary that a form's writer drew.
    """
    options = msgspec.to_builtins(msgspec.structs.replace(exchange.options, timeout_s=None, tags={}))
    del options["in_body"]
    said = msgspec.json.encode([query, exchange.passed_headers, options], order="sorted")
    body = exchange.body
    is_large = len(body) > _LARGE_BYTES
    return await asyncio.to_thread(_hash, exchange, said) if is_large else _hash(exchange, said)


def _hash(exchange: Exchange, said: bytes) -> bytes:
    body, content_type = exchange.body, exchange.content_type
    if content_type.lower().startswith(FORM_TYPE.decode()):
        body = body.replace(b"--" + boundary_of(content_type), b"--")
    found = hashlib.sha256(b"%d\0" % len(said))
    found.update(said)
    found.update(body)
    return found.digest()


def headers_of_who_served(headers: Sequence[Header]) -> Headers:
    """Return those of an answer's headers that are still true when it is given again."""
    return tuple(header for header in headers if header[0] in _OF_WHO_SERVED)


def replayed_headers(headers: Sequence[Header], replayed: Headers) -> list[Header]:
    """Return the headers of an answer that is given again: its own, but for those that say who served."""
    own = [header for header in headers if header[0] not in _OF_WHO_SERVED]
    return [*own, *replayed, REPLAYED]
