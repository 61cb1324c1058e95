"""What a worker of `llm-gateway adapter` runs: one adapter, its transport, and the service around both."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.gateway.routes import Provider, open_providers
from app.gateway.transport import Transports
from app.server.contract import Steering
from app.settings import Settings
from providers.protocol import Sender
from providers.registry import Registry
from providers.serve import AdapterService
from providers.types import Target

PLANE = "adapter"
_ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class ServedPlane:
    """The one plane of an adapter service."""

    name: str
    app: Any


class AdapterApplication:
    """Serves the one provider that the settings hold. Make it inside the worker's running loop."""

    def __init__(self, settings: Settings) -> None:
        self.steering: Steering | None = None
        self._registry = Registry()
        self._transports = Transports(self._registry)
        provider = self._open(settings)
        self._service = AdapterService(
            provider.plugin.name,
            adapter=provider.adapter,
            target=target_of(provider),
            token=settings.adapter_token,
        )
        self.planes: Sequence[ServedPlane] = [ServedPlane(PLANE, self._service)]

    @property
    def inflight(self) -> int:
        """Requests that have begun and are not answered."""
        return self._service.inflight

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    def begin_drain(self) -> None:
        """Fail the health check and ask every client to close its connection; requests go on."""
        self._service.is_draining = True

    async def reload(self, settings: Settings) -> None:
        """Serve the provider as it now is, from the next request on."""
        provider = self._open(settings)
        self._service.adopt(provider.adapter, target_of(provider))
        logging.getLogger().setLevel(settings.log_level.upper())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transports.aclose()

    def _open(self, settings: Settings) -> Provider:
        return open_one(settings, registry=self._registry, sender=self._transports.current(settings))


def open_one(settings: Settings, *, registry: Registry, sender: Sender) -> Provider:
    """Return the one provider that the settings hold, ready to be called."""
    (provider,) = open_providers(settings, registry=registry, sender=sender).values()
    return provider


def target_of(provider: Provider) -> Target:
    """Return how the provider is addressed; which model is asked, and for how long, each call says itself."""
    keys = provider.settings.credentials
    return Target(
        provider=provider.name,
        model=_ANY_MODEL,
        base_url=provider.base_url,
        credential=keys[0] if keys else None,
        options=provider.settings.options,
    )
