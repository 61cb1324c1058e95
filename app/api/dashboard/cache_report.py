"""The cache: what it keeps and saves, how often it would be wrong, and how it is emptied."""

from typing import Any

from litestar import Controller, Response, get, post

from app.api.dashboard.changes import given, read_as, read_form
from app.api.dashboard.filters import Text, usage_query_of
from app.api.dashboard.parameters import AnyRequest, Changer, Desk, Renderer, Visitor
from app.gateway.cache_view import PurgeCache

_NAMED = ("organization_id", "id", "model", "tag", "scope")


class CachePages(Controller):
    """Answers that are kept and given again."""

    path = "/cache"

    @get()
    async def show_cache(
        self, pages: Renderer, visitor: Visitor, cache_desk: Desk, organization_id: Text = None
    ) -> Response[bytes]:
        """Show an organization's cache over the last 30 days, and its shadow report."""
        asked = usage_query_of({"organization_id": organization_id} if organization_id else {})
        view = await cache_desk.view(visitor, asked.organization_id, since=None, until=None)
        return pages.page("cache.html", view=view)

    @post("/purge", status_code=200)
    async def purge_cache(
        self, request: AnyRequest, pages: Renderer, cache_desk: Desk, change: Changer
    ) -> Response[bytes]:
        """Forget what the form names."""
        form = await read_form(request)
        named: dict[str, Any] = given(form, *_NAMED) | ({"all": True} if "all" in form else {})
        spec = read_as(PurgeCache, named)
        purged = await change(lambda transaction: cache_desk.purge(transaction, spec))
        return pages.page("purged.html", purged=purged)
