"""What follows when entries have reached the database."""

import logging
from collections.abc import Sequence
from uuid import UUID

from app.ledger.journal import Journal
from app.stores.accounts import AccountStore
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Claimed

_LOG = logging.getLogger("gateway.ledger")


class Settled:
    """Lets the journal forget what the database has, and accounts learn what only proved new there."""

    def __init__(self, accounts: AccountStore, journal: Journal | None) -> None:
        self._accounts = accounts
        self._journal = journal
        self._owed: list[Claimed] = []

    async def __call__(self, claimed: Sequence[Claimed], fresh: set[UUID]) -> None:
        """Take note of entries of which these events were new."""
        if self._journal is not None:
            self._journal.written(item.entry.id for item in claimed)
        self._owed += [item for item in claimed if item.entry.again and UUID(item.entry.id) in fresh]
        owed, self._owed = self._owed, []
        for item in owed:
            try:
                await self._accounts.credit(item.entry, receipt=item.receipt)
            except StoreUnavailable as error:
                # Whoever waited for one server here would hold back what the others have.
                _LOG.warning("an account cannot be told now of what it lacks: %s", error)
                self._owed.append(item)
