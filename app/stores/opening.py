"""The stores that a URL asks for. Law: the URL decides; nothing above knows which kind it has."""

from app.kernel.clock import Clock, SystemClock
from app.stores.cache import CacheStores
from app.stores.memory import MemoryStores
from app.stores.protocols import REDELIVERED_AFTER_MS, Stores
from app.stores.url import parse_url


def open_stores(url: str, *, clock: Clock | None = None, redelivered_after_ms: int = REDELIVERED_AFTER_MS) -> Stores:
    """Return the stores, not yet started; they belong to the running event loop's process.

    `clock` is the system's if absent; Redis keeps its own time. Raises `StoreConfigurationError`.
    """
    parsed = parse_url(url)
    clock = clock or SystemClock()
    if parsed.kind == "memory":
        return MemoryStores(clock=clock, redelivered_after_ms=redelivered_after_ms)

    # redis-py costs 10 MB and 100 ms to import, which an installation without Redis does not pay.
    from app.stores.redis.endpoint import fixed  # noqa: PLC0415
    from app.stores.redis.sentinel import watched  # noqa: PLC0415
    from app.stores.redis.stores import RedisStores  # noqa: PLC0415

    if parsed.kind == "cluster":
        return RedisStores.on_cluster(parsed, clock=clock, redelivered_after_ms=redelivered_after_ms)
    locate = watched(parsed) if parsed.kind == "sentinel" else fixed(parsed)
    return RedisStores.on_server(locate, db=parsed.db, clock=clock, redelivered_after_ms=redelivered_after_ms)


def open_cache(url: str, *, clock: Clock | None = None) -> CacheStores:
    """Return a store of answers alone, not yet started: one connection, to a Redis that may evict what it likes.

    `clock` is the system's if absent; Redis keeps its own time. Raises `StoreConfigurationError`.
    """
    parsed = parse_url(url)
    if parsed.kind == "memory":
        return MemoryStores(clock=clock or SystemClock())

    from app.stores.redis.cluster import ClusterConnection  # noqa: PLC0415
    from app.stores.redis.connection import HotConnection  # noqa: PLC0415
    from app.stores.redis.endpoint import fixed  # noqa: PLC0415
    from app.stores.redis.sentinel import watched  # noqa: PLC0415
    from app.stores.redis.stores import RedisCacheStores  # noqa: PLC0415

    if parsed.kind == "cluster":
        return RedisCacheStores(ClusterConnection(parsed))
    return RedisCacheStores(HotConnection(watched(parsed) if parsed.kind == "sentinel" else fixed(parsed)))
