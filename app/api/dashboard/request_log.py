"""Requests, and what became of each: attempts, timings, tokens and the arithmetic of its price."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from litestar import Controller, Response, get
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.filters import FILTERS, Filters, Text, usage_query_of
from app.api.dashboard.parameters import Biller, Renderer, Services, Visitor
from app.domain.usage.reports import UsageQuery
from app.kernel.errors import NotFound
from app.kernel.money import format_usd

_PAGE = 50
_MOST_ATTEMPTS = 200
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN_MS = range(86_400_000, 250_000_000_000_000)
"""Moments around which there is a day, before and after, that a date can say."""
_TIMED = 7


class RequestPages(Controller):
    """Recent requests."""

    path = "/requests"
    dependencies = FILTERS

    @get()
    async def show_requests(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        filters: Filters,
        cursor: Cursor = None,
        outcome: Text = None,
    ) -> Response[bytes]:
        """List attempts, newest first."""
        given = filters | ({"outcome": outcome} if outcome else {})
        page = await services.usage.events(visitor, usage_query_of(given), limit=_PAGE, cursor=cursor)
        return pages.page("requests.html", page=page, given=given, path=f"/requests?{urlencode(given)}")

    @get("/{request_id:uuid}")
    async def show_request(
        self, *, pages: Renderer, visitor: Visitor, services: Services, bill_of: Biller, request_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with all its attempts and corrections, in their order."""
        page = await services.usage.events(visitor, _about(request_id), limit=_MOST_ATTEMPTS)
        if not page.items:
            raise NotFound
        events = sorted(page.items, key=lambda event: (event.attempt, event.kind != "attempt"))
        return pages.page(
            "request.html",
            request_id=request_id,
            events=[(event, bill_of(event)) for event in events],
            total=format_usd(sum(event.cost_nusd or 0 for event in events)),
        )


def _about(request_id: UUID) -> UsageQuery:
    """Return what asks for one request; its id tells when it came, to a day or so of the store's clock."""
    came_ms = request_id.int >> 80
    if request_id.version != _TIMED or came_ms not in _KNOWN_MS:
        raise NotFound
    came = _EPOCH + timedelta(milliseconds=came_ms)
    return UsageQuery(since=(came - _DAY).isoformat(), until=(came + _DAY).isoformat(), request_id=request_id)
