"""What became of recent requests, kept for a while. Law: bounded, and lossy: nothing waits for it or rests on it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

NO_BODIES: Mapping[str, bytes] = MappingProxyType({})
_MS_BITS = 80
_ID_BYTES = 36


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What requests are searched by. Ids are as in their usual form; a model's name is the public one."""

    organization_id: str
    team_id: str | None
    key_id: str
    model: str
    provider: str | None
    status: int
    error_code: str | None
    cache: str
    duration_ms: int


class KeptTrace(NamedTuple):
    """One request: its id, a UUIDv7 in its usual form, by which requests are in the order of time."""

    id: str
    mark: Mark
    trace: bytes


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How many traces are kept, how large they are together and for how long.

    `most_body_bytes` is how large the sealed bodies beside them may be together: they are within `most_bytes` too.
    """

    most: int
    most_bytes: int
    ttl_ms: int
    most_body_bytes: int = 0


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are wanted; what is absent does not matter. `since_ms` is in it, `until_ms` is not (epoch)."""

    organization_id: str | None = None
    team_id: str | None = None
    key_id: str | None = None
    model: str | None = None
    provider: str | None = None
    status: int | None = None
    error_code: str | None = None
    cache: str | None = None
    min_duration_ms: int = 0
    since_ms: int | None = None
    until_ms: int | None = None

    def wants(self, mark: Mark) -> bool:
        """Whether a request is one of those, but for its time."""
        return (
            mark.duration_ms >= self.min_duration_ms
            and (self.organization_id is None or self.organization_id == mark.organization_id)
            and (self.team_id is None or self.team_id == mark.team_id)
            and (self.key_id is None or self.key_id == mark.key_id)
            and (self.model is None or self.model == mark.model)
            and (self.provider is None or self.provider == mark.provider)
            and (self.status is None or self.status == mark.status)
            and (self.error_code is None or self.error_code == mark.error_code)
            and (self.cache is None or self.cache == mark.cache)
        )

    @property
    def first_id(self) -> str:
        """The least id of the time that is asked for."""
        return "" if self.since_ms is None else least_id(self.since_ms)

    def last_id(self, before: str | None) -> str | None:
        """Return the id that is just behind what is asked for: that of a moment, or the one `before` which it ends."""
        ends = [each for each in (before, None if self.until_ms is None else least_id(self.until_ms)) if each]
        return min(ends) if ends else None


class TraceStore(Protocol):
    """Traces of recent requests, in the order of their ids. Every method raises `StoreUnavailable`.

    What a request and its answer said, sealed, may be kept beside its trace: never for longer than that.
    """

    async def put(
        self, traces: Sequence[KeptTrace], bounds: Bounds, *, bodies: Mapping[str, bytes] = NO_BODIES
    ) -> None:
        """Keep traces, and sealed bodies of some of them by their ids; forget the oldest of what is too much or old.

        Bodies go before traces do: a trace may outlive its bodies, and no body its trace.
        """
        ...

    async def find(self, request_id: str) -> KeptTrace | None:
        """Return one, if it is still kept."""
        ...

    async def bodies(self, request_id: str) -> bytes | None:
        """Return the sealed bodies of one, if they are still kept."""
        ...

    async def recent(self, query: TraceQuery, *, before: str | None = None, limit: int) -> list[KeptTrace]:
        """Return up to `limit` of those asked for, the newest first; only those with an id less than `before`."""
        ...


def least_id(at_ms: int) -> str:
    """Return the least text that an id made at a moment, or after it, can be."""
    digits = f"{max(0, at_ms) << _MS_BITS:032x}"
    return f"{digits[:8]}-{digits[8:12]}"


def is_id(text: str) -> bool:
    """Whether a text may be a request's id: nothing else is looked for."""
    return len(text) == _ID_BYTES and all(each in "0123456789abcdef-" for each in text)
