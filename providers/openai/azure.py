"""Azure OpenAI: OpenAI's wire at other addresses, with the key in a header of its own."""

from urllib.parse import quote

import msgspec

from providers.catalog import Quirks, Vendor
from providers.openai.plugin import ChatApi, ChosenApi, OpenAIDialect, open_openai
from providers.openai.responses import relay
from providers.openai.wire import MODERATIONS, RERANK
from providers.plugin import Plugin
from providers.protocol import Adapter, Sender
from providers.types import Target

_AZURE_V1 = "v1"


class AzureOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an Azure provider may set.

    `api_version` is `v1` for the versionless API, or a date such as `2024-10-21`, which addresses each model as a
    deployment and has no Responses API. `chat_api` is where requests of other dialects go, as at OpenAI.
    Source: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, read 2026-11.
    """

    api_version: str = _AZURE_V1
    chat_api: ChosenApi = "auto"


class AzureDialect(OpenAIDialect):
    """Azure OpenAI: another URL for each deployment, and the key in a header of its own."""

    def __init__(self, quirks: Quirks, *, api_version: str = _AZURE_V1, chat_api: ChatApi = "chat") -> None:
        super().__init__(quirks, chat_api=chat_api)
        self._version = api_version

    def relays(self, target: Target) -> frozenset[str]:
        """Return what goes through unchanged: Azure has its own ways to moderate and to rank."""
        lacks = {MODERATIONS, RERANK} if self._version == _AZURE_V1 else {MODERATIONS, RERANK, *relay.OPERATIONS}
        return super().relays(target) - lacks

    def url(self, target: Target, path: str) -> str:
        """Return where `path` is served for the target's deployment; `base_url` is the resource's root."""
        if self._version == _AZURE_V1:
            return f"{target.base_url}/openai/v1{path}"
        query = f"?api-version={quote(self._version, safe='')}"
        if path == self._quirks.models_path:
            return f"{target.base_url}/openai{path}{query}"
        return f"{target.base_url}/openai/deployments/{quote(target.model, safe='')}{path}{query}"


def azure_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of Azure OpenAI."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        azure = options if isinstance(options, AzureOptions) else AzureOptions()

        def make(chat_api: ChatApi) -> AzureDialect:
            return AzureDialect(row.quirks, api_version=azure.api_version, chat_api=chat_api)

        return open_openai(sender, chat_api=azure.chat_api, make=make)

    return Plugin(
        name=name,
        open=open_adapter,
        options=AzureOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        catalog=name,
    )
