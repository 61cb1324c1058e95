"""What goes with the writing of entries: accounts learn beforehand what may be new, the journal forgets afterwards."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from app.ledger.journal import Journal
from app.stores.accounts import AccountStore
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Claimed

_LOG = logging.getLogger("gateway.ledger")

Known = Callable[[Collection[UUID]], Awaitable[set[UUID]]]
"""Returns those of some events that are in the database. Raises `GatewayError`."""


class Settled:
    """Stands beside the writer."""

    def __init__(self, accounts: AccountStore, *, known: Known, journal: Journal | None) -> None:
        self._accounts = accounts
        self._known = known
        self._journal = journal

    async def prepare(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Return the entries that may be written now; raises `GatewayError`.

        An entry that came again is added to the accounts that lack it before it is written: afterwards nobody could
        tell that it was new. One whose accounts cannot be told now is left to come again.
        """
        again = {UUID(item.entry.id) for item in claimed if item.entry.again}
        if not again:
            return list(claimed)
        fresh = again - await self._known(again)
        return [item for item in claimed if UUID(item.entry.id) not in fresh or await self._credit(item)]

    async def _credit(self, item: Claimed) -> bool:
        try:
            await self._accounts.credit(item.entry, receipt=item.receipt)
        except StoreUnavailable as error:
            # Whoever waited for one server here would hold back what the others have.
            _LOG.warning("an account cannot be told now of what it lacks: %s", error)
            return False
        return True

    def written(self, claimed: Sequence[Claimed]) -> None:
        """Take note that the database has these entries."""
        if self._journal is not None:
            self._journal.written(item.entry.id for item in claimed)
