"""Which server Sentinel calls the master. Law: ask anew before every connection; remember nothing."""

from redis.asyncio import Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.stores.errors import StoreUnavailable
from app.stores.redis.endpoint import Endpoint, Locate
from app.stores.url import StoreUrl

_TIMEOUT_S = 0.2


def watched(url: StoreUrl) -> Locate:
    """Return a `Locate` that asks the URL's sentinels, one after the other, for the master of its service.

    The URL's credentials are the master's; the sentinels are asked without any.
    """
    service = url.service or ""

    async def locate() -> Endpoint:
        sentinels = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            url.nodes,
            sentinel_kwargs={
                "socket_timeout": _TIMEOUT_S,
                "socket_connect_timeout": _TIMEOUT_S,
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
            },
        )
        try:
            host, port = await sentinels.discover_master(service)
        except RedisError as error:
            raise StoreUnavailable(f"no sentinel names a master of {service!r}: {error}") from error
        finally:
            await sentinels.aclose()
        return Endpoint(host, port, None, url.db, url.credentials, None)

    return locate
