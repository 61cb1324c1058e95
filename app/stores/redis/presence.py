"""How many processes share this Redis. Law: a process that has not said so for a while is gone."""

from typing import cast

from app.stores.redis.commands import Commands
from app.stores.redis.scripts import load_script

_KEY = "{p00}:workers"
_MS_PER_S = 1_000


class RedisPresence:
    """Counts processes by what they say of themselves."""

    def __init__(self, hot: Commands) -> None:
        self._hot = hot
        self._announce = load_script("presence")

    async def announce(self, process: str, *, ttl_s: float) -> int:
        """Say that a process lives; return how many do. Raises `StoreUnavailable`."""
        return cast("int", await self._hot.script(self._announce, (_KEY,), (process, int(ttl_s * _MS_PER_S))))
