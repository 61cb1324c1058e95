"""One real call to a provider, to see whether it works. Law: bounded, and nothing of it shows a secret."""

import asyncio
from collections.abc import Iterator
from typing import Literal
from uuid import UUID

import msgspec

from app.domain.audit.principal import Principal
from app.domain.upstream.providers import Opened
from app.gateway.core import Core
from app.gateway.routes import Provider, open_provider
from app.gateway.transport import Transports
from app.kernel.errors import GatewayError
from app.pipeline.routed import client_error
from app.settings.model import ProviderSettings, Settings
from providers.errors import BadAnswer, ProviderError, ProviderTimedOut, RequestRefused
from providers.types import ChatRequest, Message, Secret, Target, TextPart, Timeouts

_BOUND_S = 10.0
_NS_PER_MS = 1_000_000
_SHORTEST_SECRET = 6
"""Shorter values of headers are no secrets, and taking them out of a message would garble it."""

Call = Literal["models", "chat"]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call: `models` is how many were listed, `model` which one was asked to chat."""

    call: Call
    duration_ms: float
    models: int | None = None
    model: str | None = None
    error: GatewayError | None = None
    upstream_status: int | None = None


class Trial:
    """Calls providers for administrators; one for each process, with transports of its own."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._transports = Transports(core.registry)

    async def __call__(self, principal: Principal, provider_id: UUID) -> Tried:
        """Ask a provider for its models, or if it lists none for one token. Raises `NotFound` and `Forbidden`."""
        opened = await self._core.services.providers.open(principal, provider_id)
        settings = msgspec.structs.replace(self._core.settings, providers={opened.name: opened.settings})
        sender = self._transports.sender(settings, opened.name, reach=opened.reach)
        provider = open_provider(opened.name, opened.settings, self._core.registry, sender)
        return await self._try(provider, opened)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transports.aclose()

    async def _try(self, provider: Provider, opened: Opened) -> Tried:
        began_ns = self._core.clock.monotonic_ns()
        tried = Tried(call="models", duration_ms=0.0)
        try:
            async with asyncio.timeout(_BOUND_S):
                tried = await self._ask(provider, self._chat_model(provider))
        except TimeoutError:
            tried = _failed(tried, ProviderTimedOut(f"The provider did not answer within {_BOUND_S:g} s."), opened)
        except _CallFailed as failed:
            tried = _failed(Tried(call=failed.call, duration_ms=0.0, model=failed.model), failed.error, opened)
        duration_ms = round((self._core.clock.monotonic_ns() - began_ns) / _NS_PER_MS, 3)
        return msgspec.structs.replace(tried, duration_ms=duration_ms)

    async def _ask(self, provider: Provider, model: str | None) -> Tried:
        """Make the call; raises `_CallFailed`."""
        target = _target(provider, model or "-")
        try:
            return Tried(call="models", duration_ms=0.0, models=len(await provider.adapter.models(target)))
        except ProviderError as error:
            if model is None or not isinstance(error, (RequestRefused, BadAnswer)):
                raise _CallFailed(error, call="models") from None
        try:
            await _chat(provider, target)
        except ProviderError as error:
            raise _CallFailed(error, call="chat", model=model) from None
        return Tried(call="chat", duration_ms=0.0, model=model)

    def _chat_model(self, provider: Provider) -> str | None:
        """Return a model to ask: one that the installation uses of it, else one of the catalogue."""
        used = _targets_at(self._core.served, provider.name)
        if (model := next(used, None)) is not None:
            return model
        listed = self._core.registry.catalog.models(provider.plugin.catalog or "")
        return next((each.id for each in listed if each.kind == "chat"), None)


class _CallFailed(Exception):
    """A call was made, and the provider failed it."""

    def __init__(self, error: ProviderError, *, call: Call, model: str | None = None) -> None:
        self.error, self.call, self.model = error, call, model
        super().__init__()


def _targets_at(settings: Settings, name: str) -> Iterator[str]:
    for model in settings.models.values():
        yield from (target.model for target in model.targets if target.provider == name)


def _target(provider: Provider, model: str) -> Target:
    keys = provider.settings.credentials
    return Target(
        provider=provider.name,
        model=model,
        base_url=provider.base_url,
        credential=keys[0] if keys else None,
        options=provider.settings.options,
        timeouts=Timeouts(),
    )


async def _chat(provider: Provider, target: Target) -> None:
    """Have one token made."""
    message = Message(role="user", content=[TextPart(text="Hi")])
    request = ChatRequest(model=target.model, messages=[message], dialect="openai", max_output_tokens=1)
    stream = await provider.adapter.chat(request, target)
    try:
        async for _ in stream:
            pass
    finally:
        stream.close()


def _failed(tried: Tried, error: ProviderError, opened: Opened) -> Tried:
    """Return what a caller would be told of the failure, less anything secret that the provider may have quoted."""
    said = client_error(error)
    for text in sorted(_secret_texts(opened.settings), key=len, reverse=True):
        said.message = said.message.replace(text, "***")
        said.code = said.code.replace(text, "***")
    return msgspec.structs.replace(tried, error=said, upstream_status=error.status)


def _secret_texts(given: ProviderSettings) -> set[str]:
    options = msgspec.structs.asdict(given.options).values() if isinstance(given.options, msgspec.Struct) else ()
    secrets = [*given.credentials, *given.headers.values(), *(each for each in options if isinstance(each, Secret))]
    return {each.reveal() for each in secrets if len(each.reveal()) >= _SHORTEST_SECRET}
