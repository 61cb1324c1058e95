"""Calls to an issuer of tokens, over our own transport."""

from app.kernel.errors import Unavailable
from providers.http import Pool
from providers.types import Timeouts, UpstreamRequest

_TIMEOUTS = Timeouts(connect_s=5, first_token_s=5, idle_s=5, total_s=10)
_MAX_BYTES = 1 << 20
_OK = 200
_ACCEPT = ("accept", "application/json")
_FORM = ("content-type", "application/x-www-form-urlencoded")


async def fetch_from_issuer(url: str) -> bytes:
    """Return what is under a URL; raises `ProviderError`, or `Unavailable` for anything but a 200."""
    return await _send(UpstreamRequest(method="GET", url=url, headers=(_ACCEPT,)))


async def post_to_issuer(url: str, headers: tuple[tuple[str, str], ...], form: bytes) -> bytes:
    """Post a form and return the answer; raises `ProviderError`, or `Unavailable` for anything but a 200."""
    return await _send(UpstreamRequest(method="POST", url=url, headers=(_ACCEPT, _FORM, *headers), body=form))


async def _send(request: UpstreamRequest) -> bytes:
    pool = Pool()
    try:
        answer = await pool.send(request, timeouts=_TIMEOUTS)
        if answer.status != _OK:
            raise Unavailable("the token issuer does not answer", code="jwks_unavailable")
        return await answer.read_all(_MAX_BYTES)
    finally:
        await pool.aclose()
