"""The connections to providers. Law: a transport is closed at the end only, so requests in flight end on theirs."""

import logging
from typing import TYPE_CHECKING, Literal

from app.domain.upstream.schemas import Reach
from app.gateway.routes import ca_files
from app.settings.model import Settings
from providers.http import Address, AddressPolicy, Network, Pool, PublicOnly, WithinOnly
from providers.registry import Registry

if TYPE_CHECKING:
    from providers.http.fallback import HttpxPool

_LOG = logging.getLogger("gateway.security")

Within = Literal["public", "private", "inside"]
"""Public addresses; those and the operator's networks; the operator's networks only."""


class Transports:
    """The transports of one process: another is opened only when what it is made for has changed.

    There are two kinds, since a pool trusts addresses alike for all that it calls: one for the providers that the
    operator wrote down, which may be anywhere, and one for those that were made through the API, which may not.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._opened: list[Pool | HttpxPool] = []
        self._current: Pool | HttpxPool | None = None
        self._authorities: dict[str, str] = {}
        self._guarded: dict[str, Pool] = {}
        self._cidrs: tuple[str, ...] = ()

    def current(self, settings: Settings) -> "Pool | HttpxPool":
        """Return the transport for the providers of a configuration."""
        authorities = ca_files(settings, self._registry)
        if self._current is None or authorities != self._authorities:
            self._current = _open(settings, authorities)
            self._opened.append(self._current)
            self._authorities = authorities
        return self._current

    def guarded(self, settings: Settings, *, within: Within = "private") -> Pool:
        """Return the transport for providers of others: to `public` addresses, or also to what the operator has opened.

        `inside` is to what the operator has opened only. It is our own in any case, for no other asks which address it
        is about to connect to.
        """
        cidrs = settings.network.allowed_private_cidrs
        if cidrs != self._cidrs:
            self._guarded, self._cidrs = {}, cidrs
        if within not in self._guarded:
            policies: dict[Within, AddressPolicy] = {
                "public": PublicOnly(),
                "private": PublicOnly(cidrs),
                "inside": WithinOnly(cidrs),
            }
            pool = Pool(network=Network(allow=policies[within], on_blocked=_warn_of))
            self._guarded[within] = pool
            self._opened.append(pool)
        return self._guarded[within]

    def sender(self, settings: Settings, name: str, *, reach: Reach | None) -> "Pool | HttpxPool":
        """Return the transport for a provider, which may be anywhere if it has no `reach`.

        What is not encrypted stays within the operator's networks.
        """
        if reach is None:
            return self.current(settings)
        is_plain = (settings.providers[name].base_url or "").startswith("http:")
        return self.guarded(settings, within="public" if reach == "public" else "inside" if is_plain else "private")

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._opened:
            await transport.aclose()


def _warn_of(host: str, address: Address) -> None:
    _LOG.warning("not connected to %s: its address %s is not one that providers may have", host, address)


def _open(settings: Settings, authorities: dict[str, str]) -> "Pool | HttpxPool":
    """Return the transport that the settings name; only ours takes authorities for single providers."""
    if settings.transport == "own":
        return Pool(network=Network(ca_files=authorities))
    from providers.http.fallback import HttpxPool as Fallback  # noqa: PLC0415 - httpx is dear to import, and rarely used

    return Fallback()
