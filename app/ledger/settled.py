"""What follows when entries have reached the database."""

from collections.abc import Sequence
from uuid import UUID

from app.ledger.journal import Journal
from app.stores.accounts import AccountStore
from app.stores.protocols import Claimed


class Settled:
    """Lets the journal forget what the database has, and accounts learn what only proved new there."""

    def __init__(self, accounts: AccountStore, journal: Journal | None) -> None:
        self._accounts = accounts
        self._journal = journal

    async def __call__(self, claimed: Sequence[Claimed], fresh: set[UUID]) -> None:
        """Take note of entries of which these events were new. Raises `StoreUnavailable`."""
        if self._journal is not None:
            self._journal.written(item.entry.id for item in claimed)
        for item in claimed:
            if item.entry.again and UUID(item.entry.id) in fresh:
                await self._accounts.credit(item.entry, receipt=item.receipt)
