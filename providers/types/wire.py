"""What crosses the wire to a provider."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Headers = Mapping[str, str]
"""Header fields by lower-case name; a repeated field is joined with `, `."""


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request to a provider, complete but for connection headers.

    `url` is absolute. `headers` are name and value pairs, names in lower case, without `host`, `content-length`,
    `connection` and `accept-encoding`, which the transport writes. `dropped` names the fields of the client's request
    that this wire cannot say and that are harmless to leave out (`providers.carry`). `answer_types` are what the media
    type of an answer that is passed on as it comes may begin with, where that is not the dialect's stream type.
    `call_headers` are further headers, which no other request will have: a transport that remembers heads leaves them
    out of what it remembers.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    dropped: tuple[str, ...] = ()
    answer_types: tuple[str, ...] = ()
    call_headers: tuple[tuple[str, str], ...] = ()


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to the top-level members of a JSON body, in this order: drop, rename, put (encoded JSON values)."""

    put: Mapping[str, bytes] = {}
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = {}


class RelayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request in the provider's own dialect: its bytes go through but for the `edits`.

    `operation` names what is asked (`openai.chat`) and decides the upstream path. `body` is what the client sent, of
    the type `content_type`, and `document` the same, decoded: of a form its text fields. The dialect adds its own
    edits: the upstream model's name, whatever makes a stream report its usage, and the `output_cap`, in tokens.
    `headers` are the client's headers that go on (`anthropic-beta`). `keep_usage` is whether the client asked for the
    usage that a stream reports at its end. `framing` is how the client wants a stream's events: as server-sent events,
    as the elements of one JSON array (Gemini without `alt=sse`), or `raw`: as bytes of which it is no matter to anybody
    here what they say, such as sound. `subject` is the id of the stored object that is
    asked for, where there is no body.
    """

    operation: str
    body: bytes
    document: Mapping[str, Any]
    edits: Edits = Edits()
    output_cap: int | None = None
    stream: bool = False
    keep_usage: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    framing: Literal["sse", "array", "raw"] = "sse"
    subject: str | None = None
