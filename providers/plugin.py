"""How a provider is plugged in.

A third party publishes an entry point `[project.entry-points."llm_gateway.providers"] acme = "acme_gateway:plugin"`
whose object is a `Plugin`. It is loaded when a configured provider names it. Its `options` struct is what the provider
may set in the file beyond the fields that all have, so validation and documentation come for free.
"""

from collections.abc import Callable

import msgspec

from providers.protocol import Adapter, Sender


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adapter without settings of its own."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of provider.

    `open` makes the adapter for one configured provider from the transport and the provider's options.
    `base_url` is where the vendor lives, absent if every installation has its own. `key_variables` are the environment
    variables in which its credential is commonly kept, the usual one first. `needs_key` is false for servers that may
    run without one. `catalog` is the vendor's name in the catalogue of models and prices. `bills_after_disconnect` is
    whether the vendor goes on, and bills, when a call is cut: such a call is read to its end for the usage.
    """

    name: str
    open: Callable[[Sender, msgspec.Struct], Adapter]
    options: type[msgspec.Struct] = NoOptions
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    catalog: str | None = None
    bills_after_disconnect: bool = False
