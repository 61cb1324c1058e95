"""What was made through the admin API, in this process: providers and models that lie under those of the file.

Law: no request waits for the database. What cannot be used (a credential that does not open, a model whose providers
are gone) is left out and logged; all else is served.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from app.domain.snapshots import Directory
from app.domain.upstream.opening import UpstreamReader
from app.domain.upstream.repository import Stored
from app.domain.upstream.schemas import Reach, StoredModel
from app.domain.upstream.vault import Unreadable
from app.kernel.errors import InvalidRequest
from app.settings.model import ModelSettings, ProviderSettings, Settings

_LOG = logging.getLogger("gateway.upstream")


class StoredUpstream(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot: the providers that can be used, where each may be, and the models."""

    providers: Mapping[str, ProviderSettings] = {}
    reaches: Mapping[str, Reach] = {}
    models: Mapping[str, ModelSettings] = {}

    def under(self, settings: Settings) -> Settings:
        """Return the settings of the file with what was made through the API; the file wins."""
        if not self.providers and not self.models:
            return settings
        added = {name: given for name, given in self.providers.items() if name not in settings.providers}
        providers = {**settings.providers, **added}
        models = dict(settings.models)
        for name, model in self.models.items():
            targets = tuple(target for target in model.targets if target.provider in providers)
            if targets and name not in models and name not in settings.ensembles:
                models[name] = msgspec.structs.replace(model, targets=targets)
        return msgspec.structs.replace(settings, providers=providers, models=models)

    def reach(self, name: str, settings: Settings) -> Reach | None:
        """Return where a provider may be; none for one of the file's, which may be anywhere."""
        return None if name in settings.providers else self.reaches.get(name)


class UpstreamDirectory(Directory[StoredUpstream]):
    """Keeps the snapshot of one worker process up to date."""

    def __init__(self, read: Callable[[], Awaitable[Stored]], *, reader: UpstreamReader) -> None:
        """Read all rows by `read`, and open them by `reader`."""

        async def read_upstream() -> StoredUpstream:
            return opened(await read(), reader=reader)

        super().__init__(read_upstream, empty=StoredUpstream(), kind="upstream")


def opened(stored: Stored, *, reader: UpstreamReader) -> StoredUpstream:
    """Return the snapshot that the rows make."""
    providers: dict[str, ProviderSettings] = {}
    for each in stored.providers:
        try:
            providers[each.name] = reader.opened(each, stored.envelopes.get(each.id))
        except Unreadable:
            _LOG.error("the credential of the provider %s does not open: it is not served", each.name)
        except InvalidRequest as error:
            _LOG.error("the provider %s is not served: %s", each.name, error.message)
    return StoredUpstream(
        providers=providers,
        reaches={each.name: each.reach for each in stored.providers},
        models=_models(stored.models, reader=reader),
    )


def beside(settings: Settings, stored: Stored, *, reader: UpstreamReader) -> Settings:
    """Return all providers and models that there are, for checks of names; secrets are not opened."""
    providers: dict[str, ProviderSettings] = {}
    for each in stored.providers:
        try:
            providers[each.name] = reader.masked(each)
        except InvalidRequest:
            continue
    return StoredUpstream(providers=providers, models=_models(stored.models, reader=reader)).under(settings)


def _models(stored: Sequence[StoredModel], *, reader: UpstreamReader) -> dict[str, ModelSettings]:
    """Return the models, each read by itself: what they name may be gone, which is looked at when routes are made."""
    models: dict[str, ModelSettings] = {}
    for each in stored:
        try:
            models[each.name] = reader.model(each.name, each.spec)
        except InvalidRequest as error:
            _LOG.error("the model %s is not served: %s", each.name, error.message)
    return models
