"""What one worker process holds: stores, database, keys, ledger, transport. Made inside the running loop."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from app.db.engine import Database, folder_of
from app.domain.answers import service as answers
from app.domain.answers.service import AnswerStore
from app.domain.audit.schemas import Change, ObjectKind
from app.domain.ensembles.directory import EnsembleDirectory
from app.domain.ensembles.repository import EnsembleRepository
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import MasterSecrets
from app.domain.prices import PriceDirectory
from app.domain.prices.repository import PriceRepository
from app.domain.responses import service as responses
from app.domain.responses.service import ResponseStore
from app.domain.services import AdminServices, Host
from app.domain.snapshots import Directory
from app.domain.upstream.overlay import UpstreamDirectory
from app.domain.upstream.repository import UpstreamRepository
from app.domain.usage.balances import known_events
from app.domain.usage.dead_letters import park_event
from app.domain.usage.repository import insert_events, orphans_among
from app.domain.usage.schemas import UsageEvent
from app.gateway.board import Board
from app.gateway.examining import EnsembleExaminer
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import Clock
from app.kernel.distribution import installed_version
from app.kernel.errors import GatewayError, InternalError
from app.kernel.ids import uuid7_text
from app.ledger.journal import Journal
from app.ledger.settled import Settled
from app.ledger.writer import LedgerWriter
from app.ledger.writing import EntryWriter
from app.limits.opener import LedgerOpener
from app.limits.reconcile import Difference, Reconciler, all_budgets
from app.limits.store_time import StoreTime
from app.limits.sweeper import orphan_charge
from app.limits.use import StoreReader
from app.observability.metrics import LOOP_LAG, STORE_UP, Metrics
from app.observability.tracing import Tracing
from app.routing.health import Health
from app.settings.model import Settings
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_cache, open_stores
from app.stores.protocols import Stores
from providers.registry import Registry

CHANGES_TOPIC = "changes"
PRICES_TOPIC = "prices"
UPSTREAM_TOPIC = "upstream"
ENSEMBLES_TOPIC = "ensembles"
_TOPICS = {
    "price": PRICES_TOPIC,
    "provider": UPSTREAM_TOPIC,
    "model": UPSTREAM_TOPIC,
    "ensemble": ENSEMBLES_TOPIC,
}
"""The topics of what workers hold whole; all else concerns keys."""
_LOG = logging.getLogger("gateway.core")
_PROBE_S = 1.0
_LAG_S = 0.5
_DRAIN_S = 5.0
_SWEEP_S = 3_600.0
_SWEEPER = "responses:sweep"
_RECONCILER = "ledger:reconcile"
_BATCH = 500
_SKEW_MS = 30_000


class Core:
    """The long-lived parts of a worker, whichever planes it serves."""

    def __init__(self, settings: Settings, *, clock: Clock, metrics: Metrics, serves_inference: bool = True) -> None:
        """Make the parts; only what serves inference keeps a journal."""
        if settings.master_secret is None:
            raise InternalError("the master secret is missing")
        secrets = MasterSecrets(settings.master_secret, settings.old_master_secret)
        self.settings = settings
        self.clock = clock
        self.metrics = metrics
        self.tasks = TaskSupervisor()
        self.tracing = Tracing(metrics=metrics, version=installed_version())
        self.stores: Stores = open_stores(settings.state.reveal(), clock=clock)
        apart = settings.cache.url
        self._cache_stores = None if apart is None else open_cache(apart.reveal(), clock=clock)
        self.cache = (self._cache_stores or self.stores).cache
        self.is_cache_shared = apart is not None or self.stores.kind != "memory"
        self.database = Database(settings.database.reveal())
        self.opener = LedgerOpener(self.stores.accounts, self.database)
        self.registry = Registry()
        self.examiner = EnsembleExaminer(lambda: self.settings, lambda: self.upstream.current)
        self.services = AdminServices.over(
            self.database,
            clock=clock,
            master_secret=settings.master_secret,
            old_master_secret=settings.old_master_secret,
            host=Host(
                settings=lambda: self.settings,
                notify=self._notify,
                use=StoreReader(self.stores.accounts, self.opener, time=StoreTime(clock)),
                registry=self.registry,
                examine=self.examiner,
            ),
        )
        self.prices = PriceDirectory(PriceRepository(self.database).read_all)
        self.upstream = UpstreamDirectory(
            UpstreamRepository(self.database).read_all, reader=self.services.upstream_reader
        )
        self.ensembles = EnsembleDirectory(EnsembleRepository(self.database))
        self._held: dict[str, Directory[Any]] = {
            PRICES_TOPIC: self.prices,
            UPSTREAM_TOPIC: self.upstream,
            ENSEMBLES_TOPIC: self.ensembles,
        }
        self.directory = KeyDirectory(
            self.services.key_repository,
            changes=self._changes,
            peppers=secrets.peppers(),
            clock=clock,
            renewals=self.services.renewals,
            admin_mac=self.services.authenticator.environment_mac,
        )
        self.responses = ResponseStore(
            self.database, cipher=Cipher(secrets.derive(purpose=responses.SEALED_AS)), clock=clock
        )
        is_alone = self.stores.kind == "memory" and serves_inference
        self.journal = Journal(journal_folder(settings)) if is_alone else None
        self.entries = EntryWriter(self._insert, self._park, orphans=self._orphans, metrics=metrics)
        self.writer = LedgerWriter(
            self.stores.usage,
            self.entries,
            beside=Settled(self.stores.accounts, known=self._known, journal=self.journal),
            metrics=metrics,
            clock=clock,
        )
        self.health = Health()
        self.board = Board(
            self.health,
            signals=self.stores.signals,
            tasks=self.tasks,
            metrics=metrics,
            clock=clock,
            speaks=serves_inference,
        )
        self._reconciler = Reconciler(
            self.stores.accounts,
            self.database,
            opener=self.opener,
            report=self.services.drift.report,
            metrics=metrics,
            clock=clock,
        )
        self.answers = AnswerStore(self.database, cipher=Cipher(secrets.derive(purpose=answers.SEALED_AS)), clock=clock)
        self.on_beat: Callable[[], None] = _do_nothing
        """Called twice a second, for numbers that nobody else brings up to date."""
        self._subscriptions: list[Callable[[], None]] = []
        self._background: list[asyncio.Task[None]] = []
        self._is_store_up = False
        self._is_database_up = False
        self._is_skewed = False

    async def start(self) -> None:
        """Open everything. A store that does not answer is an error here, and only here."""
        self.tracing.replace(self.settings.tracing)
        await self.stores.start()
        await self._start_cache()
        self.stores.signals.subscribe(CHANGES_TOPIC, self._on_change, on_gap=self.directory.forget_all)
        for topic, held in self._held.items():
            reread = partial(self._reread, held)
            self._subscriptions.append(self.stores.signals.subscribe(topic, reread, on_gap=reread))
            await held.refresh()
        await self.directory.catch_up()
        self.directory.start()
        self.board.start()
        await self._take_up_journal()
        self.writer.start()
        loop = asyncio.get_running_loop()
        self._is_store_up = self._is_database_up = True
        watches = (
            self._watch_stores(),
            self._watch_loop(),
            self._sweep_responses(),
            self._reconcile(),
            self.services.renewals.run(),
        )
        self._background = [loop.create_task(watch) for watch in watches]

    async def _start_cache(self) -> None:
        """Connect to the cache's own store, if it has one. Without it every answer is made anew, which is no error."""
        if self._cache_stores is None:
            return
        try:
            await self._cache_stores.start()
        except StoreUnavailable as error:
            _LOG.warning("the cache's store does not answer yet: %s", error)

    def reload(self, settings: Settings) -> None:
        """Say from now on that these settings hold."""
        self.tracing.replace(settings.tracing)
        self.settings = settings
        self.board.let_all_in()

    async def aclose(self) -> None:
        """Settle, flush the ledger, close."""
        for end in self._subscriptions:
            end()
        await self.board.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.tasks.drain(patience_s=_DRAIN_S)
        await self.writer.stop()
        await self.services.renewals.try_flush()
        await self.tracing.aclose()
        if self.journal is not None:
            await self.journal.aclose()
        await self.directory.stop()
        await self.stores.aclose()
        if self._cache_stores is not None:
            await self._cache_stores.aclose()
        await self.database.aclose()
        self.metrics.close()

    @property
    def served(self) -> Settings:
        """What is served: the settings of the file with the providers and models made through the API under them."""
        return self.upstream.current.under(self.settings)

    @property
    def can_account(self) -> bool:
        """Whether requests can be authenticated and settled."""
        return self._is_store_up or self._is_database_up

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here: they can be accounted for, and the clock is that of the others."""
        return self.can_account and not self._is_skewed

    @property
    def is_degraded(self) -> bool:
        """Whether a store does not answer."""
        return not (self._is_store_up and self._is_database_up)

    @property
    def degraded(self) -> list[str]:
        """The stores that do not answer; state within this process always does."""
        states = (("redis", self._is_store_up), ("database", self._is_database_up))
        return [name for name, is_up in states if not is_up]

    async def _insert(self, events: Sequence[UsageEvent]) -> set[UUID]:
        async with self.database.transaction() as connection:
            return await insert_events(connection, events)

    async def _known(self, ids: Collection[UUID]) -> set[UUID]:
        async with self.database.reading() as connection:
            return await known_events(connection, ids)

    async def _orphans(self, ids: Collection[UUID]) -> list[UsageEvent]:
        async with self.database.reading() as connection:
            return await orphans_among(connection, ids)

    async def _park(self, payload: bytes, error: str) -> None:
        async with self.database.transaction() as connection:
            await park_event(connection, payload=payload, error=error)

    async def _take_up_journal(self) -> None:
        """Put into the ledger what an earlier process had not: what was settled, and what nobody settles any more."""
        if self.journal is None:
            return
        left = self.journal.left()
        orphans = [entry for hold in left.holds for entry in orphan_charge(hold).entries]
        for start in range(0, len(left.entries) + len(orphans), _BATCH):
            await self.entries.write([*left.entries, *orphans][start : start + _BATCH])
        if orphans:
            _LOG.warning("%d requests of a process that died were charged at their last checkpoint", len(orphans))
        self.journal.forget_left()
        self.journal.start()

    async def _reconcile(self) -> None:
        """Compare all books, one process at a time."""
        holder = uuid7_text()
        while True:
            await asyncio.sleep(self.settings.reconcile_s)
            try:
                if await self.stores.leases.acquire(_RECONCILER, holder=holder, ttl_s=self.settings.reconcile_s + 60):
                    await self.reconcile()
                else:
                    self._reconciler.leave_to_another()
            except (GatewayError, StoreUnavailable) as error:
                _LOG.warning("the books are not compared this time: %s", error)
            except Exception:  # noqa: BLE001 - a supervisor: the next comparison is not far
                _LOG.exception("the books cannot be compared")

    async def reconcile(self) -> list[Difference]:
        """Compare all books now; differences are in the metric and in the audit. Raises when a book cannot be read."""
        async with self.database.reading() as connection:
            budgets = await all_budgets(connection, settings=self.settings)
        return await self._reconciler.run(budgets)

    async def _changes(self, seq: int) -> Sequence[Change]:
        """Read the change log, for the keys; what it says of all that is held whole is acted on here."""
        try:
            changes = await self.services.auditor.changes_since(seq)
        except GatewayError:
            for held in self._held.values():
                held.forget()
            raise
        for topic, held in self._held.items():
            held.note(frozenset(change.seq for change in changes if topic_of(change.kind) == topic))
            await held.try_refresh()
        return changes

    async def _notify(self, kind: ObjectKind, object_id: UUID) -> None:
        """Tell every worker; this one has acted on it when this returns."""
        held = self._held.get(topic_of(kind))
        if held is None:
            self.directory.forget(object_id)
        else:
            held.forget()
            await held.try_refresh()
        try:
            await self.stores.signals.publish(topic_of(kind), object_id.bytes)
        except StoreUnavailable:
            _LOG.warning("a change could not be signalled; workers will read it from the change log")

    def _on_change(self, payload: bytes) -> None:
        self.directory.forget(UUID(bytes=payload))

    def _reread(self, held: Directory[Any], payload: bytes = b"") -> None:
        """Read one kind anew, whatever the signal says of it, and where signals may have been lost."""
        del payload
        held.forget()
        self.tasks.spawn(held.try_refresh())

    async def _watch_stores(self) -> None:
        state_up = self.metrics.number(STORE_UP, "state")
        database_up = self.metrics.number(STORE_UP, "database")
        state_up.set(1.0)
        database_up.set(1.0)
        while True:
            self._is_store_up = await self.stores.ping()
            self._is_skewed = await self._is_clock_skewed()
            self._is_database_up = await self.database.is_up()
            state_up.set(float(self._is_store_up))
            database_up.set(float(self._is_database_up))
            await asyncio.sleep(_PROBE_S)

    async def _is_clock_skewed(self) -> bool:
        """Tell whether this machine's clock is far from the store's, by which everybody counts."""
        try:
            store_ms = await self.stores.accounts.now_ms()
        except StoreUnavailable:
            return self._is_skewed
        is_skewed = abs(self.clock.now_ns() // 1_000_000 - store_ms) > _SKEW_MS
        if is_skewed and not self._is_skewed:
            _LOG.error("this machine's clock is more than 30 s from Redis's: not ready until it is right")
        return is_skewed

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


def topic_of(kind: str) -> str:
    """Return the topic by which workers hear that an object of this kind has changed."""
    return _TOPICS.get(kind, CHANGES_TOPIC)


def journal_folder(settings: Settings) -> Path:
    """Return where an installation of one process keeps its journal: beside the embedded database."""
    if settings.has_sqlite:
        return folder_of(settings.database.reveal()) / "journal"
    return Path(settings.spool).parent / "journal"


def _do_nothing() -> None:
    """Do nothing."""
