"""Requests, and what became of each: as it was decided while that is kept, and as the ledger has it after that."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from litestar import Controller, Response, get
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.filters import (
    CACHE_STATUSES,
    FILTERS,
    SOUGHT,
    Filters,
    Sought,
    Text,
    trace_filters_of,
    usage_query_of,
)
from app.api.dashboard.parameters import Biller, Renderer, Services, Traces, Visitor
from app.api.dashboard.request_story import Story
from app.domain.usage.reports import UsageQuery
from app.kernel.errors import NotFound, Unavailable
from app.kernel.money import format_usd

_PAGE = 50
_MOST_ATTEMPTS = 200
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN_MS = range(86_400_000, 250_000_000_000_000)
"""Moments around which there is a day, before and after, that a date can say."""
_TIMED = 7


class RequestPages(Controller):
    """Recent requests, and older ones as far as they were charged."""

    path = "/requests"
    dependencies = FILTERS | SOUGHT

    @get()
    async def show_requests(
        self, *, pages: Renderer, visitor: Visitor, trace_desk: Traces, sought: Sought, cursor: Cursor = None
    ) -> Response[bytes]:
        """List recent requests, newest first: also those that were refused, which no ledger has."""
        filters = trace_filters_of(sought)
        try:
            found = await trace_desk.page(visitor, filters, limit=_PAGE, cursor=cursor)
        except Unavailable:
            found = None
        return pages.page(
            "requests.html",
            found=found,
            stories=[] if found is None else [Story(each) for each in found.items],
            given=sought,
            cache_statuses=CACHE_STATUSES,
            path=f"/requests?{urlencode(sought)}",
        )

    @get("/ledger")
    async def show_ledger(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        filters: Filters,
        cursor: Cursor = None,
        outcome: Text = None,
    ) -> Response[bytes]:
        """List attempts and corrections as the ledger has them, newest first, however old they are."""
        given = filters | ({"outcome": outcome} if outcome else {})
        page = await services.usage.events(visitor, usage_query_of(given), limit=_PAGE, cursor=cursor)
        return pages.page("ledger.html", page=page, given=given, path=f"/requests/ledger?{urlencode(given)}")

    @get("/{request_id:uuid}")
    async def show_request(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        trace_desk: Traces,
        bill_of: Biller,
        request_id: FromPath[UUID],
    ) -> Response[bytes]:
        """Show one as it was decided, if that is still kept; and its attempts and corrections, in their order."""
        story, bodies, missed = None, None, None
        try:
            told = await trace_desk.read(visitor, request_id)
            story, bodies = Story(told), await trace_desk.bodies(visitor, told)
        except (NotFound, Unavailable) as error:
            missed = error
        asked = _about(request_id)
        found = [] if asked is None else (await services.usage.events(visitor, asked, limit=_MOST_ATTEMPTS)).items
        if missed is not None and not found:
            raise missed
        events = sorted(found, key=lambda event: (event.attempt, event.kind != "attempt"))
        return pages.page(
            "request.html",
            request_id=request_id,
            story=story,
            bodies=bodies,
            events=[(event, bill_of(event)) for event in events],
            total=format_usd(sum(event.cost_nusd or 0 for event in events)),
            is_away=isinstance(missed, Unavailable),
        )


def _about(request_id: UUID) -> UsageQuery | None:
    """Return what asks for one request; its id tells when it came, to a day or so of the store's clock.

    Nothing where no request of ours can have such an id.
    """
    came_ms = request_id.int >> 80
    if request_id.version != _TIMED or came_ms not in _KNOWN_MS:
        return None
    came = _EPOCH + timedelta(milliseconds=came_ms)
    return UsageQuery(since=(came - _DAY).isoformat(), until=(came + _DAY).isoformat(), request_id=request_id)
