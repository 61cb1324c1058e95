"""One worker process: one loop, one application, one embedded server for each plane.

Law: a worker never outlives its parent by more than a short drain, and never ends without closing its application.
"""

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.kernel.clock import Clock
from app.server.contract import Application, Blueprint, SettingsRefused
from app.server.control import (
    MESSAGE_CHARS,
    AskReload,
    Beat,
    Channel,
    Drain,
    Draining,
    Failed,
    Ready,
    Reload,
    ReloadDone,
    Reloaded,
    ReloadFailed,
    ToWorker,
)
from app.server.http import PlaneServer
from app.server.plan import Role

S = TypeVar("S")

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_NS_PER_S = 1_000_000_000
_STDERR = 2
_SWITCH_S = 0.0005
"""How long a thread that computes may keep the event loop waiting; five milliseconds if nobody says otherwise."""
GC_THRESHOLDS = (20_000, 20, 50)
"""The interpreter's own (700, 10, 10) look at every request in flight again and again: 5 % of the CPU under load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimes:
    """How long a worker takes for what, in seconds.

    Readiness fails `lead_s` before new connections are refused. An orphan drains for at most `orphan_s`. A loop that
    stands still for `stuck_s` writes its stack to the log, shortly before the parent kills its process.
    A reload that a worker asked for is answered within `answer_s`, or has no answer.
    """

    beat_s: float = 1
    lead_s: float = 0.5
    poll_s: float = 0.05
    quiet_s: float = 0.5
    close_s: float = 6
    linger_s: float = 1
    orphan_s: float = 5
    stuck_s: float = 14
    answer_s: float = 6


class Worker(Generic[S]):
    """Runs the application of one role until it is told to drain."""

    def __init__(
        self,
        blueprint: Blueprint[S],
        *,
        role: Role,
        listeners: dict[str, socket.socket],
        channel: Channel[ToWorker],
        clock: Clock,
        times: WorkerTimes,
    ) -> None:
        """Take over the listeners (by plane) and the worker's end of the channel."""
        self._blueprint = blueprint
        self._settings = blueprint.settings
        self._role = role
        self._listeners = listeners
        self._channel = channel
        self._clock = clock
        self._times = times
        self._app: Application[S] | None = None
        self._servers: dict[PlaneServer, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._questions: dict[int, asyncio.Future[ReloadDone]] = {}
        self._asked = 0
        self._started = asyncio.Event()
        self._leaving = asyncio.Event()
        self._drain_s = blueprint.plan.drain_s
        self._deadline_ns = 0

    async def run(self) -> int:
        """Serve until drained; return the exit code of the process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._leave(self._drain_s))
        loop.add_reader(self._channel.fileno(), self._on_message)
        beating = loop.create_task(self._beat())
        try:
            return await self._serve()
        finally:
            beating.cancel()
            faulthandler.cancel_dump_traceback_later()

    # -- life ------------------------------------------------------------------------------------------------------

    async def _serve(self) -> int:
        starting = asyncio.ensure_future(self._start())
        leaving = asyncio.ensure_future(self._leaving.wait())
        await asyncio.wait({starting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
        failure = None if starting.cancelled() else starting.exception()
        if failure is not None:
            await self._close()
            self._report_failure(failure)
            return 1
        if not starting.cancelled():
            self._started.set()
            self._channel.send(Ready())
            await asyncio.wait({leaving, *self._servers.values()}, return_when=asyncio.FIRST_COMPLETED)
        is_asked = self._leaving.is_set()
        if not is_asked:
            _log.error("%s: a server ended by itself", self._role.name)
            self._leave(self._drain_s)
        await self._drain()
        return 0 if is_asked else 1

    async def _start(self) -> None:
        """Build and start the application, then listen."""
        self._app = self._blueprint.build(self._settings, self._role)
        self._app.steering = self
        await self._app.start()
        plan = self._blueprint.plan
        apps = {plane.name: plane.app for plane in self._app.planes}
        for plane, listener in self._listeners.items():
            server = PlaneServer(listener, app=apps[plane], backlog=plan.backlog, backpressure=plan.backpressure)
            self._servers[server] = asyncio.ensure_future(server.run())
        # One turn of the loop lets each server begin, so that a failure to listen is a failure to start.
        await asyncio.sleep(0)
        for task in self._servers.values():
            if task.done():
                task.result()

    async def _drain(self) -> None:
        """Fail readiness, refuse new connections, let requests finish, then close the application."""
        if self._app is not None and self._servers:
            self._app.begin_drain()
            await asyncio.sleep(min(self._times.lead_s, self._drain_s))
            for server in self._servers:
                server.stop()
            self._channel.send(Draining())
            await self._until_quiet(self._app)
        await self._close()
        if self._servers:
            await asyncio.wait(self._servers.values(), timeout=self._times.linger_s)

    async def _until_quiet(self, app: Application[S]) -> None:
        """Wait for the last request in flight, or for the deadline.

        Between accepting a connection and calling the application a request is in nobody's count, so it is quiet only
        when the servers have ended or when nothing was in flight for `quiet_s`.
        """
        quiet_ns = int(self._times.quiet_s * _NS_PER_S)
        quiet_since_ns = self._clock.monotonic_ns()
        while (now_ns := self._clock.monotonic_ns()) < self._deadline_ns:
            if app.inflight:
                quiet_since_ns = now_ns
            elif now_ns - quiet_since_ns > quiet_ns or all(task.done() for task in self._servers.values()):
                return
            await asyncio.sleep(self._times.poll_s)
        _log.warning("%s: drained for as long as it may, %d requests were in flight", self._role.name, app.inflight)

    async def _close(self) -> None:
        if self._app is None:
            return
        try:
            await asyncio.wait_for(self._app.aclose(), self._times.close_s)
        except Exception:  # noqa: BLE001 - whatever it is, this process ends now
            _log.exception("%s: the application did not close cleanly", self._role.name)

    def _report_failure(self, failure: BaseException) -> None:
        """Tell the parent in one line why the worker did not start; a defect also leaves its stack in the log."""
        text = str(failure) or type(failure).__name__
        _log.debug("%s could not start", self._role.name, exc_info=failure)
        self._channel.send(Failed(text[:MESSAGE_CHARS]))

    # -- what others ask --------------------------------------------------------------------------------------------

    def _leave(self, within_s: float) -> None:
        """Begin to drain, or hurry a drain that has begun."""
        deadline_ns = self._clock.monotonic_ns() + int(within_s * _NS_PER_S)
        self._deadline_ns = min(self._deadline_ns or deadline_ns, deadline_ns)
        self._leaving.set()

    def _on_message(self) -> None:
        for message in self._channel.receive():
            if isinstance(message, Drain):
                self._leave(self._drain_s)
            elif isinstance(message, Reload):
                self._spawn(self._reload(message.number))
            elif message.question in self._questions:
                self._questions.pop(message.question).set_result(message)
        if not self._channel.is_open:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            # The parent was killed, and a new one will want the ports.
            self._leave(min(self._times.orphan_s, self._drain_s))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what the application asks ----------------------------------------------------------------------------------

    def examine(self, document: bytes | None) -> Any:
        """Return what is found in a document of settings, or in the file as it now is; slow, so for a thread."""
        return self._blueprint.examine(self._settings, document)

    async def reload(self) -> ReloadDone:
        """Have all workers of this parent read the settings again; return how it went when all have said so.

        Raises `TimeoutError` if the parent does not answer.
        """
        self._asked += 1
        question = self._asked
        answered: asyncio.Future[ReloadDone] = asyncio.get_running_loop().create_future()
        self._questions[question] = answered
        try:
            self._channel.send(AskReload(question))
            async with asyncio.timeout(self._times.answer_s):
                return await answered
        finally:
            self._questions.pop(question, None)

    # -- reloading --------------------------------------------------------------------------------------------------

    async def _reload(self, number: int) -> None:
        """Read the settings again and apply those that may change; the old ones stay in force if that fails."""
        await self._started.wait()
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(self._blueprint.load)
                settings, _ = self._blueprint.adopt(self._settings, loaded)
                if self._app is not None:
                    await self._app.reload(settings)
                self._settings = settings
            except SettingsRefused as refused:
                self._channel.send(ReloadFailed(str(refused)[:MESSAGE_CHARS], number))
            except Exception as error:  # noqa: BLE001 - whatever it is, the old settings stay in force
                _log.exception("%s: reload failed", self._role.name)
                self._channel.send(ReloadFailed((str(error) or type(error).__name__)[:MESSAGE_CHARS], number))
            else:
                self._channel.send(Reloaded(number))

    async def _beat(self) -> None:
        """Tell the parent each second that the loop runs, and re-arm the watch over it."""
        while True:
            faulthandler.dump_traceback_later(self._times.stuck_s, file=_STDERR)
            self._channel.send(Beat(inflight=self._app.inflight if self._app else 0))
            await asyncio.sleep(self._times.beat_s)


def run_worker(worker: Callable[[], Worker[S]]) -> int:
    """Run a worker on a loop of its own; `worker` is called inside that loop. Returns the exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(worker))


async def _run(worker: Callable[[], Worker[S]]) -> int:
    return await worker().run()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - the loop of a worker; absent where it has no wheel
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for a SIGTERM when the parent dies, however it dies; elsewhere the channel's end says so."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
