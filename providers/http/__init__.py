"""The upstream transport: HTTP/1.1 over pooled connections, one pool per worker process.

Law: a connection is given back only when its answer has been read out or closed, and only if nothing of it is left on
the wire. The httpx face of the same pool is `providers.http.transport`; nothing else here imports httpx.
"""

from providers.http.addresses import Address, AddressPolicy, PublicOnly, WithinOnly, anything
from providers.http.answer import DEFAULT_LIMIT_BYTES, Answer
from providers.http.network import Network
from providers.http.origin import OriginStats
from providers.http.pool import Pool, PoolLimits, PoolStats
from providers.http.urls import Place, UrlRefused, check_public_url, place_of

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "Address",
    "AddressPolicy",
    "Answer",
    "Network",
    "OriginStats",
    "Place",
    "Pool",
    "PoolLimits",
    "PoolStats",
    "PublicOnly",
    "UrlRefused",
    "WithinOnly",
    "anything",
    "check_public_url",
    "place_of",
]
