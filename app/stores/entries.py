"""Usage events on their way to the ledger, as the queue has them."""

import msgspec


class UsageEntry(msgspec.Struct, frozen=True, gc=False):
    """One usage event on its way to the ledger; `partition` is 0..63, `id` is the event's own.

    `at_ms`, `cost_nusd` and `scopes` (organisation, team or nothing, key, in hexadecimal) are what a budget's account
    must know of it. `again` says that the ledger may have it already.
    """

    partition: int
    id: str
    payload: bytes
    at_ms: int = 0
    cost_nusd: int = 0
    scopes: tuple[str, str, str] = ("", "", "")
    again: bool = False


def note_of(entry: UsageEntry) -> bytes:
    """Return what an account must know of an entry, in one line."""
    return f"{entry.at_ms} {entry.cost_nusd} {' '.join(scope or '-' for scope in entry.scopes)}".encode()


def entry_of(partition: int, entry_id: bytes, payload: bytes, *, note: bytes, again: bool) -> UsageEntry:
    """Return the entry of which this is the note; one without a note counts for no account."""
    if not note:
        return UsageEntry(partition, entry_id.decode(), payload, again=again)
    at_ms, cost_nusd, *scopes = note.decode().split(" ")
    organization, team, key = ("" if scope == "-" else scope for scope in scopes)
    return UsageEntry(
        partition, entry_id.decode(), payload, int(at_ms), int(cost_nusd), (organization, team, key), again
    )
