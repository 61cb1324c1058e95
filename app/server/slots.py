"""The places of the workers. Law: decisions about time are pure; the supervisor acts on them."""

import socket
from dataclasses import dataclass, field
from enum import Enum, auto

from app.server.control import Channel, FromWorker
from app.server.plan import STOP_ALLOWANCE_S, Role

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the parent waits, in seconds, and how often it tries.

    A worker that ends is forked again after `retry_s`, doubled for each failure in a row up to `retry_max_s`; one that
    was ready for `settled_s` starts that count afresh. A worker that says nothing for `hung_s`, or is not ready within
    `start_s`, is killed. What a worker does not say of a reload within `reload_s` is reported as unknown.
    """

    retry_s: float = 0.5
    retry_max_s: float = 5
    attempts: int = 5
    settled_s: float = 30
    hung_s: float = 15
    start_s: float = 60
    stop_s: float = STOP_ALLOWANCE_S
    reload_s: float = 5


class State(Enum):
    """Where a worker is in its life."""

    ABSENT = auto()
    STARTING = auto()
    READY = auto()
    LEAVING = auto()
    DYING = auto()


@dataclass(slots=True)
class Slot:
    """The place of one worker, which keeps its role and its sockets when the process in it changes."""

    role: Role
    listeners: dict[str, socket.socket] = field(default_factory=dict)
    state: State = State.ABSENT
    pid: int = 0
    channel: Channel[FromWorker] | None = None
    was_ready: bool = False
    was_ever_ready: bool = False
    failures: int = 0
    changed_ns: int = 0
    heard_ns: int = 0
    due_ns: int = 0
    inflight: int = 0
    last_error: str = ""

    def enter(self, state: State, now_ns: int) -> None:
        """Change state at `now_ns`."""
        self.state = state
        self.changed_ns = now_ns

    def patience_ends_ns(self, patience: Patience, *, drain_s: float) -> int:
        """Return when the worker is given up: for silence, or for taking too long to start or to leave."""
        silent_ns = self.heard_ns + ns(patience.hung_s)
        if self.state is State.STARTING:
            return min(silent_ns, self.changed_ns + ns(patience.start_s))
        if self.state is State.LEAVING:
            return min(silent_ns, self.changed_ns + ns(drain_s + patience.stop_s))
        if self.state is State.DYING:
            return self.changed_ns + _NS_PER_S
        return silent_ns

    def close_listeners(self) -> None:
        """Let go of the parent's copies of the sockets."""
        for listener in self.listeners.values():
            listener.close()
        self.listeners = {}


def retry_delay_s(failures: int, *, patience: Patience) -> float:
    """Return how long to wait before the next fork after `failures` failures in a row."""
    return float(min(patience.retry_s * 2 ** min(failures - 1, 16), patience.retry_max_s)) if failures else 0.0


def ns(seconds: float) -> int:
    """Return seconds as whole nanoseconds."""
    return int(seconds * _NS_PER_S)
