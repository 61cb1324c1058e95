"""A gateway that keeps answers, in front of a provider that is told what to say."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from providers.testing import FakeProvider, serve_in_thread
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

EXACT = {"mode": "exact"}


class Stand(NamedTuple):
    """The gateway and its provider; `tree` is the file."""

    gateway: GatewayProcess
    provider: FakeProvider
    tree: dict[str, Any]

    def calls(self) -> int:
        """Return how many calls the provider has had."""
        return len(self.provider.journal.entries)


@contextlib.contextmanager
def caching(
    *,
    cache: Mapping[str, Any] | None = None,
    models: Mapping[str, Any] | None = None,
    vendors: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> Iterator[Stand]:
    """Put up both; `models` are added to those of `configs.config`, `more` to the file.

    `vendors` are more providers by their names, all spoken by the same fake: their `base_url` is below its origin.
    """
    with contextlib.ExitStack() as stack:
        fake = stack.enter_context(serve_in_thread())
        tree = configs.config(fake_url=fake.url) | {"cache": dict(cache or EXACT), "log_level": "info"} | more
        tree["models"] |= dict(models or {})
        for name, vendor in (vendors or {}).items():
            address = fake.origin + vendor["base_url"]
            tree["providers"][name] = {"api_key": f"env:{configs.FAKE_KEY_NAME}", **vendor, "base_url": address}
        secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
        environ = {**secrets, configs.FAKE_KEY_NAME: configs.FAKE_KEY}
        gateway = stack.enter_context(contextlib.closing(GatewayProcess.launch(tree, environ=environ)))
        yield Stand(gateway, fake, tree)
        gateway.stop()
