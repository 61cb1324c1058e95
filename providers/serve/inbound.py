"""Requests to an adapter service, read with bounds, and watched: whoever leaves has its call cancelled."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any, TypeVar

import msgspec

from providers.errors import CredentialRefused, ProviderOverloaded, RequestRefused
from providers.types import Secret

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T = TypeVar("T")

MAX_BODY_BYTES = 26 << 20
"""The largest body that a client of a gateway may send, in any dialect."""
_ENVELOPE_BYTES = 1 << 20
"""What the native wire may say about it besides."""
_BODY_S = 60.0
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")
_LOCAL_NAME = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


class ClientGone(Exception):
    """The client left before its request was complete."""


def check_caller(headers: Mapping[bytes, bytes], *, token: Secret | None) -> None:
    """Refuse a caller without the token; where there is none, one that does not mean this machine.

    A page in a browser can reach a loopback address by a name of its own, so the name is looked at.
    Raises `CredentialRefused`.
    """
    if token is None:
        if _LOCAL_NAME.fullmatch(headers.get(b"host", b"")) is None:
            raise CredentialRefused("without GATEWAY_ADAPTER_TOKEN only localhost may be called", status=403)
        return
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or Secret(given.strip().decode("latin-1")) != token:
        raise CredentialRefused("the adapter's token, GATEWAY_ADAPTER_TOKEN, is missing or wrong", status=401)


def check_type(headers: Mapping[bytes, bytes], *, wanted: str) -> None:
    """Refuse a body of another type. Raises `RequestRefused`."""
    given = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if given != wanted.encode():
        raise RequestRefused(f"the body must be {wanted}", status=415, param="content-type")


async def read_body(receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """Return the whole body. Raises `RequestRefused` for a large one, `ProviderOverloaded` for a slow one."""
    limit_bytes = MAX_BODY_BYTES + _ENVELOPE_BYTES
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced[:20]) > limit_bytes:
        raise _too_large()
    try:
        async with asyncio.timeout(_BODY_S):
            return await _gather(receive, limit_bytes)
    except TimeoutError:
        raise ProviderOverloaded("the request's body came too slowly", status=408) from None


async def _gather(receive: Receive, limit_bytes: int) -> bytes:
    gathered = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        gathered += message.get("body", b"")
        if len(gathered) > limit_bytes:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(gathered)


def _too_large() -> RequestRefused:
    return RequestRefused(f"the request's body is larger than {MAX_BODY_BYTES} bytes", status=413)


def understood(read: Callable[[bytes], T], body: bytes) -> T:
    """Return what `read` makes of a body. Raises `RequestRefused` that names the field for one that it cannot read."""
    try:
        return read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        place = _PLACE.search(str(error))
        field = (place and place[1]) or None
        raise RequestRefused(f"the body is not of the native wire: {error}", status=400, param=field) from None
    except RecursionError:
        raise RequestRefused("the body is nested too deeply", status=400) from None


async def unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work, or cancel it as soon as the client has left; either way it has ended when this returns."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
