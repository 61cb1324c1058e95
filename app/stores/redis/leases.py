"""Leases on Redis. Law: only the holder's own word extends or ends a lease; each step is one script."""

from app.stores.redis.commands import Commands
from app.stores.redis.scripts import Script, load_script

_MS_PER_S = 1000


class RedisLeases:
    """Leases under the keys `lease:<name>`."""

    def __init__(self, hot: Commands) -> None:
        """Make leases over a connection that belongs to somebody else."""
        self._hot = hot
        self._acquire = load_script("lease_acquire")
        self._renew = load_script("lease_renew")
        self._release = load_script("lease_release")

    async def acquire(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take or extend the lease; false when another holds it."""
        return await self._run(self._acquire, name, holder, int(ttl_s * _MS_PER_S))

    async def renew(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Extend the lease; false when it is not this holder's any more."""
        return await self._run(self._renew, name, holder, int(ttl_s * _MS_PER_S))

    async def release(self, name: str, *, holder: str) -> bool:
        """Give the lease up; false when it was not this holder's."""
        return await self._run(self._release, name, holder)

    async def _run(self, script: Script, name: str, *args: str | int) -> bool:
        return await self._hot.script(script, (f"lease:{name}",), args) == 1
