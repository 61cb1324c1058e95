"""The plug-in of adapters that are services of their own (`llm-gateway adapter NAME`)."""

from typing import Annotated

import msgspec

from providers.catalog import Vendor
from providers.native.adapter import NativeAdapter
from providers.native.dialect import NativeDialect
from providers.plugin import Plugin
from providers.protocol import Adapter, Sender

Operation = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]


class NativeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the provider of an adapter service may set.

    `relays` are the operations whose bytes the service passes on unchanged, such as `openai.chat`: it prints them when
    it starts, and says them at `/native/v1/`. They are written down because routes are built without asking anybody;
    of operations that are not named, the client's request is translated, which works with every service.
    """

    relays: frozenset[Operation] = frozenset()


def native_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of services that speak the native wire."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, NativeOptions) else NativeOptions()
        return NativeAdapter(NativeDialect(chosen.relays), sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=NativeOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        needs_key=False,
        catalog=name,
    )
