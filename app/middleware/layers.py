"""Finds the layers that other packages publish around the inference plane. Law: every one that is installed is active.

A layer is published in the entry points `llm_gateway.layers`, as a callable that takes an ASGI application and returns
one. They stand in the order of their names, the first outermost.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple, Protocol

LAYERS: Final = "llm_gateway.layers"

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


class Layer(Protocol):
    """What a package publishes.

    It is called once in each worker, with what is within, and returns what is to be called instead: for each HTTP
    request, in its task, with its scope, `receive` and `send`. It may answer itself, or call what is within, once.
    """

    def __call__(self, app: AsgiApp, /) -> AsgiApp:
        """Return an application around another."""
        ...


class BrokenLayer(RuntimeError):
    """A third party's layer cannot be loaded, or makes no application."""


class InstalledLayer(NamedTuple):
    """A layer that was loaded, and the distribution that publishes it, with its version."""

    name: str
    distribution: str
    wrap: Layer

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution})"

    def around(self, app: AsgiApp) -> AsgiApp:
        """Return this layer around an application. Raises `BrokenLayer`."""
        try:
            made = self.wrap(app)
        except Exception as error:
            raise BrokenLayer(f"the layer {self.name!r} of {self.distribution} cannot be made: {error!r}") from error
        if not callable(made):
            raise BrokenLayer(f"the layer {self.name!r} of {self.distribution} made no ASGI application: {made!r}")
        return made


def installed_layers() -> tuple[InstalledLayer, ...]:
    """Return all layers that are installed, the outermost first. Raises `BrokenLayer` for one that cannot be loaded."""
    found = [(point.name, _distribution(point), point) for point in entry_points(group=LAYERS)]
    return tuple(_load(point, distribution) for _, distribution, point in sorted(found, key=lambda each: each[:2]))


def listed(layers: Sequence[InstalledLayer]) -> str:
    """Return layers as they are shown, the outermost first."""
    return ", ".join(map(str, layers))


def _distribution(point: EntryPoint) -> str:
    return "an unknown distribution" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _load(point: EntryPoint, distribution: str) -> InstalledLayer:
    named = f"the layer {point.name!r} of {distribution} ({point.value})"
    try:
        wrap = point.load()
    except Exception as error:
        raise BrokenLayer(f"{named} cannot be loaded: {error!r}") from error
    if not callable(wrap):
        raise BrokenLayer(f"{named} cannot be called")
    return InstalledLayer(point.name, distribution, wrap)
