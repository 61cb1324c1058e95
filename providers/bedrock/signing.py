"""A transport that signs what it sends. Law: a request is signed as it is sent, and as the transport will write it."""

import hashlib
from collections.abc import Callable

import msgspec

from providers.bedrock.sigv4 import AccessKey, Scope, amz_date, authorization
from providers.http.request import host_field, origin_of
from providers.protocol import Answer, Sender
from providers.types import Timeouts, UpstreamRequest


class SigningSender:
    """Signs requests that carry no credential of their own; `clock` returns seconds since the Unix epoch."""

    def __init__(
        self, sender: Sender, key: AccessKey, *, scope_of: Callable[[str], Scope], clock: Callable[[], float]
    ) -> None:
        """Wrap `sender`; `scope_of` tells the scope of a URL."""
        self._sender = sender
        self._key = key
        self._scope_of = scope_of
        self._clock = clock

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Send a request with its signature."""
        if any(name == "authorization" for name, _ in request.headers):
            return await self._sender.send(request, timeouts=timeouts)
        return await self._sender.send(self.sign(request), timeouts=timeouts)

    def sign(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return the request with the headers that sign it, as of now."""
        digest = hashlib.sha256(request.body).hexdigest()
        added = {"x-amz-content-sha256": digest, "x-amz-date": amz_date(self._clock())}
        if self._key.session_token is not None:
            added["x-amz-security-token"] = self._key.session_token.reveal()
        signature = authorization(
            request.method,
            request.url,
            headers={"host": host_field(origin_of(request.url)), **added},
            body_sha256=digest,
            key=self._key,
            scope=self._scope_of(request.url),
        )
        headers = (*request.headers, *added.items(), ("authorization", signature))
        return msgspec.structs.replace(request, headers=headers)


__all__ = ["SigningSender"]
