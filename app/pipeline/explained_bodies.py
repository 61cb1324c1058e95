"""What a request and its answer said, as it is told to administrators. Law: pure; only where `store_bodies` is on."""

import base64
import codecs
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.pipeline.explanation import Explanation

Encoding = Literal["utf-8", "base64"]


class ExplainedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body as its client sent it, or was sent it; of a stream all of its parts, one behind the other."""

    text: Annotated[str, Meta(description="Its first 64 KiB at most.")]
    encoding: Annotated[Encoding, Meta(description="`base64`: it is no text.")]
    size_bytes: Annotated[int, Meta(description="Of all of it, as far as it was read or sent.")]
    truncated: Annotated[bool, Meta(description="Whether `text` is only its beginning.")]


class ExplainedBodies(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent, and what it was sent."""

    request: ExplainedBody
    answer: ExplainedBody


class RequestDetail(Explanation, frozen=True, kw_only=True):
    """How one request was admitted, routed and priced, and what was said if that is kept."""

    bodies: Annotated[
        ExplainedBodies | None,
        Meta(
            description="Null: none are kept (`privacy.store_bodies`), they are kept no longer, or the caller is a "
            "viewer."
        ),
    ] = None


def told_body(data: bytes, *, size_bytes: int) -> ExplainedBody:
    """Return a body of which `data` is the beginning, or all."""
    is_cut = len(data) < size_bytes
    encoding: Encoding = "utf-8"
    try:
        # What is cut may end within a character, which is then left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(data).decode(), "base64"
    return ExplainedBody(text=text, encoding=encoding, size_bytes=size_bytes, truncated=is_cut)


def with_bodies(told: Explanation, bodies: ExplainedBodies | None) -> RequestDetail:
    """Return what became of a request with what was said."""
    return RequestDetail(**{name: getattr(told, name) for name in Explanation.__struct_fields__}, bodies=bodies)
