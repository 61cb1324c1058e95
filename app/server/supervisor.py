"""The parent process: forks the workers, watches them, and owns the signals.

    SIGTERM, SIGINT   drain every worker, then end with 0; a SIGINT while draining ends everything at once
    SIGHUP            read the settings again; if they are valid, every worker applies them; nothing restarts

Law: single-threaded and without an event loop, so that forking is safe at any time.
"""

import contextlib
import gc
import logging
import os
import selectors
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, NoReturn, TypeVar

from app.kernel.clock import Clock, SystemClock
from app.server.contract import Blueprint, SettingsRefused
from app.server.control import (
    MESSAGE_CHARS,
    AskReload,
    Beat,
    Channel,
    Drain,
    Draining,
    Failed,
    FromWorker,
    Ready,
    Reload,
    ReloadDone,
    Reloaded,
    ReloadFailed,
    ToWorker,
    open_channels,
)
from app.server.listeners import AddressUnavailable, Ports
from app.server.plan import Address
from app.server.rounds import Round
from app.server.signals import SignalSocket
from app.server.slots import Patience, Slot, State, ns, retry_delay_s
from app.server.worker import Worker, WorkerTimes, die_with_parent, run_worker

S = TypeVar("S")

_log = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000
_INTERRUPTED = 130
_FAULTS_SENT = 20


class WorkersFailed(Exception):
    """A worker failed to start, again and again; the message is the worker's own."""


class Supervisor(Generic[S]):
    """Runs the workers of a plan until it is told to stop."""

    def __init__(
        self,
        blueprint: Blueprint[S],
        *,
        on_ready: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        patience: Patience | None = None,
        times: WorkerTimes | None = None,
    ) -> None:
        """Bind the plan's addresses; raises `AddressUnavailable`. `on_ready` is called once, when all are ready."""
        self._blueprint = blueprint
        self._on_ready: Callable[[], None] | None = on_ready
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._times = times or WorkerTimes()
        self._slots = [Slot(role) for role in blueprint.plan.roles]
        self._ports = Ports(blueprint.plan.addresses)
        self._signals: SignalSocket
        self._selector: selectors.BaseSelector
        self._stop_by_ns = 0
        self._is_interrupted = False
        self._has_killed = False
        self._failure: str | None = None
        self._rounds: dict[int, Round] = {}
        self._reloads = 0

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the planes listen, with real ports."""
        return tuple(self._ports.addresses.values())

    def close(self) -> None:
        """Let go of the addresses; for a supervisor that was never run."""
        self._ports.close()

    def run(self) -> int:
        """Fork the workers and serve until told to stop; return the exit code of the command.

        Raises `WorkersFailed` once the other workers have ended.
        """
        gc.collect()
        gc.freeze()  # the pages of what was imported stay shared: the workers' collector does not touch them
        with selectors.DefaultSelector() as self._selector, SignalSocket() as self._signals:
            self._selector.register(self._signals, selectors.EVENT_READ)
            while not self._is_over():
                self._fork_due()
                self._wait()
                self._check_time()
        self._ports.close()
        if self._failure is not None:
            raise WorkersFailed(self._failure)
        if self._is_interrupted:
            return _INTERRUPTED
        return 1 if self._has_killed else 0

    @property
    def _is_stopping(self) -> bool:
        return self._stop_by_ns > 0

    def _is_over(self) -> bool:
        return self._is_stopping and all(slot.state is State.ABSENT for slot in self._slots)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for the next signal, message or deadline, and act on what came."""
        deadline_ns = self._next_deadline_ns()
        delay_ns = max(0, deadline_ns - self._clock.monotonic_ns())
        for key, _ in self._selector.select(delay_ns / _NS_PER_S):
            if isinstance(key.data, Slot):
                self._listen_to(key.data)
            else:
                self._take_signals()
        self._forgive_pause(deadline_ns)

    def _forgive_pause(self, deadline_ns: int) -> None:
        """Start every silence afresh if this process was itself stopped: then the workers were, too.

        A paused container or a suspended machine must not cost the requests in flight.
        """
        now_ns = self._clock.monotonic_ns()
        if now_ns - deadline_ns > _NS_PER_S:
            for slot in self._slots:
                slot.heard_ns = now_ns

    def _next_deadline_ns(self) -> int:
        deadlines = [slot.due_ns for slot in self._slots if slot.state is State.ABSENT and not self._is_stopping]
        deadlines += [self._gives_up_ns(slot) for slot in self._slots if slot.state is not State.ABSENT]
        if self._is_stopping:
            deadlines.append(self._stop_by_ns)
        deadlines += [each.ends_ns for each in self._rounds.values()]
        return min(deadlines)

    def _gives_up_ns(self, slot: Slot) -> int:
        return slot.patience_ends_ns(self._patience, drain_s=self._blueprint.plan.drain_s)

    def _check_time(self) -> None:
        """Kill what has used up the parent's patience."""
        now_ns = self._clock.monotonic_ns()
        is_too_late = self._is_stopping and now_ns >= self._stop_by_ns
        for slot in self._slots:
            if slot.state is State.ABSENT or not (is_too_late or now_ns >= self._gives_up_ns(slot)):
                continue
            _log.error("%s (pid %d) does not respond; killing it", slot.role.name, slot.pid)
            slot.last_error = slot.last_error or f"{slot.role.name} did not respond"
            self._has_killed = self._has_killed or self._is_stopping
            self._kill(slot)
        if is_too_late:
            self._stop_by_ns = now_ns + _NS_PER_S
        for late in [each for each in self._rounds.values() if now_ns >= each.ends_ns]:
            late.give_up(f"it did not say within {self._patience.reload_s:g} s how it went")
            self._end_round(late)

    def _kill(self, slot: Slot) -> None:
        """End a worker at once; it is buried when the system reports its end."""
        slot.enter(State.DYING, self._clock.monotonic_ns())
        with contextlib.suppress(ProcessLookupError):
            os.kill(slot.pid, signal.SIGKILL)

    # -- signals ----------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in self._signals.take():
            self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGINT and self._is_stopping:
            self._stop_now()
        else:
            self._stop()

    def _stop(self) -> None:
        """Drain every worker; its own copies of the sockets are the last that listen."""
        if self._is_stopping:
            return
        _log.info("draining for at most %g s", self._blueprint.plan.drain_s)
        now_ns = self._clock.monotonic_ns()
        self._stop_by_ns = now_ns + ns(self._blueprint.plan.drain_s + self._patience.stop_s)
        self._ports.close()
        for slot in self._slots:
            slot.close_listeners()
            if slot.channel is not None:
                slot.channel.send(Drain())

    def _stop_now(self) -> None:
        _log.warning("interrupted again: ending without draining")
        self._is_interrupted = True
        for slot in self._slots:
            if slot.state is not State.ABSENT:
                self._kill(slot)

    def _reload(self, asked_by: tuple[Channel[FromWorker], int] | None = None) -> None:
        """Read the settings; if they are valid, keep them for later workers and tell the present ones."""
        try:
            settings, ignored = self._read()
        except SettingsRefused as refused:
            for fault in refused.faults:
                _log.error("reload refused: %s", fault)
            if asked_by is not None:
                channel, question = asked_by
                faults = [fault[:MESSAGE_CHARS] for fault in refused.faults[:_FAULTS_SENT]]
                channel.send(ReloadDone(question=question, refused=faults))
            return
        for path in ignored:
            _log.warning("reload: %s needs a restart and keeps its value", path)
        self._blueprint = replace(self._blueprint, settings=settings)
        self._begin_round(ignored, asked_by)

    def _read(self) -> tuple[S, Sequence[str]]:
        """Return the settings to go on with, and the paths that keep their values; raises `SettingsRefused`."""
        if self._is_stopping:
            raise SettingsRefused(["this gateway is being stopped"])
        return self._blueprint.adopt(self._blueprint.settings, self._blueprint.load())

    def _begin_round(self, ignored: Sequence[str], asked_by: tuple[Channel[FromWorker], int] | None) -> None:
        self._reloads += 1
        ends_ns = self._clock.monotonic_ns() + ns(self._patience.reload_s)
        begun = Round(number=self._reloads, ends_ns=ends_ns, ignored=ignored, asked_by=asked_by)
        begun.await_all(
            slot for slot in self._slots if slot.channel is not None and slot.channel.send(Reload(begun.number))
        )
        self._rounds[begun.number] = begun
        if begun.is_over:
            self._end_round(begun)

    def _end_round(self, ended: Round) -> None:
        del self._rounds[ended.number]
        ended.report()

    def _hear_of_reload(self, slot: Slot, number: int, *, error: str | None) -> None:
        begun = self._rounds.get(number)
        if begun is None:
            return
        begun.hear(slot, error)
        if begun.is_over:
            self._end_round(begun)

    # -- workers ----------------------------------------------------------------------------------------------------

    def _listen_to(self, slot: Slot) -> None:
        if slot.channel is None:
            return
        for message in slot.channel.receive():
            self._on_message(slot, message)
        if not slot.channel.is_open:
            self._selector.unregister(slot.channel)
            slot.channel.close()
            slot.channel = None

    def _on_message(self, slot: Slot, message: FromWorker) -> None:
        slot.heard_ns = self._clock.monotonic_ns()
        match message:
            case Beat(inflight=inflight):
                slot.inflight = inflight
                if slot.state is State.READY and slot.heard_ns - slot.changed_ns > ns(self._patience.settled_s):
                    slot.failures = 0
            case Ready():
                self._on_worker_ready(slot)
            case Failed(message=text):
                slot.last_error = text
                _log.error("%s could not start: %s", slot.role.name, text)
            case Draining():
                slot.enter(State.LEAVING, slot.heard_ns)
                slot.close_listeners()
            case AskReload(question=question) if slot.channel is not None:
                self._reload(asked_by=(slot.channel, question))
            case Reloaded(number=number):
                _log.info("%s: new settings are in force", slot.role.name)
                self._hear_of_reload(slot, number, error=None)
            case ReloadFailed(message=text, number=number):
                _log.error("%s: the old settings stay in force: %s", slot.role.name, text)
                self._hear_of_reload(slot, number, error=text)

    def _on_worker_ready(self, slot: Slot) -> None:
        slot.enter(State.READY, slot.heard_ns)
        slot.was_ready = slot.was_ever_ready = True
        slot.last_error = ""
        _log.info("%s is ready (pid %d)", slot.role.name, slot.pid)
        if self._on_ready is not None and all(other.was_ever_ready for other in self._slots):
            on_ready, self._on_ready = self._on_ready, None
            on_ready()

    def _reap(self) -> None:
        """Collect every process that has ended, also strangers that an init process inherits."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for slot in self._slots:
                if slot.pid == pid:
                    self._bury(slot, os.waitstatus_to_exitcode(status))

    def _bury(self, slot: Slot, exit_code: int) -> None:
        """Clear the slot of an ended worker, and decide when to fork the next."""
        self._listen_to(slot)  # its last words
        if slot.channel is not None:
            self._selector.unregister(slot.channel)
            slot.channel.close()
        if not (exit_code and slot.was_ready):
            # What waited for a worker that never came is refused, so that its client tries elsewhere.
            slot.close_listeners()
        for number in list(self._rounds):
            self._hear_of_reload(slot, number, error="it ended; the next one begins with the new settings")
        self._tell_ended(slot.pid)
        slot.channel, slot.pid, slot.inflight = None, 0, 0
        slot.enter(State.ABSENT, self._clock.monotonic_ns())
        if self._is_stopping:
            return
        if exit_code:
            self._postpone(slot, why=_how(exit_code))
        else:
            slot.failures, slot.due_ns = 0, slot.changed_ns
            _log.info("%s ended; the next starts at once", slot.role.name)

    def _tell_ended(self, pid: int) -> None:
        try:
            self._blueprint.on_ended(pid)
        except Exception:  # noqa: BLE001 - whatever it is, the parent goes on
            _log.exception("clearing up after the worker with pid %d failed", pid)

    def _postpone(self, slot: Slot, *, why: str) -> None:
        """Count a failure, and try again later unless that is hopeless."""
        slot.failures += 1
        if not slot.was_ready and slot.failures >= self._patience.attempts and not self._is_needed_elsewhere(slot):
            self._failure = slot.last_error or f"{slot.role.name} ended before it was ready ({why})"
            self._stop()
            return
        delay_s = retry_delay_s(slot.failures, patience=self._patience)
        slot.due_ns = self._clock.monotonic_ns() + ns(delay_s)
        _log.error("%s ended (%s); the next starts in %g s", slot.role.name, why, delay_s)

    def _is_needed_elsewhere(self, slot: Slot) -> bool:
        """Tell whether others should go on although this role does not come back.

        While another worker serves, a role that was once ready is tried for ever: a store that is down for a minute
        must not take the healthy workers with it.
        """
        return slot.was_ever_ready and any(other.state is State.READY for other in self._slots)

    def _fork_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for slot in self._slots:
            if self._is_stopping or slot.state is not State.ABSENT or slot.due_ns > now_ns:
                continue
            slot.was_ready = False
            try:
                self._fork(slot)
            except (AddressUnavailable, OSError) as error:
                slot.last_error = f"{slot.role.name} could not be forked: {error}"
                self._postpone(slot, why=str(error))

    def _fork(self, slot: Slot) -> None:
        """Start a worker in the slot."""
        for plane in slot.role.planes:
            if plane not in slot.listeners:
                slot.listeners[plane] = self._ports.open(plane)
        _flush()
        parent_pid = os.getpid()
        ours, theirs = open_channels()
        mask = self._signals.hold()
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._become_worker(slot, channel=theirs, parent_pid=parent_pid)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._selector.register(ours, selectors.EVENT_READ, slot)
        slot.pid, slot.channel = pid, ours
        slot.heard_ns = self._clock.monotonic_ns()
        slot.enter(State.STARTING, slot.heard_ns)

    def _become_worker(self, slot: Slot, *, channel: Channel[ToWorker], parent_pid: int) -> NoReturn:
        """Turn the forked process into a worker; it never returns into the parent's code."""
        code = 1
        try:
            self._forget_parent(slot)
            die_with_parent(parent_pid)
            code = run_worker(
                lambda: Worker(
                    self._blueprint,
                    role=slot.role,
                    listeners=slot.listeners,
                    channel=channel,
                    clock=self._clock,
                    times=self._times,
                )
            )
        except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code
            _log.exception("%s failed", slot.role.name)
        finally:
            _flush()
            os._exit(code)

    def _forget_parent(self, slot: Slot) -> None:
        """Close what belongs to the parent and to the siblings, and take back the signals."""
        self._signals.leave_in_child()
        self._selector.close()
        self._ports.close()
        for other in self._slots:
            if other is not slot:
                other.close_listeners()
            if other.channel is not None:
                other.channel.close()


def _how(exit_code: int) -> str:
    """Say how a process ended: `exit code 1`, `SIGKILL`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
