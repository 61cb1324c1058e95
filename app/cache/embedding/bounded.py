"""A dict that makes what it misses, of bounded size. Law: a hit costs what a dict costs."""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V], Generic[K, V]):
    """Remembers what `make` returned for up to `most` keys; when it is full the one that was made first goes.

    What is used often comes back at once, and an order of use would cost more at each hit than making it anew.
    """

    __slots__ = ("_make", "_most")

    def __init__(self, make: Callable[[K], V], *, most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: K) -> V:
        if len(self) >= self._most:
            del self[next(iter(self))]
        made = self[key] = self._make(key)
        return made
