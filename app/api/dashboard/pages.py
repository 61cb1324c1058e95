"""Turns values into pages. Law: everything is escaped, and a page may load and reach only what its policy names."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from app.api.dashboard.assets import asset_paths
from app.domain.audit.principal import Principal, Role
from app.kernel.money import format_usd

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{reached}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
}
_CENTS = 2
_MANY_MS = 100


class Templates:
    """Renders the templates. One for each process."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("app.api.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            usd=say_usd,
            moment=say_moment,
            number=say_number,
            percent=say_percent,
            milliseconds=say_milliseconds,
            from_nusd=from_nusd,
            quoted=say_quoted,
        )
        self._templates.globals.update(asset=asset_paths())

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Return the text of a template."""
        return self._templates.get_template(template).render(values)


class Pages:
    """Makes the pages that one visitor sees."""

    def __init__(
        self,
        templates: Templates,
        *,
        visitor: Principal | None,
        csrf_token: str | None,
        is_recent: bool,
        sign_in_path: str,
    ) -> None:
        """Make pages; `is_recent` is whether the visitor may change roles and credentials without signing in again."""
        self._templates = templates
        self._shared = {
            "visitor": visitor,
            "csrf_token": csrf_token,
            "is_recent": is_recent,
            "sign_in_path": sign_in_path,
            "is_owner": visitor is not None and visitor.role.includes(Role.OWNER),
            "may_write": visitor is not None and visitor.role.includes(Role.ADMIN),
        }

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        reaches: str | None = None,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response[bytes]:
        """Return a page or a part of one; its scripts may also reach the origin of the URL `reaches`."""
        text = self._templates.render(template, self._shared | values)
        reached = "" if reaches is None else f" {origin_of(reaches)}"
        policy = {"content-security-policy": _POLICY.format(reached=reached)}
        return Response(
            text.encode(),
            status_code=status,
            media_type="text/html",
            headers=_HEADERS | policy | dict(headers or {}),
        )


def origin_of(url: str) -> str:
    """Return the scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def from_nusd(nusd: int | None) -> str | None:
    """Return nano-USD as a decimal amount of USD."""
    return None if nusd is None else format_usd(nusd)


def say_quoted(text: str) -> str:
    """Return a text as a JSON string that stands in an argument of a shell between single quotes."""
    return msgspec.json.encode(text).decode().replace("'", "'\\''")


def say_usd(amount: str | None) -> str:
    """Return a decimal amount of USD as people write it: at least cents, and no zeros behind them."""
    if amount is None:
        return "no price"
    sign, digits = ("-", amount[1:]) if amount.startswith("-") else ("", amount)
    whole, _, rest = digits.partition(".")
    return f"{sign}${int(whole):,}.{rest.rstrip('0').ljust(_CENTS, '0')}"


def say_moment(moment: datetime | None) -> str:
    """Return a moment in UTC, to the second."""
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def say_number(number: float | None) -> str:
    """Return a number with its thousands apart."""
    return "unknown" if number is None else f"{number:,}"


def say_milliseconds(number: float | None) -> str:
    """Return a length of time: whole milliseconds, or parts of them where there are few; `none` where there is none."""
    if number is None:
        return "none"
    return f"{number:,.0f} ms" if number >= _MANY_MS else f"{number:,.3g} ms"


def say_percent(part: float | str, whole: float | str) -> str:
    """Return a part of a whole in percent; `none` where the whole is nothing."""
    total = Decimal(whole)
    return f"{Decimal(part) * 100 / total:.1f} %" if total else "none"
