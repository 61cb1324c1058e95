"""Who changed what, from what to what."""

from urllib.parse import urlencode

import msgspec
from litestar import Controller, Response, get

from app.api.admin.parameters import Cursor
from app.api.dashboard.filters import Text
from app.api.dashboard.parameters import Renderer, Services, Visitor
from app.domain.audit.schemas import AuditQuery

_PAGE = 50


class AuditPages(Controller):
    """Changes by administrators."""

    path = "/audit"

    @get()
    async def show_audit(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        cursor: Cursor = None,
        object_kind: Text = None,
        action: Text = None,
    ) -> Response[bytes]:
        """List changes, newest first."""
        said = {"object_kind": object_kind, "action": action}
        where = {name: value for name, value in said.items() if value}
        asked = AuditQuery(object_kind=object_kind or None, action=action or None)
        page = await services.auditor.entries(visitor, asked, limit=_PAGE, cursor=cursor)
        entries = [(entry, _json(entry.before), _json(entry.after)) for entry in page.items]
        return pages.page("audit.html", page=page, entries=entries, given=where, path=f"/audit?{urlencode(where)}")


def _json(value: object) -> str:
    return "" if value is None else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
