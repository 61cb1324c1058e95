"""What the process model asks of the application that it runs. Law: nothing here knows what the application does."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from app.server.plan import Plan, Role

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


class Plane(Protocol):
    """One plane of an application: its name in the plan, and the ASGI callable that answers it."""

    @property
    def name(self) -> str:
        """The plane's name: `gateway` or `admin`."""
        ...

    @property
    def app(self) -> AsgiApp:
        """The callable that answers HTTP requests; it gets no lifespan events (`start` and `aclose` are those)."""
        ...


class Steering(Protocol):
    """What an application may ask of the processes that run it."""

    def examine(self, document: bytes | None) -> Any:
        """Return what is found in a document of settings, or in those on disk as they now are; call it in a thread."""
        ...

    async def reload(self) -> Any:
        """Have every worker of this parent take the settings again; return how it went in each."""
        ...


class Application(Protocol[S_contra]):
    """What one worker runs; made inside the worker's running loop, after the fork.

    `steering` is set once, before `start`.
    """

    steering: Steering | None

    @property
    def planes(self) -> Sequence[Plane]:
        """The planes this worker serves; each must be in the plan."""
        ...

    @property
    def inflight(self) -> int:
        """Requests that have begun and are not settled."""
        ...

    async def start(self) -> None:
        """Open pools and stores. An error raised here is shown to the operator; it ends this worker, not its parent."""
        ...

    def begin_drain(self) -> None:
        """Fail readiness and ask every client to close its connection; requests go on."""
        ...

    async def reload(self, settings: S_contra) -> None:
        """Take new settings, all at once or, by raising, not at all."""
        ...

    async def aclose(self) -> None:
        """End what is still open, flush the ledger, close the pools. Called once, also after a failed start."""
        ...


def _ignore(_pid: int) -> None:
    """Do nothing."""


class SettingsRefused(Exception):
    """The settings are invalid; each fault is one line for the operator."""

    def __init__(self, faults: Sequence[str]) -> None:
        """Keep the faults in the order they were found."""
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def _examine_nothing(_running: object, _document: bytes | None) -> None:
    """Find nothing."""


def _adopt_all(_running: S, loaded: S) -> tuple[S, tuple[str, ...]]:
    return loaded, ()


@dataclass(frozen=True, kw_only=True)
class Blueprint(Generic[S]):
    """All that the parent and its workers need to know of the application.

    `build` makes the application of one worker. `load` reads the settings again and raises `SettingsRefused`.
    `adopt(running, loaded)` returns the settings to go on with, and the paths of those that need a restart and so keep
    their running value. `on_ended` is called in the parent with the process id of each worker that has ended.
    `examine(running, document)` returns, without raising, what the application makes of a document of settings, or by
    None of what `load` would read.
    """

    plan: Plan
    settings: S
    build: Callable[[S, Role], Application[S]]
    load: Callable[[], S]
    adopt: Callable[[S, S], tuple[S, Sequence[str]]] = _adopt_all
    on_ended: Callable[[int], None] = _ignore
    examine: Callable[[S, bytes | None], Any] = _examine_nothing
