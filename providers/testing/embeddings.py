"""The fake provider's embeddings: the same vector for the same input, of length one."""

import base64
import hashlib
import math
import struct
from typing import Any

import msgspec

from providers.testing.reply import Frame, Reply, error_reply
from providers.testing.tokens import count_tokens

DIMENSIONS = 8


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the vector of a text, in numbers that single precision holds exactly."""
    digest = hashlib.shake_256(text.encode()).digest(4 * dimensions)
    raw = [value / 2**31 - 1 for value in struct.unpack(f"<{dimensions}I", digest)]
    length = math.hypot(*raw) or 1.0
    return list(struct.unpack(f"<{dimensions}f", _pack([value / length for value in raw])))


def embeddings_reply(body: dict[str, Any]) -> Reply:
    """Answer a request for embeddings: of texts or token arrays, as floats or as base64."""
    given: Any = body.get("input")
    inputs: list[Any] = given if isinstance(given, list) and not _is_tokens(given) else [given]
    if not inputs or not all(isinstance(item, str) or _is_tokens(item) for item in inputs):
        return error_reply(400, "'input' must be a string, a list of strings, or token arrays.")
    dimensions = body.get("dimensions") or DIMENSIONS
    vectors = [vector_of(item if isinstance(item, str) else repr(item), dimensions) for item in inputs]
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _encode(vector) if as_base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(count_tokens(item) if isinstance(item, str) else len(item) for item in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "model": body.get("model"), "data": data, "usage": usage}
    return Reply(frames=(Frame(msgspec.json.encode(answer)),), prompt_tokens=tokens, usage=usage)


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, int) for item in value)


def _pack(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _encode(vector: list[float]) -> str:
    return base64.b64encode(_pack(vector)).decode()
