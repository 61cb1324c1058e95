"""What crosses the wire to a provider."""

from collections.abc import Mapping

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


class RelayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request in the provider's own dialect: its bytes go through.

    `operation` names what is asked (`chat`, `embeddings`, …) and decides the upstream path. `body` already holds the
    upstream model's name and every other splice. `headers` are the client's headers that the dialect passes on.
    `keep_usage` is whether the client asked for the usage that a stream reports at its end.
    """

    operation: str
    body: bytes
    stream: bool = False
    keep_usage: bool = False
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
