"""What one worker process holds: stores, database, keys, ledger, transport. Made inside the running loop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from app.db.engine import Database
from app.domain.answers.service import AnswerStore
from app.domain.audit.schemas import Change, ObjectKind
from app.domain.keys.admin_authentication import AdminKeyAuthenticator
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.secrets import derive, derive_pepper
from app.domain.responses.service import ResponseStore
from app.domain.services import AdminServices
from app.domain.usage.repository import insert_events
from app.domain.usage.schemas import UsageEvent
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, InternalError
from app.kernel.ids import uuid7_text
from app.ledger.writer import LedgerWriter
from app.observability.metrics import LOOP_LAG, STORE_UP, Metrics
from app.settings.model import Settings
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from app.stores.protocols import Stores

CHANGES_TOPIC = "changes"
_LOG = logging.getLogger("gateway.core")
_PROBE_S = 1.0
_LAG_S = 0.5
_DRAIN_S = 5.0
_SWEEP_S = 3_600.0
_SWEEPER = "responses:sweep"


class Core:
    """The long-lived parts of a worker, whichever planes it serves."""

    def __init__(self, settings: Settings, *, clock: Clock, metrics: Metrics) -> None:
        if settings.master_secret is None:
            raise InternalError("the master secret is missing")
        self.settings = settings
        self.clock = clock
        self.metrics = metrics
        self.tasks = TaskSupervisor()
        self.stores: Stores = open_stores(settings.state.reveal(), clock=clock)
        self.database = Database(settings.database.reveal())
        self.services = AdminServices.over(
            self.database, clock=clock, master_secret=settings.master_secret, notify=self._notify
        )
        self.directory = KeyDirectory(
            self.services.key_repository,
            changes=self._changes,
            pepper=derive_pepper(settings.master_secret),
            clock=clock,
        )
        self.admin_authenticate = AdminKeyAuthenticator(
            self.services.key_repository,
            pepper=derive_pepper(settings.master_secret),
            clock=clock,
            environment_key=settings.admin_key,
        )
        self.responses = ResponseStore(
            self.database, seal_key=derive(settings.master_secret, purpose="kept responses 1"), clock=clock
        )
        self.answers = AnswerStore(
            self.database, seal_key=derive(settings.master_secret, purpose="kept answers 1"), clock=clock
        )
        self.writer = LedgerWriter(self.stores.usage, self._insert, metrics=metrics, clock=clock)
        self.on_beat: Callable[[], None] = _do_nothing
        """Called twice a second, for numbers that nobody else brings up to date."""
        self._background: list[asyncio.Task[None]] = []
        self._is_store_up = False
        self._is_database_up = False

    async def start(self) -> None:
        """Open everything. A store that does not answer is an error here, and only here."""
        await self.stores.start()
        self.stores.signals.subscribe(CHANGES_TOPIC, self._on_change, on_gap=self.directory.forget_all)
        await self.directory.catch_up()
        self.directory.start()
        self.writer.start()
        loop = asyncio.get_running_loop()
        self._is_store_up = self._is_database_up = True
        watches = (self._watch_stores(), self._watch_loop(), self._sweep_responses())
        self._background = [loop.create_task(watch) for watch in watches]

    async def aclose(self) -> None:
        """Settle, flush the ledger, close."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.tasks.drain(patience_s=_DRAIN_S)
        await self.writer.stop()
        await self.directory.stop()
        await self.stores.aclose()
        await self.database.aclose()
        self.metrics.close()

    @property
    def is_ready(self) -> bool:
        """Whether requests can be authenticated and settled."""
        return self._is_store_up or self._is_database_up

    @property
    def is_degraded(self) -> bool:
        """Whether a store does not answer."""
        return not (self._is_store_up and self._is_database_up)

    @property
    def degraded(self) -> list[str]:
        """The stores that do not answer; state within this process always does."""
        states = (("redis", self._is_store_up), ("database", self._is_database_up))
        return [name for name, is_up in states if not is_up]

    async def _insert(self, events: Sequence[UsageEvent]) -> None:
        async with self.database.transaction() as connection:
            await insert_events(connection, events)

    async def _changes(self, seq: int) -> Sequence[Change]:
        return await self.services.auditor.changes_since(seq)

    async def _notify(self, kind: ObjectKind, object_id: UUID) -> None:
        del kind
        self.directory.forget(object_id)
        try:
            await self.stores.signals.publish(CHANGES_TOPIC, object_id.bytes)
        except StoreUnavailable:
            _LOG.warning("a change could not be signalled; workers will read it from the change log")

    def _on_change(self, payload: bytes) -> None:
        self.directory.forget(UUID(bytes=payload))

    async def _watch_stores(self) -> None:
        state_up = self.metrics.number(STORE_UP, "state")
        database_up = self.metrics.number(STORE_UP, "database")
        while True:
            self._is_store_up = await self.stores.ping()
            self._is_database_up = await self.database.is_up()
            state_up.set(float(self._is_store_up))
            database_up.set(float(self._is_database_up))
            await asyncio.sleep(_PROBE_S)

    async def _sweep_responses(self) -> None:
        """Forget what has expired: one process at a time, a while after the start and then every hour."""
        holder = uuid7_text()
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                if await self.stores.leases.acquire(_SWEEPER, holder=holder, ttl_s=_SWEEP_S / 2):
                    await self.responses.sweep()
                    await self.answers.sweep()
            except (GatewayError, StoreUnavailable) as error:
                _LOG.warning("what has expired is not swept this time: %s", error)

    async def _watch_loop(self) -> None:
        lag = self.metrics.number(LOOP_LAG)
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_LAG_S)
            lag.set(max(0.0, loop.time() - before - _LAG_S))
            self.on_beat()


def _do_nothing() -> None:
    """Do nothing."""
