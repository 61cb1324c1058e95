"""The keys of a token issuer are fetched over our own transport."""

from typing import TYPE_CHECKING

from app.gateway.core import Core
from app.kernel.errors import Unavailable
from providers.http import Pool
from providers.types import Timeouts, UpstreamRequest

if TYPE_CHECKING:
    from app.domain.keys.tokens import TokenVerifier

_TIMEOUTS = Timeouts(connect_s=5, first_token_s=5, idle_s=5, total_s=10)
_MAX_BYTES = 1 << 20
_OK = 200


def open_tokens(core: Core) -> "TokenVerifier | None":
    """Return what reads JSON Web Tokens, if the settings have an issuer."""
    jwt = core.settings.gateway.jwt
    if jwt is None:
        return None
    from app.domain.keys.tokens import TokenVerifier  # noqa: PLC0415 - joserfc takes 140 ms to import, and few need it

    async def fetch(url: str) -> bytes:
        pool = Pool()
        request = UpstreamRequest(method="GET", url=url, headers=(("accept", "application/json"),))
        try:
            answer = await pool.send(request, timeouts=_TIMEOUTS)
            if answer.status != _OK:
                raise Unavailable("the token issuer does not answer", code="jwks_unavailable")
            return await answer.read_all(_MAX_BYTES)
        finally:
            await pool.aclose()

    return TokenVerifier(jwt, fetch=fetch, clock=core.clock)
