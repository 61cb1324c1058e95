"""The money side of two workers over the same servers, driven by hand: one loop, and steps that end when all is done.

Law: only the product moves money here. This file adds a clock that stands still until it is moved, and the ways in
which messages are lost and processes die.
"""

import asyncio
import hashlib
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID

from servers.postgres import PostgresProcess
from servers.redis import RedisProcess

from app.db.engine import Connection, Database
from app.db.faults import DatabaseUnavailable
from app.domain.usage.balances import known_events
from app.domain.usage.dead_letters import park_event
from app.domain.usage.repository import insert_events, orphans_among
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import balances, usage_events, usage_hourly
from app.kernel.clock import ManualClock
from app.kernel.errors import GatewayError
from app.ledger.settled import Settled
from app.ledger.spool import Spool
from app.ledger.writer import LedgerWriter
from app.ledger.writing import EntryWriter
from app.limits.accounts import Accounts, Backing
from app.limits.holds import Holds
from app.limits.opener import LedgerOpener
from app.limits.recovery import Recovery
from app.limits.sweeper import Sweeper
from app.observability.metrics import Metrics
from app.stores.accounts import SLOTS, Charge, Charged
from app.stores.errors import StoreUnavailable
from app.stores.memory import MemoryLeases, MemoryStores, MemoryUsageQueue
from app.stores.memory_accounts import MemoryAccountStore
from app.stores.protocols import PARTITIONS, Claimed
from app.stores.redis.accounts import RedisAccountStore
from app.stores.redis.connection import HotConnection
from app.stores.redis.endpoint import fixed
from app.stores.redis.epochs import Epochs
from app.stores.redis.repetition import Repetition
from app.stores.redis.scripts import Script
from app.stores.redis.usage import RedisUsageQueue
from app.stores.url import parse_url
from app.stores.windows import Ring

START_NS = 1_894_708_800_000_000_000
"""2030-01-15T12:00:00Z: so late that no expiry in the store's time is in the server's past."""

Loss = Literal["request", "reply", "cancel"]
Crash = Literal["before the accounts", "after the accounts", "before the commit", "before the acknowledgement"]

_PATIENT_S = 30.0
_PAUSE_S = 0.05
_LOSABLE = frozenset({"reserve", "charge", "credit"})
_TIME = re.compile(rb"(redis\.)?call\('TIME'\)")
_MANUAL_TIME = b"redis.call('MGET', 'clock:s', 'clock:us')"

Result = TypeVar("Result")


class Died(Exception):
    """A process ended here."""


@dataclass
class Cable:
    """What lies between a worker and its store; `losses` are those of the next scripts, one each."""

    is_cut: bool = False
    losses: deque[Loss] = field(default_factory=deque)

    async def carry(self, work: Coroutine[Any, Any, Any], *, is_losable: bool) -> Any:
        loss = self.losses.popleft() if self.losses and is_losable else None
        if self.is_cut or loss == "request":
            work.close()
            raise StoreUnavailable("the request is lost", may_have_run=not self.is_cut)
        reply = await work
        if loss == "reply":
            raise StoreUnavailable("the reply is lost")
        if loss == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return reply


class LossyConnection(HotConnection):
    """A connection whose server tells the time of a clock moved by hand, whichever script asks."""

    def __init__(self, url: str, *, clock: ManualClock, cable: Cable) -> None:
        super().__init__(fixed(parse_url(url)), timeout_s=_PATIENT_S)
        self._clock = clock
        self._cable = cable
        self._timed: dict[str, Script] = {}

    async def call(self, *args: Any, timeout_s: float | None = None) -> object:
        del timeout_s
        if self._cable.is_cut:
            raise StoreUnavailable("the cable is cut", may_have_run=False)
        if args[0] == "TIME":
            micros = self._clock.now_ns() // 1_000
            return [b"%d" % (micros // 1_000_000), b"%d" % (micros % 1_000_000)]
        ends_s = time.monotonic() + _PATIENT_S
        while True:
            try:
                return await super().call(*args)
            except StoreUnavailable as error:
                if error.may_have_run or time.monotonic() > ends_s:
                    raise
            # The loop stands still between steps, so that an attempt to connect may seem to have taken too long.
            await asyncio.sleep(_PAUSE_S)

    async def script(self, script: Script, keys: Any, args: Any) -> object:
        work = super().script(self._with_time(script), keys, args)
        return await self._cable.carry(work, is_losable=script.name in _LOSABLE)

    def _with_time(self, script: Script) -> Script:
        known = self._timed.get(script.name)
        if known is None:
            known = self._timed[script.name] = manual_time(script)
        return known


def manual_time(script: Script) -> Script:
    """Return a script that reads the time from two keys."""
    source = _TIME.sub(_MANUAL_TIME, script.source)
    return Script(script.name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


class PromptEpochs(Epochs):
    """Does not wait for the other processes to notice a wipe: here they do when they are told to."""

    def settles_in_s(self, partition: int) -> float:
        return 0.0


class LossyMemory:
    """The accounts of this process as seen over a cable."""

    def __init__(self, store: MemoryAccountStore, cable: Cable) -> None:
        self._store = store
        self._cable = cable

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def carried(*args: Any, **kwargs: Any) -> Any:
            return await self._cable.carry(method(*args, **kwargs), is_losable=name in _LOSABLE)

        return carried


class LossyQueue:
    """The queue of this process as seen over a cable."""

    def __init__(self, queue: MemoryUsageQueue, cable: Cable) -> None:
        self._queue = queue
        self._cable = cable

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._queue, name)

        async def carried(*args: Any, **kwargs: Any) -> Any:
            return await self._cable.carry(method(*args, **kwargs), is_losable=False)

        return carried


class CuttableDatabase:
    """A database that can be away."""

    def __init__(self, database: Database, server: PostgresProcess | None) -> None:
        self._database = database
        self._server = server
        self.is_down = False

    def stop(self) -> None:
        """Cut everybody off: really, if the server is ours."""
        if self._server is not None and not self.is_down:
            self._server.stop(immediate=True)
        self.is_down = True

    def start(self) -> None:
        """Serve again."""
        if self._server is not None and self.is_down:
            self._server.start()
        self.is_down = False

    @property
    def is_sqlite(self) -> bool:
        return self._database.is_sqlite

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        self._check()
        async with self._database.reading() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        self._check()
        async with self._database.snapshot() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self._check()
        async with self._database.transaction() as connection:
            yield connection

    def _check(self) -> None:
        if self.is_down and self._server is None:
            raise DatabaseUnavailable


class Worker:
    """One process: all that the product has of it on the money side."""

    def __init__(self, world: "World", number: int) -> None:
        self.number = number
        self.world = world
        self.cable = Cable()
        self.store, self.queue = world.connect(self.cable, number)
        metrics, clock, database = world.metrics, world.clock, world.database
        self.opener = LedgerOpener(self.store, database)
        self.entries = EntryWriter(self._insert, self._park, orphans=self._orphans, metrics=metrics)
        self.spool = Spool(world.folder / f"worker-{number}", self._spooled, adopt=self._spooled)
        self.corrected: list[str] = []
        self.recovery = Recovery(
            self.store,
            self.opener,
            spool=self.spool.take,
            is_written=lambda: self.spool.is_empty,
            on_corrected=self._on_corrected,
        )
        self._spawned: list[asyncio.Task[Any]] = []
        local = MemoryAccountStore(MemoryUsageQueue(clock=clock), clock=clock)
        backing = Backing(
            opener=self.opener,
            fallback=self.recovery.take,
            missed=self.recovery.missed,
            spawn=lambda work: self._spawned.append(world.loop.create_task(work)),
            local=local,
            share=lambda: 2,
            is_overfull=lambda: False,
        )
        self.accounts = Accounts(self.store, self.queue, backing=backing, metrics=metrics, clock=clock)
        self.holds = Holds(clock=clock)
        self.sweeper = Sweeper(self.store, MemoryLeases(clock=clock), opener=self.opener, metrics=metrics)
        self._crash: Crash | None = None
        self._settled = Settled(self.store, known=self._known, journal=None)
        self.writer = self._new_writer()

    def _on_corrected(self, key: str) -> None:
        self.accounts.allowances.forget(key)

    async def finish_spawned(self) -> None:
        """Run what was handed to the supervisor."""
        while self._spawned:
            await self._spawned.pop()

    # -- the ledger's writer ------------------------------------------------------------------------------------------

    def _new_writer(self) -> LedgerWriter:
        return LedgerWriter(self.queue, self.entries, beside=self, metrics=self.world.metrics, clock=self.world.clock)

    async def write(self, *, crash: Crash | None = None) -> bool:
        """Write one batch; a process that dies over it leaves its claims to others."""
        self._crash = crash
        try:
            return await self.writer.step(wait_s=0.0)
        except Died:
            self.queue = self.world.new_queue(self.cable, self.number)
            self._settled = Settled(self.store, known=self._known, journal=None)
            self.writer = self._new_writer()
            return True
        finally:
            self._crash = None

    async def write_stale(self, claimed: Sequence[Claimed]) -> None:
        """Write what was claimed a while ago, whoever has written it since."""
        await self.writer._write(claimed)

    async def prepare(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Stand beside the writer: it may die before or after the accounts are told."""
        if self._crash == "before the accounts":
            raise Died
        ready = await self._settled.prepare(claimed)
        if self._crash == "after the accounts":
            raise Died
        return ready

    def written(self, claimed: Sequence[Claimed]) -> None:
        """Stand beside the writer: it may die when all is written."""
        self._settled.written(claimed)
        if self._crash == "before the acknowledgement":
            raise Died

    async def _known(self, ids: Collection[UUID]) -> set[UUID]:
        async with self.world.database.reading() as connection:
            return await known_events(connection, ids)

    async def _orphans(self, ids: Collection[UUID]) -> list[UsageEvent]:
        async with self.world.database.reading() as connection:
            return await orphans_among(connection, ids)

    async def _insert(self, events: Sequence[UsageEvent]) -> set[UUID]:
        async with self.world.database.transaction() as connection:
            fresh = await insert_events(connection, events)
            if self._crash == "before the commit":
                raise Died
        return fresh

    async def _park(self, payload: bytes, error: str) -> None:
        async with self.world.database.transaction() as connection:
            await park_event(connection, payload=payload, error=error)

    async def _spooled(self, entries: Sequence[Any]) -> None:
        await self.entries.write(entries)

    async def recover(self) -> None:
        """Do what the two supervisors do every second."""
        with suppress(GatewayError):
            await self.spool.flush()
        with suppress(GatewayError, StoreUnavailable):
            await self.recovery.recover()


class World:
    """Two workers over one store and one database."""

    kind: Literal["redis", "memory"]
    workers: list[Worker]
    store: Any

    def dump(self, partition: int) -> dict[str, bytes]:
        """Return everything that the store has of a partition."""
        raise NotImplementedError

    def __init__(self, loop: asyncio.AbstractEventLoop, database: CuttableDatabase, folder: Path) -> None:
        self.loop = loop
        self.clock = ManualClock(wall_ns=START_NS, ticks_ns=START_NS // 1_000)
        self.database = database
        self.folder = folder
        self.metrics = Metrics()
        self.charges: list[Charge] = []
        self.do(self._empty_database())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of a step, when everything of it is done."""
        return self.loop.run_until_complete(work)

    async def _empty_database(self) -> None:
        async with self.database.transaction() as connection:
            for table in (usage_events, usage_hourly, balances):
                await connection.execute(table.delete())

    @property
    def now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.clock.advance(seconds)

    def connect(self, cable: Cable, number: int) -> tuple[Any, Any]:
        """Return the accounts and the queue of a new worker."""
        raise NotImplementedError

    def new_queue(self, cable: Cable, number: int) -> Any:
        """Return the queue of a worker whose writer has died."""
        raise NotImplementedError

    def close(self) -> None:
        for worker in self.workers:
            worker.spool.close()
        self.metrics.close()


class RecordedStore(RedisAccountStore):
    """Remembers every charge that was made."""

    def __init__(self, hot: HotConnection, *, repetition: Repetition, epochs: Epochs, charges: list[Charge]) -> None:
        super().__init__(hot, repetition=repetition, epochs=epochs)
        self._charges = charges

    async def charge(self, charge: Charge) -> Charged:
        charged = await super().charge(charge)
        if charged.state == "done":
            self._charges.append(charge)
        return charged


class RedisWorld(World):
    """Over a real Redis."""

    kind = "redis"

    def __init__(
        self, loop: asyncio.AbstractEventLoop, database: CuttableDatabase, folder: Path, *, server: RedisProcess
    ) -> None:
        super().__init__(loop, database, folder)
        self.server = server
        self._hots: list[LossyConnection] = []
        self._repetitions: list[Repetition] = []
        self._epochs: list[Epochs] = []
        self._readers: list[LossyConnection] = []
        self._watch = LossyConnection(server.url, clock=self.clock, cable=Cable())
        quiet = Repetition(clock=self.clock)
        epochs = PromptEpochs(self._watch, partitions=PARTITIONS, clock=self.clock)
        self.store = RedisAccountStore(self._watch, repetition=quiet, epochs=epochs)
        self.do(self._wipe())
        self.workers = [Worker(self, number) for number in range(2)]
        for number in range(2):
            self.do(self._epochs[number].look())

    def connect(self, cable: Cable, number: int) -> tuple[Any, Any]:
        hot = LossyConnection(self.server.url, clock=self.clock, cable=cable)
        reader = LossyConnection(self.server.url, clock=self.clock, cable=cable)
        repetition = Repetition(clock=self.clock)
        epochs = PromptEpochs(hot, partitions=PARTITIONS, clock=self.clock)
        hot.on_new_server(repetition.begin)
        epochs.on_wipe(repetition.begin)
        self._hots.append(hot)
        self._readers.append(reader)
        self._repetitions.append(repetition)
        self._epochs.append(epochs)
        store = RecordedStore(hot, repetition=repetition, epochs=epochs, charges=self.charges)
        return store, self.new_queue(cable, number)

    def new_queue(self, cable: Cable, number: int) -> RedisUsageQueue:
        del cable
        return RedisUsageQueue(
            self._hots[number],
            self._readers[number],
            clock=self.clock,
            repetition=self._repetitions[number],
            redelivered_after_ms=0,
        )

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.do(self._tell_time())

    async def _tell_time(self) -> None:
        micros = self.clock.now_ns() // 1_000
        await self._watch.call("MSET", "clock:s", micros // 1_000_000, "clock:us", micros % 1_000_000)

    async def _wipe(self) -> None:
        await self._watch.call("FLUSHALL")
        await self._tell_time()

    def wipe(self) -> None:
        """Lose everything."""
        self.do(self._wipe())
        self.charges.clear()

    def notice(self, number: int) -> None:
        """Let a worker look whether the store was wiped, and put again what it has."""
        self.do(self._notice(number))

    async def _notice(self, number: int) -> None:
        await self._epochs[number].look()
        await self._repetitions[number].wait()

    def restart(self) -> None:
        """Kill the server and start it again; every worker connects anew."""
        self.server.kill()
        self.server.start()
        self.do(self._reconnect())

    async def _reconnect(self) -> None:
        for connection in (self._watch, *self._hots, *self._readers):
            connection.discard()
        await self._watch.call("PING")
        for worker, hot in zip(self.workers, self._hots, strict=True):
            if not worker.cable.is_cut:
                await hot.call("PING")
        await asyncio.sleep(0)
        for repetition, worker in zip(self._repetitions, self.workers, strict=True):
            if not worker.cable.is_cut:
                await repetition.wait()

    def dump(self, partition: int) -> dict[str, bytes]:
        """Return everything of a partition."""
        return self.do(self._dump(partition))

    async def _dump(self, partition: int) -> dict[str, bytes]:
        keys: Any = await self._watch.call("KEYS", f"{{p{partition:02d}}}*")
        values: Any = await asyncio.gather(*[self._watch.call("DUMP", key) for key in keys])
        return {key.decode(): value for key, value in zip(keys, values, strict=True)}

    def close(self) -> None:
        super().close()
        self.do(self._aclose())

    async def _aclose(self) -> None:
        for repetition in self._repetitions:
            await repetition.aclose()
        for connection in (self._watch, *self._hots, *self._readers):
            await connection.aclose()


class MemoryWorld(World):
    """Over the stores of one process, of which both workers are threads of work."""

    kind = "memory"

    def __init__(self, loop: asyncio.AbstractEventLoop, database: CuttableDatabase, folder: Path) -> None:
        super().__init__(loop, database, folder)
        self._stores = MemoryStores(clock=self.clock, redelivered_after_ms=0)
        self.store = self._stores.accounts
        self.workers = [Worker(self, number) for number in range(2)]

    def connect(self, cable: Cable, number: int) -> tuple[Any, Any]:
        store = _RecordedMemory(self._stores.accounts, cable, self.charges)
        return store, self.new_queue(cable, number)

    def new_queue(self, cable: Cable, number: int) -> LossyQueue:
        del number
        return LossyQueue(self._stores.usage, cable)

    def dump(self, partition: int) -> dict[str, bytes]:
        """Return everything of the store but what only time changes."""
        del partition
        store, queue = self._stores.accounts, self._stores.usage
        parts = {
            "budgets": store._budgets,
            "in flight": {key: list(ids) for key, ids in store._in_flight.items()},
            "holds": {name: (hold.granted, hold.orphan, hold.expires_ms) for name, hold in store._holds.items()},
            "ended": store._ended,
            "rings": {key: [*_touched(ring, self.clock.monotonic_ns())] for key, ring in store._rings.items()},
            "buckets": {key: (bucket.balance, bucket.at, bucket.rest) for key, bucket in store._buckets.items()},
            "queue": [entry.id for entry in queue._all()],
        }
        return {name: repr(part).encode() for name, part in parts.items()}


def _touched(ring: Ring, now_ns: int) -> Iterator[tuple[int, int]]:
    """Yield the slots that the window touches now; a look lets go of others."""
    lowest = now_ns // 1_000_000 // ring.slot_ms - SLOTS
    return ((slot, count) for slot, count in ring.counts.items() if slot >= lowest)


class _RecordedMemory(LossyMemory):
    def __init__(self, store: MemoryAccountStore, cable: Cable, charges: list[Charge]) -> None:
        super().__init__(store, cable)
        self._charges = charges

    async def charge(self, charge: Charge) -> Charged:
        charged = await self._cable.carry(self._store.charge(charge), is_losable=True)
        if charged.state == "done":
            self._charges.append(charge)
        return charged
