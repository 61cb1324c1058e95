"""Where a provider made through the API may be. Law: public addresses, unless the operator has opened private networks.

The text is judged here; the address that a name resolves to is judged again at each connect.
"""

from typing import NamedTuple

from app.domain.audit.principal import Principal, Role
from app.domain.upstream.schemas import Reach
from app.kernel.errors import Forbidden, InvalidRequest
from providers.http.urls import UrlRefused, place_of


class Allowed(NamedTuple):
    """A base URL in its plain form, and where its provider may be."""

    url: str
    reach: Reach


def allowed_place(url: str, *, principal: Principal, cidrs: tuple[str, ...]) -> Allowed:
    """Return where a provider may be whose base URL this principal writes.

    Within the private networks `cidrs` only an owner may put one, by plain http or any port if he likes. Raises
    `InvalidRequest` and `Forbidden`.
    """
    try:
        place = place_of(url, allowed_private_cidrs=cidrs)
    except UrlRefused as error:
        raise InvalidRequest(f"base_url: {error}", code="base_url_refused", param="base_url") from None
    is_owner = principal.role.includes(Role.OWNER)
    if place.is_private and not is_owner:
        raise Forbidden(
            "a provider within a private network needs the role owner", code="insufficient_scope", param="base_url"
        )
    return Allowed(place.url, "private" if cidrs and is_owner else "public")
