"""Who is making which answer, in this process. Law: nobody makes what another organisation waits for."""

from app.stores.cache import Maker, Place
from app.stores.expiries import Expiries

MOST_MAKERS = 10_000
"""How many answers of one organisation may be in the making; of further ones nobody knows."""

_Name = tuple[str, bytes]


class MemoryMakers:
    """Leases on answers that are not there yet; times are milliseconds of a monotonic clock."""

    def __init__(self) -> None:
        self._leases: dict[str, dict[_Name, tuple[str, int]]] = {}
        self._expiries: Expiries[tuple[str, str, bytes]] = Expiries()

    def find(self, place: Place, *, maker: str | None, lease_ms: int, now_ms: int) -> Maker | None:
        """Return who makes it: this maker, given one, if nobody else does."""
        holder = self._holder(place, now_ms)
        if maker is None or holder not in (None, maker):
            return None if holder is None else Maker(holder, is_me=False)
        if holder is None and len(self._leases.get(place.owner.organization, ())) >= MOST_MAKERS:
            return None
        self._take(place, maker, expires_ms=now_ms + lease_ms)
        return Maker(maker, is_me=True)

    def renew(self, place: Place, *, maker: str, lease_ms: int, now_ms: int) -> bool:
        """Extend a lease; false when it is not this maker's any more."""
        if self._holder(place, now_ms) != maker:
            return False
        self._take(place, maker, expires_ms=now_ms + lease_ms)
        return True

    def release(self, place: Place, *, maker: str, now_ms: int) -> bool:
        """End a lease; false when it was not this maker's."""
        if self._holder(place, now_ms) != maker:
            return False
        self._drop(place.owner.organization, (place.scope, place.key))
        return True

    def sweep(self, now_ms: int) -> None:
        """Forget leases that have ended."""
        for organization, scope, key in self._expiries.take_due(now_ms):
            self._drop(organization, (scope, key))

    def __len__(self) -> int:
        return sum(map(len, self._leases.values()))

    def _holder(self, place: Place, now_ms: int) -> str | None:
        lease = self._leases.get(place.owner.organization, {}).get((place.scope, place.key))
        return lease[0] if lease is not None and lease[1] > now_ms else None

    def _take(self, place: Place, maker: str, *, expires_ms: int) -> None:
        self._drop(place.owner.organization, (place.scope, place.key))
        self._leases.setdefault(place.owner.organization, {})[place.scope, place.key] = (maker, expires_ms)
        self._expiries.add((place.owner.organization, place.scope, place.key), at_ms=expires_ms)

    def _drop(self, organization: str, name: _Name) -> None:
        its = self._leases.get(organization)
        lease = None if its is None else its.pop(name, None)
        if lease is None:
            return
        self._expiries.discard((organization, *name), at_ms=lease[1])
        if not its:
            del self._leases[organization]
