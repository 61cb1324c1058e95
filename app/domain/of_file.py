"""Lists of what was made through the API and what stands in the file. Law: each once, the file's last and by name."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from app.db.paging import Page, decode_cursor, encode_cursor
from app.kernel.errors import InvalidRequest

Item = TypeVar("Item")


async def page_with_file(
    listing: str,
    stored: Callable[[str | None], Awaitable[Page[Item]]],
    of_file: Mapping[str, Item],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Item]:
    """Return some: those that `stored` returns for a cursor, at most `limit`, then those of the file, by name."""
    after = _place_in_file(listing, cursor)
    items: list[Item] = []
    if after is None:
        page = await stored(cursor)
        if page.cursor is not None:
            return page
        items, after = page.items, ""
    rest = sorted(name for name in of_file if name > after)
    taken = rest[: limit - len(items)]
    items = items + [of_file[name] for name in taken]
    if len(taken) == len(rest):
        return Page(items, None)
    return Page(items, encode_cursor(listing, taken[-1] if taken else after))


def _place_in_file(listing: str, cursor: str | None) -> str | None:
    """Return the name after which a list goes on within the file; nothing if the cursor is before it."""
    if cursor is None:
        return None
    try:
        return decode_cursor(listing, cursor, str)
    except InvalidRequest:
        return None
