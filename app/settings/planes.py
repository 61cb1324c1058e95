"""The two planes: where each listens and whom it believes."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from providers.types import Secret

_Port = Annotated[int, Meta(ge=1, le=65535)]


class GatewayJwt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """JSON Web Tokens that stand for an inference key."""

    issuer: Annotated[str, Meta(description="The `iss` claim, exactly; keys are discovered from it.", min_length=1)]
    audience: Annotated[str, Meta(description="The `aud` claim that a token must carry.", min_length=1)]
    key_claim: Annotated[
        str,
        Meta(
            description="The claim that names the inference key: by its id, which rotation keeps, or by its public id.",
            min_length=1,
        ),
    ]
    jwks_url: Annotated[
        str | None, Meta(description="Where the signing keys are; absent: from the issuer's discovery document.")
    ] = None


class AdminJwt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """JSON Web Tokens that sign people in to the admin plane."""

    issuer: Annotated[str, Meta(description="The `iss` claim, exactly; keys are discovered from it.", min_length=1)]
    audience: Annotated[str, Meta(description="The `aud` claim that a token must carry.", min_length=1)]
    role_claim: Annotated[
        str,
        Meta(
            description="The claim whose value a grant maps to a role; dots lead into objects.",
            min_length=1,
            examples=["roles", "realm_access.roles"],
        ),
    ]
    roles: Annotated[
        Mapping[str, Literal["owner", "admin", "viewer"]],
        Meta(description="Values of the role claim that give a role on the installation without a grant."),
    ] = {}
    jwks_url: Annotated[
        str | None, Meta(description="Where the signing keys are; absent: from the issuer's discovery document.")
    ] = None
    client_id: Annotated[
        str | None,
        Meta(description="This plane's name at the issuer; with it people sign in there by browser."),
    ] = None
    client_secret: Annotated[
        Secret | None, Meta(description="What this plane proves its name by; absent: by PKCE alone.")
    ] = None
    scopes: Annotated[tuple[str, ...], Meta(description="What the issuer is asked for at a sign-in.")] = (
        "openid",
        "profile",
        "email",
    )


class GatewayPlane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inference plane."""

    host: Annotated[str, Meta(description="The address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[_Port, Meta(description="The TCP port to listen on.")] = 3020
    workers: Annotated[
        int, Meta(description="Processes that share the port; more than one needs a Redis `state`.", ge=1, le=1024)
    ] = 1
    metrics: Annotated[bool, Meta(description="Whether `/metrics` is served.")] = True
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description='`Host` headers to answer, `*.` for subdomains; `["*"]`: any.', examples=[["llm.example.com"]]
        ),
    ] = ("*",)
    jwt: Annotated[GatewayJwt | None, Meta(description="Accept JSON Web Tokens in place of inference keys.")] = None


class AdminPlane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The admin plane."""

    host: Annotated[str, Meta(description="The address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[_Port, Meta(description="The TCP port to listen on.")] = 3040
    gateway_url: Annotated[
        str, Meta(description="Where this plane, and the people who read it, reach the gateway plane.")
    ] = "http://127.0.0.1:3020"
    url: Annotated[
        str | None,
        Meta(
            description="Where browsers reach this plane: an origin. Absent: wherever they say that it is.",
            examples=["https://llm-admin.example.com"],
        ),
    ] = None
    metrics: Annotated[bool, Meta(description="Whether `/metrics` is served.")] = True
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description='`Host` headers to answer, `*.` for subdomains; `["*"]`: any.', examples=[["llm.example.com"]]
        ),
    ] = ("*",)
    jwt: Annotated[AdminJwt | None, Meta(description="Accept JSON Web Tokens of people and services.")] = None
