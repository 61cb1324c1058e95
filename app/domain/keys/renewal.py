"""Keys of the pepper before, hashed anew under the current one.

Law: only whoever presents a key makes its new hash possible, and nobody waits for that to be written. The hash before
stays beside the new one, for processes that know only the pepper before; so each key may be renewed at any time, by any
number of processes.
"""

import asyncio
import logging

from app.db.engine import Database
from app.domain.keys import repository
from app.domain.keys.repository import Renewal
from app.domain.keys.secrets import Peppers, StoredMacs, key_mac
from app.kernel.errors import GatewayError

_LOG = logging.getLogger("gateway.keys")
_EVERY_S = 1.0
_MOST_WAITING = 100_000


class Renewals:
    """The keys of one process that are to be renewed."""

    def __init__(self, database: Database, *, peppers: Peppers) -> None:
        self._database = database
        self._peppers = peppers
        self._waiting: dict[str, Renewal] = {}

    def note(self, public_id: str, token: bytes, *, stored: StoredMacs) -> None:
        """Have a key renewed that was just found to be right, unless it has a hash under the current pepper."""
        found = self._peppers.find(stored)
        if found is None or found[0].kid == self._peppers.current.kid or len(self._waiting) >= _MOST_WAITING:
            return
        current, (former, former_mac) = self._peppers.current, found
        self._waiting[public_id] = Renewal(
            public_id=public_id,
            kid_before=stored.secret_kid,
            kid=current.kid,
            mac=key_mac(current.key, token),
            former_kid=former.kid,
            former_mac=former_mac,
        )

    async def flush(self) -> None:
        """Write down what waits, a key a transaction. Raises `GatewayError`; the rest then waits on."""
        for public_id, renewal in list(self._waiting.items()):
            # With more rows in one, two processes that renew the same keys could wait for each other.
            async with self._database.transaction() as connection:
                await repository.renew_secret(connection, renewal)
            self._waiting.pop(public_id, None)

    async def run(self) -> None:
        """Write down what comes, every second, until cancelled; nothing comes unless there is a pepper before."""
        while self._peppers.old is not None:
            await asyncio.sleep(_EVERY_S)
            await self.try_flush()

    async def try_flush(self) -> None:
        """Write down what waits, as far as the database lets."""
        try:
            await self.flush()
        except GatewayError as error:
            _LOG.warning("%d keys wait to be hashed under the new master secret: %s", len(self._waiting), error)
