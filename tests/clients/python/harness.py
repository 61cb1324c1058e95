"""What drivers share. It runs in a client's own environment, so it needs nothing but the standard library."""

import asyncio
import base64
import inspect
import json
import os
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

TALK = SimpleNamespace(**json.loads(os.environ["TALK"]))
"""What to say, whom to call and which models there are; see `clients.drivers`."""


class Models(NamedTuple):
    """The names of the models that come by a route, by kind, for clients that know the one or other vendor's names."""

    route: str
    gpt: dict[str, str]
    tuned: dict[str, str]
    claude: dict[str, str]
    gemini: dict[str, str]


_CHECKS: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = []


def check(*cases: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a check, plain or asynchronous: it is given the models of a route, and each of the cases in turn."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        for case in cases or ((),):
            arguments = (case,) if cases else ()
            name = " ".join([function.__name__, *map(str, arguments)])
            _CHECKS.append((name, function, arguments))
        return function

    return mark


def sent() -> list[dict[str, Any]]:
    """Return the messages that the scripted provider was sent last."""
    with urlopen(TALK.journal) as answer:
        entry = json.load(answer)[-1]
    messages: list[dict[str, Any]] = json.loads(base64.b64decode(entry["body"]))["messages"]
    return messages


def main() -> None:
    """Make all checks by all routes and print what came of them."""
    asyncio.run(_make_all())


async def _make_all() -> None:
    outcome: dict[str, dict[str, str | None]] = {}
    for route, models in TALK.models.items():
        outcome[route] = {}
        for name, function, arguments in _CHECKS:
            outcome[route][name] = await _error_of(function, Models(route, **models), *arguments)
    print(json.dumps(outcome))  # noqa: T201 - its answer


def _forget() -> None:
    """Empty the scripted provider's journal, so that the last request in it is the check's own."""
    urlopen(Request(TALK.journal, method="DELETE")).close()


async def _error_of(function: Callable[..., Any], *arguments: Any) -> str | None:
    _forget()
    try:
        made = function(*arguments)
        if inspect.isawaitable(made):
            await made
    except Exception:  # noqa: BLE001 - whatever went wrong is the outcome
        return traceback.format_exc(limit=-4)[-2000:]
    return None
