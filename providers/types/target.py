"""Where a call goes."""

from typing import Any

import msgspec

from providers.types.secret import Secret


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clocks of one call, in seconds: TCP and TLS; until the first content; between chunks; the whole."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    idle_s: float = 60.0
    total_s: float = 600.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream model at one provider, with all that a dialect needs to address it.

    `provider` is the configured name; `base_url` has no trailing slash; `credential` is absent for servers that need
    none; `options` is the plug-in's own options struct. `headers` are those of this one call, names in lower case, such
    as a trace's: they are sent beside the dialect's, and differ from call to call.
    """

    provider: str
    model: str
    base_url: str
    credential: Secret | None = None
    options: Any = None
    timeouts: Timeouts = Timeouts()
    headers: tuple[tuple[str, str], ...] = ()
