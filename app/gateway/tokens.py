"""The keys of the inference plane's token issuer are fetched over our own transport."""

from typing import TYPE_CHECKING

from app.gateway.core import Core
from app.gateway.issuer import fetch_from_issuer

if TYPE_CHECKING:
    from app.domain.keys.tokens import TokenVerifier


def open_tokens(core: Core) -> "TokenVerifier | None":
    """Return what reads JSON Web Tokens, if the settings have an issuer."""
    jwt = core.settings.gateway.jwt
    if jwt is None:
        return None
    from app.domain.keys.tokens import TokenVerifier  # noqa: PLC0415 - joserfc takes 140 ms to import, and few need it

    return TokenVerifier(jwt, fetch=fetch_from_issuer, clock=core.clock)
