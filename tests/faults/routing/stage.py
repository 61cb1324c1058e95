"""Gateways in front of providers that are told what to do, and a crowd that asks at a steady rate.

Law: every provider of the file is a fake of its own, so that a call is seen where it arrived.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from faults.dialects.asking import Said, ask
from outside.caller import CHAT, user
from outside.wire import request
from servers.configs import PRICE
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.redis import RedisProcess

from providers.testing import Entry, FakeProvider, serve_in_thread

KEYS = {"FIRST_KEY": "sk-first", "SECOND_KEY": "sk-second"}


class Told(NamedTuple):
    """What a client was told, and when it asked; times are monotonic, in seconds."""

    said: Said
    number: int
    began_s: float
    took_s: float

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.said.status

    @property
    def provider(self) -> str:
        """Who served, or tried last."""
        return self.said.headers.get("x-gateway-provider", "")

    @property
    def attempts(self) -> int:
        """How many attempts it took."""
        return int(self.said.headers.get("x-gateway-attempts", "0"))

    @property
    def error(self) -> dict[str, Any]:
        """The error that was said."""
        found: dict[str, Any] = json.loads(self.said.body)["error"]
        return found


class Stage(NamedTuple):
    """A gateway and the providers behind it, by their names in the file."""

    gateway: GatewayProcess
    providers: dict[str, FakeProvider]

    async def ask(
        self,
        key: str,
        model: str,
        *,
        text: str = "hello big world",
        stream: bool = False,
        number: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Told:
        """Ask once, on a connection of its own."""
        body = {"model": model, "messages": user(text), "stream": stream, "max_tokens": 16}
        pairs = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("connection", "close")]
        data = request("POST", CHAT, [*pairs, *(headers or {}).items()], json.dumps(body).encode())
        began_s = time.monotonic()
        said = await ask(self.gateway.port, data)
        return Told(said, number, began_s, time.monotonic() - began_s)

    async def at_rate(self, per_s: float, *, seconds: float, one: Callable[[int], Any]) -> list[Told]:
        """Start so many a second for so long, whatever becomes of those before; `one` asks, given a number."""
        began_s, tasks = time.monotonic(), []
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
            tasks.append(asyncio.ensure_future(one(number)))
        return list(await asyncio.gather(*tasks))

    async def know(self, key: str) -> None:
        """Let every worker read a key, so that no first request is slower for it."""
        pairs = [("authorization", f"Bearer {key}"), ("connection", "close")]
        await asyncio.gather(*(ask(self.gateway.port, request("GET", "/v1/models", pairs)) for _ in range(16)))

    def calls(self, provider: str) -> list[Entry]:
        """Return what a provider was asked, oldest first."""
        return self.providers[provider].journal.entries


def model(*providers: str, **more: Any) -> dict[str, Any]:
    """Return a model of the file whose targets are tried in this order."""
    targets = [{"provider": provider, "model": "up"} for provider in providers]
    return {"targets": targets, "balance": "priority", "price": dict(PRICE), **more}


@contextlib.contextmanager
def staged(
    models: Mapping[str, Any],
    *,
    keys: Mapping[str, Sequence[str]] | None = None,
    only_key: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    postgres: Postgres | None = None,
    **more: Any,
) -> Iterator[Stage]:
    """Put up a provider for each that the models name, and a gateway: two workers with `postgres`, else one.

    `keys` are the names of a provider's credentials, `only_key` the one that it takes; `options` are all providers'.
    `more` is added to the file.
    """
    names = sorted({target["provider"] for made in models.values() for target in made["targets"]})
    with contextlib.ExitStack() as stack:
        fakes = {name: stack.enter_context(serve_in_thread(api_key=(only_key or {}).get(name))) for name in names}
        tree: dict[str, Any] = {
            "log_level": "warning",
            "providers": {
                name: {
                    "adapter": "openai",
                    **(options or {}),
                    "base_url": fake.url,
                    "api_keys": [f"env:{each}" for each in (keys or {}).get(name, ["FIRST_KEY"])],
                }
                for name, fake in fakes.items()
            },
            "models": dict(models),
            **more,
        }
        if postgres is not None:
            redis = stack.enter_context(contextlib.closing(RedisProcess.launch()))
            tree |= {"gateway": {"workers": 2}, "database": postgres.new_database(), "state": redis.url}
        environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, **KEYS}
        gateway = stack.enter_context(
            contextlib.closing(GatewayProcess.launch(tree, environ=environ, migrates=postgres is not None))
        )
        yield Stage(gateway, fakes)
        gateway.stop()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so many are below."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
