"""The connections to providers. Law: a transport is closed at the end only, so requests in flight end on theirs."""

from typing import TYPE_CHECKING

from app.gateway.routes import ca_files
from app.settings.model import Settings
from providers.http import Network, Pool
from providers.registry import Registry

if TYPE_CHECKING:
    from providers.http.fallback import HttpxPool


class Transports:
    """The transports of one process: another is opened only when the authorities to trust have changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._opened: list[Pool | HttpxPool] = []
        self._authorities: dict[str, str] = {}

    def current(self, settings: Settings) -> "Pool | HttpxPool":
        """Return the transport for a configuration."""
        authorities = ca_files(settings, self._registry)
        if not self._opened or authorities != self._authorities:
            self._opened.append(_open(settings, authorities))
            self._authorities = authorities
        return self._opened[-1]

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._opened:
            await transport.aclose()


def _open(settings: Settings, authorities: dict[str, str]) -> "Pool | HttpxPool":
    """Return the transport that the settings name; only ours takes authorities for single providers."""
    if settings.transport == "own":
        return Pool(network=Network(ca_files=authorities))
    from providers.http.fallback import HttpxPool as Fallback  # noqa: PLC0415 - httpx is dear to import, and rarely used

    return Fallback()
