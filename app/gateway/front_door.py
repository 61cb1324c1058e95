"""Who presents a bearer credential to the admin plane: an admin key, or a token of the issuer of `admin.jwt`."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from app.domain.access.attempts import Attempts
from app.domain.access.people import read_person
from app.domain.audit.principal import Principal
from app.domain.keys.secrets import derive, looks_signed
from app.domain.services import AdminServices
from app.gateway.core import Core
from app.gateway.issuer import fetch_from_issuer, post_to_issuer
from app.kernel.clock import Clock
from app.settings.planes import AdminJwt

if TYPE_CHECKING:
    from app.domain.access.code_flow import CodeFlow
    from app.domain.keys.signed_tokens import SignedTokens

Authenticate = Callable[[bytes], Awaitable[Principal]]
CALLBACK = "/admin/v1/session/oidc/callback"
_STARTS = 60


class BearerAuthenticator:
    """Turns a bearer credential into a principal."""

    def __init__(self, services: AdminServices, *, jwt: AdminJwt, tokens: "SignedTokens") -> None:
        self._services = services
        self._jwt = jwt
        self._tokens = tokens

    async def __call__(self, token: bytes) -> Principal:
        """Return the principal; raises `Unauthenticated`, `Forbidden`, or `Unavailable` when nobody can tell."""
        if not looks_signed(token):
            return await self._services.authenticator(token)
        proof = await self._tokens.prove(token, audience=self._jwt.audience)
        person = read_person(proof.claims, role_claim=self._jwt.role_claim)
        return await self._services.people.principal(person, kind="person")


class FrontDoor:
    """How people come in: by which credentials, and how often they may fail. One for each worker process.

    `code_flow` is absent where nobody signs in at an issuer; `starts` bounds how many such sign-ins an address begins.
    """

    def __init__(self, authenticate: Authenticate, clock: Clock) -> None:
        """Let in whom `authenticate` names; nobody signs in at an issuer."""
        self.authenticate = authenticate
        self.attempts = Attempts(clock)
        self.starts = Attempts(clock, limit=_STARTS)
        self.code_flow: CodeFlow | None = None


def open_front_door(core: Core) -> FrontDoor:
    """Return the front door of the admin plane; tokens are read if the settings have an issuer."""
    door = FrontDoor(core.services.authenticator, core.clock)
    jwt = core.settings.admin.jwt
    if jwt is None:
        return door
    from app.domain.keys.signed_tokens import SignedTokens  # noqa: PLC0415 - joserfc takes 140 ms to import

    tokens = SignedTokens(jwt, fetch=fetch_from_issuer, clock=core.clock)
    door.authenticate = BearerAuthenticator(core.services, jwt=jwt, tokens=tokens)
    door.code_flow = _open_code_flow(core, jwt=jwt, tokens=tokens)
    return door


def _open_code_flow(core: Core, *, jwt: AdminJwt, tokens: "SignedTokens") -> "CodeFlow | None":
    from app.domain.access.code_flow import CodeFlow, Issuer  # noqa: PLC0415 - the same

    url, master = core.settings.admin.url, core.settings.master_secret
    if jwt.client_id is None or url is None or master is None:
        return None
    return CodeFlow(
        jwt,
        issuer=Issuer(fetch=fetch_from_issuer, post=post_to_issuer, tokens=tokens),
        callback=url.rstrip("/") + CALLBACK,
        database=core.database,
        key=derive(master, purpose="sign-ins 1"),
        clock=core.clock,
    )
