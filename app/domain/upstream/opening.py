"""From rows to settings and back. Law: a secret is in a row as `***`, in an envelope, or nowhere."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from app.domain.upstream.schemas import CredentialMark, StoredProvider
from app.domain.upstream.vault import Binding, Envelope, Unreadable, Vault
from app.kernel.errors import InvalidRequest
from app.settings.bodies import read_model, read_provider, secret_names
from app.settings.faults import SettingsError
from app.settings.model import ModelSettings, ProviderSettings, Settings
from app.settings.reading import file_fields, struct_info
from providers.plugin import NoOptions, Plugin
from providers.registry import BrokenPlugin, Registry, UnknownAdapter

MASK = "***"
_LOG = logging.getLogger("gateway.upstream")
_INSTALLATION = "installation"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DIGEST_CHARS = 16

Document = Mapping[str, Any]
"""A provider or a model by the names of the file, as JSON has it."""


class UpstreamReader:
    """Reads what was sent and what is stored, with the adapters that are installed."""

    def __init__(self, vault: Vault, registry: Registry) -> None:
        self.vault = vault
        self.registry = registry

    # -- reading ------------------------------------------------------------------------------------------------------

    def provider(self, name: str, document: Document) -> ProviderSettings:
        """Return the provider of a document; raises `InvalidRequest` naming what is wrong."""
        try:
            return read_provider(name, document, adapter_options=self._options_of, adapters=self.registry.names())
        except SettingsError as error:
            raise refusal(error) from None

    def model(
        self, name: str, document: Document, *, beside: Settings | None = None, known: Collection[str] = ()
    ) -> ModelSettings:
        """Return the model of a document; raises `InvalidRequest` naming what is wrong.

        Only with `beside`, which is all that there is, are the names in it looked for; `known` are further names.
        """
        try:
            return read_model(name, document, beside=beside, known=known)
        except SettingsError as error:
            raise refusal(error) from None

    def plugin(self, name: str, document: Document) -> Plugin | None:
        """Return the adapter of a provider's document, if there is one of that name."""
        adapter = document.get("adapter") or name
        try:
            return self.registry.find(adapter) if isinstance(adapter, str) else None
        except UnknownAdapter:
            return None
        except BrokenPlugin:
            _LOG.warning("the adapter of the provider %s cannot be loaded", name, exc_info=True)
            return None

    def _options_of(self, adapter: str) -> type[msgspec.Struct] | None:
        plugin = self.plugin(adapter, {})
        return None if plugin is None else plugin.options

    # -- secrets ------------------------------------------------------------------------------------------------------

    def split(self, name: str, document: Document) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a provider's document with its secrets masked, and its secrets."""
        kept = self.secret_names(name, document)
        secrets = {key: value for key, value in document.items() if key in kept}
        return {key: _masked(value) if key in kept else value for key, value in document.items()}, secrets

    def secret_names(self, name: str, document: Document) -> frozenset[str]:
        """Return the names under which a provider's document may hold secrets."""
        plugin = self.plugin(name, document)
        return secret_names(NoOptions if plugin is None else plugin.options)

    def marks(self, provider: ProviderSettings) -> list[CredentialMark]:
        """Return what tells the credentials of a provider apart."""
        return [CredentialMark(fingerprint=self.vault.mark(each.reveal())) for each in provider.credentials]

    def binding(self, stored: StoredProvider) -> Binding:
        """Return what the credentials of a provider are sealed for."""
        return Binding(
            organization=stored.spec.get("dedicated_to") or _INSTALLATION,
            provider_id=stored.id,
            audience=self._audience(stored),
            version=stored.credential_version,
        )

    def _audience(self, stored: StoredProvider) -> str:
        """Return where the credentials are sent, or else what of the adapter decides that."""
        base_url = stored.spec.get("base_url")
        if base_url:
            parts = urlsplit(base_url)
            return f"{parts.scheme}://{parts.hostname}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
        others = file_fields(struct_info(ProviderSettings)).keys() | self.secret_names(stored.name, stored.spec)
        options = {key: value for key, value in stored.spec.items() if key not in others}
        digest = hashlib.sha256(msgspec.json.encode(options, order="deterministic")).hexdigest()
        return f"{stored.spec.get('adapter') or stored.name}:{digest[:_DIGEST_CHARS]}"

    def document(self, stored: StoredProvider, envelope: Envelope | None) -> dict[str, Any]:
        """Return a stored provider's document with its secrets; raises `Unreadable`."""
        if envelope is None:
            if self.secret_names(stored.name, stored.spec) & stored.spec.keys():
                raise Unreadable
            return dict(stored.spec)
        return stored.spec | self.vault.open(envelope, binding=self.binding(stored))

    def opened(self, stored: StoredProvider, envelope: Envelope | None) -> ProviderSettings:
        """Return a stored provider's settings; raises `Unreadable` or `InvalidRequest`."""
        return self.provider(stored.name, self.document(stored, envelope))

    def masked(self, stored: StoredProvider) -> ProviderSettings:
        """Return a stored provider's settings with `***` in place of its secrets; raises `InvalidRequest`."""
        return self.provider(stored.name, stored.spec)


def refusal(error: SettingsError) -> InvalidRequest:
    """Return what the settings' reader found, as the API says it: the first fault, and how many more there are."""
    faults = [fault for fault in error.faults if fault.severity == "error"]
    first = faults[0]
    hint = f" ({first.suggestion})" if first.suggestion else ""
    more = f"; {len(faults) - 1} more" if len(faults) > 1 else ""
    subject = f"{first.path}: " if first.path else ""
    code = "unknown_parameter" if first.message.startswith("there is no setting") else None
    return InvalidRequest(f"{subject}{first.message}{hint}{more}"[:500], code=code, param=first.path[:500] or None)


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [MASK for _ in value]
    return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
