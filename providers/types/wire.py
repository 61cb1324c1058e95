"""What crosses the wire to a provider."""

from collections.abc import Mapping
from typing import Any

import msgspec

Headers = Mapping[str, str]
"""Header fields by lower-case name; a repeated field is joined with `, `."""


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request to a provider, complete but for connection headers.

    `url` is absolute. `headers` are name and value pairs, names in lower case, without `host`, `content-length`,
    `connection` and `accept-encoding`, which the transport writes.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to the top-level members of a JSON body, in this order: drop, rename, put (encoded JSON values)."""

    put: Mapping[str, bytes] = {}
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = {}


class RelayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request in the provider's own dialect: its bytes go through but for the `edits`.

    `operation` names what is asked (`openai.chat`) and decides the upstream path. `body` is what the client sent and
    `document` the same, decoded. The dialect adds its own edits: the upstream model's name, whatever makes a stream
    report its usage, and the `output_cap`, in tokens. `headers` are the client's headers that the dialect passes on.
    `keep_usage` is whether the client asked for the usage that a stream reports at its end.
    """

    operation: str
    body: bytes
    document: Mapping[str, Any]
    edits: Edits = Edits()
    output_cap: int | None = None
    stream: bool = False
    keep_usage: bool = False
    headers: tuple[tuple[str, str], ...] = ()
